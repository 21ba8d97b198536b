//! A real run is falsified afterwards, in one place at a time; the verdict that guards that place must turn
//! red. A check that stays green here would prove nothing anywhere.

use std::sync::LazyLock;

use spangate::{
    evidence::Evidence,
    saved,
    verdict::{self, Status, Verdict},
};
use spangate_load::{Outcome, Verb, WatchEvent, WatchRecord, watchers};
use spangate_scenario::model::{Expectation, LoadExpectation, Percentiles};
use spangate_trace::{Capture, Kind, Span, Value, contract};

use crate::harness::run_scenario;

const WEBHOOK: &str = "slow-mutate";
const ETCD: &str = "slow-writes";

/// One real run for all tests of faults and spans, read back from what it saved.
static RUN: LazyLock<Parts> = LazyLock::new(|| {
    let (_, directory) = run_scenario("quickstart");
    let evidence = saved::read(&directory, None).unwrap();
    let spans = (0..evidence.capture.rows().len()).map(|row| evidence.capture.span(row)).collect();
    Parts { evidence, spans }
});

/// One real run for all tests of the load and of watchers. It is also held to what its load must be like; that the
/// machine is a quiet one does not matter here, so the bounds are wide.
static WATCHED: LazyLock<Evidence> = LazyLock::new(|| {
    let (_, directory) = run_scenario("watchers");
    let mut evidence = saved::read(&directory, None).unwrap();
    evidence.scenario.spec.expect.push(Expectation::Load(LoadExpectation {
        achieved: Some(">= 99%".parse().unwrap()),
        start_lag: Some(Percentiles { p50: Some("< 100ms".parse().unwrap()), ..Percentiles::default() }),
        shed: Some("0".parse().unwrap()),
        errors: Some("< 1%".parse().unwrap()),
        skipped: None,
    }));
    evidence
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

/// Judges the run with watchers again with other ledgers.
fn with_watchers(change: impl FnOnce(&mut Evidence)) -> Vec<Verdict> {
    let Evidence { scenario, requests, injections, watched, facts, capture, .. } = &*WATCHED;
    let evidence =
        Evidence::new(scenario.clone(), requests.clone(), injections.clone(), capture.clone(), facts.clone());
    let mut evidence = evidence.with_watched(watched.clone());
    change(&mut evidence);
    verdict::judge(&evidence)
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

/// Scenario: the saved runs are judged again as they are.
/// Guarantees: what turns red below is green here, so the falsehood alone made it red.
#[test]
fn the_truth_is_green() {
    for verdict in with_spans(|_| {}).into_iter().chain(with_watchers(|_| {})) {
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

/// Scenario: the generator started 2 of 100 operations less than it was to, or shed one.
/// Guarantees: `load` is red.
#[test]
fn operations_that_did_not_start_are_caught() {
    let less = with_watchers(|evidence| {
        let generator = &mut evidence.facts.generator;
        generator.started = generator.planned * 98 / 100;
    });
    assert_eq!(status(&less, "load"), Status::Fail);
    let shed = with_watchers(|evidence| evidence.facts.generator.shed = 1);
    assert_eq!(status(&shed, "load"), Status::Fail);
}

/// Scenario: the request ledger says that operations were to start 100 ms earlier.
/// Guarantees: `load` is red.
#[test]
fn a_generator_that_starts_late_is_caught() {
    let verdicts = with_watchers(|evidence| {
        for request in evidence.requests.iter_mut().filter(|request| !request.is_of_watcher()) {
            request.intended.0 -= 100_000_000;
        }
    });
    assert_eq!(status(&verdicts, "load"), Status::Fail);
}

/// Scenario: the request ledger says that 1 of 50 requests was answered with 503, or not at all.
/// Guarantees: `load` is red for each.
#[test]
fn requests_that_failed_are_caught() {
    for outcome in [Outcome::Status(503), Outcome::Timeout, Outcome::Error("reset".to_owned())] {
        let verdicts = with_watchers(|evidence| {
            for request in evidence.requests.iter_mut().step_by(50) {
                request.outcome = outcome.clone();
            }
        });
        assert_eq!(status(&verdicts, "load"), Status::Fail, "{outcome:?}");
    }
}

/// Scenario: one event of each kind never reached one of the 25 watchers.
/// Guarantees: `watchers` is red for each.
#[test]
fn a_lost_event_is_caught() {
    for event in [WatchEvent::Added, WatchEvent::Modified, WatchEvent::Deleted] {
        let verdicts = with_watchers(|evidence| {
            let lost = written(evidence, event);
            evidence.watched.remove(lost);
        });
        assert_eq!(status(&verdicts, "watchers"), Status::Fail, "{event:?}");
    }
}

/// Scenario: one event is of another change of the same object, of another object, or of another watcher than it was.
/// Guarantees: `watchers` is red for each.
#[test]
fn a_mistaken_event_is_caught() {
    let change =
        |record: &mut WatchRecord| record.revision = record.revision.map(|number| number + 1_000_000);
    let object = |record: &mut WatchRecord| record.name.push('x');
    let watcher = |record: &mut WatchRecord| record.index += 1;
    for (what, change) in [("change", change as fn(&mut _)), ("object", object), ("watcher", watcher)] {
        let verdicts = with_watchers(|evidence| {
            let mistaken = written(evidence, WatchEvent::Modified);
            change(&mut evidence.watched[mistaken]);
        });
        assert_eq!(status(&verdicts, "watchers"), Status::Fail, "another {what}");
    }
}

/// Scenario: every event came 2 s later than the watch ledger says.
/// Guarantees: `watchers` is red.
#[test]
fn a_late_event_is_caught() {
    let verdicts = with_watchers(|evidence| {
        for record in &mut evidence.watched {
            record.at.0 += 2_000_000_000;
        }
    });
    assert_eq!(status(&verdicts, "watchers"), Status::Fail);
}

/// Scenario: an event came before the write that it tells of.
/// Guarantees: `watchers` is red, for it tells of another write.
#[test]
fn an_event_that_is_older_than_its_write_is_caught() {
    let verdicts = with_watchers(|evidence| {
        let early = written(evidence, WatchEvent::Added);
        evidence.watched[early].at = evidence.facts.load_start;
    });
    assert_eq!(status(&verdicts, "watchers"), Status::Fail);
}

/// Scenario: an informer, which opened its watch once, opened it twice.
/// Guarantees: `watchers` is red for the informers.
#[test]
fn a_watch_that_is_opened_again_is_caught() {
    let verdicts = with_watchers(|evidence| {
        let informer = evidence.watched.iter().find(|record| &*record.watcher == "informers").unwrap().index;
        let again = evidence.requests.iter().find(|request| {
            let watches = matches!(request.verb, Verb::Watch | Verb::WatchList);
            watches && watchers::index_of(request.arrival) == Some(informer)
        });
        let again = again.unwrap().clone();
        evidence.requests.push(again);
    });
    assert_eq!(status(&verdicts, "watchers informers"), Status::Fail);
}

/// The place of an event that a write during the load caused, in the middle of the watch ledger.
fn written(evidence: &Evidence, event: WatchEvent) -> usize {
    let wanted = |record: &&WatchRecord| !record.initial && record.event == event;
    let middle = evidence.watched.iter().filter(wanted).count() / 2;
    let places = evidence.watched.iter().enumerate().filter(|(_, record)| wanted(record));
    places.map(|(place, _)| place).nth(middle).unwrap()
}

/// Whether a webhook call is one of our fault's: held or let through, the ledger knows it.
fn ours(span: &Span) -> bool {
    let name = Value::String(contract::webhook_name(WEBHOOK));
    span.attributes.get(contract::WEBHOOK_ATTRIBUTE) == Some(&name)
}
