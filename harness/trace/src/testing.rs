//! Captures for the tests of this crate.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{Capture, Kind, Span, SpanId, Status, TraceId, UnixNanos, Value};

/// Builds a capture span by span; a span is known by its row.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub(crate) spans: Vec<Span>,
}

/// The trace that [`Builder`] puts its spans into.
pub(crate) const TRACE: TraceId = TraceId::new([7; 16]);

/// The span id with this number.
pub(crate) fn span_id(number: u64) -> SpanId {
    SpanId::new(number.to_be_bytes())
}

/// The trace id with this number.
pub(crate) fn trace_id(number: u128) -> TraceId {
    TraceId::new(number.to_be_bytes())
}

/// An internal span of the API server.
pub(crate) fn span(trace: TraceId, id: u64, parent: Option<u64>, name: &str, start: u64, end: u64) -> Span {
    Span {
        trace_id: trace,
        span_id: span_id(id),
        parent: parent.map(span_id),
        name: name.into(),
        kind: Kind::Internal,
        start: UnixNanos(start),
        end: UnixNanos(end),
        attributes: BTreeMap::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: Status::Unset,
        status_message: String::new(),
        scope: "k8s.io/component-base/tracing".into(),
        service: "apiserver".into(),
    }
}

/// Any spans: few ids, so that duplicates, cycles, self-parents, orphans and reversed times are frequent.
pub(crate) fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let one = (0..3_u128, 1..12_u64, 0..14_u64, 0..40_u64, 0..40_u64, 0..NAMES.len());
    prop::collection::vec(one, 0..40).prop_map(|spans| {
        let make = |(trace, id, parent, start, end, name): (u128, u64, u64, u64, u64, usize)| {
            span(trace_id(trace), id, (parent > 0).then_some(parent), NAMES[name], start, end)
        };
        spans.into_iter().map(make).collect()
    })
}

/// Names of every class.
pub(crate) const NAMES: [&str; 12] = [
    "audit",
    "constrainedimpersonation",
    "priorityandfairness",
    "authorization",
    "Create",
    "Call mutating webhook",
    "Create etcd3",
    "etcdserverpb.KV/Txn",
    "cacher.GetList",
    "SerializeObject",
    "HTTP POST",
    "something else",
];

// === impl Builder ===

impl Builder {
    /// Adds a span of [`TRACE`] and gives its row.
    pub(crate) fn span(&mut self, name: &str, parent: Option<usize>, start: u64, end: u64) -> usize {
        let id = self.spans.len() as u64 + 1;
        self.spans.push(span(TRACE, id, parent.map(|row| row as u64 + 1), name, start, end));
        self.spans.len() - 1
    }

    /// Adds the SERVER span of a request.
    pub(crate) fn server(&mut self, start: u64, end: u64) -> usize {
        let row = self.span("POST /api/v1/namespaces/{:namespace}/configmaps", None, start, end);
        self.get(row).kind = Kind::Server;
        row
    }

    /// Adds the call of a webhook with its CLIENT span.
    pub(crate) fn webhook(
        &mut self,
        name: &str,
        webhook: &str,
        parent: usize,
        start: u64,
        end: u64,
    ) -> usize {
        let row = self.span(name, Some(parent), start, end);
        self.get(row).attributes.insert("webhook".to_owned(), Value::String(webhook.to_owned()));
        let call = self.span("HTTP POST", Some(row), start + 1, end - 1);
        self.get(call).kind = Kind::Client;
        row
    }

    /// The span of a row.
    pub(crate) fn get(&mut self, row: usize) -> &mut Span {
        &mut self.spans[row]
    }

    /// The capture of all spans.
    pub(crate) fn capture(self) -> Capture {
        Capture::from_spans(self.spans)
    }
}
