//! Arbitrary exports for property tests: every field that traces use, ids that OTLP calls invalid among them.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span},
};
use proptest::{collection::vec, option, prelude::*};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z.]{1,12}", "\\PC{0,8}"]
}

pub(crate) fn any_value() -> impl Strategy<Value = AnyValue> {
    use any_value::Value;
    let leaf = prop_oneof![
        text().prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        (-1e9..1e9_f64).prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..6).prop_map(Value::BytesValue),
    ];
    let leaf = option::of(leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3)
                .prop_map(|values| AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) }),
            vec((text(), inner), 0..3).prop_map(|pairs| {
                let pair = |(key, value)| KeyValue { key, value: Some(value), key_strindex: 0 };
                let values = pairs.into_iter().map(pair).collect();
                AnyValue { value: Some(Value::KvlistValue(KeyValueList { values })) }
            }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![2 => text(), 1 => Just("service.name".to_owned())];
    let pair = (key, option::of(any_value()), prop_oneof![Just(0), any::<i32>()]);
    vec(pair.prop_map(|(key, value, key_strindex)| KeyValue { key, value, key_strindex }), 0..4)
}

/// An id of the right length, of another one, or all zero.
fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => vec(any::<u8>(), length), 1 => vec(any::<u8>(), 0..20), 1 => Just(vec![0; length])]
}

pub(crate) fn a_span() -> impl Strategy<Value = Span> {
    let event = (any::<u64>(), text(), attributes()).prop_map(|(time_unix_nano, name, attributes)| {
        span::Event { time_unix_nano, name, attributes, dropped_attributes_count: 1 }
    });
    let link =
        (id(16), id(8), text(), attributes()).prop_map(|(trace_id, span_id, trace_state, attributes)| {
            span::Link {
                trace_id,
                span_id,
                trace_state,
                attributes,
                dropped_attributes_count: 0,
                flags: 0x300,
            }
        });
    let parent = prop_oneof![Just(Vec::new()), id(8)];
    let status = option::of((text(), -1..5_i32).prop_map(|(message, code)| Status { message, code }));
    let head = (id(16), id(8), parent, text(), text(), any::<u32>(), -1..8_i32);
    let body = (any::<u64>(), any::<u64>(), attributes(), vec(event, 0..3), vec(link, 0..2), status);
    (head, body).prop_map(|(head, body)| {
        let (trace_id, span_id, parent_span_id, trace_state, name, flags, kind) = head;
        let (start_time_unix_nano, end_time_unix_nano, attributes, events, links, status) = body;
        Span {
            trace_id,
            span_id,
            parent_span_id,
            trace_state,
            name,
            flags,
            kind,
            start_time_unix_nano,
            end_time_unix_nano,
            attributes,
            events,
            links,
            status,
            dropped_attributes_count: 3,
            dropped_events_count: 0,
            dropped_links_count: 1,
        }
    })
}

pub(crate) fn a_resource() -> impl Strategy<Value = Resource> {
    attributes().prop_map(|attributes| Resource { attributes, ..Resource::default() })
}

pub(crate) fn a_scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes()).prop_map(|(name, version, attributes)| InstrumentationScope {
        name,
        version,
        attributes,
        dropped_attributes_count: 0,
    })
}

pub(crate) fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (option::of(a_scope()), vec(a_span(), 0..4), text())
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (option::of(a_resource()), vec(scope_spans, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}
