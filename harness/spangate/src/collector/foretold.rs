//! What the samplers of a Collector had to do with each trace that it was given, and what they did.

use std::collections::{BTreeMap, HashMap, HashSet};

use spangate_trace::{
    TraceId, UnixNanos,
    collector::{OrderEffect, Passed},
};

use super::{
    given::{Fate, Given},
    oracle::{Given as Sent, Must, Oracle, Why},
};

/// What is foretold of a run, held against what came of it.
pub(crate) struct Foretold {
    /// Every trace of which the Collector has all that it was sent, or nothing was left open.
    pub(crate) traces: Vec<Account>,
    /// Traces that the Collector was given, those included of which it may lack spans.
    pub(crate) given: usize,
    /// Traces of which nobody knows whether the Collector has all that it was sent.
    pub(crate) unknown: usize,
    /// Where the clock has a say: how many traces and spans may pass.
    pub(crate) passed: Option<Passed>,
    /// Whether the order of policies has an effect, and which.
    pub(crate) order: Vec<OrderEffect>,
}

/// What is foretold of a trace, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// The trace.
    pub(crate) trace: TraceId,
    /// Whether any span of it reached the sink.
    pub(crate) kept: bool,
    /// Whether a span of it must reach the sink; nothing where nobody can tell.
    pub(crate) must: Option<bool>,
    /// Why the fate of a span of it is open, if it is.
    pub(crate) open: Option<Why>,
    /// Whether a span of it reached the sink that must not.
    pub(crate) wrongly_kept: bool,
    /// Whether a span of it did not reach the sink that must.
    pub(crate) wrongly_dropped: bool,
}

// === impl Foretold ===

impl Foretold {
    /// Decides again on every trace that a Collector was given.
    pub(crate) fn of(oracle: &Oracle, given: &Given<'_>) -> Self {
        let (sent, unknown) = sent(given);
        let forecast = oracle.foretell(given.capture, &sent, None);
        let rows = given.capture.rows();
        let arrived: HashSet<_> =
            given.kept.capture().rows().iter().map(|row| (row.trace_id, row.span_id)).collect();
        let mut spans: HashMap<TraceId, Vec<(usize, Must)>> = HashMap::new();
        for (row, must) in &forecast.rows {
            spans.entry(rows[*row].trace_id).or_default().push((*row, *must));
        }
        let has = |row: usize| arrived.contains(&(rows[row].trace_id, rows[row].span_id));
        let known = spans.iter().filter(|(trace, _)| !unknown.contains(*trace));
        let mut traces: Vec<Account> = known.map(|(trace, spans)| Account::of(*trace, spans, has)).collect();
        traces.sort_unstable_by_key(|account| account.trace);
        Self {
            traces,
            given: spans.len(),
            unknown: unknown.len(),
            passed: forecast.passed,
            order: forecast.order,
        }
    }
}

// === impl Account ===

impl Account {
    fn of(trace: TraceId, spans: &[(usize, Must)], has: impl Fn(usize) -> bool) -> Self {
        let any = |wanted: Must, arrived: bool| {
            spans.iter().any(|(row, must)| *must == wanted && has(*row) == arrived)
        };
        let open =
            spans.iter().find_map(|(_, must)| if let Must::Open(why) = must { Some(*why) } else { None });
        let must = if spans.iter().any(|(_, must)| *must == Must::BeKept) {
            Some(true)
        } else {
            open.is_none().then_some(false)
        };
        Self {
            trace,
            kept: spans.iter().any(|(row, _)| has(*row)),
            must,
            open,
            wrongly_kept: any(Must::BeDropped, true),
            wrongly_dropped: any(Must::BeKept, false),
        }
    }
}

/// What the Collector was given, in the order of time; and the traces of which nobody knows whether it has all that it
/// was sent.
fn sent(given: &Given<'_>) -> (Vec<Sent>, HashSet<TraceId>) {
    let rows = given.capture.rows();
    let mut sent: BTreeMap<(UnixNanos, u64, TraceId), Sent> = BTreeMap::new();
    let mut unknown = HashSet::new();
    for (row, span) in rows.iter().enumerate() {
        match given.fate(row) {
            Fate::Taken(at, by) => {
                let trace = span.trace_id;
                let batch = given.capture.surroundings(row).batch;
                let one = sent.entry((at, batch, trace)).or_insert_with(|| Sent {
                    at,
                    by,
                    trace,
                    rows: Vec::new(),
                });
                one.rows.push(row);
            }
            Fate::Refused => {}
            Fate::Unknown => {
                unknown.insert(span.trace_id);
            }
        }
    }
    (sent.into_values().collect(), unknown)
}
