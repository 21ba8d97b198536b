//! Decisions that upstream's own code took, replayed.

use std::borrow::Cow;

use serde::{Deserialize, de::DeserializeOwned};

use super::*;
use crate::{Event, Kind, Span, SpanId, Status, TraceId, UnixNanos, span::Attributes};

mod policies;
mod replays;
mod sampler;

/// The fixture in this text.
fn fixture<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// A trace of a fixture.
#[derive(Debug, Deserialize)]
struct Trace {
    id: TraceId,
    batches: Vec<Batch>,
    sizes: Vec<u64>,
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Batch {
    #[serde(default)]
    resource: Attributes,
    spans: Vec<FixtureSpan>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FixtureSpan {
    name: String,
    kind: i32,
    #[serde(default)]
    root: bool,
    start: u64,
    end: u64,
    #[serde(default)]
    status: i32,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    trace_state: String,
    #[serde(default)]
    flags: u32,
    #[serde(default)]
    events: Vec<FixtureEvent>,
}

#[derive(Debug, Deserialize)]
struct FixtureEvent {
    name: String,
    attributes: Attributes,
}

/// A trace whose spans can be looked at.
struct Whole {
    trace: Trace,
    spans: Vec<Vec<Span>>,
}

/// A span with nothing but its id.
fn blank(trace_id: TraceId) -> Span {
    Span {
        scope: "".into(),
        service: "".into(),
        kind: Kind::Unspecified,
        ..crate::testing::span(trace_id, 1, None, "", 0, 0)
    }
}

// === impl Whole ===

impl Whole {
    fn new(trace: Trace) -> Self {
        let span = |span: &FixtureSpan| Span {
            name: span.name.as_str().into(),
            kind: Kind::from(span.kind),
            parent: (!span.root).then_some(SpanId::new([2; 8])),
            start: UnixNanos(span.start),
            end: UnixNanos(span.end),
            status: Status::from(span.status),
            attributes: span.attributes.clone(),
            events: span
                .events
                .iter()
                .map(|event| Event {
                    time: UnixNanos(0),
                    name: event.name.clone(),
                    attributes: event.attributes.clone(),
                })
                .collect(),
            ..blank(trace.id)
        };
        let spans = trace.batches.iter().map(|batch| batch.spans.iter().map(span).collect()).collect();
        Self { trace, spans }
    }

    fn view(&self) -> TraceView<'_> {
        let batches = self.trace.batches.iter().zip(&self.spans).zip(&self.trace.sizes);
        let batches = batches.map(|((batch, spans), bytes)| BatchView {
            resource: Cow::Borrowed(&batch.resource),
            spans: spans
                .iter()
                .zip(&batch.spans)
                .map(|(span, of)| SpanView { span, trace_state: &of.trace_state, flags: of.flags })
                .collect(),
            bytes: Some(*bytes),
        });
        TraceView::new(self.trace.id, batches.collect())
    }
}
