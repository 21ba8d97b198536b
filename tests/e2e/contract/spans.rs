//! What each kind of span is made of: scope, kind, attributes and events.

use std::collections::{BTreeMap, BTreeSet};

use spangate_trace::{Kind, Span, Value, contract};

use super::observed::{OBSERVED, none};

const OTELHTTP: &str = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp";
const OTELGRPC: &str = "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc";
/// It is spelled like this (`apiserver/pkg/endpoints/filterlatency/filterlatency.go:77`).
const FILTER: &str = "k8s.op/apiserver/pkg/endpoints/filterlatency";
const TRACING: &str = "k8s.io/component-base/tracing";

/// Class, kind, scope and attributes of every span. Attributes are text; `#` stands behind numbers and `?`
/// behind those that may be absent.
const SHAPES: &[(&str, Kind, &str, &str)] = &[
    (
        "SERVER",
        Kind::Server,
        OTELHTTP,
        "audit-id client.address http.request.body.size#? http.request.method http.response.body.size#? \
         http.response.status_code# http.target network.peer.address network.peer.port# \
         network.protocol.version server.address server.port#? url.path url.scheme user_agent.original?",
    ),
    (
        "HTTP <METHOD>",
        Kind::Client,
        OTELHTTP,
        "error.type? http.request.method http.response.status_code# network.protocol.version server.address \
         server.port#? url.full",
    ),
    (
        "etcdserverpb.*",
        Kind::Client,
        OTELGRPC,
        "rpc.method rpc.response.status_code rpc.system.name server.address server.port#",
    ),
    ("filter", Kind::Internal, FILTER, ""),
    (
        "handler",
        Kind::Internal,
        TRACING,
        "accept api-group api-version audit-id client name namespace protocol resource scope subresource url \
         user-agent verb",
    ),
    ("serialization", Kind::Internal, TRACING, "audit-id encoder mediaType method protocol url"),
    ("webhook call", Kind::Internal, TRACING, "UID configuration operation resource subresource webhook"),
    ("cacher.Get", Kind::Internal, TRACING, "audit-id key resource-version"),
    ("cacher.GetList", Kind::Internal, TRACING, "audit-id type"),
    ("cacher.Watch", Kind::Internal, TRACING, "audit-id type"),
    ("Get etcd3", Kind::Internal, TRACING, "audit-id group key resource"),
    ("Create etcd3", Kind::Internal, TRACING, "audit-id group key resource type"),
    ("GuaranteedUpdate etcd3", Kind::Internal, TRACING, "audit-id group key resource type"),
    (
        "List(recursive=true) etcd3",
        Kind::Internal,
        TRACING,
        "audit-id continue key limit# resourceVersion resourceVersionMatch",
    ),
];

/// What happens within a span, in order; the first is usual and the others are seen as well.
const EVENTS: &[(&str, &[&str])] = &[
    (
        "Create",
        &[
            "limitedReadBody succeeded, About to convert to expected version, Conversion done, About to store \
             object in database, Write to database call succeeded, About to write a response, Writing http \
             response done",
            "limitedReadBody succeeded, About to convert to expected version, Conversion done, About to store \
             object in database, Write to database call failed",
        ],
    ),
    (
        "Get",
        &[
            "About to Get from storage, About to write a response, Writing http response done",
            "About to Get from storage",
        ],
    ),
    ("List", &[""]),
    ("WatchList", &[""]),
    ("SerializeObject", &["About to start writing response, Write call succeeded"]),
    ("WatchServer.HandleHTTP", &["About to start writing response, Writing initial events done"]),
    (
        "Create etcd3",
        &[
            "About to Encode, Encode succeeded, TransformToStorage succeeded, Txn call succeeded, Decode \
             succeeded",
            "About to Encode, Encode succeeded, TransformToStorage succeeded, Txn call failed",
        ],
    ),
    (
        "Get etcd3",
        &["Get call succeeded, TransformFromStorage succeeded, Decode succeeded", "Get call succeeded"],
    ),
    ("cacher.Get", &["watchCache locked acquired, watchCache fresh enough, GetByKey success"]),
    ("Call mutating webhook", &["Request completed"]),
    ("Call validating webhook", &["Request completed", ""]),
    ("HTTP POST", &[""]),
    ("etcdserverpb.KV/Txn", &[""]),
    ("etcdserverpb.KV/Range", &[""]),
];

/// Scenario: all of the API server's spans under load.
/// Guarantees: each is of a known class; its kind, its scope, the keys of its attributes and the types of
/// their values are those of its class; and every class was seen.
#[test]
fn every_span_has_the_shape_of_its_class() {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (_, span) in OBSERVED.under_load() {
        let class = class(span);
        let Some((_, kind, scope, attributes)) = SHAPES.iter().find(|shape| shape.0 == class) else {
            problems.push(format!("no class has the span {span:?}"));
            continue;
        };
        seen.insert(class);
        if (span.kind, &*span.scope) != (*kind, *scope) {
            problems.push(format!("{} is {:?} of {}", span.name, span.kind, span.scope));
        }
        problems.extend(differences(span, attributes));
    }
    let unseen = SHAPES.iter().map(|shape| shape.0).filter(|class| !seen.contains(class));
    problems.extend(unseen.map(|class| format!("no span is a {class}")));
    none(&problems);
}

/// Scenario: all of the API server's spans under load.
/// Guarantees: their events have the known names in the known orders, and every order was seen.
#[test]
fn events_come_in_the_known_orders() {
    let mut problems = Vec::new();
    for (name, known) in EVENTS {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (_, span) in OBSERVED.under_load().filter(|(_, span)| &*span.name == *name) {
            let events: Vec<&str> = span.events.iter().map(|event| event.name.as_str()).collect();
            *seen.entry(events.join(", ")).or_default() += 1;
        }
        let unseen = known.iter().filter(|order| !seen.contains_key(**order));
        problems.extend(unseen.map(|order| format!("never in {name}: {order:?}")));
        let unknown = seen.iter().filter(|(order, _)| !known.contains(&order.as_str()));
        problems.extend(unknown.map(|(order, n)| format!("new in {name}, {n} times: {order:?}")));
    }
    none(&problems);
}

/// What the attributes of a span have other than they should.
fn differences(span: &Span, attributes: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut left: BTreeSet<&str> = span.attributes.keys().map(String::as_str).collect();
    for word in attributes.split_whitespace() {
        let key = word.trim_end_matches(['#', '?']);
        left.remove(key);
        match (span.attributes.get(key), word.contains('#')) {
            (None, _) if word.ends_with('?') => {}
            (Some(Value::Int(_)), true) | (Some(Value::String(_)), false) => {}
            (found, _) => problems.push(format!("{key} of {} is {found:?}", span.name)),
        }
    }
    problems.extend(left.iter().map(|key| format!("{} has the new attribute {key}", span.name)));
    problems
}

/// The class of a span in [`SHAPES`], by kind and name; its name where it is the only one.
fn class(span: &Span) -> &str {
    let filter = |name: &str| {
        contract::IMPERSONATION.contains(&name)
            || [
                contract::AUTHENTICATION,
                contract::AUDIT,
                contract::PRIORITY_AND_FAIRNESS,
                contract::AUTHORIZATION,
            ]
            .contains(&name)
    };
    match &*span.name {
        _ if span.kind == Kind::Server => "SERVER",
        name if name.starts_with(contract::HTTP_CLIENT_PREFIX) => "HTTP <METHOD>",
        name if contract::etcd_rpc(name).is_some() => "etcdserverpb.*",
        name if filter(name) => "filter",
        name if contract::HANDLERS.contains(&name) => "handler",
        name if contract::SERIALIZATION.contains(&name) => "serialization",
        contract::MUTATING_WEBHOOK | contract::VALIDATING_WEBHOOK => "webhook call",
        name => name,
    }
}
