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
mod tests;
