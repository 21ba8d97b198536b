use proptest::prelude::*;
use serde_json::json;
use spangate_scenario::model::{Identity, Resource, Scope, TraceFlag};

use super::{super::event::Event, *};

const BASE: &str = "/api/v1/namespaces/ns/configmaps";

fn informer(mode: WatchMode) -> Informer {
    informer_of(mode, |_| {})
}

fn informer_of(mode: WatchMode, set: impl FnOnce(&mut Watchers)) -> Informer {
    let mut watchers = Watchers {
        name: None,
        count: 1,
        resource: Resource::Configmaps,
        mode,
        bookmarks: true,
        timeout: None,
        label_selector: None,
        field_selector: None,
        scope: Scope::Namespace,
        identity: Identity::admin(),
        traceparent: TraceFlag::Sampled,
    };
    set(&mut watchers);
    Informer::new(&watchers, 0, Target::collection("ns", Resource::Configmaps))
}

fn page(informer: &mut Informer, version: &str, token: &str) -> Duration {
    let body = json!({"metadata": {"resourceVersion": version, "continue": token}}).to_string();
    informer.page(&Page::parse(body.as_bytes()).unwrap());
    informer.ended(Ending::Page)
}

fn event(informer: &mut Informer, kind: &str, version: &str, end: bool) {
    let annotations = json!({"k8s.io/initial-events-end": end.to_string()});
    let metadata = json!({"name": "x", "resourceVersion": version, "annotations": annotations});
    let line = json!({"type": kind, "object": {"metadata": metadata}}).to_string();
    let Ok(Event::Object(event, object)) = Event::parse(line.as_bytes()) else { panic!("{line}") };
    informer.event(event, &object);
}

fn asked(informer: &Informer) -> (Verb, String) {
    let request = informer.request();
    (request.verb, request.target.strip_prefix(BASE).unwrap().to_owned())
}

fn watch_from(version: u64) -> (Verb, String) {
    let query = format!("?allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=300&watch=true");
    (Verb::Watch, query)
}

fn stream() -> (Verb, String) {
    let query = "?allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&\
                 timeoutSeconds=300&watch=true";
    (Verb::WatchList, query.to_owned())
}

#[test]
fn a_plain_watch_begins_from_now_and_keeps_no_state() {
    let mut informer = informer(WatchMode::Watch);
    assert_eq!(asked(&informer), (Verb::List, "?limit=1".to_owned()));
    assert!(!informer.keeps_state());
    assert_eq!(page(&mut informer, "7", "there is more"), Duration::ZERO);
    assert_eq!(asked(&informer), watch_from(7));
    assert!(!informer.is_initial());
}

#[test]
fn a_list_is_read_page_by_page_before_the_watch() {
    let mut informer = informer(WatchMode::ListWatch);
    assert_eq!(asked(&informer), (Verb::List, "?limit=500".to_owned()));
    page(&mut informer, "7", "next");
    assert_eq!(asked(&informer), (Verb::List, "?continue=next&limit=500".to_owned()));
    assert!(informer.is_initial());
    page(&mut informer, "7", "");
    assert_eq!(asked(&informer), watch_from(7));
}

#[test]
fn the_state_of_a_stream_ends_with_its_bookmark() {
    let mut informer = informer(WatchMode::WatchList);
    assert_eq!(asked(&informer), stream());
    event(&mut informer, "ADDED", "9", false);
    event(&mut informer, "BOOKMARK", "9", false);
    assert!(informer.is_initial());
    // Cut off within the state, it knows no version to go on from.
    informer.ended(Ending::Failed);
    assert_eq!(asked(&informer), stream());
    event(&mut informer, "BOOKMARK", "9", true);
    assert!(!informer.is_initial());
    informer.ended(Ending::Closed(Duration::from_mins(5)));
    assert_eq!(asked(&informer), watch_from(9));
}

#[test]
fn selectors_and_the_time_limit_are_those_of_the_scenario() {
    let informer = informer_of(WatchMode::Watch, |watchers| {
        watchers.label_selector = Some("a=b".to_owned());
        watchers.field_selector = Some("metadata.name=x".to_owned());
        (watchers.bookmarks, watchers.timeout) =
            (false, Some(spangate_scenario::units::Duration::from_millis(1500)));
    });
    let selectors = "fieldSelector=metadata.name%3Dx&labelSelector=a%3Db";
    assert_eq!(asked(&informer).1, format!("?{selectors}&limit=1"));
    let mut informer = informer;
    page(&mut informer, "3", "");
    assert_eq!(asked(&informer).1, format!("?{selectors}&resourceVersion=3&timeoutSeconds=2&watch=true"));
    assert_eq!(informer.hold(), Duration::from_secs(2));
}

#[test]
fn what_is_too_old_begins_again_with_the_state() {
    for (mode, first) in [
        (WatchMode::Watch, (Verb::List, "?limit=1".to_owned())),
        (WatchMode::ListWatch, (Verb::List, "?limit=500".to_owned())),
        (WatchMode::WatchList, stream()),
    ] {
        let mut informer = informer(mode);
        informer.state = State::Watch("5".to_owned());
        assert!(informer.ended(Ending::Gone) >= FIRST_WAIT);
        assert_eq!(asked(&informer), first);
    }
    let mut informer = informer(WatchMode::ListWatch);
    page(&mut informer, "5", "expires");
    informer.ended(Ending::Gone);
    assert_eq!(asked(&informer).1, "?limit=500");
}

#[test]
fn waits_grow_until_a_watch_is_of_use_again() {
    let mut informer = informer(WatchMode::Watch);
    page(&mut informer, "1", "");
    let waits: Vec<_> = (0..8).map(|_| informer.ended(Ending::Failed).as_millis()).collect();
    assert_eq!(waits, [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    assert_eq!(informer.ended(Ending::Closed(Duration::from_millis(10))), LONGEST_WAIT);
    event(&mut informer, "ADDED", "2", false);
    assert_eq!(informer.ended(Ending::Closed(Duration::ZERO)), Duration::ZERO);
    assert_eq!(informer.ended(Ending::Closed(Duration::ZERO)), FIRST_WAIT, "it was of no use");
    assert_eq!(informer.ended(Ending::Closed(Duration::from_mins(1))), Duration::ZERO);
}

proptest! {
    /// A model of the API server: a log of versions, watches that end anywhere, and a log that is cut now
    /// and then. Whatever happens, an informer sees every change, or state that is newer.
    #[test]
    fn no_change_is_lost(steps in proptest::collection::vec((0_u8..6, 0_u64..5), 1..200), mode in 0..2) {
        let mode = if mode == 0 { WatchMode::ListWatch } else { WatchMode::WatchList };
        let mut informer = informer(mode);
        // The newest change there is, the newest that was seen, and the oldest that can be watched from.
        let (mut now, mut seen, mut oldest) = (1_u64, 0, 0);
        let drain = |informer: &mut Informer, now: u64, seen: &mut u64, oldest: u64| {
            match informer.state.clone() {
                State::List(_) => {
                    page(informer, &now.to_string(), "");
                    *seen = now;
                }
                State::Stream => {
                    event(informer, "ADDED", "1", false);
                    event(informer, "BOOKMARK", &now.to_string(), true);
                    *seen = now;
                }
                State::Watch(from) => {
                    let from: u64 = from.parse().unwrap();
                    if from < oldest {
                        informer.ended(Ending::Gone);
                        return;
                    }
                    for version in from + 1..=now {
                        assert_eq!(version, *seen + 1, "a change was skipped or came twice");
                        event(informer, "MODIFIED", &version.to_string(), false);
                        *seen = version;
                    }
                }
            }
        };
        for (what, by) in steps {
            match what {
                0 | 1 => now += by,
                2 => oldest = now.min(oldest + by),
                3 => _ = informer.ended(Ending::Failed),
                4 => _ = informer.ended(Ending::Closed(Duration::from_secs(by))),
                _ => drain(&mut informer, now, &mut seen, oldest),
            }
        }
        for _ in 0..3 {
            drain(&mut informer, now, &mut seen, oldest);
        }
        prop_assert_eq!(seen, now);
    }
}
