//! Watchers against a server in the process: what they ask for, what they tell, and how they begin again.

use std::sync::atomic::{AtomicUsize, Ordering};

use spangate_load::{
    EngineError, LoadEvent, Outcome, RequestRecord, Verb, WatchEvent, WatchRecord, watchers,
};
use spangate_scenario::model::{Identity, Load, WatchMode, Watchers};
use tokio_util::sync::CancellationToken;

use crate::{
    Bench, get, load,
    server::{Answer, Options, Seen, Server},
    willing,
};

const CONFIGMAPS: &str = "GET /api/v1/namespaces/ns/configmaps";

/// A change of an object, as the first part of a line that is cut within it.
const ADDED: &str =
    "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"load-3-0\",\"namespace\":\"ns\",";
const ADDED_REST: &str = "\"resourceVersion\":\"12\",\"annotations\":{\"spangate.io/revision\":\"3\"}}}}\n";
const INITIAL: &str =
    "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"2\"}}}\n";
const INITIAL_END: &str = "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"10\",\
    \"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n";
const EXPIRED: &str = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n";

fn watched(count: u32, mode: WatchMode) -> Load {
    let mut load = load(1, 100, vec![get()]);
    let watchers = serde_json::json!({"count": count, "resource": "configmaps"});
    let watchers: Watchers = serde_json::from_value(watchers).unwrap();
    load.watchers = vec![Watchers { mode, ..watchers }];
    load
}

async fn bench(load: &Load, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Bench {
    let bench = Bench::new(Server::start(Options::default(), answer).await, load);
    bench.prepare().await.unwrap();
    bench.server.take();
    bench
}

/// Everything that watchers told.
fn told(bench: &mut Bench) -> (Vec<RequestRecord>, Vec<WatchRecord>) {
    let (mut requests, mut events) = (Vec::new(), Vec::new());
    while let Ok(event) = bench.events.try_recv() {
        match event {
            LoadEvent::Request(request) => requests.push(*request),
            LoadEvent::Watched(event) => events.push(*event),
            LoadEvent::Prepared { .. } => {}
        }
    }
    requests.sort_by_key(|request| (request.arrival, request.step));
    (requests, events)
}

fn ok(body: &str) -> Answer {
    Answer::Status(200, body.to_owned())
}

#[tokio::test]
async fn a_list_in_pages_and_a_watch_from_its_version() {
    let mut bench = bench(&watched(1, WatchMode::ListWatch), |seen| match seen.target.split_once('?') {
        Some((_, query)) if query.contains("watch=true") => Answer::Endless(vec![ADDED, ADDED_REST]),
        Some((_, query)) if query.contains("continue=") => {
            ok(r#"{"metadata":{"resourceVersion":"10"},"items":[{"metadata":{"name":"b"}}]}"#)
        }
        Some(_) => ok(
            r#"{"metadata":{"resourceVersion":"10","continue":"more"},"items":[{"metadata":{"name":"a"}}]}"#,
        ),
        None => willing(seen),
    })
    .await;
    let counts = bench.engine.watch(&CancellationToken::new()).await.unwrap().stop().await;
    let lines: Vec<_> = bench.server.take().iter().map(Seen::line).collect();
    assert_eq!(
        lines,
        [
            format!("{CONFIGMAPS}?limit=500"),
            format!("{CONFIGMAPS}?continue=more&limit=500"),
            format!("{CONFIGMAPS}?allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds=300&watch=true"),
        ]
    );
    let (requests, events) = told(&mut bench);
    assert!(requests.iter().zip(&lines).all(|(request, line)| line.ends_with(&request.target)));
    for (step, (request, verb)) in (0..).zip(requests.iter().zip([Verb::List, Verb::List, Verb::Watch])) {
        assert_eq!((request.step, request.verb, &request.outcome), (step, verb, &Outcome::Status(200)));
        assert_eq!((request.arrival, request.stage), (watchers::arrival(0), watchers::NO_STAGE));
        assert!(request.is_of_watcher() && request.sent.is_some_and(|sent| sent.sampled));
        assert!(request.received_bytes > 0 && request.audit_id.is_some() == (verb == Verb::List));
    }
    let [first, second, change] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*first.name, first.initial, &*second.name, second.initial), ("a", true, "b", true));
    assert_eq!((&*change.watcher, change.index, change.step), ("configmaps", 0, 2));
    assert_eq!((change.event, &*change.namespace, &*change.name), (WatchEvent::Added, "ns", "load-3-0"));
    assert_eq!((&*change.resource_version, change.revision, change.initial), ("12", Some(3), false));
    assert!(change.at >= requests[2].started && change.at <= requests[2].ended);
    assert_eq!(counts["configmaps"][&WatchEvent::Added], 3);
}

#[tokio::test]
async fn what_has_expired_begins_again_with_the_state() {
    let opened = AtomicUsize::new(0);
    let mut bench = bench(&watched(1, WatchMode::WatchList), move |seen| {
        let watch = seen.target.contains("watch=true");
        match watch.then(|| opened.fetch_add(1, Ordering::Relaxed)) {
            // The server ends the first watch in good order, and knows no more of its version after that.
            Some(0) => ok(&format!("{INITIAL}{INITIAL_END}{ADDED}{ADDED_REST}")),
            Some(1) => ok(EXPIRED),
            Some(_) => Answer::Endless(vec![INITIAL, INITIAL_END]),
            None => willing(seen),
        }
    })
    .await;
    let watching = bench.engine.watch(&CancellationToken::new()).await.unwrap();
    bench.server.wait_for(3).await;
    let counts = watching.stop().await;
    let (requests, events) = told(&mut bench);
    let verbs: Vec<_> = requests.iter().map(|request| request.verb).collect();
    assert_eq!(verbs, [Verb::WatchList, Verb::Watch, Verb::WatchList]);
    assert!(requests[1].target.contains("resourceVersion=12&"), "{}", requests[1].target);
    assert!(requests[2].started.since(requests[1].ended) >= std::time::Duration::from_millis(800));
    assert!(requests.iter().all(|request| request.outcome == Outcome::Status(200)));
    let seen: Vec<_> = events.iter().map(|event| (event.step, event.event, event.initial)).collect();
    assert_eq!(
        seen,
        [
            (0, WatchEvent::Added, true),
            (0, WatchEvent::Bookmark, true),
            (0, WatchEvent::Added, false),
            (1, WatchEvent::Error, false),
            (2, WatchEvent::Added, true),
            (2, WatchEvent::Bookmark, true),
        ]
    );
    assert_eq!(counts["configmaps"][&WatchEvent::Bookmark], 2);
}

#[tokio::test]
async fn a_watch_that_breaks_is_opened_again() {
    let opened = AtomicUsize::new(0);
    let mut bench = bench(&watched(1, WatchMode::WatchList), move |seen| {
        let watch = seen.target.contains("watch=true");
        match watch.then(|| opened.fetch_add(1, Ordering::Relaxed)) {
            Some(0) => ok(&format!("{INITIAL_END}{{\"type\":\"NONSENSE\"}}\n")),
            Some(1) => Answer::Break,
            Some(2) => Answer::Status(429, "slow down".to_owned()),
            Some(_) => Answer::Endless(vec![ADDED, ADDED_REST]),
            None => willing(seen),
        }
    })
    .await;
    let watching = bench.engine.watch(&CancellationToken::new()).await.unwrap();
    bench.server.wait_for(4).await;
    watching.stop().await;
    let (requests, events) = told(&mut bench);
    assert!(
        matches!(&requests[0].outcome, Outcome::Error(why) if why.starts_with("what the watch delivered"))
    );
    assert!(matches!(&requests[1].outcome, Outcome::Error(why) if !why.is_empty()), "{:?}", requests[1]);
    assert_eq!(requests[2].outcome, Outcome::Status(429));
    assert_eq!((requests.len(), requests[3].outcome.clone()), (4, Outcome::Status(200)));
    assert!(requests[1..].iter().all(|request| request.target.contains("resourceVersion=10&")));
    assert_eq!(events.last().map(|event| event.revision), Some(Some(3)));
}

#[tokio::test]
async fn no_more_than_fifty_share_a_connection() {
    let mut load = watched(60, WatchMode::WatchList);
    load.watchers.push(Watchers { identity: Identity::unprivileged(), ..load.watchers[0].clone() });
    let watch = |seen: &Seen| {
        if seen.target.contains("watch=true") { Answer::Endless(vec![INITIAL_END]) } else { willing(seen) }
    };
    let server = Server::start(Options { streams: 50, ..Options::default() }, watch).await;
    let mut bench = Bench::new(server, &load);
    bench.prepare().await.unwrap();
    bench.server.take();
    // All of them are open at once, which one connection for each identity would not allow.
    let watching = bench.engine.watch(&CancellationToken::new()).await.unwrap();
    let (seen, admins): (Vec<_>, Vec<_>) =
        bench.server.take().into_iter().partition(|seen| seen.identity == Identity::unprivileged());
    assert_eq!((seen.len(), admins.len()), (60, 60));
    watching.stop().await;
    let (requests, _) = told(&mut bench);
    let arrivals: Vec<_> = requests.iter().map(|request| request.arrival).collect();
    assert_eq!(arrivals, (0..120).map(watchers::arrival).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_watcher_that_cannot_begin_says_why() {
    let mut load = watched(2, WatchMode::WatchList);
    load.watchers[0].name = Some("informers".to_owned());
    let refusing = |seen: &Seen| {
        if seen.target.contains("watch=true") { Answer::Status(403, String::new()) } else { willing(seen) }
    };
    let bench = bench(&load, refusing).await;
    let cancel = CancellationToken::new();
    let (began, ()) = tokio::join!(bench.engine.watch(&cancel), async {
        // The second try of one comes after the first of both.
        bench.server.wait_for(3).await;
        cancel.cancel();
    });
    let error = began.unwrap_err();
    assert!(matches!(error, EngineError::NotWatching { .. }));
    assert_eq!(
        error.to_string(),
        "watcher \"informers\" is not established: its last request ended with status 403"
    );
}
