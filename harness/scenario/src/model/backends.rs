//! What stores traces and metrics beside the sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::collector::ContainerOf;

/// What stores traces and metrics beside the sink, as people have it; each runs in a container on the network of this
/// machine, for as long as the run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Backends {
    /// Jaeger, which is given every export that the sink takes. Its UI is told while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jaeger: Option<ContainerOf>,
    /// Prometheus, which reads the Collector's `prometheus` exporter every second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<ContainerOf>,
}

// === impl Backends ===

impl Backends {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.jaeger.is_none() && self.prometheus.is_none()
    }

    /// Those that there are, by their keys.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &ContainerOf)> {
        [("jaeger", &self.jaeger), ("prometheus", &self.prometheus)]
            .into_iter()
            .filter_map(|(key, backend)| Some((key, backend.as_ref()?)))
    }
}
