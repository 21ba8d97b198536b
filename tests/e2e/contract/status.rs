//! Which spans say that something failed, and how.

use std::collections::BTreeSet;

use spangate_trace::{Kind, Status, contract};

use super::observed::OBSERVED;

/// Scenario: answers below and above 500, among them 404.
/// Guarantees: a SERVER span has the status Error from 500 on and is Unset below, never with a message.
#[test]
fn server_spans_fail_from_500_on() {
    let mut seen = BTreeSet::new();
    for (_, span) in OBSERVED.under_load().filter(|(_, span)| span.kind == Kind::Server) {
        let code = span.int("http.response.status_code").unwrap();
        let want = if code >= 500 { Status::Error } else { Status::Unset };
        assert_eq!((span.status, span.status_message.as_str()), (want, ""), "{span:?}");
        seen.insert(code);
    }
    assert!(seen.is_superset(&BTreeSet::from([200, 201, 404, 500])), "{seen:?}");
}

/// Scenario: a webhook that answers 500, one that answers, and calls of the API server to itself.
/// Guarantees: the CLIENT span of an HTTP call has the status Error from 400 on, with the status as text in
/// `error.type`; else it is Unset and has no such attribute.
#[test]
fn http_calls_fail_from_400_on() {
    let mut failed = 0;
    let mut fine = 0;
    for (_, span) in OBSERVED.under_load() {
        if span.kind != Kind::Client || !span.name.starts_with(contract::HTTP_CLIENT_PREFIX) {
            continue;
        }
        let code = span.int("http.response.status_code").unwrap();
        let error_type = code.to_string();
        let (status, error_type, count) = match code {
            400.. => (Status::Error, Some(error_type.as_str()), &mut failed),
            _ => (Status::Unset, None, &mut fine),
        };
        assert_eq!((span.status, span.text("error.type")), (status, error_type), "{span:?}");
        *count += 1;
    }
    assert!(failed > 0 && fine > 0, "{failed} failed, {fine} did not");
}

/// Scenario: some transactions on events are answered with UNAVAILABLE.
/// Guarantees: the CLIENT span of an RPC has the status Error and the message of the answer unless its
/// `rpc.response.status_code` is `OK`; codes are in upper case with underscores.
#[test]
fn rpcs_fail_unless_they_are_ok() {
    let mut seen = BTreeSet::new();
    for (_, span) in OBSERVED.under_load() {
        if span.kind != Kind::Client || contract::etcd_rpc(&span.name).is_none() {
            continue;
        }
        let code = span.text("rpc.response.status_code").unwrap();
        let want = if code == "OK" { Status::Unset } else { Status::Error };
        assert_eq!((span.status, span.status_message.is_empty()), (want, code == "OK"), "{span:?}");
        seen.insert(code);
    }
    assert!(seen.is_superset(&BTreeSet::from(["OK", "UNAVAILABLE"])), "{seen:?}");
}

/// Scenario: requests that fail in a webhook, in storage and in the handler.
/// Guarantees: no internal span says so by its status, from the filters down to storage.
#[test]
fn internal_spans_never_fail() {
    let internal = || OBSERVED.under_load().filter(|(_, span)| span.kind == Kind::Internal);
    let failing = |row| {
        OBSERVED.index.ancestors(row).any(|above| OBSERVED.spans[above].status == Status::Error)
            || OBSERVED.index.children(row).any(|below| OBSERVED.spans[below].status == Status::Error)
    };
    for (_, span) in internal() {
        assert_eq!((span.status, span.status_message.as_str()), (Status::Unset, ""), "{span:?}");
    }
    assert!(internal().any(|(row, _)| failing(row)), "nothing failed around an internal span");
}
