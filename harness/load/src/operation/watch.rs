//! `watch`: a watch that the server ends after the time that it was asked for; and `watchList`, one that is
//! closed from this side when the initial state is through.
//!
//! Closing the former from this side would do as well for the client, but the API server ends a watch's span
//! with the stream; a `timeoutSeconds` makes that a clean end with a status.

use std::time::Duration;

use http::Method;
use spangate_scenario::model::{WatchListOperation, WatchOperation};

use crate::{
    Arrival, Setting, Verb,
    request::{Read, Request},
    target::Target,
};

/// One watch request.
pub(crate) fn request(watch: &WatchOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let target = setting
        .collection(watch.resource, arrival)
        .query("watch", "true")
        .query("timeoutSeconds", held(watch).as_secs().to_string())
        .query_some("labelSelector", watch.label_selector.as_deref());
    let request = if watch.initial_events {
        Request::new(Verb::WatchList, Method::GET, with_initial_events(target))
    } else {
        Request::new(Verb::Watch, Method::GET, target)
    };
    request.accept(setting.accept(watch.resource))
}

/// The request of a `watchList`.
pub(crate) fn list(list: &WatchListOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let target = with_initial_events(setting.scoped(list.resource, list.scope, arrival))
        .query("watch", "true")
        .query_some("labelSelector", list.label_selector.as_deref())
        .query_some("fieldSelector", list.field_selector.as_deref());
    Request::new(Verb::WatchList, Method::GET, target)
        .accept(setting.accept(list.resource))
        .read(Read::UntilListed)
}

/// A watch that delivers the current state first, as client-go's reflector asks for it.
pub(crate) fn with_initial_events(target: Target) -> Target {
    target
        .query("sendInitialEvents", "true")
        .query("resourceVersionMatch", "NotOlderThan")
        .query("allowWatchBookmarks", "true")
}

/// The time until the server ends the watch: whole seconds, and at least one, since zero would ask for the
/// server's own default of half an hour and more.
pub(crate) fn held(watch: &WatchOperation) -> Duration {
    let up = u64::from(watch.duration.subsec_nanos() > 0);
    Duration::from_secs((watch.duration.as_secs() + up).max(1))
}

#[cfg(test)]
mod tests {
    use spangate_scenario::{
        model::{Resource, Scope},
        units,
    };

    use super::*;
    use crate::testing::{arrival, setting};

    #[test]
    fn the_server_is_asked_to_end_the_watch_in_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (2500, 3)] {
            let watch = WatchOperation {
                resource: Resource::Pods,
                duration: units::Duration::from_millis(millis),
                initial_events: false,
                label_selector: None,
            };
            let expected = format!("/api/v1/namespaces/ns/pods?timeoutSeconds={seconds}&watch=true");
            assert_eq!(request(&watch, &arrival(0), &setting()).target, expected);
        }
    }

    #[test]
    fn a_watch_list_is_read_until_the_state_is_through() {
        let operation = WatchListOperation {
            resource: Resource::Pods,
            label_selector: None,
            field_selector: Some("metadata.name=x".to_owned()),
            scope: Scope::Cluster,
        };
        let request = list(&operation, &arrival(0), &setting());
        assert_eq!((request.verb, request.read), (Verb::WatchList, Read::UntilListed));
        assert_eq!(
            request.target,
            "/api/v1/pods?allowWatchBookmarks=true&fieldSelector=metadata.name%3Dx&\
             resourceVersionMatch=NotOlderThan&sendInitialEvents=true&watch=true"
        );
    }
}
