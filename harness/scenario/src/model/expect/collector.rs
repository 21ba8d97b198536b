//! What must be true of the Collector.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SpanSelector;
use crate::units::{Bound, Duration, Ratio};

/// No span is lost without somebody counting it.
///
/// What was sent to the Collector, what it says that it took in, dropped by decision, sent on and failed to send, and
/// what the sink received must add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Conserved {
    /// Share of the spans that the Collector may refuse when they are sent.
    pub refused: Bound<Ratio>,
    /// Share of the spans that the Collector took in that may fail to leave it: not sent on, and not dropped by a
    /// sampling decision either.
    pub failed: Bound<Ratio>,
    /// Traces that the tail sampler may drop undecided, since there are too many at once.
    pub dropped_too_early: Bound<u64>,
}

/// Some of the traces that the Collector was given had to be kept, or had not to be.
///
/// All that is given must hold of a trace for it to be one of them; without anything, all are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kept {
    /// Traces that have such a span.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub selector: Option<SpanSelector>,
    /// Traces in which more time passes from the first start to the last end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<Duration>,
    /// Traces of this class of `load.traces`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How many of them must reach the sink.
    pub share: Bound<Ratio>,
    /// Whether those that do must be whole: with every span that the Collector was given.
    pub whole: bool,
}

/// The metrics that the Collector makes of spans (`span_metrics`) say what the spans say that it was given.
///
/// What its `prometheus` exporter serves in the end is compared with the same figures counted over the spans: calls, by
/// every combination of dimensions, exactly; the sum of their durations; and how many were within each bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpanMetrics {
    /// The connector, by its id; the only one of its type unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    /// Where the metrics are taken from.
    #[serde(skip_serializing_if = "SpanMetricsFrom::is_exporter")]
    pub from: SpanMetricsFrom,
    /// How far the sum of durations may be off, as a part of it: it is added up in floating point.
    pub within: Ratio,
}

/// Where metrics are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SpanMetricsFrom {
    /// What the Collector's `prometheus` exporter serves.
    #[default]
    Exporter,
    /// What Prometheus has stored of that (`backends.prometheus`).
    Prometheus,
}

/// Jaeger has every trace that reached the sink, with the same spans.
///
/// Jaeger is asked for each trace by its id when everything has come to rest; of more than 5000 traces, for as many, evenly
/// chosen. Spans count by their ids: one that was exported twice is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stored {
    /// Traces that Jaeger does not know.
    pub missing: Bound<u64>,
    /// Traces that it knows without some of their spans, or with others.
    pub torn: Bound<u64>,
}

/// The Collector's container ended by itself and was started again; only on kind, where a kubelet does so.
///
/// Without this expectation any such end is a failure. `count` counts the ends for the `reason`; one for another reason
/// is a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Restarts {
    /// Why it ended, in the kubelet's words: `OOMKilled`, `Error`, `Completed`. Any reason unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["OOMKilled", "Error", "Completed"]))]
    pub reason: Option<String>,
    /// How often.
    pub count: Bound<u64>,
    /// The longest time from an end until it was ready again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<Bound<Duration>>,
    /// The longest time from an end until it took spans again: as long was whoever sends them dark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dark: Option<Bound<Duration>>,
    /// Share of the spans that were sent to it which never reached the sink. Needs a configuration that drops none by
    /// decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Bound<Ratio>>,
}

// === impl Restarts ===

impl Default for Restarts {
    /// At least one, for any reason.
    fn default() -> Self {
        Self { reason: None, count: Bound::at_least(1), away: None, dark: None, lost: None }
    }
}

// === impl SpanMetrics ===

impl Default for SpanMetrics {
    fn default() -> Self {
        Self { connector: None, from: SpanMetricsFrom::default(), within: Ratio::new_unchecked(1e-6) }
    }
}

// === impl SpanMetricsFrom ===

impl SpanMetricsFrom {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    fn is_exporter(&self) -> bool {
        *self == Self::Exporter
    }
}

// === impl Stored ===

impl Default for Stored {
    /// None.
    fn default() -> Self {
        Self { missing: Bound::equal(0), torn: Bound::equal(0) }
    }
}

// === impl Conserved ===

impl Default for Conserved {
    /// Nothing is refused, fails, or is dropped too early.
    fn default() -> Self {
        let none = Bound::equal(Ratio::new_unchecked(0.0));
        Self { refused: none, failed: none, dropped_too_early: Bound::equal(0) }
    }
}

// === impl Kept ===

impl Default for Kept {
    /// All of all traces, whole.
    fn default() -> Self {
        Self {
            selector: None,
            slower_than: None,
            class: None,
            share: Bound::equal(Ratio::one()),
            whole: true,
        }
    }
}
