//! A real run is falsified afterwards, in one place at a time; the verdict that guards that place must turn
//! red. A check that stays green here would prove nothing anywhere.

use std::sync::LazyLock;

use spangate::{
    evidence::Evidence,
    saved,
    verdict::{self, Status, Verdict},
};
use spangate_trace::{Capture, Kind, Span, Value, contract};

use crate::harness::run_scenario;

const WEBHOOK: &str = "slow-mutate";
const ETCD: &str = "slow-writes";

/// One real run for all tests of this file, read back from what it saved.
static RUN: LazyLock<Parts> = LazyLock::new(|| {
    let (_, directory) = run_scenario("quickstart");
    let evidence = saved::read(&directory, None).unwrap();
    let spans = (0..evidence.capture.rows().len()).map(|row| evidence.capture.span(row)).collect();
    Parts { evidence, spans }
});

struct Parts {
    evidence: Evidence,
    spans: Vec<Span>,
}

/// Judges the run again with other spans.
fn with_spans(change: impl FnOnce(&mut Vec<Span>)) -> Vec<Verdict> {
    let mut spans = RUN.spans.clone();
    change(&mut spans);
    judge(Capture::from_spans(spans), |_| {})
}

/// Judges the run again with another ledger.
fn with_ledger(change: impl FnOnce(&mut Evidence)) -> Vec<Verdict> {
    judge(RUN.evidence.capture.clone(), change)
}

fn judge(capture: Capture, change: impl FnOnce(&mut Evidence)) -> Vec<Verdict> {
    let Evidence { scenario, requests, injections, facts, .. } = &RUN.evidence;
    let mut evidence =
        Evidence::new(scenario.clone(), requests.clone(), injections.clone(), capture, facts.clone());
    change(&mut evidence);
    verdict::judge(&evidence)
}

fn status(verdicts: &[Verdict], expectation: &str) -> Status {
    let found = verdicts.iter().find(|verdict| verdict.expectation.starts_with(expectation));
    found.unwrap_or_else(|| panic!("no verdict on {expectation:?} in {verdicts:#?}")).status
}

/// Scenario: the saved run is judged again as it is.
/// Guarantees: what turns red below is green here, so the falsehood alone made it red.
#[test]
fn the_truth_is_green() {
    for verdict in with_spans(|_| {}) {
        assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    }
}

/// Scenario: both injectors held each call 5 ms less than their ledger says.
/// Guarantees: `injected` is red for each.
#[test]
fn injectors_that_hold_less_than_they_note_are_caught() {
    for fault in [WEBHOOK, ETCD] {
        let verdicts = with_ledger(|evidence| {
            for injection in evidence.injections.iter_mut().filter(|it| it.fault == fault) {
                injection.answered.0 += 5_000_000;
                if let Some(held) = &mut injection.held {
                    held.to.0 += 5_000_000;
                }
            }
        });
        assert_eq!(status(&verdicts, &format!("injected {fault}")), Status::Fail);
    }
}

/// Scenario: a batch of 100 spans never arrived.
/// Guarantees: `complete` is red.
#[test]
fn a_dropped_batch_is_caught() {
    let verdicts = with_spans(|spans| {
        let middle = spans.len() / 2;
        spans.drain(middle..middle + 100);
    });
    assert_eq!(status(&verdicts, "complete"), Status::Fail);
}

/// Scenario: the HTTP span of one webhook call hangs under the handler and not under the call.
/// Guarantees: `injected` is red.
#[test]
fn a_reparented_span_is_caught() {
    let verdicts = with_spans(|spans| {
        let call = spans.iter().find(|span| &*span.name == contract::MUTATING_WEBHOOK && ours(span)).unwrap();
        let (trace, id, handler) = (call.trace_id, call.span_id, call.parent);
        let http = spans
            .iter_mut()
            .find(|span| span.trace_id == trace && span.parent == Some(id) && span.kind == Kind::Client);
        http.unwrap().parent = handler;
    });
    assert_eq!(status(&verdicts, &format!("injected {WEBHOOK}")), Status::Fail);
}

/// Scenario: the attribute `webhook` has another name, as in a release that renames it.
/// Guarantees: `injected` is red.
#[test]
fn a_renamed_attribute_is_caught() {
    let verdicts = with_spans(|spans| {
        for span in spans.iter_mut().filter(|span| &*span.name == contract::MUTATING_WEBHOOK) {
            if let Some(value) = span.attributes.remove(contract::WEBHOOK_ATTRIBUTE) {
                span.attributes.insert("admission.webhook.name".to_owned(), value);
            }
        }
    });
    assert_eq!(status(&verdicts, &format!("injected {WEBHOOK}")), Status::Fail);
}

/// Scenario: the fault ledger names each fault where the other one acted.
/// Guarantees: `blame` is red for both.
#[test]
fn swapped_faults_are_caught() {
    let verdicts = with_ledger(|evidence| {
        for injection in &mut evidence.injections {
            let other = if injection.fault == ETCD { WEBHOOK } else { ETCD };
            other.clone_into(&mut injection.fault);
        }
    });
    for fault in [WEBHOOK, ETCD] {
        assert_ne!(status(&verdicts, &format!("blame {fault}")), Status::Pass);
    }
}

/// Scenario: the request ledger says that one request was sent unsampled.
/// Guarantees: `complete` is red, for its trace must not be there.
#[test]
fn a_trace_that_must_not_be_there_is_caught() {
    let verdicts = with_ledger(|evidence| {
        evidence.requests[7].sent.as_mut().unwrap().sampled = false;
    });
    assert_eq!(status(&verdicts, "complete"), Status::Fail);
}

/// Whether a webhook call is one of our fault's: held or let through, the ledger knows it.
fn ours(span: &Span) -> bool {
    let name = Value::String(contract::webhook_name(WEBHOOK));
    span.attributes.get(contract::WEBHOOK_ATTRIBUTE) == Some(&name)
}
