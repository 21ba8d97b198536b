//! Synthetic traces: how many there are, of which classes, and what each class is like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Delay, Shape};
use crate::units::{Duration, Rate, Ratio};

/// Traces shaped like those of kube-apiserver, sent without one.
///
/// Exactly one of `for` and `traces` says how many there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Seed of every random choice: times, ids, classes, durations.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Mean number of traces that begin per time.
    pub rate: Rate,
    /// How their beginnings are spaced.
    #[serde(default)]
    pub shape: Shape,
    /// For how long traces begin.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// How many traces there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<u64>,
    /// What they are; the shares of all classes make up 100%.
    pub classes: Vec<TrafficClass>,
}

/// Traces that have something in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficClass {
    /// What the class is called in ledgers and reports: a DNS label that no other class has.
    pub name: String,
    /// Share of all traces that are of this class, each drawn on its own.
    pub share: Ratio,
    /// The requests that its traces are of, equally often; without any, all that there are but `watch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
    /// How long the root lasts, at most ten minutes; as recorded unless given. What is within the trace is
    /// stretched with it; of a watch, only the spans that last as long as the watch does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Delay>,
    /// Whether the SERVER span has the status ERROR and `http.response.status_code` 500.
    #[serde(default)]
    pub error: bool,
    /// Spans that are sent after all others of their trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<LateSpans>,
    /// Whether the root is sent.
    #[serde(default)]
    pub root: RootSpan,
}

/// Spans that are sent after all others of their trace. A root is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LateSpans {
    /// Share of the spans below the root, drawn for each trace; at least one.
    #[serde(default = "half")]
    pub share: Ratio,
    /// How long after the last span of the trace has ended they are sent, all at once.
    pub by: Duration,
}

/// Whether the root of a trace is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RootSpan {
    /// It is sent when it ends, as every span.
    #[default]
    Sent,
    /// It is never sent: its children name a parent that nobody gets.
    Missing,
}

// === impl Traffic ===

impl Traffic {
    /// The requests that templates are built in for.
    pub const TEMPLATES: [&str; 7] = ["create", "create-webhooks", "get", "list", "patch", "delete", "watch"];

    /// For how long traces begin: as given, or as long as so many take at this rate on average.
    pub fn length(&self) -> Duration {
        let of_traces = || {
            let seconds = self.traces.unwrap_or_default() as f64 / self.rate.get();
            std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().into()
        };
        self.duration.unwrap_or_else(of_traces)
    }
}

// === impl TrafficClass ===

impl TrafficClass {
    /// The name of the template whose traces end only when the caller has seen enough.
    pub const WATCH: &str = "watch";

    /// A class of traces as they were recorded, all of which are sent.
    pub fn new(name: impl Into<String>, share: Ratio) -> Self {
        let (templates, duration, late) = (Vec::new(), None, None);
        Self { name: name.into(), share, templates, duration, error: false, late, root: RootSpan::Sent }
    }
}

fn default_seed() -> u64 {
    1
}

fn half() -> Ratio {
    Ratio::new_unchecked(0.5)
}
