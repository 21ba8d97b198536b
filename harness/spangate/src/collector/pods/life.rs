//! The life of a pod's container, as its status tells it: when it ended and why, and whether it is ready.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use spangate_trace::UnixNanos;

/// What is known of the containers of a pod so far.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Containers whose end was told.
    told: BTreeSet<String>,
    /// How many ends were told of each pod, by its uid.
    ends: BTreeMap<String, i32>,
}

/// What a status says that no earlier one did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct News {
    /// Containers that ended, the earliest first.
    pub(super) ended: Vec<Ended>,
    /// Whether one is ready now.
    pub(super) ready: bool,
}

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Why, in the kubelet's words.
    pub(super) reason: String,
    /// With what exit code, if anybody saw it.
    pub(super) exit_code: Option<i32>,
    /// When; the kubelet leaves out what is less than a second.
    pub(super) at: Option<UnixNanos>,
    /// Whether another one was started already.
    pub(super) replaced: bool,
}

/// The reason of an end that only the count of restarts tells of.
const UNSEEN: &str = "unseen";

// === impl Life ===

impl Life {
    /// Reads the status of a pod of one container.
    pub(super) fn see(&mut self, pod: &Pod) -> News {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let Some(status) = statuses.into_iter().next() else { return News::default() };
        let now = status.state.as_ref();
        let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let ended = [(last, true), (now.and_then(|state| state.terminated.as_ref()), false)];
        let mut news = News { ready: status.ready, ..News::default() };
        let ends = self.ends.entry(pod.metadata.uid.clone().unwrap_or_default()).or_default();
        for (terminated, replaced) in ended {
            let Some(terminated) = terminated else { continue };
            if self.told.insert(terminated.container_id.clone().unwrap_or_default()) {
                *ends += 1;
                news.ended.push(Ended::of(terminated, replaced));
            }
        }
        // Of several ends between two statuses, only the last is described.
        while *ends < status.restart_count {
            *ends += 1;
            let unseen = Ended { reason: UNSEEN.to_owned(), exit_code: None, at: None, replaced: true };
            news.ended.insert(0, unseen);
        }
        news
    }
}

// === impl Ended ===

impl Ended {
    fn of(terminated: &ContainerStateTerminated, replaced: bool) -> Self {
        let at = terminated.finished_at.as_ref();
        let at = at.and_then(|time| u64::try_from(time.0.as_nanosecond()).ok()).map(UnixNanos);
        let reason = terminated.reason.clone().unwrap_or_else(|| "unknown".to_owned());
        Self { reason, exit_code: Some(terminated.exit_code), at, replaced }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(restarts: i32, state: &Value, last: &Value, ready: bool) -> Pod {
        let status = json!({
            "name": "otelcol", "image": "x", "imageID": "x", "ready": ready, "restartCount": restarts,
            "state": state, "lastState": last,
        });
        serde_json::from_value(json!({
            "metadata": {"uid": "a"}, "status": {"containerStatuses": [status]},
        }))
        .unwrap()
    }

    fn killed(id: &str) -> Value {
        let at = "2026-11-28T20:00:07Z";
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "containerID": id, "finishedAt": at}})
    }

    fn running() -> Value {
        json!({"running": {"startedAt": "2026-11-28T20:00:08Z"}})
    }

    /// Scenario: a container is killed, is told of while it lies there and again when the next one runs.
    /// Guarantees: its end is news once, with its reason and time; the next one is ready when its status says so.
    #[test]
    fn an_end_is_told_once() {
        let mut life = Life::default();
        let fresh = life.see(&pod(0, &running(), &json!({}), true));
        assert_eq!(fresh, News { ended: Vec::new(), ready: true });
        let end = life.see(&pod(0, &killed("one"), &json!({}), false));
        let ended = &end.ended[0];
        assert_eq!((ended.reason.as_str(), ended.exit_code, ended.replaced), ("OOMKilled", Some(137), false));
        assert_eq!(ended.at, Some(UnixNanos(1_795_896_007_000_000_000)));
        assert_eq!(life.see(&pod(1, &running(), &killed("one"), false)), News::default());
        assert_eq!(
            life.see(&pod(1, &running(), &killed("one"), true)),
            News { ready: true, ..News::default() }
        );
    }

    /// Scenario: two containers end between two statuses.
    /// Guarantees: both ends are counted, though the first is not described.
    #[test]
    fn no_end_is_missed() {
        let mut life = Life::default();
        let news = life.see(&pod(2, &running(), &killed("two"), false));
        let reasons: Vec<&str> = news.ended.iter().map(|ended| ended.reason.as_str()).collect();
        assert_eq!(reasons, ["unseen", "OOMKilled"]);
        assert!(news.ended[1].replaced);
    }
}
