//! Rules that all faults share.

use std::collections::HashSet;

use super::{Findings, Parts, etcd, expect::needs_collector, limited, names, webhook, window, writes};
use crate::{
    model::{Delay, Fault, SinkFault, SinkMisbehaviour},
    path::Path,
    units::{Duration, Ratio},
};

pub(super) fn check(faults: &[Fault], parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    let writes = parts.load.and_then(writes::of_load);
    let writes = writes.as_deref();
    let mut seen = HashSet::new();
    for (index, fault) in limited(faults, at, findings).iter().enumerate() {
        let kind = match fault {
            Fault::Webhook(_) => "webhook",
            Fault::Etcd(_) => "etcd",
            Fault::Sink(_) => "sink",
            Fault::Collector(_) => "collector",
        };
        let at = at.index(index).key(kind);
        names::dns_label(fault.name(), &at.key("name"), findings);
        if !seen.insert(fault.name()) {
            findings.add(&at.key("name"), format!("another fault is called `{}` too", fault.name()));
        }
        match fault {
            Fault::Webhook(fault) => webhook::check(fault, writes, &at, findings),
            Fault::Etcd(fault) => etcd::check(fault, writes, parts.cluster, &at, findings),
            Fault::Sink(fault) => sink(fault, &at, findings),
            Fault::Collector(_) => needs_collector(parts, &at, findings),
        }
        if let Some(during) = fault.during() {
            window(during, parts.load, &at.key("during"), findings);
        }
    }
}

/// Finds a share of nothing.
pub(super) fn share(share: Ratio, at: &Path, findings: &mut Findings) {
    findings.require(
        share.get() > 0.0,
        &at.key("share"),
        "a fault that affects 0% of the calls does nothing",
    );
}

fn sink(fault: &SinkFault, at: &Path, findings: &mut Findings) {
    let at = at.key("does");
    match &fault.does {
        SinkMisbehaviour::Delay(held) => delay(held, &at.key("delay"), findings),
        SinkMisbehaviour::PartialSuccess { rejected } => {
            let at = at.key("partialSuccess.rejected");
            findings.require(rejected.get() > 0.0, &at, "a fault that rejects 0% of the spans does nothing");
        }
        SinkMisbehaviour::Refuse { .. } | SinkMisbehaviour::Hang | SinkMisbehaviour::Away => {}
    }
}

/// Finds delays that cannot be drawn, and those that are none.
pub(super) fn delay(delay: &Delay, at: &Path, findings: &mut Findings) {
    let mut positive = |time: Duration, key: &str| {
        findings.require(!time.is_zero(), &at.key(key), "a delay of 0s does nothing");
    };
    match delay {
        Delay::Fixed(time) => positive(*time, "fixed"),
        Delay::Uniform { min, max } => {
            positive(*max, "uniform.max");
            if min > max {
                findings.add(&at.key("uniform"), format!("`min` ({min}) is greater than `max` ({max})"));
            }
        }
        Delay::Normal { mean, .. } => positive(*mean, "normal.mean"),
        Delay::Exponential { mean } => positive(*mean, "exponential.mean"),
        Delay::Pareto { scale, shape } => {
            positive(*scale, "pareto.scale");
            let fine = shape.is_finite() && *shape > 0.0;
            findings.require(fine, &at.key("pareto.shape"), "must be greater than 0");
        }
    }
}
