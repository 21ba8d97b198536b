//! A walk over the bytes of an `ExportTraceServiceRequest` that allocates nothing.
//!
//! Decoding a span into structs costs more than receiving it, and almost no span is ever looked at in full.
//! So the walk reads what every question needs (ids, times, name, kind, status), checks the rest against the
//! tables of the format and says where each span lies, to be decoded when someone asks for it. It accepts what
//! prost accepts and reads what prost reads (last value wins, split messages merge), except for groups.

use std::ops::Range;

use spangate_trace::{Kind, SpanId, Status, TraceId, UnixNanos};

mod reader;
mod schema;

pub use reader::{Problem, WireError};
use reader::{Reader, WireType};
use schema::{ANY_VALUE, KEY_VALUE, RESOURCE, RESOURCE_SPANS, SCOPE, SCOPE_SPANS, SPAN, STATUS, deeper};

/// How deep messages may be nested: prost's limit.
const MAX_DEPTH: u32 = 100;

/// The resource attribute that names the service.
const SERVICE_NAME: &str = "service.name";

/// A span as the walk sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireSpan<'a> {
    /// Where its `Span` message lies in the request.
    pub range: Range<usize>,
    /// Its ids, or `None` when OTLP calls one of them invalid.
    pub ids: Option<Ids>,
    /// Its name.
    pub name: &'a str,
    /// Which side of a call it describes.
    pub kind: Kind,
    /// When it began.
    pub start: UnixNanos,
    /// When it ended.
    pub end: UnixNanos,
    /// Success or failure.
    pub status: Status,
    /// The name of its instrumentation scope.
    pub scope: &'a str,
    /// The `service.name` of its resource, empty when it has none that is text.
    pub service: &'a str,
}

/// The place of a span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that caused it; [`SpanId::INVALID`] for a root.
    pub parent: SpanId,
}

/// Calls `each` for every span of `request`, in wire order.
///
/// On an error some spans may have been seen already: nothing of such a request should be kept.
pub fn walk<'a>(request: &'a [u8], mut each: impl FnMut(WireSpan<'a>)) -> Result<(), WireError> {
    let mut reader = Reader::new(request);
    while !reader.is_done() {
        match reader.key()? {
            (1, wire_type) => {
                let depth = deeper(&reader, MAX_DEPTH)?;
                resource_spans(message(&mut reader, 1, wire_type)?, depth, &mut each)?;
            }
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    Ok(())
}

/// The number of spans in `request`, those with invalid ids included.
pub fn count(request: &[u8]) -> Result<u64, WireError> {
    let mut spans = 0;
    walk(request, |_| spans += 1)?;
    Ok(spans)
}

/// The `KeyValue` message of the attribute `key` in the `Span` message `span`; of several the last one.
pub(crate) fn attribute<'a>(span: &'a [u8], key: &str) -> Result<Option<&'a [u8]>, WireError> {
    let (mut reader, mut found) = (Reader::new(span), None);
    while !reader.is_done() {
        match reader.key()? {
            (9, wire_type) => {
                let mut pair = message(&mut reader, 9, wire_type)?;
                let (bytes, mut its_key): (_, &[u8]) = (pair.rest(), &[]);
                while !pair.is_done() {
                    match pair.key()? {
                        (1, wire_type) => its_key = message(&mut pair, 1, wire_type)?.rest(),
                        (_, wire_type) => pair.skip(wire_type)?,
                    }
                }
                if its_key == key.as_bytes() {
                    found = Some(bytes);
                }
            }
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    Ok(found)
}

/// The `ResourceSpans` message around `offset` in `request`: where it begins, and its `Resource` message, if it has one;
/// of several the last one.
pub(crate) fn resource_around(request: &[u8], offset: usize) -> Result<(usize, Option<&[u8]>), WireError> {
    let mut reader = Reader::new(request);
    while !reader.is_done() {
        match reader.key()? {
            (1, wire_type) => {
                let mut spans = message(&mut reader, 1, wire_type)?;
                if !(spans.offset()..spans.end()).contains(&offset) {
                    continue;
                }
                let (place, mut resource) = (spans.offset(), None);
                while !spans.is_done() {
                    match spans.key()? {
                        (1, wire_type) => resource = Some(message(&mut spans, 1, wire_type)?.rest()),
                        (_, wire_type) => spans.skip(wire_type)?,
                    }
                }
                return Ok((place, resource));
            }
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    Ok((offset, None))
}

/// The field `field`, which must be a message, text or bytes.
#[inline]
fn message<'a>(reader: &mut Reader<'a>, field: u32, wire_type: WireType) -> Result<Reader<'a>, WireError> {
    if wire_type == WireType::Delimited {
        reader.delimited()
    } else {
        Err(reader.fail(Problem::WireType { field }))
    }
}

/// Walks `ResourceSpans`: once for the resource, which may stand behind the spans, and once for the spans.
fn resource_spans<'a>(
    reader: Reader<'a>,
    depth: u32,
    each: &mut impl FnMut(WireSpan<'a>),
) -> Result<(), WireError> {
    let (mut service, mut value) = ("", None);
    let mut first = reader;
    while !first.is_done() {
        match first.key()? {
            (1, wire_type) => {
                let depth = deeper(&first, depth)?;
                resource(message(&mut first, 1, wire_type)?, depth, &mut value)?;
                service = value.unwrap_or_default();
            }
            (2, wire_type) => first.skip(wire_type)?,
            (field, wire_type) => RESOURCE_SPANS.check_field(&mut first, field, wire_type, depth)?,
        }
    }
    let mut second = reader;
    while !second.is_done() {
        match second.key()? {
            (2, wire_type) => {
                let depth = deeper(&second, depth)?;
                scope_spans(message(&mut second, 2, wire_type)?, depth, service, each)?;
            }
            (_, wire_type) => second.skip(wire_type)?,
        }
    }
    Ok(())
}

/// Reads a `Resource` for the text of its last `service.name`.
fn resource<'a>(mut reader: Reader<'a>, depth: u32, service: &mut Option<&'a str>) -> Result<(), WireError> {
    while !reader.is_done() {
        let (field, wire_type) = reader.key()?;
        if field == 1 {
            let depth = deeper(&reader, depth)?;
            let (key, value) = key_value(message(&mut reader, 1, wire_type)?, depth)?;
            if key == SERVICE_NAME {
                *service = value;
            }
        } else {
            RESOURCE.check_field(&mut reader, field, wire_type, depth)?;
        }
    }
    Ok(())
}

/// Reads a `KeyValue` for its key and, when that is text, its value.
fn key_value(mut reader: Reader<'_>, depth: u32) -> Result<(&str, Option<&str>), WireError> {
    let (mut key, mut value) = ("", None);
    while !reader.is_done() {
        match reader.key()? {
            (1, wire_type) => key = message(&mut reader, 1, wire_type)?.text()?,
            (2, wire_type) => {
                let depth = deeper(&reader, depth)?;
                any_value(message(&mut reader, 2, wire_type)?, depth, &mut value)?;
            }
            (field, wire_type) => KEY_VALUE.check_field(&mut reader, field, wire_type, depth)?,
        }
    }
    Ok((key, value))
}

/// Reads an `AnyValue` for its text; of several values in it the last one holds.
fn any_value<'a>(mut reader: Reader<'a>, depth: u32, value: &mut Option<&'a str>) -> Result<(), WireError> {
    while !reader.is_done() {
        match reader.key()? {
            (1, wire_type) => *value = Some(message(&mut reader, 1, wire_type)?.text()?),
            (field, wire_type) => {
                if (2..=8).contains(&field) {
                    *value = None;
                }
                ANY_VALUE.check_field(&mut reader, field, wire_type, depth)?;
            }
        }
    }
    Ok(())
}

/// Walks `ScopeSpans`: once for the scope, which may stand behind the spans, and once for the spans.
fn scope_spans<'a>(
    reader: Reader<'a>,
    depth: u32,
    service: &'a str,
    each: &mut impl FnMut(WireSpan<'a>),
) -> Result<(), WireError> {
    let mut scope = "";
    let mut first = reader;
    while !first.is_done() {
        match first.key()? {
            (1, wire_type) => {
                let depth = deeper(&first, depth)?;
                scope_name(message(&mut first, 1, wire_type)?, depth, &mut scope)?;
            }
            (2, wire_type) => first.skip(wire_type)?,
            (field, wire_type) => SCOPE_SPANS.check_field(&mut first, field, wire_type, depth)?,
        }
    }
    let mut second = reader;
    while !second.is_done() {
        match second.key()? {
            (2, wire_type) => {
                let depth = deeper(&second, depth)?;
                each(span(message(&mut second, 2, wire_type)?, depth, scope, service)?);
            }
            (_, wire_type) => second.skip(wire_type)?,
        }
    }
    Ok(())
}

/// Reads an `InstrumentationScope` for its name.
fn scope_name<'a>(mut reader: Reader<'a>, depth: u32, name: &mut &'a str) -> Result<(), WireError> {
    while !reader.is_done() {
        match reader.key()? {
            (1, wire_type) => *name = message(&mut reader, 1, wire_type)?.text()?,
            (field, wire_type) => SCOPE.check_field(&mut reader, field, wire_type, depth)?,
        }
    }
    Ok(())
}

/// Reads a `Span`.
fn span<'a>(
    mut reader: Reader<'a>,
    depth: u32,
    scope: &'a str,
    service: &'a str,
) -> Result<WireSpan<'a>, WireError> {
    let range = reader.offset()..reader.end();
    let (mut trace_id, mut span_id, mut parent): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut name, mut kind, mut start, mut end, mut status) = ("", 0, 0, 0, 0);
    while !reader.is_done() {
        match reader.key()? {
            (1, wire_type) => trace_id = message(&mut reader, 1, wire_type)?.rest(),
            (2, wire_type) => span_id = message(&mut reader, 2, wire_type)?.rest(),
            (4, wire_type) => parent = message(&mut reader, 4, wire_type)?.rest(),
            (5, wire_type) => name = message(&mut reader, 5, wire_type)?.text()?,
            (6, WireType::Varint) => kind = enumeration(reader.varint()?),
            (7, WireType::Fixed64) => start = reader.fixed64()?,
            (8, WireType::Fixed64) => end = reader.fixed64()?,
            (15, wire_type) => {
                let depth = deeper(&reader, depth)?;
                status_code(message(&mut reader, 15, wire_type)?, depth, &mut status)?;
            }
            (field, wire_type) => SPAN.check_field(&mut reader, field, wire_type, depth)?,
        }
    }
    Ok(WireSpan {
        range,
        ids: ids(trace_id, span_id, parent),
        name,
        kind: kind.into(),
        start: UnixNanos(start),
        end: UnixNanos(end),
        status: status.into(),
        scope,
        service,
    })
}

/// Reads a `Status` for its code.
fn status_code(mut reader: Reader<'_>, depth: u32, code: &mut i32) -> Result<(), WireError> {
    while !reader.is_done() {
        match reader.key()? {
            (3, WireType::Varint) => *code = enumeration(reader.varint()?),
            (field, wire_type) => STATUS.check_field(&mut reader, field, wire_type, depth)?,
        }
    }
    Ok(())
}

/// The number of an enumeration: the low 32 bits, as in every protobuf implementation.
#[expect(clippy::cast_possible_truncation, reason = "the specification of protobuf asks for it")]
fn enumeration(number: u64) -> i32 {
    number as i32
}

/// The ids, when they have the length that OTLP asks for and are not all zero; a root may have no parent or
/// an all-zero one.
fn ids(trace_id: &[u8], span_id: &[u8], parent: &[u8]) -> Option<Ids> {
    let parent = if parent.is_empty() { Some(SpanId::INVALID) } else { SpanId::from_slice(parent) };
    Some(Ids {
        trace_id: TraceId::from_slice(trace_id).filter(TraceId::is_valid)?,
        span_id: SpanId::from_slice(span_id).filter(SpanId::is_valid)?,
        parent: parent?,
    })
}

#[cfg(test)]
mod tests;
