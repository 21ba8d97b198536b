//! When requests start, and what becomes of those that cannot.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use spangate_load::{Ending, Histogram, Outcome, RequestRecord};
use spangate_scenario::{
    model::{ClientOptions, Protocol},
    units,
};

use crate::{
    Bench, get, is_load, load,
    server::{Answer, Options, Seen, Server},
    willing,
};

const STALL: Duration = Duration::from_millis(500);

fn response(record: &RequestRecord) -> Duration {
    record.ended.since(record.intended)
}

/// Answers the load as `answer` says, and its preparation at once.
async fn server(options: Options, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(options, move |seen| if is_load(seen) { answer(seen) } else { willing(seen) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_server_is_seen_by_every_arrival_of_the_stall() {
    // The stall begins with the first request of the load.
    let until = Arc::new(Mutex::new(None::<Instant>));
    let stalled = Arc::clone(&until);
    let server = server(Options::default(), move |seen| {
        let until = *stalled.lock().unwrap().get_or_insert(seen.at + STALL);
        Answer::At(until, 200, String::new())
    })
    .await;
    let mut bench = Bench::new(server, &load(100, 1000, vec![get()]));
    bench.prepare().await.unwrap();
    bench.server.take();
    let (summary, records) = bench.run().await;
    let until = until.lock().unwrap().unwrap();

    assert_eq!((summary.planned, summary.started, summary.requests, records.len()), (100, 100, 100, 100));
    // Starts went on: half of all arrivals fell into the stall, and the server had most of them before its end.
    let during = bench.server.take().iter().filter(|seen| seen.at < until).count();
    assert!(during >= 25, "{during} requests arrived during the stall");
    // Each of them counts the whole wait from the time it was to start, not from when it was looked at.
    let until = bench.clock.at(until);
    for record in &records {
        assert!(response(record) >= until.since(record.intended), "{record:?}");
    }
    let (_, latency) = summary.latencies.iter().next().unwrap();
    assert!(latency.response.percentile(75.0).unwrap() >= Duration::from_millis(200), "{latency:?}");
    assert!(latency.response.max().unwrap() >= Duration::from_millis(480));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_stream_is_part_of_the_service_time() {
    const SERVICE: Duration = Duration::from_millis(10);
    // One request at a time, at twice the rate that this allows.
    let options = Options { streams: 1, ..Options::default() };
    let server = server(options, |seen| Answer::At(seen.at + SERVICE, 200, String::new())).await;
    let mut bench = Bench::new(server, &load(60, 300, vec![get()]));
    bench.prepare().await.unwrap();
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, summary.errors), (60, 0));
    // All of them take 600 ms, one after the other, and the last was to start after 295 ms.
    let last = records.iter().max_by_key(|record| record.ended).unwrap();
    assert!(last.ended.since(records[0].intended) >= SERVICE * 60);
    let service = last.ended.since(last.started);
    assert!(service >= Duration::from_millis(100), "the wait was hidden: {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_shed_and_accounted_for() {
    let server = server(Options::default(), |_| Answer::Silence).await;
    let mut load = load(20, 200, vec![get()]);
    load.max_in_flight = 3;
    // Longer than the load, so that none of the three makes room.
    load.timeout = units::Duration::from_secs(2);
    let mut bench = Bench::new(server, &load);
    bench.prepare().await.unwrap();
    let (summary, records) = bench.run().await;
    assert_eq!((summary.planned, summary.started, summary.shed, summary.timeouts), (20, 3, 17, 3));
    assert_eq!(records.len(), 20);
    let (sent, shed): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.outcome != Outcome::Shed);
    assert!(sent.iter().all(|record| record.outcome == Outcome::Timeout));
    assert!(sent.iter().all(|record| record.ended.since(record.intended) >= Duration::from_secs(2)));
    assert!(shed.iter().all(|record| record.sent.is_none() && record.target.ends_with("/pool-0")));
    let classes: Vec<_> = summary.latencies.iter().map(|(series, _)| series.ending).collect();
    assert_eq!(classes, [Ending::Timeout]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_gives_up_what_is_under_way_and_starts_nothing_more() {
    let server = server(Options::default(), |_| Answer::Silence).await;
    let mut bench = Bench::new(server, &load(1000, 100_000, vec![get()]));
    bench.prepare().await.unwrap();
    bench.server.take();
    let begun = Instant::now();
    let gauge = bench.engine.gauge();
    let mut in_flight = 0;
    let condition = async |server: &Server| {
        server.wait_for(3).await;
        in_flight = gauge.in_flight();
    };
    let (summary, records) = bench.run_until(condition).await;
    assert!(begun.elapsed() < Duration::from_secs(50), "the schedule goes on for 100 s");
    assert!((3..=summary.started).contains(&in_flight), "{in_flight} of {} in flight", summary.started);
    assert_eq!(gauge.in_flight(), 0, "what was given up is still in flight");
    assert!(summary.started >= 3 && summary.not_started > 0 && summary.shed == 0, "{summary:?}");
    let given_up = Outcome::Error("given up: the run was cancelled".to_owned());
    assert!(records.iter().all(|record| record.outcome == given_up), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_fails_its_requests_and_is_opened_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let server = server(Options::default(), move |seen| match counted.fetch_add(1, Ordering::Relaxed) {
        4 => Answer::Break,
        _ => willing(seen),
    })
    .await;
    let mut bench = Bench::new(server, &load(20, 1000, vec![get()]));
    bench.prepare().await.unwrap();
    let (summary, records) = bench.run().await;
    assert_eq!(summary.requests, 20);
    assert!(summary.errors >= 1, "the broken request was hidden");
    assert!(requests.load(Ordering::Relaxed) <= 20, "a request was sent twice: {records:?}");
    assert_eq!(records[19].outcome, Outcome::Status(200), "{records:?}");
    assert!(records.iter().any(|record| matches!(&record.outcome, Outcome::Error(why) if !why.is_empty())));
}

/// 1000 arrivals in 4 seconds, of which the server does not answer for two, over five places.
async fn stalled(client: ClientOptions) {
    const STALL: Duration = Duration::from_secs(2);
    const PLACES: usize = 5;
    let begun = Arc::new(Mutex::new(None::<Instant>));
    let first = Arc::clone(&begun);
    let options = Options { h2: client.protocol == Protocol::Http2, ..Options::default() };
    let server = server(options, move |seen| {
        let from = *first.lock().unwrap().get_or_insert(seen.at) + Duration::from_secs(1);
        let until = from + STALL;
        let at = if (from..until).contains(&seen.at) { until } else { seen.at };
        Answer::At(at, 200, String::new())
    })
    .await;
    let mut load = load(1000, 4000, vec![get()]);
    load.client = client;
    let mut bench = Bench::new(server, &load);
    bench.prepare().await.unwrap();
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, summary.requests, summary.errors), (1000, 1000, 0));

    // What every arrival has to wait follows from its time and the end of the stall.
    let from = bench.clock.at(begun.lock().unwrap().unwrap()) + Duration::from_secs(1);
    let until = from + STALL;
    let wait = |record: &RequestRecord| {
        if record.intended >= from { until.since(record.intended) } else { Duration::ZERO }
    };
    let mut waits = Histogram::default();
    for record in &records {
        waits.record(wait(record));
    }
    let latency = summary.latencies.total(|_| true);
    for percentile in [75.0, 90.0, 99.0] {
        let (computed, found) =
            (waits.percentile(percentile).unwrap(), latency.response.percentile(percentile).unwrap());
        // What came up in the stall is worked off after it, which takes a little.
        let more = found.saturating_sub(computed);
        assert!(
            found >= computed && more <= Duration::from_millis(250),
            "p{percentile}: {found:?}, not {computed:?}"
        );
    }
    // The requests that were with the server when it stopped saw all of it, and no other saw any of it.
    let long = records.iter().filter(|record| record.ended.since(record.started) >= STALL / 2).count();
    assert_eq!(long, PLACES);
    let service = latency.service.percentile(99.0).unwrap();
    assert!(service <= Duration::from_millis(100), "the stall is in the service time: {service:?}");
    assert!(latency.service.max().unwrap() + Duration::from_millis(50) >= STALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_in_the_response_time_and_not_in_the_service_time() {
    stalled(ClientOptions { connections: 1, streams: 5, ..ClientOptions::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_in_the_response_time_of_http1_and_not_in_its_service_time() {
    stalled(ClientOptions { protocol: Protocol::Http1, connections: 5, ..ClientOptions::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_makes_no_sense_is_given_up_and_what_is_under_way_ends() {
    const SERVICE: Duration = Duration::from_millis(100);
    let server = server(Options::default(), |seen| Answer::At(seen.at + SERVICE, 503, String::new())).await;
    let mut load = load(20_000, 100_000, vec![get()]);
    load.abort_on =
        vec![serde_json::from_value(serde_json::json!({"errors": "> 50%", "over": "500ms"})).unwrap()];
    let mut bench = Bench::new(server, &load);
    bench.prepare().await.unwrap();
    let (summary, records) = bench.run().await;
    let aborted = summary.aborted.as_ref().unwrap();
    assert_eq!((aborted.rule.as_str(), aborted.observed.as_str()), ("errors > 50% over 500ms", "100.0%"));
    assert!(aborted.at.get() >= Duration::from_millis(500) && aborted.n > 0, "{aborted:?}");
    assert!(summary.not_started > 10_000 && summary.shed == 0, "{summary:?}");
    assert!(records.iter().all(|record| record.outcome == Outcome::Status(503)), "{records:?}");
}
