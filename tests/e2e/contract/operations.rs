//! What single operations leave: webhooks, watches, collections, leases, and etcd's own side.

use std::time::Duration;

use spangate_inject::{Answer, Target};
use spangate_load::Verb;
use spangate_scenario::model::{Identity, TraceFlag};
use spangate_trace::{Kind, Status, TraceContext, contract};

use super::observed::{OBSERVED, is_api_server, within};

/// The number of that gRPC status (`grpc/doc/statuscodes.md`).
const UNAVAILABLE: u8 = 14;

/// Scenario: every call that reached one of the webhooks under load.
/// Guarantees: the `traceparent` that it came with is that of an `HTTP POST` span; the span above that one is
/// a webhook call whose `webhook` has the full name of the fault and whose `configuration` and `UID` are those
/// of the registration and of the review.
#[test]
fn webhook_calls_name_their_webhook() {
    let mut seen = 0;
    for injection in &OBSERVED.evidence.injections {
        let (call, configuration) = match injection.fault.as_str() {
            "mutate" => (contract::MUTATING_WEBHOOK, "spangate-mutating"),
            "validate" | "broken" => (contract::VALIDATING_WEBHOOK, "spangate-validating"),
            _ => continue,
        };
        let Target::Webhook { uid, operation, .. } = &injection.target else { panic!("{injection:?}") };
        let sent = injection.parent.unwrap();
        if !sent.sampled {
            continue;
        }
        let http = OBSERVED.index.by_span(sent.trace_id, sent.span_id).unwrap();
        assert_eq!((&*OBSERVED.spans[http].name, OBSERVED.spans[http].kind), ("HTTP POST", Kind::Client));
        let above = OBSERVED.above(http).unwrap();
        assert_eq!(&*above.name, call);
        for (key, want) in [
            (contract::WEBHOOK_ATTRIBUTE, contract::webhook_name(&injection.fault).as_str()),
            (contract::CONFIGURATION_ATTRIBUTE, configuration),
            ("UID", uid),
            ("operation", operation),
        ] {
            assert_eq!(above.text(key), Some(want), "{key} of {above:?}");
        }
        seen += 1;
    }
    assert!(seen > 0);
}

/// Scenario: deployments are created by a privileged caller whose traceparent has the flag 00.
/// Guarantees: the webhooks are called with the caller's trace id and the flag 00, so an unsampled call can be
/// told from one that lost its trace.
#[test]
fn unsampled_requests_are_passed_on_as_such() {
    let mut requests = OBSERVED.sent(&Identity::admin(), TraceFlag::Unsampled);
    requests.retain(|request| request.verb == Verb::Create);
    assert!(!requests.is_empty());
    for request in requests {
        let trace = request.sent.unwrap().trace_id;
        for fault in ["mutate", "validate"] {
            let calls = OBSERVED.evidence.injections.iter().filter(|call| call.fault == fault);
            let passed: Vec<_> =
                calls.filter_map(|call| call.parent).filter(|it| it.trace_id == trace).collect();
            assert!(matches!(passed[..], [TraceContext { sampled: false, .. }]), "{passed:?} of {request:?}");
        }
    }
}

/// Scenario: every transaction on events that the proxy in front of etcd answered itself.
/// Guarantees: the `traceparent` that it came with is that of an `etcdserverpb.KV/Txn` span, which says
/// UNAVAILABLE.
#[test]
fn rpcs_carry_the_traceparent_of_their_span() {
    let mut seen = 0;
    for injection in OBSERVED.evidence.injections.iter().filter(|it| it.answer == Answer::Grpc(UNAVAILABLE)) {
        let sent = injection.parent.unwrap();
        let row = OBSERVED.index.by_span(sent.trace_id, sent.span_id).unwrap();
        let span = &OBSERVED.spans[row];
        assert_eq!((&*span.name, span.kind), ("etcdserverpb.KV/Txn", Kind::Client));
        assert_eq!(span.text("rpc.response.status_code"), Some("UNAVAILABLE"), "{span:?}");
        seen += 1;
    }
    assert!(seen > 0);
}

/// Scenario: a validating webhook answers 500, and its failure is ignored.
/// Guarantees: the request succeeds; the call lacks the event `Request completed`, and only the HTTP span
/// below it has the status Error.
#[test]
fn a_failed_webhook_call_shows_in_its_http_span_only() {
    for request in OBSERVED.asked(Verb::Create, "pods") {
        let server = OBSERVED.server(request);
        let calls = OBSERVED.below(server, contract::VALIDATING_WEBHOOK);
        let [call] = calls[..] else { panic!("{calls:?} in {request:?}") };
        assert!(OBSERVED.spans[call].events.is_empty(), "{:?}", OBSERVED.spans[call]);
        let failed =
            OBSERVED.index.subtree(server).filter(|step| OBSERVED.spans[step.row].status == Status::Error);
        let failed: Vec<usize> = failed.map(|step| step.row).collect();
        assert_eq!(failed, OBSERVED.below(call, "HTTP POST"));
    }
}

/// Scenario: deployments are patched and applied, through both webhooks.
/// Guarantees: the webhook calls are siblings of `GuaranteedUpdate etcd3`, yet lie within its time; a tree
/// alone would count them twice.
#[test]
fn webhooks_of_a_change_run_within_their_sibling() {
    for verb in [Verb::Patch, Verb::Apply] {
        for request in OBSERVED.asked(verb, "deployments") {
            let server = OBSERVED.server(request);
            let [update] = OBSERVED.below(server, "GuaranteedUpdate etcd3")[..] else {
                panic!("{request:?}")
            };
            let update_span = &OBSERVED.spans[update];
            for call in [contract::MUTATING_WEBHOOK, contract::VALIDATING_WEBHOOK] {
                for row in OBSERVED.below(server, call) {
                    let span = &OBSERVED.spans[row];
                    assert_eq!(span.parent, update_span.parent);
                    assert!(within(span, update_span), "{span:?} in {update_span:?}");
                }
            }
        }
    }
}

/// Scenario: watches with and without initial events, held for a second.
/// Guarantees: a plain watch has no handler span and never a `WatchServer.HandleHTTP`; with initial events both
/// end when those are out, long before the SERVER span, which ends with the stream.
#[test]
fn the_server_span_of_a_watch_ends_with_the_stream() {
    let held = Duration::from_millis(900);
    for verb in [Verb::Watch, Verb::WatchList] {
        for request in OBSERVED.asked(verb, "configmaps") {
            let server = OBSERVED.server(request);
            let span = &OBSERVED.spans[server];
            assert!(span.duration() >= held, "{span:?}");
            let writers = OBSERVED.below(server, "WatchServer.HandleHTTP");
            let handlers = OBSERVED.below(server, "WatchList");
            if verb == Verb::Watch {
                assert_eq!((writers.len(), handlers.len()), (0, 0), "{request:?}");
                continue;
            }
            let ([writer], [handler]) = (&writers[..], &handlers[..]) else { panic!("{request:?}") };
            let (writer, handler) = (&OBSERVED.spans[*writer], &OBSERVED.spans[*handler]);
            assert_eq!(writer.parent, Some(handler.span_id));
            assert!(handler.duration() < held && writer.duration() < held, "{handler:?} {writer:?}");
        }
    }
}

/// Scenario: all of the API server's spans, those of its start too.
/// Guarantees: `WatchServer.HandleHTTP` arrives only below `WatchList`; that of other watches never ends.
#[test]
fn watch_server_arrives_only_of_watch_lists() {
    let rows = 0..OBSERVED.spans.len();
    let writers: Vec<usize> =
        rows.filter(|row| &*OBSERVED.spans[*row].name == "WatchServer.HandleHTTP").collect();
    assert!(!writers.is_empty());
    for row in writers {
        assert_eq!(
            OBSERVED.above(row).map(|above| &*above.name),
            Some("WatchList"),
            "{:?}",
            OBSERVED.spans[row]
        );
    }
}

/// Scenario: collections of four objects are deleted.
/// Guarantees: each object is read and deleted on its own: one `Get etcd3` and at least one transaction each.
#[test]
fn a_collection_is_deleted_object_by_object() {
    let objects = OBSERVED.evidence.scenario.spec.load.objects as usize;
    for resource in ["configmaps", "pods"] {
        for request in OBSERVED.asked(Verb::DeleteCollection, resource) {
            let server = OBSERVED.server(request);
            assert_eq!(OBSERVED.below(server, "Get etcd3").len(), objects, "{request:?}");
            assert!(OBSERVED.below(server, "etcdserverpb.KV/Txn").len() >= objects, "{request:?}");
        }
    }
}

/// Scenario: events are created for longer than they share a lease.
/// Guarantees: a lease is granted for some of them and most go without.
#[test]
fn a_lease_is_granted_for_some_events_only() {
    let events = OBSERVED.asked(Verb::Create, "events");
    let grants =
        |request: &&&_| !OBSERVED.below(OBSERVED.server(request), "etcdserverpb.Lease/LeaseGrant").is_empty();
    let granted = events.iter().filter(grants).count();
    assert!((1..events.len()).contains(&granted), "{granted} of {}", events.len());
}

/// Scenario: etcd traces too, and configmaps are created.
/// Guarantees: etcd's SERVER span is the child of the API server's CLIENT span of the same name and lies in the
/// same trace; below it is `txn` with the key. It is no request of the API server.
#[test]
fn etcd_continues_the_trace() {
    for request in OBSERVED.asked(Verb::Create, "configmaps") {
        let server = OBSERVED.server(request);
        let [call] = OBSERVED.below(server, "etcdserverpb.KV/Txn")[..] else { panic!("{request:?}") };
        let callee: Vec<usize> = OBSERVED.index.children(call).collect();
        let [callee] = callee[..] else { panic!("{callee:?} below {request:?}") };
        let span = &OBSERVED.spans[callee];
        assert_eq!(
            (span.kind, &*span.service, &*span.name),
            (Kind::Server, contract::ETCD, "etcdserverpb.KV/Txn")
        );
        assert!(!contract::is_server_span(&OBSERVED.evidence.capture, OBSERVED.index.row(callee)));
        let below: Vec<_> = OBSERVED.index.children(callee).map(|row| &OBSERVED.spans[row]).collect();
        let [txn] = below[..] else { panic!("{below:?}") };
        assert_eq!(&*txn.name, "txn");
        let key = txn.text("compare_first_key").unwrap();
        assert!(key.starts_with("/registry/configmaps/"), "{key}");
    }
}

/// Scenario: every span of the run.
/// Guarantees: it is of the service `apiserver` or `etcd`.
#[test]
fn the_services_are_called_apiserver_and_etcd() {
    let etcd = OBSERVED.spans.iter().filter(|span| !is_api_server(span));
    let mut seen = 0;
    for span in etcd {
        assert_eq!(&*span.service, contract::ETCD, "{span:?}");
        seen += 1;
    }
    assert!((1..OBSERVED.spans.len()).contains(&seen));
}
