//! Which faults touch a call, and what they do to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use spangate_scenario::{
    delay::DelaySampler,
    model::{EtcdFault, GrpcStatus, HeldSide},
};
use spangate_trace::TraceContext;

use super::{EtcdProxyError, key::first_key};
use crate::{
    chance::{Chance, derive_seed},
    gate::{self, Gate},
    ledger::Target,
    note::{Note, Recorder},
};

/// Path of every RPC of etcd, before its service.
const PACKAGE: &str = "/etcdserverpb.";

/// The faults of a proxy.
#[derive(Debug)]
pub(crate) struct Rules {
    faults: Vec<Rule>,
    recorder: Arc<Recorder>,
    pub(crate) gate: Gate,
}

#[derive(Debug)]
struct Rule {
    fault: EtcdFault,
    chance: Chance,
    delay: Option<DelaySampler>,
    calls: AtomicU64,
}

/// What one fault does to one call.
#[derive(Debug)]
pub(crate) struct Touch {
    pub(crate) side: HeldSide,
    pub(crate) delay: Duration,
    pub(crate) status: Option<GrpcStatus>,
    pub(crate) note: Note,
}

// === impl Rules ===

impl Rules {
    pub(crate) fn new(faults: Vec<EtcdFault>, seed: u64, recorder: Recorder) -> Result<Self, EtcdProxyError> {
        let faults = faults.into_iter().map(|fault| Rule::new(fault, seed)).collect::<Result<_, _>>()?;
        Ok(Self { faults, recorder: Arc::new(recorder), gate: Gate::default() })
    }

    /// Whether there is no fault at all, so that no call need be looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// How long load has been going on, if some fault could touch a call of `path` now.
    pub(crate) fn may_touch(&self, path: &str) -> Option<Duration> {
        // Most calls end here, without a look at the clock.
        let rpc = path.strip_prefix(PACKAGE)?;
        self.faults.iter().find(|rule| rule.fault.rpc == rpc)?;
        let elapsed = self.gate.elapsed(self.recorder.clock.now())?;
        self.faults.iter().any(|rule| rule.matches(rpc, elapsed)).then_some(elapsed)
    }

    /// What is done to a call whose first message is complete now; in file order.
    pub(crate) fn touch(
        &self,
        path: &str,
        parent: Option<TraceContext>,
        message: Option<&[u8]>,
        elapsed: Duration,
    ) -> Vec<Touch> {
        let Some(rpc) = path.strip_prefix(PACKAGE) else { return Vec::new() };
        let received = self.recorder.clock.now();
        let key = message.and_then(|message| first_key(rpc, message)).unwrap_or_default();
        (self.faults.iter())
            .filter(|rule| rule.matches(rpc, elapsed) && rule.covers(key))
            .map(|rule| {
                let call = rule.calls.fetch_add(1, Ordering::Relaxed);
                let target =
                    Target::Etcd { rpc: rpc.to_owned(), key: String::from_utf8_lossy(key).into_owned() };
                let fault = rule.fault.name.clone();
                let note = Note::new(&self.recorder, fault, call, target, parent, received);
                rule.touch(call, note)
            })
            .collect()
    }
}

// === impl Rule ===

impl Rule {
    fn new(fault: EtcdFault, seed: u64) -> Result<Self, EtcdProxyError> {
        let delay = (fault.delay.as_ref())
            .map(|delay| DelaySampler::new(delay, derive_seed(seed, &fault.name, "delay")))
            .transpose()
            .map_err(|source| EtcdProxyError::Delay { fault: fault.name.clone(), source })?;
        let chance = Chance::new(fault.share, derive_seed(seed, &fault.name, "share"));
        Ok(Self { fault, chance, delay, calls: AtomicU64::new(0) })
    }

    fn matches(&self, rpc: &str, elapsed: Duration) -> bool {
        self.fault.rpc == rpc && gate::within(self.fault.during, elapsed)
    }

    fn covers(&self, key: &[u8]) -> bool {
        self.fault.key_prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_bytes()))
    }

    fn touch(&self, call: u64, note: Note) -> Touch {
        let side = self.fault.hold;
        if !self.chance.hits(call) {
            return Touch { side, delay: Duration::ZERO, status: None, note };
        }
        let delay = self.delay.as_ref().map_or(Duration::ZERO, |delay| delay.nth(call));
        Touch { side, delay, status: self.fault.status, note }
    }
}
