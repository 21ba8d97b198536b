//! What the Collector was given, trace by trace, and what of it reached the sink.

use std::collections::HashSet;

use spangate_sink::{Passage, PassageOutcome};
use spangate_trace::{Capture, TraceId, TraceIndex, UnixNanos};

use crate::evidence::Case;

/// The traces that the Collector was given, and those that reached the sink.
pub(crate) struct Given<'c> {
    /// What the Collector was given.
    pub(crate) capture: &'c Capture,
    pub(crate) index: &'c TraceIndex<'c>,
    /// What reached the sink.
    pub(crate) kept: TraceIndex<'c>,
    /// How each row of what was given fared.
    fates: Vec<Fate>,
}

/// How a span that was sent to the Collector fared there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was taken, some time between these two.
    Taken(UnixNanos, UnixNanos),
    /// It was refused, so the Collector does not have it.
    Refused,
    /// Nobody knows: there was no answer, or it was taken but for some spans.
    Unknown,
}

// === impl Given ===

impl<'c> Given<'c> {
    /// What the evidence knows; nothing where there was no Collector.
    pub(crate) fn of(case: &'c Case<'_>) -> Option<Self> {
        let passed = case.passed.as_ref()?;
        Some(Self::new(&case.index, &passed.kept, &passed.passages))
    }

    /// What a Collector was given, what of it reached the sink, and how the Collector answered.
    pub(crate) fn new(index: &'c TraceIndex<'c>, kept: &'c Capture, passages: &[Passage]) -> Self {
        let capture = index.capture();
        Self { capture, index, kept: TraceIndex::new(kept), fates: fates(passages, capture.rows().len()) }
    }

    /// How a span fared.
    pub(crate) fn fate(&self, row: usize) -> Fate {
        self.fates[row]
    }

    /// The traces of which the Collector has every span that it was sent.
    pub(crate) fn whole(&self) -> impl Iterator<Item = TraceId> {
        let taken = |row: usize| matches!(self.fates[row], Fate::Taken(..));
        let traces = self.index.traces();
        traces.filter(move |trace| trace.rows().all(taken)).map(|trace| trace.id())
    }

    /// The rows of a trace.
    pub(crate) fn rows(&self, trace: TraceId) -> impl Iterator<Item = usize> {
        self.index.by_trace(trace).into_iter().flat_map(|trace| trace.rows().collect::<Vec<_>>())
    }

    /// Spans of a trace that reached the sink, by their ids.
    pub(crate) fn arrived(&self, trace: TraceId) -> usize {
        let rows = self.kept.capture().rows();
        let Some(trace) = self.kept.by_trace(trace) else { return 0 };
        trace.rows().map(|row| rows[row].span_id).collect::<HashSet<_>>().len()
    }

    /// Spans of a trace that the Collector was sent, by their ids.
    pub(crate) fn sent(&self, trace: TraceId) -> usize {
        let rows = self.capture.rows();
        self.rows(trace).map(|row| rows[row].span_id).collect::<HashSet<_>>().len()
    }

    /// Time from the first start to the last end within a trace, as far as it was sent.
    pub(crate) fn duration(&self, trace: TraceId) -> std::time::Duration {
        let rows = self.capture.rows();
        let (mut start, mut end) = (UnixNanos(u64::MAX), UnixNanos(0));
        for row in self.rows(trace) {
            start = start.min(rows[row].start);
            end = end.max(rows[row].end);
        }
        end.since(start)
    }
}

fn fates(passages: &[Passage], rows: usize) -> Vec<Fate> {
    // What was still under way when the run ended has no passage.
    let mut fates = vec![Fate::Unknown; rows];
    for passage in passages {
        let fate = match passage.outcome {
            PassageOutcome::Accepted { rejected: 0 } => Fate::Taken(passage.sent, passage.answered),
            PassageOutcome::Refused { .. } => Fate::Refused,
            PassageOutcome::Accepted { .. } | PassageOutcome::Failed { .. } => Fate::Unknown,
        };
        let range = passage.rows.start as usize..(passage.rows.end as usize).min(rows);
        if let Some(fates) = fates.get_mut(range) {
            fates.fill(fate);
        }
    }
    fates
}
