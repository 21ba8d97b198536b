//! One fault: which calls it affects, and how.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use spangate_scenario::{
    delay::DelaySampler,
    model::{AdmissionOperation, WebhookAnswer, WebhookFault},
};

use super::{WebhookError, review::Request};
use crate::{
    chance::{Chance, derive_seed},
    gate,
};

/// A fault, ready to be asked.
#[derive(Debug)]
pub(crate) struct Hook {
    fault: WebhookFault,
    chance: Chance,
    delay: Option<DelaySampler>,
    pub(crate) calls: AtomicU64,
}

/// What is done to one call.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict<'a> {
    /// Number of the call among those of the fault.
    pub(crate) call: u64,
    /// How long it is held before it is answered.
    pub(crate) delay: Duration,
    /// What it is answered.
    pub(crate) answer: &'a WebhookAnswer,
}

// === impl Hook ===

impl Hook {
    pub(crate) fn new(fault: WebhookFault, seed: u64) -> Result<Self, WebhookError> {
        let delay = (fault.delay.as_ref())
            .map(|delay| DelaySampler::new(delay, derive_seed(seed, &fault.name, "delay")))
            .transpose()
            .map_err(|source| WebhookError::Delay { fault: fault.name.clone(), source })?;
        let chance = Chance::new(fault.share, derive_seed(seed, &fault.name, "share"));
        Ok(Self { fault, chance, delay, calls: AtomicU64::new(0) })
    }

    /// The fault's name.
    pub(crate) fn name(&self) -> &str {
        &self.fault.name
    }

    /// Counts a call that came `elapsed` after the start of load, and says what is done to it.
    pub(crate) fn judge(&self, request: &Request, elapsed: Duration) -> Verdict<'_> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.concerns(request, elapsed) && self.chance.hits(call) {
            let delay = self.delay.as_ref().map_or(Duration::ZERO, |delay| delay.nth(call));
            Verdict { call, delay, answer: &self.fault.answer }
        } else {
            Verdict { call, delay: Duration::ZERO, answer: &WebhookAnswer::Allow }
        }
    }

    fn concerns(&self, request: &Request, elapsed: Duration) -> bool {
        let fault = &self.fault;
        gate::within(fault.during, elapsed)
            && (fault.operations.is_empty()
                || fault.operations.iter().any(|operation| covers(*operation, &request.operation)))
            && (fault.resources.is_empty() || fault.resources.iter().any(|r| r == request.resource()))
            && (fault.namespaces.is_empty() || fault.namespaces.contains(&request.namespace))
    }
}

/// Whether `wanted` is the operation of a review.
fn covers(wanted: AdmissionOperation, operation: &str) -> bool {
    match wanted {
        AdmissionOperation::Any => true,
        AdmissionOperation::Create => operation == "CREATE",
        AdmissionOperation::Update => operation == "UPDATE",
        AdmissionOperation::Delete => operation == "DELETE",
        AdmissionOperation::Connect => operation == "CONNECT",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hook(more: &Value) -> Hook {
        let mut fault = json!({
            "name": "slow",
            "type": "mutating",
            "rules": [],
            "delay": {"exponential": {"mean": "50ms"}},
            "answer": {"deny": {}},
        });
        fault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Hook::new(serde_json::from_value(fault).unwrap(), 7).unwrap()
    }

    fn request(operation: &str, resource: &str, namespace: &str) -> Request {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u",
                "operation": operation,
                "resource": {"resource": resource},
                "namespace": namespace,
            },
        });
        Request::parse(review.to_string().as_bytes()).unwrap()
    }

    fn affects(hook: &Hook, request: &Request, elapsed: Duration) -> bool {
        *hook.judge(request, elapsed).answer != WebhookAnswer::Allow
    }

    #[test]
    fn every_filter_must_hold() {
        let hook = hook(&json!({
            "operations": ["CREATE", "DELETE"],
            "resources": ["configmaps"],
            "namespaces": ["default"],
            "during": {"from": "1s", "to": "2s"},
        }));
        let inside = Duration::from_millis(1500);
        assert!(affects(&hook, &request("CREATE", "configmaps", "default"), inside));
        assert!(affects(&hook, &request("DELETE", "configmaps", "default"), inside));
        for (operation, resource, namespace, elapsed) in [
            ("UPDATE", "configmaps", "default", inside),
            ("CREATE", "secrets", "default", inside),
            ("CREATE", "configmaps", "other", inside),
            ("CREATE", "configmaps", "default", Duration::from_millis(999)),
            ("CREATE", "configmaps", "default", Duration::from_secs(2)),
        ] {
            let request = request(operation, resource, namespace);
            assert!(!affects(&hook, &request, elapsed), "{request:?} at {elapsed:?}");
        }
    }

    #[test]
    fn no_filter_means_every_call() {
        let hook = hook(&json!({}));
        assert!(affects(&hook, &request("CONNECT", "pods", ""), Duration::ZERO));
    }

    #[test]
    fn the_same_calls_are_held_equally_long_in_every_run() {
        let run = || {
            let hook = hook(&json!({"share": 0.4}));
            let request = request("CREATE", "configmaps", "default");
            (0..200)
                .map(|call| {
                    let verdict = hook.judge(&request, Duration::ZERO);
                    assert_eq!(verdict.call, call);
                    (*verdict.answer == WebhookAnswer::Allow, verdict.delay)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        let affected = run().iter().filter(|(allowed, _)| !allowed).count();
        assert!((50..110).contains(&affected), "seed 7: {affected} of 200");
    }
}
