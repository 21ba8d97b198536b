//! SERVER spans against the request ledger.

use spangate_load::{Outcome, RequestRecord, Verb};
use spangate_scenario::model::{Identity, TraceFlag};
use spangate_trace::{Kind, Phase, Phases, Value, contract};

use super::observed::{FILTERS, OBSERVED, is_api_server, none, within};

/// Scenario: every request whose caller may not switch tracing off.
/// Guarantees: it has exactly one SERVER span with the audit id of its answer, and where the `traceparent` is
/// honoured that span is the child of what was sent.
#[test]
fn the_audit_id_of_the_answer_is_on_one_server_span() {
    for request in OBSERVED.requests() {
        let honoured = request.sent.filter(|_| request.identity == Identity::admin());
        if honoured.is_some_and(|sent| !sent.sampled) {
            continue;
        }
        let span = &OBSERVED.spans[OBSERVED.server(request)];
        if let Some(sent) = honoured {
            assert_eq!((span.trace_id, span.parent), (sent.trace_id, Some(sent.span_id)), "{request:?}");
        }
    }
}

/// Scenario: resource requests and discovery.
/// Guarantees: a SERVER span is named by the method and the route with `{:namespace}` and `{:name}` in it, and
/// by the method alone where no resource is asked for.
#[test]
fn server_spans_are_named_by_their_route() {
    for request in honoured() {
        assert_eq!(&*OBSERVED.spans[OBSERVED.server(request)].name, route(request), "{request:?}");
    }
}

/// Scenario: the API server itself asks for namespaces when it starts.
/// Guarantees: the name of the span has the namespace twice, as the resource and as what it lies in.
#[test]
fn the_route_of_a_namespace_says_it_twice() {
    let asked = |path: &str| path.strip_prefix("/api/v1/namespaces/").is_some_and(|name| !name.contains('/'));
    let servers = OBSERVED.spans.iter().filter(|span| span.kind == Kind::Server && is_api_server(span));
    let found: Vec<_> = servers
        .filter(|span| span.text("url.path").is_some_and(asked))
        .filter(|span| span.text("http.request.method") == Some("GET"))
        .collect();
    assert!(!found.is_empty());
    for span in found {
        assert_eq!(&*span.name, "GET /api/v1/namespaces/{:namespace}/namespaces/{:name}", "{span:?}");
    }
}

/// Scenario: every request whose `traceparent` is honoured.
/// Guarantees: method, path, query, status and size on its SERVER span are those of the ledger: the status a
/// number and not text, the query in `http.target` only.
#[test]
fn server_spans_say_what_was_asked_and_answered() {
    let mut problems = Vec::new();
    for request in honoured() {
        let span = &OBSERVED.spans[OBSERVED.server(request)];
        let path = request.target.split('?').next().unwrap();
        let Outcome::Status(status) = request.outcome else { panic!("{request:?}") };
        let size = i64::try_from(request.received_bytes).unwrap();
        for (key, want) in [
            ("http.request.method", Value::String(request.method.to_string())),
            ("url.path", Value::String(path.to_owned())),
            ("http.target", Value::String(request.target.clone())),
            ("http.response.status_code", Value::Int(i64::from(status))),
            ("http.response.body.size", Value::Int(size)),
            ("network.protocol.version", Value::String("2.0".to_owned())),
        ] {
            let found = span.attributes.get(key);
            if found != Some(&want) {
                problems.push(format!("{key} is {found:?} and not {want:?} for {}", request.target));
            }
        }
    }
    none(&problems);
}

/// Scenario: every request whose `traceparent` is honoured and that has a handler.
/// Guarantees: the handler's span has the verb of the API, in upper case, and the object that was asked for.
#[test]
fn handlers_say_verb_and_object() {
    let mut seen = 0;
    for request in honoured() {
        let Some((name, verb)) = handler(request.verb) else { continue };
        let found = OBSERVED.below(OBSERVED.server(request), name);
        let [handler] = found[..] else { panic!("{found:?} are called {name} below {request:?}") };
        let span = &OBSERVED.spans[handler];
        let path = request.target.split('?').next().unwrap();
        let scope = match (&request.name, request.verb) {
            (Some(_), _) | (None, Verb::Create) => "resource",
            _ => "namespace",
        };
        for (key, want) in [
            ("verb", verb),
            ("resource", &request.resource),
            ("subresource", request.subresource.as_deref().unwrap_or_default()),
            ("namespace", &OBSERVED.evidence.scenario.spec.load.namespace),
            ("name", request.name.as_deref().unwrap_or_default()),
            ("scope", scope),
            ("url", path),
            ("audit-id", request.audit_id.as_deref().unwrap()),
        ] {
            assert_eq!(span.text(key), Some(want), "{key} of {name} for {request:?}");
        }
        seen += 1;
    }
    assert!(seen > 0);
}

/// Scenario: every SERVER span of the API server under load.
/// Guarantees: below it are the four filters, each the only child of the one before and within its time: a
/// filter's duration has all that follows in it, so only its self time is its own.
#[test]
fn filters_nest_in_their_order() {
    let mut seen = 0;
    for (server, _) in OBSERVED.under_load().filter(|(_, span)| span.kind == Kind::Server) {
        let mut outer = server;
        for filter in FILTERS {
            let children: Vec<usize> = OBSERVED.index.children(outer).collect();
            let names: Vec<&str> = children.iter().map(|child| &*OBSERVED.spans[*child].name).collect();
            assert_eq!(names, [filter], "below {:?}", OBSERVED.spans[outer]);
            let (above, below) = (&OBSERVED.spans[outer], &OBSERVED.spans[children[0]]);
            assert!(within(below, above), "{below:?} in {above:?}");
            outer = children[0];
        }
        seen += 1;
    }
    assert!(seen >= honoured().len());
}

/// Scenario: every request whose `traceparent` is honoured.
/// Guarantees: all spans that the API server has in its trace lie within the time of the SERVER span.
#[test]
fn nothing_outlasts_the_server_span() {
    for request in honoured() {
        let server = OBSERVED.server(request);
        let rows = OBSERVED.index.trace_of(server).rows();
        for span in rows.map(|row| &OBSERVED.spans[row]).filter(|span| is_api_server(span)) {
            assert!(within(span, &OBSERVED.spans[server]), "{span:?} in {:?}", OBSERVED.spans[server]);
        }
    }
}

/// Scenario: every SERVER span of the API server under load.
/// Guarantees: its phases add up to its duration, and no span below it is of an unknown kind.
#[test]
fn phases_add_up_and_none_is_unknown() {
    let mut phases = Phases::new(&OBSERVED.index);
    let mut seen = 0;
    for (row, span) in OBSERVED.under_load().filter(|(_, span)| span.kind == Kind::Server) {
        let times = phases.of(row);
        let sum = times.by_phase.iter().map(|(_, time)| *time).sum();
        assert_eq!((times.total, span.duration()), (sum, sum), "{span:?}");
        assert!(!times.by_phase.iter().any(|(phase, _)| *phase == Phase::Other), "{times:?} of {span:?}");
        seen += 1;
    }
    assert!(seen >= honoured().len());
}

/// Scenario: a deployment is created, through both webhooks.
/// Guarantees: both webhooks and the transaction are phases of it, by their names.
#[test]
fn phases_name_webhooks_and_rpcs() {
    let mut phases = Phases::new(&OBSERVED.index);
    for request in OBSERVED.asked(Verb::Create, "deployments") {
        let times = phases.of(OBSERVED.server(request));
        for phase in [Phase::mutating("mutate"), Phase::validating("validate"), Phase::etcd("KV/Txn")] {
            assert!(!times.get(&phase).is_zero(), "{phase} in {times:?}");
        }
    }
}

/// The requests whose `traceparent` is honoured.
fn honoured() -> Vec<&'static RequestRecord> {
    OBSERVED.sent(&Identity::admin(), TraceFlag::Sampled)
}

/// The name of the SERVER span of a request.
fn route(request: &RequestRecord) -> String {
    let Some((api, _)) = request.target.split_once("/namespaces/") else { return request.method.to_string() };
    let mut route = format!("{} {api}/namespaces/{{:namespace}}/{}", request.method, request.resource);
    if request.name.is_some() {
        route.push_str("/{:name}");
    }
    if let Some(subresource) = &request.subresource {
        route.push('/');
        route.push_str(subresource);
    }
    route
}

/// The span of the handler of a verb, and the verb that it names.
fn handler(verb: Verb) -> Option<(&'static str, &'static str)> {
    let handler = match verb {
        Verb::Create => ("Create", "POST"),
        Verb::Get => ("Get", "GET"),
        Verb::List => ("List", "LIST"),
        Verb::WatchList => ("WatchList", "WATCH"),
        Verb::Update => ("Update", "PUT"),
        Verb::Patch => ("Patch", "PATCH"),
        Verb::Apply => ("Patch", "APPLY"),
        Verb::Delete | Verb::DeleteCollection => ("Delete", "DELETE"),
        Verb::Watch | Verb::Discovery => return None,
    };
    assert!(contract::HANDLERS.contains(&handler.0));
    Some(handler)
}
