//! Prost is the reference: the walk must accept, see and refuse what prost does.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, any_value},
    resource::v1::Resource,
    trace::v1::Span,
};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use prost::{
    Message as _,
    encoding::{WireType as ProstWireType, encode_key, encode_varint},
};

use super::*;
use crate::arbitrary::{a_resource, a_scope, a_span, any_value, request};

// === comparison ===

/// What the walk should see of `span`, but for where it lies.
fn expected<'a>(span: &'a Span, scope: &'a str, service: &'a str) -> WireSpan<'a> {
    WireSpan {
        range: 0..0,
        ids: ids(&span.trace_id, &span.span_id, &span.parent_span_id),
        name: &span.name,
        kind: span.kind.into(),
        start: UnixNanos(span.start_time_unix_nano),
        end: UnixNanos(span.end_time_unix_nano),
        status: span.status.as_ref().map_or(0, |status| status.code).into(),
        scope,
        service,
    }
}

fn service_of(resource: Option<&Resource>) -> &str {
    let last = resource.and_then(|r| r.attributes.iter().rfind(|pair| pair.key == SERVICE_NAME));
    match last.and_then(|pair| pair.value.as_ref()).and_then(|any| any.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => "",
    }
}

/// Checks the walk over `bytes` against prost; neither may refuse them.
fn assert_sees_what_prost_sees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = ExportTraceServiceRequest::decode(bytes).unwrap();
    let mut all = Vec::new();
    for resource_spans in &decoded.resource_spans {
        let service = service_of(resource_spans.resource.as_ref());
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.as_ref().map_or("", |scope| &scope.name);
            all.extend(scope_spans.spans.iter().map(|span| (span, expected(span, scope, service))));
        }
    }
    let mut seen = Vec::new();
    walk(bytes, |span| seen.push(span)).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(count(bytes), Ok(all.len() as u64));
    prop_assert_eq!(seen.len(), all.len());
    for (seen, (span, expected)) in seen.into_iter().zip(all) {
        prop_assert_eq!(&Span::decode(&bytes[seen.range.clone()]).unwrap(), span);
        prop_assert_eq!(WireSpan { range: 0..0, ..seen }, expected);
    }
    Ok(())
}

/// `message` as the length-delimited field `field`.
fn field(field: u32, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(field, ProstWireType::LengthDelimited, &mut bytes);
    encode_varint(message.len() as u64, &mut bytes);
    bytes.extend_from_slice(message);
    bytes
}

/// Whether prost and the walk agree about `bytes`; only groups may be refused by the walk alone.
fn assert_agrees_with_prost(bytes: &[u8]) -> Result<(), TestCaseError> {
    let prost = ExportTraceServiceRequest::decode(bytes);
    match count(bytes) {
        Ok(_) => prop_assert!(prost.is_ok(), "prost alone refuses: {:?}", prost.err()),
        Err(WireError { problem: Problem::Group, .. }) => {}
        Err(error) => prop_assert!(prost.is_err(), "the walk alone refuses: {error}"),
    }
    Ok(())
}

// === properties ===

proptest! {
    #[test]
    fn the_walk_sees_what_prost_sees(request in request()) {
        assert_sees_what_prost_sees(&request.encode_to_vec())?;
    }

    #[test]
    fn split_and_reordered_messages_are_merged_as_prost_merges_them(
        spans in vec((a_span(), a_span()), 1..3),
        scopes in (a_scope(), a_scope()),
        resources in (a_resource(), a_resource()),
        values in (any_value(), any_value()),
    ) {
        let span = |(a, b): &(Span, Span)| field(2, &[a.encode_to_vec(), b.encode_to_vec()].concat());
        let scope_spans = [
            field(1, &scopes.0.encode_to_vec()),
            spans.iter().flat_map(span).collect(),
            field(1, &scopes.1.encode_to_vec()),
        ];
        // One attribute whose value comes in two parts: a later kind of value replaces an earlier one.
        let value = [field(2, &values.0.encode_to_vec()), field(2, &values.1.encode_to_vec())].concat();
        let split = field(1, &[field(1, SERVICE_NAME.as_bytes()), value].concat());
        let resource_spans = [
            field(1, &resources.0.encode_to_vec()),
            field(2, &scope_spans.concat()),
            field(1, &[resources.1.encode_to_vec(), split].concat()),
        ];
        let bytes = [field(1, &resource_spans.concat()), field(1, &resource_spans[1])].concat();
        assert_sees_what_prost_sees(&bytes)?;
    }

    #[test]
    fn any_bytes_are_judged_as_prost_judges_them(bytes in vec(any::<u8>(), 0..64)) {
        assert_agrees_with_prost(&bytes)?;
    }

    #[test]
    fn damaged_requests_are_judged_as_prost_judges_them(
        request in request(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in option::of(any::<Index>()),
    ) {
        let mut bytes = request.encode_to_vec();
        prop_assume!(!bytes.is_empty());
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        assert_agrees_with_prost(&bytes)?;
    }

    #[test]
    fn unknown_fields_are_passed_over(request in request(), number in 100_u32..1000, value: u64) {
        let mut unknown = Vec::new();
        encode_key(number, ProstWireType::Varint, &mut unknown);
        encode_varint(value, &mut unknown);
        encode_key(number, ProstWireType::SixtyFourBit, &mut unknown);
        unknown.extend(value.to_le_bytes());
        encode_key(number, ProstWireType::ThirtyTwoBit, &mut unknown);
        unknown.extend([1, 2, 3, 4]);
        unknown.extend(field(number, b"whatever"));

        let mut bytes = unknown.clone();
        for resource_spans in &request.resource_spans {
            let mut inner = unknown.clone();
            for scope_spans in &resource_spans.scope_spans {
                let spans = scope_spans.spans.iter();
                let spans = spans.flat_map(|span| field(2, &[span.encode_to_vec(), unknown.clone()].concat()));
                inner.extend(field(2, &[unknown.clone(), spans.collect()].concat()));
            }
            bytes.extend(field(1, &inner));
        }
        assert_sees_what_prost_sees(&bytes)?;
    }
}

// === examples ===

#[test]
fn nesting_is_refused_where_prost_refuses_it() {
    let mut refused = 0;
    for depth in 80..110 {
        let leaf = AnyValue { value: Some(any_value::Value::BoolValue(true)) }.encode_to_vec();
        let value = (0..depth / 2).fold(leaf, |inner, _| field(5, &field(1, &inner)));
        let pair = [field(1, b"deep"), field(2, &value)].concat();
        let span = field(2, &field(9, &pair));
        let bytes = field(1, &field(2, &span));
        let walked = count(&bytes);
        assert_eq!(walked.is_ok(), ExportTraceServiceRequest::decode(&*bytes).is_ok(), "depth {depth}");
        refused += u32::from(walked.is_err_and(|error| error.problem == Problem::Depth));
    }
    assert!((1..30).contains(&refused), "{refused} of 30 depths were refused");
}

#[test]
fn a_service_name_that_is_not_text_in_the_end_is_none() {
    let text = field(1, b"apiserver");
    for (later, service) in
        [(&[][..], "apiserver"), (&[0x18, 5], ""), (&[0x40, 5], ""), (&[0x48, 5], "apiserver")]
    {
        let value = [&text, later].concat();
        let pair = [field(1, SERVICE_NAME.as_bytes()), field(2, &value)].concat();
        let bytes = field(1, &[field(1, &field(1, &pair)), field(2, &field(2, &[]))].concat());
        assert_sees_what_prost_sees(&bytes).unwrap();
        walk(&bytes, |span| assert_eq!(span.service, service, "{later:?}")).unwrap();
    }
}

#[test]
fn ids_that_otlp_calls_invalid_are_told_apart() {
    let (trace, span, none) = ([1; 16], [2; 8], []);
    assert!(ids(&trace, &span, &none).is_some_and(|ids| ids.parent == SpanId::INVALID));
    assert!(ids(&trace, &span, &[3; 8]).is_some_and(|ids| ids.parent == SpanId::new([3; 8])));
    assert!(ids(&trace, &span, &[0; 8]).is_some_and(|ids| ids.parent == SpanId::INVALID));
    for (trace, span, parent) in [
        (&trace[..15], &span[..], &none[..]),
        (&trace, &span[..7], &none),
        (&[0; 16], &span, &none),
        (&trace, &[0; 8], &none),
        (&none, &none, &none),
        (&trace, &span, &[3; 7]),
    ] {
        assert_eq!(ids(trace, span, parent), None, "{trace:?} {span:?} {parent:?}");
    }
}

#[test]
fn a_problem_is_reported_where_it_is() {
    // ResourceSpans of 4 bytes, ScopeSpans of 2, a Span that claims 9.
    let error = count(&[0x0a, 0x04, 0x12, 0x02, 0x12, 0x09]).unwrap_err();
    assert_eq!(error, WireError { offset: 5, problem: Problem::Truncated });
    // The name of a span as a varint.
    let error = count(&[0x0a, 0x06, 0x12, 0x04, 0x12, 0x02, 0x28, 0x01]).unwrap_err();
    assert_eq!(error, WireError { offset: 7, problem: Problem::WireType { field: 5 } });
}
