//! Spans of several traces in one export request.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};
use spangate_trace::UnixNanos;

use super::{
    templates::Templates,
    trace::{SpanSend, SyntheticTrace},
};

/// The key of field 1 of `ExportTraceServiceRequest`, `resource_spans`.
const RESOURCE_SPANS: u8 = 0x0a;
/// The key of field 2 of `ResourceSpans`, `scope_spans`.
const SCOPE_SPANS: u8 = 0x12;

/// Spans that go in one `ExportTraceServiceRequest`, grouped by resource and scope as the SDK does.
#[derive(Debug, Clone)]
pub struct Batch {
    templates: Arc<Templates>,
    /// The encoded spans of each scope.
    scopes: Vec<Vec<u8>>,
    spans: usize,
}

// === impl Batch ===

impl Batch {
    /// Bytes of the prefix of a gRPC message: a flag and a length.
    pub(super) const PREFIX: usize = 5;

    /// An empty batch of spans of `templates`.
    pub fn new(templates: Arc<Templates>) -> Self {
        Self { scopes: vec![Vec::new(); templates.scopes().len()], templates, spans: 0 }
    }

    /// How many spans it has.
    pub fn spans(&self) -> usize {
        self.spans
    }

    /// Adds a span, and gives the bytes it takes; `origin` is when traffic begins.
    ///
    /// # Panics
    ///
    /// When the trace is made from other templates than the batch.
    pub fn push(&mut self, trace: &SyntheticTrace, send: &SpanSend, origin: UnixNanos) -> usize {
        let span = self.templates.get(trace.template).span(send.span, trace.failed);
        let ids = (trace.trace_id, trace.ids.as_slice(), send.span);
        span.append(ids, origin + trace.at, trace.stretch, &mut self.scopes[span.scope]);
        self.spans += 1;
        span.len()
    }

    /// The encoded `ExportTraceServiceRequest`; the batch is empty after that.
    pub fn take(&mut self) -> Bytes {
        self.take_message().split_off(Self::PREFIX)
    }

    /// The request as a gRPC message that is not compressed; the batch is empty after that.
    pub(super) fn take_message(&mut self) -> Bytes {
        let lengths = self.resource_lengths();
        let length: usize =
            lengths.iter().filter(|length| **length > 0).map(|length| delimited(*length)).sum();
        let mut out = BytesMut::with_capacity(Self::PREFIX + length);
        out.put_u8(0);
        out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        for (resource, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            out.put_u8(RESOURCE_SPANS);
            encode_varint(*length as u64, &mut out);
            out.put_slice(&self.templates.resources()[resource]);
            for ((_, head), spans) in self.of_resource(resource) {
                out.put_u8(SCOPE_SPANS);
                encode_varint((head.len() + spans.len()) as u64, &mut out);
                out.put_slice(head);
                out.put_slice(spans);
            }
        }
        self.scopes.iter_mut().for_each(Vec::clear);
        self.spans = 0;
        out.freeze()
    }

    /// Bytes of `ResourceSpans` of each resource; 0 where there are no spans.
    fn resource_lengths(&self) -> Vec<usize> {
        let length = |(resource, head): (usize, &Vec<u8>)| {
            let scopes =
                self.of_resource(resource).map(|((_, head), spans)| delimited(head.len() + spans.len()));
            match scopes.sum() {
                0 => 0,
                scopes => head.len() + scopes,
            }
        };
        self.templates.resources().iter().enumerate().map(length).collect()
    }

    /// The scopes of a resource that have spans.
    fn of_resource(&self, resource: usize) -> impl Iterator<Item = (&(usize, Vec<u8>), &Vec<u8>)> {
        let all = self.templates.scopes().iter().zip(&self.scopes);
        all.filter(move |((of, _), spans)| *of == resource && !spans.is_empty())
    }
}

/// Bytes of a field with a length and that many bytes.
fn delimited(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}
