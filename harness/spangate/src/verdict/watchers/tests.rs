use std::time::Duration;

use spangate_load::WatchEvent;
use spangate_scenario::model::Percentiles;
use spangate_trace::UnixNanos;

use super::*;
use crate::{
    evidence::Evidence,
    testing::{Run, request},
    verdict::Status::{Fail, Inconclusive, Pass},
};

/// What an event is late by.
const LAG: Duration = Duration::from_millis(5);

fn watchers(mode: &str, further: &serde_json::Value) -> Watchers {
    let mut watchers = serde_json::json!({"count": 2, "resource": "configmaps", "mode": mode});
    watchers.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    serde_json::from_value(watchers).unwrap()
}

/// A request of watcher `index`, open over the whole run.
fn watch(index: u32, step: u32, verb: Verb, evidence: &Evidence) -> RequestRecord {
    let (start, end) = (evidence.facts.load_start.0 - 1_000_000, evidence.facts.load_end);
    RequestRecord {
        arrival: watchers::arrival(index),
        step,
        verb,
        started: UnixNanos(start),
        ended: end,
        outcome: Outcome::Status(200),
        target: "/api/v1/namespaces/spangate-load/configmaps?watch=true".to_owned(),
        ..request()
    }
}

/// A run of 120 creates of which two watchers heard in time.
fn run(watchers: Watchers) -> Evidence {
    let mut evidence = Run::of_creates(120).evidence();
    evidence.scenario.spec.load.watchers = vec![watchers];
    let mut watched = Vec::new();
    for create in &evidence.requests {
        for index in 0..2 {
            watched.push(WatchRecord {
                watcher: "configmaps".into(),
                index,
                step: 0,
                at: create.started + LAG,
                event: WatchEvent::Added,
                namespace: "spangate-load".to_owned(),
                name: create.name.clone().unwrap(),
                resource_version: "1".to_owned(),
                revision: Some(0),
                initial: false,
            });
        }
    }
    let opened = [0, 1].map(|index| watch(index, 0, Verb::WatchList, &evidence));
    evidence.requests.extend(opened);
    evidence.with_watched(watched)
}

fn plain() -> Evidence {
    run(watchers("watch", &serde_json::json!({})))
}

fn expect() -> WatchersExpectation {
    let lag = Percentiles {
        p99: Some("< 10ms".parse().unwrap()),
        max: Some("< 20ms".parse().unwrap()),
        ..Percentiles::default()
    };
    WatchersExpectation {
        name: None,
        lag: Some(lag),
        missed: Some("0".parse().unwrap()),
        reopened: Some("0".parse().unwrap()),
    }
}

fn judged(evidence: &Evidence) -> Verdict {
    judge(&expect(), &Case::new(evidence))
}

fn told(verdict: &Verdict, what: &str) -> Option<String> {
    verdict.checks.iter().find(|check| check.what.starts_with(what)).map(|check| check.observed.clone())
}

#[test]
fn every_watcher_that_heard_of_every_write_passes() {
    let verdict = judged(&plain());
    assert_eq!(verdict.status, Pass, "{verdict:?}");
    assert_eq!(verdict.checks[0].n, 240);
    assert_eq!(told(&verdict, "p99").as_deref(), Some("5.00ms"));
    assert_eq!(told(&verdict, "left out"), None);
}

#[test]
fn an_event_that_is_not_there_was_missed() {
    let mut evidence = plain();
    evidence.watched.remove(7);
    let verdict = judged(&evidence);
    assert_eq!((verdict.status, told(&verdict, "missed").as_deref()), (Fail, Some("1")));
    assert_eq!(verdict.examples[0], Run::trace(3));
}

#[test]
fn an_event_of_another_object_type_or_namespace_is_not_its_own() {
    let falsify: [fn(&mut WatchRecord); 5] = [
        |record| record.name = "cm-0x".to_owned(),
        |record| record.namespace = "default".to_owned(),
        |record| record.event = WatchEvent::Modified,
        |record| record.initial = true,
        |record| record.at = UnixNanos(record.at.0 - 1_000_000_000),
    ];
    for (number, falsify) in falsify.into_iter().enumerate() {
        let mut evidence = plain();
        falsify(&mut evidence.watched[0]);
        assert_eq!(told(&judged(&evidence), "missed").as_deref(), Some("1"), "falsification {number}");
    }
}

#[test]
fn an_event_that_is_late_turns_the_lag_red() {
    let mut evidence = plain();
    evidence.watched[10].at = evidence.watched[10].at + Duration::from_millis(30);
    let verdict = judged(&evidence);
    assert_eq!((verdict.status, told(&verdict, "max").as_deref()), (Fail, Some("35.0ms")));
    assert_eq!(verdict.examples[0], Run::trace(5));
}

#[test]
fn a_change_is_known_by_its_revision_and_a_deletion_by_its_name() {
    let as_patch = |evidence: &mut Evidence, revision: Option<u64>| {
        (evidence.requests[4].verb, evidence.requests[4].outcome) = (Verb::Patch, Outcome::Status(200));
        for record in &mut evidence.watched[8..10] {
            (record.event, record.revision) = (WatchEvent::Modified, revision);
        }
    };
    for (revision, missed) in [(Some(4), "0"), (Some(5), "2"), (None, "2")] {
        let mut evidence = plain();
        as_patch(&mut evidence, revision);
        assert_eq!(told(&judged(&evidence), "missed").as_deref(), Some(missed), "{revision:?}");
    }
    for (event, missed) in [(WatchEvent::Deleted, "0"), (WatchEvent::Modified, "2")] {
        let mut evidence = plain();
        evidence.requests[4].verb = Verb::Delete;
        evidence.watched[8..10].iter_mut().for_each(|record| record.event = event);
        assert_eq!(told(&judged(&evidence), "missed").as_deref(), Some(missed), "{event}");
    }
}

#[test]
fn a_watch_that_was_opened_again_is_counted() {
    let mut evidence = plain();
    let again = watch(1, 1, Verb::Watch, &evidence);
    let refused = RequestRecord { outcome: Outcome::Status(429), ..watch(1, 2, Verb::Watch, &evidence) };
    evidence.requests.extend([again, refused]);
    let verdict = judged(&evidence);
    assert_eq!((verdict.status, told(&verdict, "reopened").as_deref()), (Fail, Some("1")));
}

#[test]
fn a_state_that_was_asked_for_later_tells_of_what_was_missed() {
    for (mode, status, restated) in
        [("watch", Fail, None), ("listWatch", Pass, Some("1")), ("watchList", Pass, Some("1"))]
    {
        let mut evidence = run(watchers(mode, &serde_json::json!({})));
        evidence.watched.remove(7);
        let mut list = watch(1, 1, Verb::List, &evidence);
        list.started = evidence.requests[3].ended;
        evidence.requests.push(list);
        let verdict = judged(&evidence);
        assert_eq!((verdict.status, told(&verdict, "heard of").as_deref()), (status, restated), "{mode}");
    }
}

#[test]
fn what_was_under_way_while_a_watcher_began_again_is_left_out() {
    let mut evidence = run(watchers("listWatch", &serde_json::json!({})));
    evidence.watched.remove(7);
    let mut list = watch(1, 1, Verb::List, &evidence);
    list.started = evidence.requests[3].started + Duration::from_micros(10);
    let further = RequestRecord {
        started: evidence.requests[9].ended,
        target: format!("{}&continue=x", list.target),
        ..list.clone()
    };
    evidence.requests.extend([list, further]);
    let verdict = judged(&evidence);
    assert_eq!(
        (told(&verdict, "missed").as_deref(), told(&verdict, "left out").as_deref()),
        (Some("0"), Some("1"))
    );
    assert_eq!(verdict.checks[0].n, 239);
}

#[test]
fn watchers_of_something_else_hear_nothing_and_need_not() {
    for further in [
        serde_json::json!({"resource": "pods"}),
        serde_json::json!({"labelSelector": "app=web"}),
        serde_json::json!({"labelSelector": "spangate.io/run notin (made-up)"}),
        serde_json::json!({"fieldSelector": "metadata.name=pool-0"}),
    ] {
        let mut evidence = run(watchers("watch", &further));
        evidence.watched.clear();
        let verdict = judged(&evidence);
        assert_eq!((verdict.status, told(&verdict, "left out")), (Inconclusive, None), "{further}");
    }
    let mut evidence = run(watchers("watch", &serde_json::json!({"fieldSelector": "status.phase=Running"})));
    evidence.watched.clear();
    let verdict = judged(&evidence);
    assert_eq!((verdict.status, told(&verdict, "left out").as_deref()), (Inconclusive, Some("240")));
}

#[test]
fn without_writes_or_watchers_nothing_is_decided() {
    let mut evidence = plain();
    evidence.requests.retain(RequestRecord::is_of_watcher);
    assert_eq!(judged(&evidence).status, Inconclusive);
    let mut evidence = plain();
    evidence.watched.clear();
    evidence.requests.retain(|request| !request.is_of_watcher());
    assert_eq!(judged(&evidence).status, Inconclusive);
    let named = WatchersExpectation { name: Some("others".to_owned()), ..expect() };
    assert_eq!(judge(&named, &Case::new(&plain())).status, Inconclusive);
}
