//! From the protobuf span to the span that questions are asked of.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1 as otlp,
};
use prost::Message as _;
use spangate_trace::{
    Event, Link, Names, Row, Span, SpanId, Surroundings, TraceId, UnixNanos, Value, span::Attributes,
};

use crate::wire;

/// The span whose message is `bytes`.
///
/// Ids, times, names, kind and status come from `row`, which the walk made of the same bytes.
pub(crate) fn span(bytes: &[u8], row: &Row, names: &Names) -> Span {
    let whole = otlp::Span::decode(bytes).expect("a walk accepts only what prost can decode");
    Span {
        trace_id: row.trace_id,
        span_id: row.span_id,
        parent: Some(row.parent).filter(SpanId::is_valid),
        name: names.get(row.name).clone(),
        kind: row.kind,
        start: row.start,
        end: row.end,
        attributes: attributes(whole.attributes),
        events: whole.events.into_iter().map(event).collect(),
        links: whole.links.into_iter().map(link).collect(),
        status: row.status,
        status_message: whole.status.map(|status| status.message).unwrap_or_default(),
        scope: names.get(row.scope).clone(),
        service: names.get(row.service).clone(),
    }
}

/// The attribute `key` of the span whose message is `bytes`: what [`span`] has, without the rest.
pub(crate) fn attribute(bytes: &[u8], key: &str) -> Option<Value> {
    let pair = wire::attribute(bytes, key).expect("a walk has accepted the span");
    pair.map(|pair| value(KeyValue::decode(pair).expect("a walk accepts only what prost can decode").value))
}

/// What came with the span at `span` in the request `bytes`, the `chunk`-th that was kept.
pub(crate) fn surroundings(bytes: &[u8], chunk: u32, span: std::ops::Range<usize>) -> Surroundings {
    const ACCEPTED: &str = "a walk accepts only what prost can decode";
    let (place, resource) =
        wire::resource_around(bytes, span.start).expect("a walk has accepted the request");
    let resource = resource.map(|bytes| Resource::decode(bytes).expect(ACCEPTED));
    let whole = otlp::Span::decode(&bytes[span]).expect(ACCEPTED);
    Surroundings {
        resource: attributes(resource.unwrap_or_default().attributes),
        // A request is shorter than 4 GiB, so the place in it takes 32 bits.
        batch: u64::from(chunk) << 32 | place as u64,
        trace_state: whole.trace_state,
        flags: whole.flags,
    }
}

/// Attributes by key; of two with the same key, which OTLP forbids, the last one holds.
fn attributes(attributes: Vec<KeyValue>) -> Attributes {
    attributes.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

/// An event.
fn event(event: otlp::span::Event) -> Event {
    Event {
        time: UnixNanos(event.time_unix_nano),
        name: event.name,
        attributes: attributes(event.attributes),
    }
}

/// A link; ids of the wrong length are shown as the invalid id.
fn link(link: otlp::span::Link) -> Link {
    Link {
        trace_id: TraceId::from_slice(&link.trace_id).unwrap_or(TraceId::INVALID),
        span_id: SpanId::from_slice(&link.span_id).unwrap_or(SpanId::INVALID),
        attributes: attributes(link.attributes),
    }
}

/// A value; maps and bytes become JSON text, since nothing in a scenario can ask for their parts.
fn value(value: Option<AnyValue>) -> Value {
    use any_value::Value as Any;
    match value.and_then(|any| any.value) {
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(truth)) => Value::Bool(truth),
        Some(Any::IntValue(number)) => Value::Int(number),
        Some(Any::DoubleValue(number)) => Value::Double(number),
        Some(Any::ArrayValue(array)) => {
            Value::Array(array.values.into_iter().map(|any| self::value(Some(any))).collect())
        }
        Some(other) => {
            Value::Other(serde_json::to_string(&AnyValue { value: Some(other) }).unwrap_or_default())
        }
        None => Value::Other(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    use proptest::prelude::*;
    use spangate_trace::{Kind, Status};

    use super::*;
    use crate::arbitrary::a_span;

    fn any(value: any_value::Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn pair(key: &str, value: any_value::Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(any(value)), key_strindex: 0 }
    }

    proptest! {
        #[test]
        fn one_attribute_is_read_as_with_the_whole_span(parts in (a_span(), a_span()), other in "[a-z.]{1,12}") {
            // Two messages in one are a span with the attributes of both.
            let bytes = [parts.0.encode_to_vec(), parts.1.encode_to_vec()].concat();
            let all = attributes(otlp::Span::decode(&*bytes).unwrap().attributes);
            for key in all.keys().chain([&other]) {
                prop_assert_eq!(attribute(&bytes, key), all.get(key).cloned(), "{}", key);
            }
        }
    }

    #[test]
    fn every_kind_of_value_is_read() {
        use any_value::Value as Any;
        let list = KeyValueList { values: vec![pair("a", Any::IntValue(1))] };
        let array = ArrayValue { values: vec![any(Any::BoolValue(true)), any(Any::IntValue(-3))] };
        let read = attributes(vec![
            pair("text", Any::StringValue("x".into())),
            pair("truth", Any::BoolValue(true)),
            pair("int", Any::IntValue(i64::MIN)),
            pair("double", Any::DoubleValue(0.5)),
            pair("array", Any::ArrayValue(array)),
            pair("map", Any::KvlistValue(list)),
            pair("bytes", Any::BytesValue(vec![1, 2])),
            KeyValue { key: "none".into(), value: None, key_strindex: 0 },
            pair("text", Any::StringValue("last".into())),
        ]);
        let expected = [
            ("array", Value::Array(vec![Value::Bool(true), Value::Int(-3)])),
            ("bytes", Value::Other(r#"{"bytesValue":"AQI="}"#.into())),
            ("double", Value::Double(0.5)),
            ("int", Value::Int(i64::MIN)),
            (
                "map",
                Value::Other(r#"{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}}]}}"#.into()),
            ),
            ("none", Value::Other(String::new())),
            ("text", Value::String("last".into())),
            ("truth", Value::Bool(true)),
        ];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value)).into());
    }

    #[test]
    fn events_links_and_the_message_of_the_status_are_read() {
        let whole = otlp::Span {
            events: vec![otlp::span::Event { time_unix_nano: 5, name: "Ready".into(), ..Default::default() }],
            links: vec![otlp::span::Link {
                trace_id: vec![1; 16],
                span_id: vec![2; 7],
                ..Default::default()
            }],
            status: Some(otlp::Status { message: "it broke".into(), code: 2 }),
            ..Default::default()
        };
        let mut names = Names::default();
        let name = names.intern("Create");
        let row = Row {
            trace_id: TraceId::new([1; 16]),
            span_id: SpanId::new([1; 8]),
            parent: SpanId::INVALID,
            start: UnixNanos(1),
            end: UnixNanos(2),
            name,
            scope: names.intern("scope"),
            service: names.intern("apiserver"),
            kind: Kind::Server,
            status: Status::Error,
        };
        let span = span(&whole.encode_to_vec(), &row, &names);
        assert_eq!(span.parent, None);
        assert_eq!(span.status_message, "it broke");
        assert_eq!((span.events[0].time, span.events[0].name.as_str()), (UnixNanos(5), "Ready"));
        assert_eq!(span.links[0].trace_id, TraceId::new([1; 16]));
        assert_eq!(span.links[0].span_id, SpanId::INVALID);
        assert_eq!((&*span.name, &*span.scope, &*span.service), ("Create", "scope", "apiserver"));
    }
}
