//! What a sampler of the Collector is shown of a trace.
//!
//! The policies read span attributes, resource attributes, times, status, kind, name, events, `tracestate` and
//! flags. None but OTTL reads the instrumentation scope. Spans stand in the order in which they arrived: `latency`
//! with an upper bound depends on it.

use std::borrow::Cow;

use crate::{Span, TraceId, Value, span::Attributes};

/// One span as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct SpanView<'a> {
    /// The span; without a parent it is a root.
    pub span: &'a Span,
    /// `trace_state`, as it stood on the wire.
    pub trace_state: &'a str,
    /// `flags`, as they stood on the wire: the lower eight bits are those of `traceparent`.
    pub flags: u32,
}

/// The spans of one trace in one `ResourceSpans` message.
#[derive(Debug, Clone)]
pub struct BatchView<'a> {
    /// The attributes of the resource.
    pub resource: Cow<'a, Attributes>,
    /// The spans, in the order of the wire.
    pub spans: Vec<SpanView<'a>>,
    /// Bytes of the message in protobuf, without its tag and length, once spans of other traces are taken out.
    /// `None` when nobody knows.
    pub bytes: Option<u64>,
}

/// What had arrived of a trace when it was decided on.
#[derive(Debug, Clone)]
pub struct TraceView<'a> {
    /// The id that all spans share.
    pub id: TraceId,
    /// Its batches, in the order of arrival.
    pub batches: Vec<BatchView<'a>>,
    /// Spans that count, though only their number is still known: `span-ingest` looks at one batch at a time.
    pub(super) earlier: u64,
}

// === impl SpanView ===

impl<'a> From<&'a Span> for SpanView<'a> {
    /// A span with neither `tracestate` nor flags.
    fn from(span: &'a Span) -> Self {
        Self { span, trace_state: "", flags: 0 }
    }
}

// === impl BatchView ===

impl<'a> BatchView<'a> {
    /// The batch of these spans, whose resource has the `service.name` of the first and nothing else.
    ///
    /// Enough for policies that read no other resource attribute. The size is unknown.
    pub fn of_spans(spans: impl IntoIterator<Item = &'a Span>) -> Self {
        let spans: Vec<SpanView<'a>> = spans.into_iter().map(SpanView::from).collect();
        let mut resource = Attributes::new();
        if let Some(first) = spans.first().filter(|first| !first.span.service.is_empty()) {
            resource.insert("service.name".to_owned(), Value::String(first.span.service.to_string()));
        }
        Self { resource: Cow::Owned(resource), spans, bytes: None }
    }
}

// === impl TraceView ===

impl<'a> TraceView<'a> {
    /// The trace `id` of batches in the order of arrival.
    pub fn new(id: TraceId, batches: Vec<BatchView<'a>>) -> Self {
        Self { id, batches, earlier: 0 }
    }

    /// The trace `id` of spans in the order of arrival; neighbours of one service make a batch.
    ///
    /// The spans must be of that trace, which is not looked at.
    pub fn of_spans(id: TraceId, spans: &'a [Span]) -> Self {
        let batches = spans.chunk_by(|a, b| a.service == b.service).map(BatchView::of_spans).collect();
        Self::new(id, batches)
    }

    /// All spans, in the order of arrival.
    pub fn spans(&self) -> impl Iterator<Item = &SpanView<'a>> {
        self.batches.iter().flat_map(|batch| &batch.spans)
    }

    /// The number of spans.
    pub fn span_count(&self) -> u64 {
        self.earlier + self.batches.iter().map(|batch| batch.spans.len() as u64).sum::<u64>()
    }

    /// Bytes of all batches together, as `maximum_trace_size_bytes` counts them; `None` when one is unknown.
    pub fn batch_bytes(&self) -> Option<u64> {
        self.batches.iter().map(|batch| batch.bytes).sum()
    }

    /// Bytes of a `TracesData` message with these batches, as `bytes_limiting` counts them; `None` when one is
    /// unknown (`internal/sampling/bytes_limiting.go`, `calculateTraceSize`).
    pub fn message_bytes(&self) -> Option<u64> {
        self.batches.iter().map(|batch| batch.bytes.map(|bytes| 1 + varint_bytes(bytes) + bytes)).sum()
    }
}

/// Bytes of a number as a protobuf varint.
fn varint_bytes(number: u64) -> u64 {
    u64::from((64 - number.leading_zeros()).max(1).div_ceil(7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TRACE, span};

    #[test]
    fn varints_have_seven_bits_a_byte() {
        for (number, bytes) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            assert_eq!(varint_bytes(number), bytes, "{number}");
        }
    }

    #[test]
    fn neighbours_of_one_service_are_a_batch() {
        let mut spans: Vec<_> = (1..5).map(|id| span(TRACE, id, None, "GET", 0, 1)).collect();
        spans[2].service = "etcd".into();
        spans[3].service = "".into();
        let trace = TraceView::of_spans(TRACE, &spans);
        assert_eq!(trace.batches.iter().map(|batch| batch.spans.len()).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(trace.batches[1].resource["service.name"], Value::String("etcd".to_owned()));
        assert!(trace.batches[2].resource.is_empty());
        assert_eq!((trace.span_count(), trace.message_bytes()), (4, None));
    }
}
