//! What is seen of a round, as plain data.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spangate_load::synthetic::SentTrace;
use spangate_sink::{Passage, PassageOutcome};
use spangate_trace::{Capture, TraceId, TraceIndex};

use crate::collector::{facts::CollectorFacts, foretold::Foretold, given::Given, oracle::Oracle};

/// A round: both Collectors at the same time, on the same traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// Its number, from 1.
    pub number: u32,
    /// What came of the old configuration.
    pub base: LaneRound,
    /// What came of the new one.
    pub head: LaneRound,
}

/// What came of one configuration in a round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaneRound {
    /// Every trace that was to be sent, in the order of ids.
    #[serde(skip)]
    pub traces: Vec<TraceFate>,
    /// Spans that the Collector took.
    pub taken: u64,
    /// Spans that it refused.
    pub refused: u64,
    /// Spans of which nobody knows whether it has them.
    pub unanswered: u64,
    /// Bytes of the exports that it sent, uncompressed.
    pub bytes_out: u64,
    /// The most traces that its tail samplers ever said to have in memory, decided ones included.
    pub traces_in_memory: u64,
    /// CPU seconds that it had used before the first span.
    pub cpu_before: f64,
    /// 99th percentile of how late its traces were sent.
    pub lag: Duration,
    /// Why nothing is foretold, if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unforetold: Option<String>,
    /// Where the clock has a say: the fewest and the most traces that may be kept, and how many were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_clock: Option<ByClock>,
    /// What is known of the Collector.
    pub facts: CollectorFacts,
}

/// How many traces may be kept where the clock has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ByClock {
    /// At least.
    pub fewest: u64,
    /// At most.
    pub most: u64,
    /// And were.
    pub kept: u64,
}

/// What became of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFate {
    /// The trace.
    pub trace: TraceId,
    /// Its class.
    pub class: Arc<str>,
    /// Whether the Collector took every span of it. What it makes of others says nothing about its configuration.
    pub whole: bool,
    /// Whether any span of it reached the sink.
    pub kept: bool,
    /// Whether it must have; nothing where nobody can tell.
    pub must: Option<bool>,
    /// Whether a span of it reached the sink that must not, or did not that must.
    pub wrong: bool,
}

/// What the harness knows of a lane when its Collector has ended.
pub(crate) struct Seen<'s> {
    /// The traces that were to be sent.
    pub(crate) ledger: &'s [SentTrace],
    /// What the Collector was given.
    pub(crate) given: &'s Capture,
    /// What it answered.
    pub(crate) passages: &'s [Passage],
    /// What reached the sink.
    pub(crate) kept: &'s Capture,
}

// === impl LaneRound ===

impl LaneRound {
    /// What came of the traces; costs are not among it.
    pub(crate) fn of(seen: &Seen<'_>, oracle: Result<&Oracle, String>) -> Self {
        let index = TraceIndex::new(seen.given);
        let given = Given::new(&index, seen.kept, seen.passages);
        let whole: HashSet<TraceId> = given.whole().collect();
        let foretold = oracle.map(|oracle| Foretold::of(oracle, &given));
        let (foretold, unforetold) = match foretold {
            Ok(foretold) => (Some(foretold), None),
            Err(why) => (None, Some(why)),
        };
        let accounts: HashMap<TraceId, _> = foretold
            .iter()
            .flat_map(|foretold| &foretold.traces)
            .map(|account| (account.trace, *account))
            .collect();
        let fate = |sent: &SentTrace| {
            let (trace, account) = (sent.trace_id, accounts.get(&sent.trace_id));
            TraceFate {
                trace,
                class: Arc::clone(&sent.class),
                whole: whole.contains(&trace) && given.sent(trace) == sent.spans as usize,
                kept: given.arrived(trace) > 0,
                must: account.and_then(|account| account.must),
                wrong: account.is_some_and(|account| account.wrongly_kept || account.wrongly_dropped),
            }
        };
        let mut traces: Vec<TraceFate> = seen.ledger.iter().map(fate).collect();
        traces.sort_unstable_by_key(|fate| fate.trace);
        let by_clock = foretold.and_then(|foretold| {
            let kept = foretold.traces.iter().filter(|trace| trace.kept).count() as u64;
            let passed = foretold.passed?.traces;
            Some(ByClock { fewest: *passed.start(), most: *passed.end(), kept })
        });
        let mut lane = Self { traces, unforetold, by_clock, ..Self::default() };
        for passage in seen.passages {
            match passage.outcome {
                PassageOutcome::Accepted { rejected } => {
                    lane.taken += passage.spans.saturating_sub(rejected);
                    lane.refused += rejected;
                }
                PassageOutcome::Refused { .. } => lane.refused += passage.spans,
                PassageOutcome::Failed { .. } => lane.unanswered += passage.spans,
            }
        }
        lane
    }

    /// What became of the traces, by their ids.
    pub(crate) fn by_id(&self) -> HashMap<TraceId, &TraceFate> {
        self.traces.iter().map(|fate| (fate.trace, fate)).collect()
    }

    /// Whether the Collector ended though nobody asked it to.
    pub(crate) fn crashed(&self) -> bool {
        !self.facts.crashes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use spangate_trace::UnixNanos;

    use super::*;
    use crate::{collector::Configuration, testing::span};

    /// Scenario: of four traces with an error, one is kept, one dropped, one refused, and one half sent.
    /// Guarantees: only the first two are whole, and the second is not as the configuration says.
    #[test]
    fn only_what_was_taken_whole_is_judged() {
        let spans: Vec<_> = (1..=4)
            .map(|id| {
                let mut span = span("Create", id, 1_000_000_000, 1_000_001_000);
                (span.trace_id, span.status) = (TraceId::new([id; 16]), spangate_trace::Status::Error);
                span
            })
            .collect();
        let ledger: Vec<SentTrace> = (0_u64..)
            .zip(&spans)
            .map(|(number, span)| SentTrace {
                number,
                trace_id: span.trace_id,
                class: "errors".into(),
                spans: if number == 3 { 2 } else { 1 },
                has_root: true,
                has_error: true,
                start: span.start,
                root_nanos: 1_000,
                parts: Vec::new(),
            })
            .collect();
        let passage = |row: u32, outcome| Passage {
            sent: UnixNanos(2_000_000_000),
            answered: UnixNanos(2_000_100_000),
            rows: row..row + 1,
            spans: 1,
            bytes: 300,
            outcome,
        };
        let refused = PassageOutcome::Failed { message: "no answer".to_owned() };
        let taken = |row| passage(row, PassageOutcome::Accepted { rejected: 0 });
        let passages = [taken(0), taken(1), passage(2, refused), taken(3)];
        let (given, kept) = (Capture::from_spans(spans.clone()), Capture::from_spans(spans[..1].to_vec()));
        let text = "receivers: {otlp: {protocols: {grpc: }}}\n\
            processors: {tail_sampling: {decision_wait: 1s, policies: [\
            {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}]}}\n\
            exporters: {otlp: {endpoint: x:4317}}\n\
            service: {pipelines: {traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp]}}}\n";
        let configuration = Configuration::parse("c.yaml", text.to_owned(), None).unwrap();
        let oracle = Oracle::new(&configuration.config).unwrap();
        let seen = Seen { ledger: &ledger, given: &given, passages: &passages, kept: &kept };
        let lane = LaneRound::of(&seen, Ok(&oracle));
        let fates: Vec<_> =
            lane.traces.iter().map(|fate| (fate.whole, fate.kept, fate.must, fate.wrong)).collect();
        assert_eq!(fates[0], (true, true, Some(true), false), "{lane:#?}");
        assert_eq!(fates[1], (true, false, Some(true), true), "{lane:#?}");
        assert!(!fates[2].0 && !fates[3].0, "{lane:#?}");
        assert_eq!((lane.taken, lane.refused, lane.unanswered), (3, 0, 1));
        let lane = LaneRound::of(&seen, Err("nobody knows".to_owned()));
        assert_eq!(lane.unforetold.as_deref(), Some("nobody knows"));
        assert!(lane.traces.iter().all(|fate| fate.must.is_none() && !fate.wrong), "{lane:#?}");
    }
}
