//! What a watcher asks for next: a state machine without IO.
//!
//! It follows client-go's reflector (`tools/cache/reflector.go`) and the watcher of kube-rs: the state once,
//! by a list in pages or by a watch that delivers it first, then watches, each from the last resource
//! version that was seen. A watch that ends is opened again; one whose version has become too old (410)
//! begins with the state again. State is always asked for with no resource version, so that it is as new as
//! a quorum read.

use std::time::Duration;

use http::Method;
use spangate_scenario::model::{WatchMode, Watchers};

use super::{
    WatchEvent,
    event::{Object, Page},
};
use crate::{
    Verb,
    operation::watch::with_initial_events,
    request::{Read, Request},
    target::Target,
};

/// Objects on a page: client-go's `pager.PageSize`.
const PAGE: u32 = 500;
/// The first wait after a failure, as of client-go's reflector.
const FIRST_WAIT: Duration = Duration::from_millis(800);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A watch without events that ends sooner has failed (client-go's `VeryShortWatchError`).
const VERY_SHORT: Duration = Duration::from_secs(1);

/// What one watcher asks for.
#[derive(Debug)]
pub(super) struct Informer {
    mode: WatchMode,
    bookmarks: bool,
    /// The collection with its selectors.
    collection: Target,
    /// `timeoutSeconds` of every watch.
    hold: Duration,
    state: State,
    /// Failures since a watch was last of use.
    failures: u32,
    /// Whether the watch that is open has delivered anything.
    fruitful: bool,
    /// In [0, 1): stretches waits, so that watchers which fail together do not come back together.
    spread: f64,
}

/// What is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// A page of the state; the first one without a token.
    List(Option<String>),
    /// The state as the beginning of a watch.
    Stream,
    /// Changes from this resource version on.
    Watch(String),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a whole page.
    Page,
    /// A watch that had been open for this long was closed by the server.
    Closed(Duration),
    /// What it asked from is too old.
    Gone,
    /// In any other way.
    Failed,
}

// === impl Informer ===

impl Informer {
    /// Watcher `index` of the load on `collection`.
    pub(super) fn new(watchers: &Watchers, index: u32, collection: Target) -> Self {
        let collection = collection
            .query_some("labelSelector", watchers.label_selector.as_deref())
            .query_some("fieldSelector", watchers.field_selector.as_deref());
        Self {
            mode: watchers.mode,
            bookmarks: watchers.bookmarks || watchers.mode == WatchMode::WatchList,
            collection,
            hold: hold(watchers, index),
            state: State::first(watchers.mode),
            failures: 0,
            fruitful: false,
            spread: spread(index),
        }
    }

    /// How long the server may hold a watch open.
    pub(super) fn hold(&self) -> Duration {
        self.hold
    }

    /// What is to be sent now.
    pub(super) fn request(&self) -> Request {
        let target = self.collection.clone();
        match &self.state {
            State::List(token) => {
                let limit = if self.mode == WatchMode::Watch { 1 } else { PAGE };
                let target =
                    target.query("limit", limit.to_string()).query_some("continue", token.as_deref());
                Request::new(Verb::List, Method::GET, target).read(Read::Keep)
            }
            State::Stream => {
                Request::new(Verb::WatchList, Method::GET, with_initial_events(self.watched(target)))
            }
            State::Watch(version) => {
                let target = self.watched(target).query("resourceVersion", version);
                let bookmarks = self.bookmarks.then_some("true");
                Request::new(Verb::Watch, Method::GET, target.query_some("allowWatchBookmarks", bookmarks))
            }
        }
    }

    fn watched(&self, target: Target) -> Target {
        target.query("watch", "true").query("timeoutSeconds", self.hold.as_secs().to_string())
    }

    /// Whether what comes next belongs to the state and is no change.
    pub(super) fn is_initial(&self) -> bool {
        !matches!(self.state, State::Watch(_))
    }

    /// Whether the objects of lists are of interest.
    pub(super) fn keeps_state(&self) -> bool {
        self.mode != WatchMode::Watch
    }

    /// Takes a page.
    pub(super) fn page(&mut self, page: &Page<'_>) {
        let more = self.keeps_state() && !page.token().is_empty();
        self.state = if more {
            State::List(Some(page.token().to_owned()))
        } else {
            State::Watch(page.resource_version().to_owned())
        };
    }

    /// Takes an event of a watch.
    pub(super) fn event(&mut self, event: WatchEvent, object: &Object<'_>) {
        self.fruitful = true;
        let version = object.resource_version();
        match &mut self.state {
            State::Watch(last) => version.clone_into(last),
            // The objects of the state come in no order of their versions.
            State::Stream if event == WatchEvent::Bookmark && object.ends_initial_events() => {
                self.state = State::Watch(version.to_owned());
            }
            State::Stream | State::List(_) => {}
        }
    }

    /// Takes the end of a request; gives the wait before the next.
    pub(super) fn ended(&mut self, ending: Ending) -> Duration {
        let fruitful = std::mem::take(&mut self.fruitful);
        match ending {
            Ending::Page => return Duration::ZERO,
            Ending::Closed(open) if fruitful || open >= VERY_SHORT.min(self.hold / 2) => {
                self.failures = 0;
                return Duration::ZERO;
            }
            Ending::Gone => self.state = State::first(self.mode),
            Ending::Closed(_) | Ending::Failed => {}
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.failures += 1;
        wait.mul_f64(1.0 + self.spread)
    }
}

// === impl State ===

impl State {
    fn first(mode: WatchMode) -> Self {
        match mode {
            WatchMode::Watch | WatchMode::ListWatch => Self::List(None),
            WatchMode::WatchList => Self::Stream,
        }
    }
}

/// The `timeoutSeconds` of a watcher: what the scenario says, in whole seconds and at least one, since zero
/// would leave it to the server; or else 5 to 10 minutes, as client-go's reflector draws it.
fn hold(watchers: &Watchers, index: u32) -> Duration {
    let seconds = match watchers.timeout {
        Some(timeout) => timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0),
        None => 300 + Duration::from_mins(5).mul_f64(spread(index)).as_secs(),
    };
    Duration::from_secs(seconds.max(1))
}

/// A number in [0, 1) that is far from those of the watchers next to this one: multiples of the golden ratio.
fn spread(index: u32) -> f64 {
    (f64::from(index) * 0.618_033_988_749_895).fract()
}

#[cfg(test)]
mod tests {
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
        let query =
            format!("?allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=300&watch=true");
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
}
