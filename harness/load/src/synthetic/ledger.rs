//! What was sent of every trace, when, and what the receiver said to it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use spangate_trace::{TraceId, UnixNanos};

use super::trace::SyntheticTrace;

/// What was sent of one trace.
///
/// Retries are not told apart: a part is what went in one request, however often that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentTrace {
    /// Its number, from zero.
    pub number: u64,
    /// Its id.
    pub trace_id: TraceId,
    /// The name of its class.
    pub class: Arc<str>,
    /// Spans that were to be sent. Fewer were if sending was stopped.
    pub spans: u32,
    /// Whether its root is among them.
    pub has_root: bool,
    /// Whether one of them has the status ERROR.
    pub has_error: bool,
    /// When its root began.
    pub start: UnixNanos,
    /// How long its root lasted, in nanoseconds, whether it was sent or not.
    pub root_nanos: u64,
    /// What was sent of it, in the order of sending.
    pub parts: Vec<SentPart>,
}

/// Spans of a trace that went in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentPart {
    /// The number of the request, from zero.
    pub export: u64,
    /// When the request was handed to the connection.
    pub at: UnixNanos,
    /// How many of its spans.
    pub spans: u32,
    /// Bytes of these spans in the request, before any compression.
    pub bytes: u64,
    /// What became of the request.
    pub outcome: PartOutcome,
}

/// What became of the request that a part went in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PartOutcome {
    /// All spans of the request were taken.
    Accepted,
    /// Some spans of the request were rejected; the receiver does not say which.
    Partial,
    /// The receiver refused the request.
    Refused,
    /// There was no answer. The receiver may have taken the spans all the same.
    Failed,
}

/// One export request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentExport {
    /// Its number, from zero.
    pub number: u64,
    /// When it was due: when its last span was to be sent, or the wait for more was over.
    pub due: UnixNanos,
    /// When it was handed to the connection.
    pub at: UnixNanos,
    /// When its answer was there, or it was given up.
    pub ended: UnixNanos,
    /// Its spans.
    pub spans: u32,
    /// Bytes of the message, without the prefix of gRPC.
    pub bytes: u64,
    /// How often it was sent again.
    pub retries: u32,
    /// What became of it.
    pub outcome: ExportOutcome,
}

/// What became of an export request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExportOutcome {
    /// All spans were taken.
    Accepted,
    /// Some spans were rejected (`ExportTracePartialSuccess`).
    Partial {
        /// How many.
        rejected: u64,
        /// What the receiver said of it.
        message: String,
    },
    /// The receiver answered with a gRPC status other than OK.
    Refused {
        /// The status.
        status: u32,
        /// What the receiver said of it.
        message: String,
    },
    /// There was no answer: no connection, a broken one, no gRPC, or a timeout.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Notes traces while they are sent.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By number; traces of which nothing was sent yet are missing.
    traces: Vec<Option<SentTrace>>,
}

// === impl SentTrace ===

impl SentTrace {
    fn new(trace: &SyntheticTrace, classes: &[Arc<str>], origin: UnixNanos) -> Self {
        Self {
            number: trace.number,
            trace_id: trace.trace_id,
            class: Arc::clone(&classes[trace.class]),
            spans: u32::try_from(trace.sends.len()).unwrap_or(u32::MAX),
            has_root: trace.has_root,
            has_error: trace.has_error,
            start: origin + trace.at,
            root_nanos: u64::try_from(trace.root_duration.as_nanos()).unwrap_or(u64::MAX),
            parts: Vec::new(),
        }
    }

    /// How long its root lasted.
    pub fn root_duration(&self) -> Duration {
        Duration::from_nanos(self.root_nanos)
    }

    /// Spans that were sent, whatever became of them.
    pub fn sent(&self) -> u32 {
        self.parts.iter().map(|part| part.spans).sum()
    }

    /// Spans in requests that were taken whole.
    pub fn accepted(&self) -> u32 {
        let taken = self.parts.iter().filter(|part| part.outcome == PartOutcome::Accepted);
        taken.map(|part| part.spans).sum()
    }

    /// Bytes of the spans that were sent.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

// === impl ExportOutcome ===

impl ExportOutcome {
    fn of_part(&self) -> PartOutcome {
        match self {
            Self::Accepted => PartOutcome::Accepted,
            Self::Partial { .. } => PartOutcome::Partial,
            Self::Refused { .. } => PartOutcome::Refused,
            Self::Failed { .. } => PartOutcome::Failed,
        }
    }
}

// === impl Book ===

impl Book {
    /// Notes that a span goes in the request `export`, which is not sent yet.
    pub(super) fn note(
        &mut self,
        trace: &SyntheticTrace,
        bytes: usize,
        export: u64,
        (classes, origin): (&[Arc<str>], UnixNanos),
    ) {
        let place = usize::try_from(trace.number).unwrap_or(usize::MAX);
        if self.traces.len() <= place {
            self.traces.resize(place + 1, None);
        }
        let sent = self.traces[place].get_or_insert_with(|| SentTrace::new(trace, classes, origin));
        let bytes = bytes as u64;
        match sent.parts.last_mut() {
            Some(part) if part.export == export => {
                part.spans += 1;
                part.bytes += bytes;
            }
            _ => {
                let (at, outcome) = (UnixNanos::default(), PartOutcome::Failed);
                sent.parts.push(SentPart { export, at, spans: 1, bytes, outcome });
            }
        }
    }

    /// All traces, when all requests are over; `exports` are in the order of their numbers.
    pub(super) fn close(self, exports: &[SentExport]) -> Vec<SentTrace> {
        let mut traces: Vec<_> = self.traces.into_iter().flatten().collect();
        for part in traces.iter_mut().flat_map(|trace| &mut trace.parts) {
            if let Some(export) = usize::try_from(part.export).ok().and_then(|number| exports.get(number)) {
                (part.at, part.outcome) = (export.at, export.outcome.of_part());
            }
        }
        traces
    }
}
