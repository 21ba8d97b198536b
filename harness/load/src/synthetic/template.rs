//! One recorded trace, encoded once, to be sent again and again with other ids and times.

use std::{collections::HashMap, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use spangate_trace::{SpanId, TraceId, UnixNanos};

use super::{
    places::Places,
    stretch::{Stretch, nanos},
    templates::TemplateError,
};

/// One recorded trace, from which others are made.
#[derive(Debug, Clone)]
pub struct Template {
    name: Arc<str>,
    spans: Box<[SpanTemplate]>,
    /// Index of the root.
    root: usize,
    /// The root as it is when the request failed; `None` when it failed already as it was recorded.
    failed: SpanTemplate,
    /// Index of the span that `failed` stands for.
    server: usize,
    /// Different ids in the trace: those of its spans, and those of parents that are none of them.
    ids: usize,
    /// When the root began.
    start: UnixNanos,
    /// How long the root lasted, in nanoseconds.
    duration: i64,
    /// When the root began to do nothing but wait for its end, from its beginning.
    idle: Option<i64>,
}

/// One span of a template.
#[derive(Debug, Clone)]
pub(super) struct SpanTemplate {
    /// Index of its resource and scope.
    pub(super) scope: usize,
    /// The field of `ScopeSpans` that holds it: key, length, message.
    bytes: Box<[u8]>,
    trace_id: usize,
    span_id: usize,
    /// Where the id of its parent is, and its index among the ids of the trace.
    parent: Option<(usize, usize)>,
    /// Where times are, and which, from the beginning of the root.
    times: Box<[(usize, i64)]>,
    /// When it ended, from the beginning of the root.
    end: i64,
    /// Whether its status is ERROR.
    pub(super) is_error: bool,
}

// === impl Template ===

impl Template {
    /// The trace that is made of `spans`, each with the index of its resource and scope.
    pub(super) fn new(spans: &[(usize, Span)]) -> Result<Self, TemplateError> {
        let trace_id = spans.first().and_then(|(_, span)| TraceId::from_slice(&span.trace_id));
        let trace_id = trace_id.ok_or(TemplateError::Empty)?;
        let mut ids: HashMap<&[u8], usize> = HashMap::new();
        for (index, (_, span)) in spans.iter().enumerate() {
            ids.insert(&span.span_id, index);
        }
        let is_top = |span: &Span| !ids.contains_key(span.parent_span_id.as_slice());
        let root = choose_root(spans, is_top).ok_or(TemplateError::NoRoot { trace_id })?;
        let kind = i32::from(SpanKind::Server as u8);
        let server = spans.iter().position(|(_, span)| span.kind == kind).unwrap_or(root);
        let start = spans[root].1.start_time_unix_nano;
        let duration = since(spans[root].1.end_time_unix_nano, start).max(0);
        let idle = idle_from(spans, start, duration);

        let mut all = ids.clone();
        for (_, span) in spans.iter().filter(|(_, span)| !span.parent_span_id.is_empty()) {
            let next = all.len();
            all.entry(&span.parent_span_id).or_insert(next);
        }
        let encode = |(scope, span): &(usize, Span)| SpanTemplate::new(*scope, span, start, &all);
        let encoded = spans.iter().map(encode).collect::<Option<Box<[_]>>>();
        let failed = encode(&(spans[server].0, fail(spans[server].1.clone())));
        let (Some(encoded), Some(failed)) = (encoded, failed) else {
            return Err(TemplateError::NoTime { trace_id });
        };
        Ok(Self {
            name: spans[root].1.name.as_str().into(),
            root,
            failed,
            server,
            ids: all.len(),
            start: UnixNanos(start),
            duration,
            idle,
            spans: encoded,
        })
    }

    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// What it is called: the name of its root, unless it is built in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many spans it has.
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// Index of its root: the span without a parent in the trace; of several the SERVER span, or else the first.
    pub fn root(&self) -> usize {
        self.root
    }

    /// When its root began, as it was recorded.
    pub fn recorded(&self) -> UnixNanos {
        self.start
    }

    /// How long its root lasted.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration.unsigned_abs())
    }

    /// Different ids in the trace: those of its spans, and those of parents that are none of them.
    pub(super) fn ids(&self) -> usize {
        self.ids
    }

    /// How its times are fitted to a root that lasts `wanted`.
    pub(super) fn stretch(&self, wanted: Duration) -> Stretch {
        Stretch::new(self.duration, self.idle, nanos(wanted))
    }

    /// The span with this index, of a request that failed or did not.
    pub(super) fn span(&self, index: usize, failed: bool) -> &SpanTemplate {
        if failed && index == self.server { &self.failed } else { &self.spans[index] }
    }
}

/// The span without a parent in the trace; of several the SERVER span, or else the one that began first.
fn choose_root(spans: &[(usize, Span)], is_top: impl Fn(&Span) -> bool) -> Option<usize> {
    let tops = spans.iter().enumerate().filter(|(_, (_, span))| is_top(span));
    let rank = |span: &Span| (span.kind != i32::from(SpanKind::Server as u8), span.start_time_unix_nano);
    tops.min_by_key(|(_, (_, span))| rank(span)).map(|(index, _)| index)
}

/// When the root began to do nothing but wait for its end: where the last span without children ended, if that is
/// in its first half. A watch is like that, and no other request.
fn idle_from(spans: &[(usize, Span)], start: u64, duration: i64) -> Option<i64> {
    let has_children = |span: &Span| spans.iter().any(|(_, child)| child.parent_span_id == span.span_id);
    let leaves = spans.iter().filter(|(_, span)| !has_children(span));
    let last = leaves.map(|(_, span)| since(span.end_time_unix_nano, start)).max()?;
    (last >= 0 && last < duration / 2).then_some(last)
}

/// The span of a request that the server could not carry out, as otelhttp leaves it
/// (`go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp@v0.69.0/internal/semconv/server.go`).
fn fail(mut span: Span) -> Span {
    const KEY: &str = "http.response.status_code";
    span.status = Some(Status { message: String::new(), code: StatusCode::Error.into() });
    let value = Some(AnyValue { value: Some(Value::IntValue(500)) });
    match span.attributes.iter_mut().find(|attribute| attribute.key == KEY) {
        Some(attribute) => attribute.value = value,
        None => span.attributes.push(KeyValue { key: KEY.to_owned(), value, key_strindex: 0 }),
    }
    span
}

fn since(time: u64, start: u64) -> i64 {
    UnixNanos(time).signed_since(UnixNanos(start))
}

// === impl SpanTemplate ===

impl SpanTemplate {
    /// Encodes a span of a trace with these ids whose root began at `start`; `None` without ids or times.
    fn new(scope: usize, span: &Span, start: u64, ids: &HashMap<&[u8], usize>) -> Option<Self> {
        let message = span.encode_to_vec();
        let places = Places::of(&message)?;
        // Field 2 of `ScopeSpans`, with a length and that many bytes.
        let mut bytes = vec![0x12];
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        let head = bytes.len();
        bytes.extend_from_slice(&message);
        let times = places.times.iter().map(|at| {
            let time = message[*at..].first_chunk().map_or(start, |time| u64::from_le_bytes(*time));
            (head + at, since(time, start))
        });
        let whole = places.trace_id > 0 && places.span_id > 0 && span.end_time_unix_nano > 0;
        whole.then(|| Self {
            scope,
            trace_id: head + places.trace_id,
            span_id: head + places.span_id,
            parent: places.parent.map(|at| (head + at, ids[span.parent_span_id.as_slice()])),
            times: times.collect(),
            end: since(span.end_time_unix_nano, start),
            is_error: span
                .status
                .as_ref()
                .is_some_and(|status| status.code == i32::from(StatusCode::Error as u8)),
            bytes: bytes.into(),
        })
    }

    /// When it ends, from the beginning of the root.
    pub(super) fn end(&self, stretch: Stretch) -> i64 {
        stretch.apply(self.end)
    }

    /// Bytes that [`append`](Self::append) adds.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the span with other ids and times to the spans of its scope.
    ///
    /// `ids` are those of the trace, that of this span first by `index`; `start` is when the root begins.
    pub(super) fn append(
        &self,
        (trace_id, ids, index): (TraceId, &[SpanId], usize),
        start: UnixNanos,
        stretch: Stretch,
        out: &mut Vec<u8>,
    ) {
        let from = out.len();
        out.extend_from_slice(&self.bytes);
        let span = &mut out[from..];
        span[self.trace_id..][..16].copy_from_slice(trace_id.as_bytes());
        span[self.span_id..][..8].copy_from_slice(ids[index].as_bytes());
        if let Some((at, parent)) = self.parent {
            span[at..][..8].copy_from_slice(ids[parent].as_bytes());
        }
        for (at, time) in &self.times {
            let time = start.0.saturating_add_signed(stretch.apply(*time));
            span[*at..][..8].copy_from_slice(&time.to_le_bytes());
        }
    }
}
