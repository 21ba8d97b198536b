//! How requests go over connections: as many as are allowed, by either protocol, as whoever sends them.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::header::{AUTHORIZATION, HOST};
use spangate_load::{ClientIdentity, Outcome, RequestRecord};
use spangate_scenario::{
    model::{ClientOptions, Load, Protocol, RetryAfter},
    units,
};

use crate::{
    Bench, get, is_load, load,
    server::{Answer, Options, Seen, Server},
    willing,
};

/// Answers the load as `answer` says, and its preparation at once.
async fn bench(load: &Load, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Bench {
    let answer = move |seen: &Seen| if is_load(seen) { answer(seen) } else { willing(seen) };
    let options = Options { h2: load.client.protocol == Protocol::Http2, ..Options::default() };
    let bench = Bench::new(Server::start(options, answer).await, load);
    bench.prepare().await.unwrap();
    bench.server.take();
    bench
}

fn options(protocol: Protocol, connections: u16, streams: u32) -> ClientOptions {
    ClientOptions { protocol, connections, streams, ..ClientOptions::default() }
}

/// How many requests were with the server at once, at most.
fn most_at_once(records: &[RequestRecord]) -> usize {
    let during = |record: &RequestRecord| {
        records.iter().filter(|other| other.started <= record.started && other.ended > record.started).count()
    };
    records.iter().map(during).max().unwrap()
}

async fn at_most(protocol: Protocol, connections: u16, streams: u32, expected: usize) {
    const SERVICE: Duration = Duration::from_millis(20);
    let mut load = load(60, 60, vec![get()]);
    load.client = options(protocol, connections, streams);
    let mut bench = bench(&load, |seen| Answer::At(seen.at + SERVICE, 200, String::new())).await;
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, summary.requests, summary.errors), (60, 60, 0));
    assert!(records.iter().all(|record| record.outcome == Outcome::Status(200)));
    assert_eq!(most_at_once(&records), expected);
    // What had to wait waited before it was handed over: the queue shows in the response time alone.
    let rounds = u32::try_from(60 / expected).unwrap();
    let last = records.iter().max_by_key(|record| record.ended).unwrap();
    assert!(last.ended.since(records[0].intended) >= SERVICE * rounds, "{last:?}");
    let waits = records.iter().map(|record| record.started.since(record.intended));
    assert!(waits.max().unwrap() + Duration::from_millis(60) >= SERVICE * (rounds - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_streams_are_open_than_allowed() {
    at_most(Protocol::Http2, 2, 3, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http1_carries_one_request() {
    at_most(Protocol::Http1, 4, 100, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_names_the_host_and_goes_on_after_a_request_that_was_given_up() {
    let requests = AtomicUsize::new(0);
    let mut load = load(4, 400, vec![get()]);
    load.client = options(Protocol::Http1, 1, 1);
    load.timeout = units::Duration::from_secs(2);
    let mut bench = bench(&load, move |seen| match requests.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Silence,
        _ => willing(seen),
    })
    .await;
    let (summary, records) = bench.run().await;
    // The others waited for the only connection, and had some time left when it was free.
    assert_eq!((summary.timeouts, summary.errors), (1, 0), "{records:?}");
    assert_eq!(records[0].outcome, Outcome::Timeout);
    assert!(records[1..].iter().all(|record| record.outcome == Outcome::Status(200)), "{records:?}");
    let seen = bench.server.take();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|seen| seen.header(HOST.as_str()) == bench.server.endpoint.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_with_every_request_in_place_of_a_certificate() {
    for protocol in [Protocol::Http2, Protocol::Http1] {
        let options = Options { h2: protocol == Protocol::Http2, ..Options::default() };
        let mut server = Server::start(options, willing).await;
        server.admin = ClientIdentity::token("robot", "abc");
        let mut load = load(3, 30, vec![get()]);
        load.client.protocol = protocol;
        let mut bench = Bench::new(server, &load);
        bench.prepare().await.unwrap();
        bench.run().await;
        let seen = bench.server.take();
        assert!(seen.iter().filter(|seen| is_load(seen)).count() == 3);
        for seen in seen {
            assert_eq!(
                (seen.header(AUTHORIZATION.as_str()), seen.identity.as_str()),
                ("Bearer abc", "nobody")
            );
        }
    }
}

/// One operation whose first request is refused for a second; gives its records.
async fn refused_once(retry_after: RetryAfter, timeout: u64) -> Vec<RequestRecord> {
    let requests = AtomicUsize::new(0);
    let mut load = load(1, 100, vec![get()]);
    load.client.retry_after = retry_after;
    load.timeout = units::Duration::from_millis(timeout);
    let mut bench = bench(&load, move |seen| match requests.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::TryAfter(1),
        _ => willing(seen),
    })
    .await;
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, records[0].retry_after), (1, Some(1)));
    assert_eq!(records[0].outcome, Outcome::Status(429));
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_be_tried_again_is_recorded_and_no_more() {
    assert_eq!(refused_once(RetryAfter::Record, 30_000).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_tried_again_at_its_time_when_that_is_asked_for() {
    let records = refused_once(RetryAfter::Honour, 30_000).await;
    assert_eq!((records.len(), &records[1].outcome), (2, &Outcome::Status(200)));
    assert_eq!((records[1].step, &records[1].target), (1, &records[0].target));
    assert_eq!(records[1].intended, records[0].ended + Duration::from_secs(1));
    assert!(records[1].started >= records[1].intended);
    assert_ne!(records[0].sent, records[1].sent, "two requests in one trace");
    // An operation that would be given up before then is over.
    assert_eq!(refused_once(RetryAfter::Honour, 500).await.len(), 1);
}
