//! Watch events of a deployment, until all of its pods are there.

use serde::Deserialize;

/// Watch events of one deployment in JSON, one a line, cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct RolloutEvents {
    /// The line that is not whole yet.
    line: Vec<u8>,
}

/// A watch event, as far as it tells of a rollout.
#[derive(Debug, Deserialize)]
struct Event {
    object: Deployment,
}

#[derive(Debug, Deserialize)]
struct Deployment {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Metadata {
    generation: u64,
}

#[derive(Debug, Deserialize)]
struct Spec {
    replicas: u64,
}

/// Go leaves zeros out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: u64,
    replicas: u64,
    updated_replicas: u64,
    available_replicas: u64,
}

// === impl RolloutEvents ===

impl RolloutEvents {
    /// Takes the next bytes; true when one of the lines so far says that the rollout is done.
    pub(crate) fn done(&mut self, bytes: &[u8]) -> bool {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            // What is no deployment, such as a bookmark, says nothing.
            if serde_json::from_slice::<Event>(&line).is_ok_and(|event| event.object.is_available()) {
                return true;
            }
        }
        false
    }
}

// === impl Deployment ===

impl Deployment {
    /// As `kubectl rollout status` sees it (`kubectl/pkg/polymorphichelpers/rollout_status.go`).
    fn is_available(&self) -> bool {
        let status = &self.status;
        self.metadata.generation <= status.observed_generation
            && status.updated_replicas >= self.spec.replicas
            && status.replicas <= status.updated_replicas
            && status.available_replicas >= status.updated_replicas
    }
}

impl Default for Metadata {
    /// Of a generation that nobody has observed.
    fn default() -> Self {
        Self { generation: u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(status: &Value) -> String {
        let object = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status});
        format!("{}\n", json!({"type": "MODIFIED", "object": object}))
    }

    #[test]
    fn it_is_done_when_all_pods_are_of_the_last_generation_and_available() {
        let done =
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert!(RolloutEvents::default().done(event(&done).as_bytes()));
        for (key, value) in
            [("observedGeneration", 1), ("updatedReplicas", 1), ("replicas", 3), ("availableReplicas", 1)]
        {
            let mut status = done.clone();
            status[key] = value.into();
            assert!(!RolloutEvents::default().done(event(&status).as_bytes()), "{key}");
        }
        assert!(!RolloutEvents::default().done(event(&json!({})).as_bytes()));
        let bookmark = b"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{},\"spec\":{\"replicas\":0}}}\n";
        assert!(!RolloutEvents::default().done(bookmark));
    }

    #[test]
    fn lines_are_cut_anywhere() {
        let done =
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        let stream = format!("{}{}", event(&json!({})), event(&done));
        let mut events = RolloutEvents::default();
        let told: Vec<bool> = stream.as_bytes().chunks(7).map(|chunk| events.done(chunk)).collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
        assert!(told.ends_with(&[true]), "{told:?}");
    }
}
