//! Users, who wait for every answer, and a record that is sent again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use serde_json::json;
use spangate_load::{Outcome, Replay, RequestRecord, Verb};
use spangate_scenario::{
    model::{
        self, CreateOperation, Delay, DeleteOperation, Load, MixEntry, Resource, Session, Sizes, Users,
        Weight,
    },
    units::{self, Rate},
};

use crate::{
    Bench, get, is_load, load,
    server::{Answer, Options, Server},
    willing,
};

/// `count` users for so long, who all come within a tenth of a second.
fn users(count: u32, millis: u64, sessions: Vec<Session>) -> Load {
    Load {
        arrivals: None,
        users: Some(Users {
            count,
            hatch_rate: Rate::per_second(f64::from(count) * 10.0).unwrap(),
            duration: units::Duration::from_millis(millis),
            think_time: Some(Delay::Fixed(units::Duration::from_millis(5))),
            sessions,
        }),
        ..load(1, 1, Vec::new())
    }
}

fn session(name: &str, weight: u32, steps: Vec<MixEntry>) -> Session {
    Session { name: name.to_owned(), weight: Weight(weight), think_time: None, steps }
}

/// Makes a pod and takes it away again.
fn make_and_delete() -> Vec<MixEntry> {
    let create = CreateOperation { resource: Resource::Pods, size: Sizes::default(), labels: [].into() };
    let delete = DeleteOperation { resource: Resource::Pods };
    vec![
        MixEntry { create: Some(create), ..MixEntry::default() },
        MixEntry { delete: Some(delete), ..MixEntry::default() },
    ]
}

/// The records of each user, in the order in which they were sent.
fn by_user(records: &[RequestRecord]) -> BTreeMap<u64, Vec<&RequestRecord>> {
    let mut users: BTreeMap<u64, Vec<&RequestRecord>> = BTreeMap::new();
    for record in records {
        users.entry(record.arrival >> 40).or_default().push(record);
    }
    users
}

async fn server() -> Server {
    Server::start(Options::default(), willing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_repeats_its_session_in_order_until_the_time_is_over() {
    let sessions = vec![session("reader", 3, vec![get()]), session("maker", 1, make_and_delete())];
    let mut bench = Bench::new(server().await, &users(4, 600, sessions));
    bench.prepare().await.unwrap();
    let start = bench.clock.now();
    let (summary, records) = bench.run().await;

    // Nobody plans what users do.
    assert_eq!((summary.planned, summary.shed, summary.not_started), (summary.started, 0, 0));
    assert!(summary.achieved_rate() > 0.0 && summary.errors == 0, "{summary:?}");
    let users = by_user(&records);
    assert_eq!(users.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(users.values().filter(|records| records[0].stage == 1).count(), 1, "a quarter are makers");
    for (user, records) in users {
        assert!(records.len() > 4, "user {user} did only {}", records.len());
        for (step, record) in (0..).zip(&records) {
            assert_eq!(record.arrival & 0xff_ffff_ffff, step, "user {user} left a step out");
            assert!(
                record.intended.since(start) < Duration::from_millis(700),
                "{record:?} began after the end"
            );
        }
        for (made, deleted) in
            records.iter().zip(&records[1..]).filter(|(_, second)| second.verb == Verb::Delete)
        {
            assert_eq!(made.verb, Verb::Create);
            assert_eq!(deleted.name, Some(format!("load-{}-0", made.arrival)));
        }
        for pair in records.windows(2) {
            let pause = pair[1].intended.since(pair[0].ended);
            assert!(pause >= Duration::from_millis(5), "user {user} thought for {pause:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_every_user_the_same_steps() {
    let load = users(3, 300, vec![session("maker", 1, make_and_delete())]);
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut bench = Bench::new(server().await, &load);
        bench.prepare().await.unwrap();
        let (_, records) = bench.run().await;
        let steps = |record: &RequestRecord| (record.arrival, (record.target.clone(), record.sent));
        runs.push(records.iter().map(steps).collect::<BTreeMap<_, _>>());
    }
    let both: BTreeSet<_> = runs[0].keys().filter(|arrival| runs[1].contains_key(arrival)).collect();
    assert!(both.len() > 6, "{both:?}");
    assert!(both.iter().all(|arrival| runs[0][arrival] == runs[1][arrival]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_never_has_two_requests_under_way() {
    const SERVICE: Duration = Duration::from_millis(40);
    let server = Server::start(Options::default(), |seen| {
        if is_load(seen) { Answer::At(seen.at + SERVICE, 200, String::new()) } else { willing(seen) }
    })
    .await;
    let mut bench = Bench::new(server, &users(2, 400, vec![session("reader", 1, vec![get()])]));
    bench.prepare().await.unwrap();
    let (_, records) = bench.run().await;
    for records in by_user(&records).values() {
        assert!(records.iter().all(|record| record.ended.since(record.started) >= SERVICE), "{records:?}");
        assert!(records.windows(2).all(|pair| pair[1].started >= pair[0].ended), "{records:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_users_at_once_and_lets_no_more_come() {
    let server =
        Server::start(Options::default(), |seen| if is_load(seen) { Answer::Silence } else { willing(seen) })
            .await;
    let mut load = users(50, 100_000, vec![session("reader", 1, vec![get()])]);
    load.users.as_mut().unwrap().hatch_rate = Rate::per_second(20.0).unwrap();
    let mut bench = Bench::new(server, &load);
    bench.prepare().await.unwrap();
    bench.server.take();
    let begun = Instant::now();
    let (summary, records) = bench.run_until(async |server| server.wait_for(3).await).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "the load goes on for 100 s");
    assert!((3..50).contains(&summary.started), "{summary:?}");
    let given_up = Outcome::Error("given up: the run was cancelled".to_owned());
    assert!(records.iter().all(|record| record.outcome == given_up), "{records:?}");
}

/// Scenario: users of two engines come side by side, and one of the runs is cancelled in the middle.
/// Guarantees: the other run is not touched, though goose knows one switch for the whole process.
#[tokio::test(flavor = "multi_thread")]
async fn runs_side_by_side_do_not_end_each_other() {
    let sessions = || vec![session("reader", 1, vec![get()])];
    let mut whole = Bench::new(server().await, &users(10, 800, sessions()));
    let mut cut = Bench::new(server().await, &users(10, 100_000, sessions()));
    whole.prepare().await.unwrap();
    cut.prepare().await.unwrap();
    cut.server.take();
    let ((_, records), (stopped, _)) =
        tokio::join!(whole.run(), cut.run_until(async |server| server.wait_for(2).await));
    assert!(stopped.started >= 2);
    assert_eq!(by_user(&records).len(), 10, "users of the other run stayed away");
}

/// One event of an audit log, `millis` after the first.
fn event(id: u32, millis: u32, verb: &str, name: Option<&str>, subresource: Option<&str>) -> String {
    let at = format!("2026-01-02T03:04:05.{millis:03}000Z");
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("id-{id}"),
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/shop/pods", "verb": verb,
        "user": {"username": "kubernetes-admin"},
        "objectRef": {"resource": "pods", "namespace": "shop", "name": name, "subresource": subresource},
        "requestReceivedTimestamp": at, "stageTimestamp": at,
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_sent_at_its_times_and_what_it_needs_is_made() {
    let record = [
        event(1, 0, "create", Some("web"), None),
        event(2, 100, "get", Some("db"), None),
        event(3, 120, "create", Some("db"), Some("exec")),
        event(4, 200, "delete", Some("web"), None),
        event(5, 300, "delete", Some("db"), None),
        "cut o".to_owned(),
    ]
    .join("\n");
    let mut load = load(1, 1, Vec::new());
    load.arrivals = None;
    load.replay = Some(model::Replay { audit: Some("log".into()), ledger: None, speed: 2.0, duration: None });
    let replay = Replay::of(&load, Path::new("log"), record.as_bytes()).unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let victims = Arc::clone(&made);
    let server = Server::start(Options::default(), move |seen| {
        let is_victim =
            seen.method == Method::POST && String::from_utf8_lossy(&seen.body).contains("\"victim-3-0\"");
        victims.fetch_add(usize::from(is_victim), Ordering::Relaxed);
        willing(seen)
    })
    .await;
    let mut bench = Bench::replaying(server, &load, replay);
    bench.prepare().await.unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 1, "only one of the deletes needs an object of its own");
    // That every request is intended at its time is checked for every run.
    let (summary, records) = bench.run().await;
    assert_eq!((summary.planned, summary.started, summary.errors), (4, 4, 0));
    let at: Vec<u128> =
        records.iter().map(|record| record.intended.since(records[0].intended).as_millis()).collect();
    assert_eq!(at, [0, 50, 100, 150], "twice as fast as it was");
    let names: Vec<_> = records.iter().map(|record| record.name.as_deref().unwrap_or_default()).collect();
    assert_eq!(names, ["", "pool-0", "load-0-0", "victim-3-0"]);
    assert_eq!(
        summary.skipped,
        [("broken line".to_owned(), 1), ("subresource pods/exec".to_owned(), 1)].into()
    );
}
