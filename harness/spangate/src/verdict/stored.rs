//! `stored`: Jaeger has every trace that reached the sink, with the same spans.

use std::collections::{BTreeMap, BTreeSet};

use spangate_scenario::model::Stored;
use spangate_trace::{SpanId, TraceId};

use super::{Check, Status, Verdict};
use crate::evidence::Case;

pub(super) fn judge(expect: &Stored, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new("stored by Jaeger");
    let Some(stored) = &case.stored else {
        verdict.undecided("Jaeger was not asked, or did not answer");
        return verdict;
    };
    // What the sink took: behind a Collector, what that sent.
    let capture = case.passed.as_ref().map_or(&case.capture, |passed| &passed.kept);
    let mut sent: BTreeMap<TraceId, BTreeSet<SpanId>> = BTreeMap::new();
    for row in capture.rows() {
        sent.entry(row.trace_id).or_default().insert(row.span_id);
    }
    if stored.is_empty() {
        verdict.undecided("no trace reached the sink");
        return verdict;
    }
    let (n, mut spans) = (stored.len(), 0);
    let (mut missing, mut torn) = (Vec::new(), Vec::new());
    for trace in stored {
        let sent = sent.get(&trace.trace_id).cloned().unwrap_or_default();
        spans += sent.len();
        if trace.spans.is_empty() {
            missing.push(trace.trace_id);
        } else if trace.spans != sent {
            torn.push(trace.trace_id);
        }
    }
    let observed = format!("{n} of {} traces, {spans} spans", sent.len());
    verdict.checks.push(Check::told("asked for", observed, n));
    for (what, bound, traces) in [
        ("traces that Jaeger does not know", &expect.missing, missing),
        ("traces with other spans in Jaeger", &expect.torn, torn),
    ] {
        let holds = bound.holds(&(traces.len() as u64));
        verdict.check(Check::bound(what, traces.len().to_string(), bound.to_string(), n, holds));
        verdict.point_at(traces);
    }
    if verdict.status == Status::Pass {
        verdict.examples.clear();
    }
    verdict
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{backends::jaeger::StoredTrace, testing::collected::Collected};

    /// Ten traces behind a Collector that dropped the last, and what Jaeger has of them, changed.
    fn judged(change: impl FnOnce(&mut Vec<StoredTrace>), expect: serde_json::Value) -> Verdict {
        let plain = "traces: {receivers: [otlp], exporters: [otlp]}";
        let spans: BTreeSet<SpanId> = [1, 2].map(|id| SpanId::new([id; 8])).into();
        let trace = |number| StoredTrace { trace_id: Collected::trace(number), spans: spans.clone() };
        let mut stored = (0..9).map(trace).collect();
        change(&mut stored);
        Collected::new("", plain, 10).keeping(|number| number < 9).stored(stored).judged(expect)
    }

    #[test]
    fn what_is_there_whole_is_green() {
        let verdict = judged(|_| {}, json!({"stored": {}}));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            (verdict.checks[0].n, verdict.checks[0].observed.as_str()),
            (9, "9 of 9 traces, 18 spans")
        );
    }

    /// Scenario: Jaeger lacks a trace, or a span of one, or has a span that nobody sent.
    /// Guarantees: each is red, and the trace is named; a bound that allows one is met.
    #[test]
    fn what_is_not_so_is_red() {
        let lacks: fn(&mut Vec<StoredTrace>) = |stored| stored[3].spans.clear();
        let torn: fn(&mut Vec<StoredTrace>) = |stored| {
            stored[3].spans.pop_first();
        };
        let strange: fn(&mut Vec<StoredTrace>) = |stored| {
            stored[3].spans.insert(SpanId::new([9; 8]));
        };
        for (what, change) in [("lacks", lacks), ("torn", torn), ("strange", strange)] {
            let verdict = judged(change, json!({"stored": {}}));
            assert_eq!(verdict.status, Status::Fail, "{what}: {verdict:?}");
            assert_eq!(verdict.examples, [Collected::trace(3)], "{what}");
        }
        assert_eq!(judged(lacks, json!({"stored": {"missing": 1}})).status, Status::Pass);
        assert_eq!(judged(Vec::clear, json!({"stored": {}})).status, Status::Inconclusive);
    }
}
