//! What sending came to.

use std::time::Duration;

use serde::Serialize;
use spangate_trace::UnixNanos;

use super::{
    super::ledger::{ExportOutcome, SentExport, SentTrace},
    Pace,
};
use crate::Histogram;

/// What was sent, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// When sending began.
    pub began: UnixNanos,
    /// When the last request was over.
    pub ended: UnixNanos,
    /// Every trace of which something was sent, in the order of their numbers.
    pub traces: Vec<SentTrace>,
    /// Every request, in the order of their numbers.
    pub exports: Vec<SentExport>,
    /// Sums over all of them.
    pub counts: Counts,
}

/// Sums over all requests: `spans` is `accepted`, `rejected`, `refused` and `failed` together.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Requests, each counted once however often it was sent.
    pub exports: u64,
    /// Spans that were sent.
    pub spans: u64,
    /// Bytes of messages, without prefixes and headers.
    pub bytes: u64,
    /// Spans that were taken.
    pub accepted: u64,
    /// Spans that were rejected out of a request that was taken (`ExportTracePartialSuccess`).
    pub rejected: u64,
    /// Spans in requests that were refused with a gRPC status.
    pub refused: u64,
    /// Spans in requests without an answer.
    pub failed: u64,
    /// How often requests were sent again.
    pub retries: u64,
    /// How often a request waited because too many were under way.
    pub waits: u64,
    /// How long they waited together.
    pub waited: Duration,
    /// How long after it was due each request was handed to the connection; nothing with [`Pace::Unthrottled`].
    pub lags: Histogram,
    /// How long each request took until it was answered, those without an answer left out.
    pub latencies: Histogram,
}

// === impl Counts ===

impl Counts {
    pub(super) fn add(&mut self, export: &SentExport, pace: Pace) {
        let spans = u64::from(export.spans);
        self.exports += 1;
        self.spans += spans;
        self.bytes += export.bytes;
        self.retries += u64::from(export.retries);
        match &export.outcome {
            ExportOutcome::Accepted => self.accepted += spans,
            ExportOutcome::Partial { rejected, .. } => {
                // A receiver may say that it rejected more than it was sent.
                let rejected = spans.min(*rejected);
                self.rejected += rejected;
                self.accepted += spans - rejected;
            }
            ExportOutcome::Refused { .. } => self.refused += spans,
            ExportOutcome::Failed { .. } => self.failed += spans,
        }
        if pace == Pace::Planned {
            self.lags.record(export.at.since(export.due));
        }
        if !matches!(export.outcome, ExportOutcome::Failed { .. }) {
            self.latencies.record(export.ended.since(export.at));
        }
    }
}
