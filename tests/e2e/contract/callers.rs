//! Who is traced, in which trace, and where `authentication` lies.

use std::collections::BTreeSet;

use spangate_scenario::{
    model::{Identity, TraceFlag},
    units::PerMillion,
};
use spangate_trace::{RatioSampler, Span, TraceId, contract};

use super::observed::{OBSERVED, Observed, is_api_server, within};
use crate::harness::{plan, root, run_plan};

/// Every kind of caller, and no sampling rate.
pub(super) const QUIET: &str = "tests/e2e/contract/quiet.yaml";

/// Scenario: a privileged caller sends a sampled traceparent.
/// Guarantees: its request joins the caller's trace, and `authentication` is not in it.
#[test]
fn a_privileged_caller_with_a_traceparent_has_no_authentication_in_its_trace() {
    for request in OBSERVED.sent(&Identity::admin(), TraceFlag::Sampled) {
        let names = names(&OBSERVED, request.sent.unwrap().trace_id);
        assert!(names.contains(contract::AUDIT) && !names.contains(contract::AUTHENTICATION), "{names:?}");
    }
}

/// Scenario: a privileged caller sends no traceparent, and the rate is one million.
/// Guarantees: `authentication` is the root of the trace and the SERVER span its only child, within its time.
#[test]
fn a_privileged_caller_without_a_traceparent_has_authentication_as_its_root() {
    for request in OBSERVED.sent(&Identity::admin(), TraceFlag::None) {
        let row = OBSERVED.server(request);
        let (server, above) = (&OBSERVED.spans[row], OBSERVED.index.parent(row).unwrap());
        let root = &OBSERVED.spans[above];
        assert_eq!((&*root.name, root.parent), (contract::AUTHENTICATION, None), "{root:?}");
        assert_eq!(OBSERVED.index.children(above).collect::<Vec<_>>(), [row]);
        assert!(within(server, root), "{server:?} in {root:?}");
    }
}

/// Scenario: every kind of caller.
/// Guarantees: each request whose SERVER span is not below `authentication` has left such a span alone in a
/// trace of its own, even where the traceparent said not to sample.
#[test]
fn the_other_callers_leave_authentication_alone_in_its_trace() {
    let alone = OBSERVED
        .under_load()
        .filter(|(_, span)| &*span.name == contract::AUTHENTICATION && span.parent.is_none())
        .filter(|(_, span)| OBSERVED.index.by_trace(span.trace_id).is_some_and(|trace| trace.len() == 1));
    let requests = OBSERVED.requests().len() - OBSERVED.sent(&Identity::admin(), TraceFlag::None).len();
    let alone = alone.count();
    assert!(alone >= requests, "{alone} spans for {requests} requests");
}

/// Scenario: a privileged caller sends a traceparent with the flag 00, and the rate is one million.
/// Guarantees: no span has its trace id and none its audit id.
#[test]
fn an_unsampled_traceparent_of_a_privileged_caller_leaves_nothing() {
    for request in OBSERVED.sent(&Identity::admin(), TraceFlag::Unsampled) {
        assert!(OBSERVED.index.by_trace(request.sent.unwrap().trace_id).is_none(), "{request:?}");
        assert_eq!(OBSERVED.servers(request), [0; 0], "{request:?}");
    }
}

/// Scenario: an unprivileged caller sends a sampled traceparent, an unsampled one, or none.
/// Guarantees: the SERVER span is a root in a new trace without `authentication`; its only link is to what was
/// sent, whatever the flag, and nothing has the trace id that was sent.
#[test]
fn an_unprivileged_caller_gets_a_root_with_a_link() {
    for flag in [TraceFlag::Sampled, TraceFlag::Unsampled, TraceFlag::None] {
        for request in OBSERVED.sent(&Identity::unprivileged(), flag) {
            let span = &OBSERVED.spans[OBSERVED.server(request)];
            assert_eq!(span.parent, None, "{request:?}");
            assert!(!names(&OBSERVED, span.trace_id).contains(contract::AUTHENTICATION), "{request:?}");
            let links: Vec<_> = span.links.iter().map(|link| (link.trace_id, link.span_id)).collect();
            let sent: Vec<_> = request.sent.iter().map(|sent| (sent.trace_id, sent.span_id)).collect();
            assert_eq!(links, sent, "{request:?}");
            assert!(request.sent.is_none_or(|sent| OBSERVED.index.by_trace(sent.trace_id).is_none()));
        }
    }
}

/// Scenario: a privileged caller, with and without a traceparent.
/// Guarantees: no link.
#[test]
fn a_privileged_caller_gets_no_link() {
    for flag in [TraceFlag::Sampled, TraceFlag::None] {
        for request in OBSERVED.sent(&Identity::admin(), flag) {
            assert!(OBSERVED.spans[OBSERVED.server(request)].links.is_empty(), "{request:?}");
        }
    }
}

/// Scenario: no sampling rate is set; every kind of caller sends requests.
/// Guarantees: privileged requests with a sampled traceparent are traced, and under load no other span arrives
/// at all: none of other callers, none of the background, no `authentication`.
#[test]
fn without_a_rate_only_a_sampled_privileged_traceparent_is_traced() {
    let observed = Observed::run(plan(&root().join(QUIET)));
    let honoured = observed.sent(&Identity::admin(), TraceFlag::Sampled);
    for request in &honoured {
        observed.server(request);
    }
    let sent: BTreeSet<TraceId> = honoured.iter().filter_map(|it| it.sent).map(|it| it.trace_id).collect();
    let other: Vec<&Span> =
        observed.under_load().map(|(_, span)| span).filter(|span| !sent.contains(&span.trace_id)).collect();
    assert!(other.is_empty(), "{other:#?}");
}

/// Scenario: the rate is one half.
/// Guarantees: every trace that the API server began itself has an id that the oracle keeps at that rate, those
/// of its start too.
#[test]
fn the_rate_keeps_the_traces_that_the_oracle_keeps() {
    let rate = PerMillion::new(500_000).unwrap();
    let mut plan = plan(&root().join(QUIET));
    plan.scenario.spec.cluster.tracing.sampling_rate_per_million = Some(rate);
    let observed = Observed::run(plan);
    let oracle = RatioSampler::per_million(rate.get());
    let begun: BTreeSet<TraceId> = observed
        .spans
        .iter()
        .filter(|span| is_api_server(span) && span.parent.is_none())
        .map(|span| span.trace_id)
        .collect();
    assert!(begun.len() > 50, "{} traces could be kept by chance", begun.len());
    let others: Vec<_> = begun.iter().filter(|trace| !oracle.keeps(**trace)).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Scenario: 1.37 is started with the feature gate that switched tracing on in older releases.
/// Guarantees: it does not start, and says that it does not know the gate.
#[test]
fn the_gate_of_older_releases_keeps_it_from_starting() {
    let mut plan = plan(&root().join(QUIET));
    plan.scenario.spec.cluster.api_server.feature_gates.insert("APIServerTracing".to_owned(), true);
    let error = run_plan(plan).map(|(report, _)| report).expect_err("it must not start");
    assert!(error.contains("unrecognized feature gate: APIServerTracing"), "{error}");
}

/// The names of the API server's spans in a trace.
fn names(observed: &Observed, trace: TraceId) -> BTreeSet<&str> {
    let trace = observed.index.by_trace(trace).unwrap();
    let spans = trace.rows().map(|row| &observed.spans[row]).filter(|span| is_api_server(span));
    spans.map(|span| &*span.name).collect()
}
