//! Exports shaped like those of kube-apiserver 1.37, for tests and benchmarks.
//!
//! A trace is the creation of a `ConfigMap` past two webhooks: fourteen spans with the names, scopes, attributes
//! and events of `docs/span-contract.md`, 70 bytes (`audit`) to 900 (`Create`), 310 on average. Ids and times come from a
//! seed.

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::Event, span::SpanKind},
};
use prost::Message as _;

/// Spans in a trace.
pub const TRACE_SPANS: usize = 14;

/// The scopes of the API server, with their versions.
const SCOPES: [(&str, &str); 4] = [
    ("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "0.69.0"),
    ("k8s.op/apiserver/pkg/endpoints/filterlatency", ""),
    ("k8s.io/component-base/tracing", ""),
    ("go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc", "0.68.0"),
];

/// Name, scope and parent (as indexes into [`SCOPES`] and this table) of the spans of a trace.
const TREE: [(&str, usize, Option<usize>); TRACE_SPANS] = [
    ("authentication", 1, None),
    ("POST /api/v1/namespaces/{:namespace}/configmaps", 0, Some(0)),
    ("audit", 1, Some(1)),
    ("constrainedimpersonation", 1, Some(2)),
    ("priorityandfairness", 1, Some(3)),
    ("authorization", 1, Some(4)),
    ("Create", 2, Some(5)),
    ("Call mutating webhook", 2, Some(6)),
    ("HTTP POST", 0, Some(7)),
    ("Call validating webhook", 2, Some(6)),
    ("HTTP POST", 0, Some(9)),
    ("Create etcd3", 2, Some(6)),
    ("etcdserverpb.KV/Txn", 3, Some(11)),
    ("SerializeObject", 2, Some(6)),
];

/// `splitmix64`: the same numbers for the same seed, on every machine.
struct Random(u64);

/// An `ExportTraceServiceRequest` of `spans` spans; the last trace is cut short when that is no multiple of
/// [`TRACE_SPANS`].
pub fn request(seed: u64, spans: usize) -> Bytes {
    let mut random = Random(seed);
    let mut scopes = SCOPES.map(|(name, version)| ScopeSpans {
        scope: Some(InstrumentationScope {
            name: name.to_owned(),
            version: version.to_owned(),
            ..InstrumentationScope::default()
        }),
        ..ScopeSpans::default()
    });
    for first in (0..spans).step_by(TRACE_SPANS) {
        let trace = trace(&mut random);
        for (span, (_, scope, _)) in trace.into_iter().zip(TREE).take(spans - first) {
            scopes[scope].spans.push(span);
        }
    }
    let resource = Resource {
        attributes: vec![
            text("service.instance.id", "apiserver-2bxkbfghzl6wcxzvcqyd3mhpdi"),
            text("service.name", "apiserver"),
        ],
        ..Resource::default()
    };
    let scope_spans = scopes.into_iter().filter(|scope| !scope.spans.is_empty()).collect();
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec().into()
}

fn trace(random: &mut Random) -> Vec<Span> {
    let trace_id = [random.next().to_be_bytes(), random.next().to_be_bytes()].concat();
    let audit_id = random.uuid();
    let object = format!("load-{:05}", random.next() % 100_000);
    let start = 1_760_000_000_000_000_000 + random.next() % 1_000_000_000_000;
    let mut spans: Vec<Span> = Vec::with_capacity(TRACE_SPANS);
    for (depth, (name, _, parent)) in (1_u64..).zip(TREE) {
        let begin = start + depth * 50_000;
        let end = begin + 5_000_000 - depth * 100_000;
        spans.push(Span {
            trace_id: trace_id.clone(),
            span_id: random.next().to_be_bytes().into(),
            parent_span_id: parent.map(|parent| spans[parent].span_id.clone()).unwrap_or_default(),
            // Sampled, and the parent is known not to be remote (trace.proto, SpanFlags).
            flags: 0x101,
            name: name.to_owned(),
            kind: kind(name).into(),
            start_time_unix_nano: begin,
            end_time_unix_nano: end,
            attributes: attributes(name, &audit_id, &object, random),
            events: events(name, begin),
            status: Some(Status::default()),
            ..Span::default()
        });
    }
    spans
}

fn kind(name: &str) -> SpanKind {
    match name {
        name if name.starts_with("POST ") => SpanKind::Server,
        name if name.starts_with("etcdserverpb.") || name == "HTTP POST" => SpanKind::Client,
        _ => SpanKind::Internal,
    }
}

fn attributes(name: &str, audit_id: &str, object: &str, random: &mut Random) -> Vec<KeyValue> {
    const PATH: &str = "/api/v1/namespaces/spangate/configmaps";
    const AGENT: &str = "kubectl/v1.37.2 (linux/amd64) kubernetes/9f1b1c7";
    match name {
        name if name.starts_with("POST ") => vec![
            text("server.address", "127.0.0.1"),
            int("server.port", 6443),
            text("http.request.method", "POST"),
            text("url.scheme", "https"),
            text("network.peer.address", "127.0.0.1"),
            int("network.peer.port", 51_234),
            text("user_agent.original", AGENT),
            text("client.address", "127.0.0.1"),
            text("url.path", PATH),
            text("network.protocol.version", "2.0"),
            text("http.target", &format!("{PATH}?fieldManager=kubectl-create")),
            text("audit-id", audit_id),
            int("http.request.body.size", 2211),
            int("http.response.body.size", 2390),
            int("http.response.status_code", 201),
        ],
        "Create" => vec![
            text("accept", "application/json"),
            text("audit-id", audit_id),
            text("client", "127.0.0.1"),
            text("api-group", ""),
            text("api-version", "v1"),
            text("name", ""),
            text("subresource", ""),
            text("namespace", "spangate"),
            text("protocol", "HTTP/2.0"),
            text("resource", "configmaps"),
            text("scope", "resource"),
            text("url", PATH),
            text("user-agent", AGENT),
            text("verb", "POST"),
        ],
        "Call mutating webhook" | "Call validating webhook" => vec![
            text("configuration", "slow-mutate"),
            text("webhook", "slow-mutate.spangate.dev"),
            text("resource", "/v1, Resource=configmaps"),
            text("subresource", ""),
            text("operation", "CREATE"),
            text("UID", &random.uuid()),
        ],
        "HTTP POST" => vec![
            text("http.request.method", "POST"),
            text("url.full", "https://127.0.0.1:39443/slow-mutate?timeout=10s"),
            text("server.address", "127.0.0.1"),
            int("server.port", 39_443),
            text("network.protocol.version", "1.1"),
            int("http.response.status_code", 200),
        ],
        "Create etcd3" => vec![
            text("audit-id", audit_id),
            text("key", &format!("/configmaps/spangate/{object}")),
            text("type", "*core.ConfigMap"),
            text("group", ""),
            text("resource", "configmaps"),
        ],
        "SerializeObject" => vec![
            text("audit-id", audit_id),
            text("method", "POST"),
            text("url", PATH),
            text("protocol", "HTTP/2.0"),
            text("mediaType", "application/json"),
            text(
                "encoder",
                r#"{"encodeGV":"v1","encoder":"{\"name\":\"json\",\"pretty\":\"false\",\"strict\":\"false\",\"yaml\":\"false\"}","name":"versioning"}"#,
            ),
        ],
        name if name.starts_with("etcdserverpb.") => vec![
            text("rpc.system.name", "grpc"),
            text("rpc.method", name),
            text("server.address", "127.0.0.1"),
            int("server.port", 2379),
            text("rpc.response.status_code", "OK"),
        ],
        _ => Vec::new(),
    }
}

fn events(name: &str, begin: u64) -> Vec<Event> {
    let events: &[(&str, &[(&str, i64)])] = match name {
        "Create" => &[
            ("limitedReadBody succeeded", &[("len", 2211)]),
            ("About to convert to expected version", &[]),
            ("Conversion done", &[]),
            ("About to store object in database", &[]),
            ("Write to database call succeeded", &[("len", 2211)]),
            ("About to write a response", &[]),
            ("Writing http response done", &[]),
        ],
        "Call mutating webhook" => &[("Request completed", &[]), ("Patch applied", &[])],
        "Call validating webhook" => &[("Request completed", &[])],
        "Create etcd3" => &[
            ("About to Encode", &[]),
            ("Encode succeeded", &[("len", 2211)]),
            ("TransformToStorage succeeded", &[]),
            ("Txn call succeeded", &[]),
            ("Decode succeeded", &[("len", 2211)]),
        ],
        "SerializeObject" => &[
            ("About to start writing response", &[("size", 2390)]),
            ("Write call succeeded", &[("size", 2390)]),
        ],
        _ => &[],
    };
    (1_u64..)
        .zip(events)
        .map(|(number, (name, attributes))| Event {
            time_unix_nano: begin + number * 1_000,
            name: (*name).to_owned(),
            attributes: attributes.iter().map(|(key, value)| int(key, *value)).collect(),
            ..Event::default()
        })
        .collect()
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

// === impl Random ===

impl Random {
    /// A UUID in form; its version and variant bits are as random as the rest.
    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
        format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::wire::walk;

    #[test]
    fn has_the_size_of_real_exports_and_whole_traces() {
        let request = request(7, 512);
        let (mut ids, mut parents, mut traces) = (HashSet::new(), HashSet::new(), HashSet::new());
        walk(&request, |span| {
            let place = span.ids.unwrap();
            ids.insert(place.span_id);
            traces.insert(place.trace_id);
            if place.parent.is_valid() {
                parents.insert(place.parent);
            }
        })
        .unwrap();
        assert_eq!((ids.len(), traces.len()), (512, 37));
        assert!(parents.is_subset(&ids));
        let mean = request.len() / 512;
        assert!((280..=340).contains(&mean), "{mean} bytes a span");
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(request(1, 20), request(1, 20));
        assert_ne!(request(1, 20), request(2, 20));
        assert!(request(1, 0).len() < 100);
    }
}
