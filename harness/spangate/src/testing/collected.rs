//! A made-up run with a Collector that keeps what its configuration says and counts what it does.

use std::collections::BTreeMap;

use spangate_scenario::model::Expectation;
use spangate_sink::{Passage, PassageOutcome};
use spangate_trace::{Capture, Span, SpanId, TraceId, UnixNanos};

use super::{scenario, span};
use crate::{
    backends::jaeger::StoredTrace,
    collector::{
        Configuration,
        facts::{CollectorAway, CollectorFacts},
        telemetry::{Exported, Telemetry},
    },
    evidence::{Evidence, Facts, Passed, SinkFacts},
    verdict::{self, Verdict},
};

/// A run of traces of two spans each, one export a trace, a millisecond apart.
pub(crate) struct Collected {
    config: String,
    spans: Vec<Span>,
    kept: Vec<Span>,
    passages: Vec<Passage>,
    stored: Option<Vec<StoredTrace>>,
    pub(crate) facts: CollectorFacts,
}

// === impl Collected ===

impl Collected {
    /// A Collector with `components` and `pipelines` of traces, that was given `traces` traces and kept them all.
    pub(crate) fn new(components: &str, pipelines: &str, traces: u32) -> Self {
        const MS: u64 = 1_000_000;
        let config = format!(
            "receivers: {{otlp: {{protocols: {{grpc: }}}}, otlp/other: {{protocols: {{grpc: }}}}}}\n\
             exporters: {{otlp: {{endpoint: 'x:4317'}}, prometheus: {{endpoint: '0.0.0.0:8889'}}}}\n\
             {components}\nservice: {{pipelines: {{{pipelines}}}}}\n"
        );
        let of_trace = |number: u32| {
            let start = u64::from(number) * MS;
            let span = |name, id| Span { trace_id: Self::trace(number), ..span(name, id, start, start + MS) };
            let child = Span { parent: Some(SpanId::new([1; 8])), ..span("audit", 2) };
            [child, span("GET", 1)]
        };
        let spans: Vec<Span> = (0..traces).flat_map(of_trace).collect();
        let passage = |number: u32| Passage {
            sent: UnixNanos(u64::from(number) * MS),
            answered: UnixNanos(u64::from(number) * MS + 1),
            rows: 2 * number..2 * number + 2,
            spans: 2,
            bytes: 0,
            outcome: PassageOutcome::Accepted { rejected: 0 },
        };
        let passages = (0..traces).map(passage).collect();
        let mut telemetry = Telemetry::default();
        telemetry.received.accepted = spans.len() as u64;
        // Long after all that was sent.
        let counted = UnixNanos(3_600_000_000_000);
        let facts = CollectorFacts { telemetry, counted, ..CollectorFacts::default() };
        Self { config, kept: spans.clone(), spans, passages, stored: None, facts }
    }

    /// The id of a trace: its number, in the last bytes.
    pub(crate) fn trace(number: u32) -> TraceId {
        let mut bytes = [0xab; 16];
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        TraceId::new(bytes)
    }

    /// Only traces with these numbers were kept.
    pub(crate) fn keeping(mut self, keeps: impl Fn(u32) -> bool) -> Self {
        let number = |span: &Span| span.trace_id.as_bytes()[12..].try_into().map(u32::from_be_bytes);
        self.kept.retain(|span| number(span).is_ok_and(&keeps));
        self
    }

    /// The last so many exports were refused.
    pub(crate) fn refusing(mut self, exports: usize) -> Self {
        let first = self.passages.len() - exports;
        self.refuse_from(first);
        self.kept.truncate(2 * first);
        self.facts.telemetry.received.accepted -= 2 * exports as u64;
        self.facts.telemetry.received.refused += 2 * exports as u64;
        self
    }

    /// Exports were so many times as far apart.
    pub(crate) fn stretched(mut self, times: u64) -> Self {
        for passage in &mut self.passages {
            (passage.sent.0, passage.answered.0) = (passage.sent.0 * times, passage.answered.0 * times);
        }
        self
    }

    /// Exports from the number `first` on were refused, though what was in them came to the sink.
    pub(crate) fn refuse_from(&mut self, first: usize) {
        for passage in &mut self.passages[first..] {
            let status = spangate_scenario::model::GrpcStatus::Unavailable;
            passage.outcome = PassageOutcome::Refused { status, message: String::new() };
        }
    }

    /// What Jaeger had of it in the end.
    pub(crate) fn stored(self, stored: Vec<StoredTrace>) -> Self {
        Self { stored: Some(stored), ..self }
    }

    /// A fault took the Collector away.
    pub(crate) fn away(mut self) -> Self {
        let (fault, from) = ("restart".to_owned(), UnixNanos(1));
        self.facts.outages.push(CollectorAway { fault, from, ended: UnixNanos(2), to: UnixNanos(3) });
        self
    }

    /// The verdict on an expectation, as a scenario writes it.
    pub(crate) fn judged(mut self, expectation: serde_json::Value) -> Verdict {
        let expectation: Expectation = serde_json::from_value(expectation).expect("an expectation");
        let mut scenario = scenario();
        scenario.spec.expect = vec![expectation];
        let received = self.kept.len() as u64;
        let exported = Exported { sent: received, ..Exported::default() };
        self.facts.telemetry.exporters = BTreeMap::from([("otlp".to_owned(), exported)]);
        let facts = Facts {
            sink: SinkFacts { received, stored: received, ..SinkFacts::default() },
            collector: Some(self.facts),
            ..Facts::default()
        };
        let configuration = Configuration::parse("a test", self.config, None).expect("a configuration");
        let passed = Passed { kept: Capture::from_spans(self.kept), passages: self.passages, configuration };
        let evidence =
            Evidence::new(scenario, Vec::new(), Vec::new(), Capture::from_spans(self.spans), facts);
        verdict::judge(&evidence.with_passed(Some(passed)).with_stored(self.stored)).remove(0)
    }
}
