//! The engine against a server in the process: what goes over the wire, when, and what is recorded of it.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod client;
mod operations;
mod prepare;
mod server;
mod timing;
mod users;
mod watchers;
mod wire;

use std::collections::BTreeSet;

use server::{Answer, Seen, Server};
use spangate_load::{Engine, EngineConfig, EngineError, LoadEvent, Replay, RequestRecord, Schedule, Summary};
use spangate_scenario::{
    model::{Arrivals, ClientOptions, GetOperation, Load, MixEntry, Resource, Shape},
    units::{Duration, Rate},
};
use spangate_trace::{Clock, UnixNanos};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// The seed of every schedule here.
const SEED: u64 = 7;

/// An engine at a server.
struct Bench {
    server: Server,
    engine: Engine,
    schedule: Schedule,
    clock: Clock,
    events: UnboundedReceiver<LoadEvent>,
}

impl Bench {
    fn new(server: Server, load: &Load) -> Self {
        Self::with(server, load, Schedule::new(load, SEED), None)
    }

    /// An engine that sends a record again.
    fn replaying(server: Server, load: &Load, replay: Replay) -> Self {
        Self::with(server, load, replay.schedule(SEED), Some(replay))
    }

    fn with(server: Server, load: &Load, schedule: Schedule, replay: Option<Replay>) -> Self {
        let (sender, events) = unbounded_channel();
        let clock = Clock::new();
        let engine = Engine::new(EngineConfig {
            endpoint: server.endpoint.clone(),
            ca_pem: server.ca_pem.clone(),
            admin: server.admin.clone(),
            unprivileged: server.user.clone(),
            load: load.clone(),
            schedule: schedule.clone(),
            replay,
            clock,
            events: sender,
            run_label: "test-run".to_owned(),
        })
        .unwrap();
        Self { server, engine, schedule, clock, events }
    }

    async fn prepare(&self) -> Result<(), EngineError> {
        self.engine.prepare().await
    }

    /// Runs the load to its end.
    async fn run(&mut self) -> (Summary, Vec<RequestRecord>) {
        let start = self.clock.now();
        let summary = self.engine.run(start, CancellationToken::new()).await;
        self.recorded(start, summary)
    }

    /// Runs the load, and cancels it when `condition` is over.
    async fn run_until(&mut self, condition: impl AsyncFnOnce(&Server)) -> (Summary, Vec<RequestRecord>) {
        let cancel = CancellationToken::new();
        let start = self.clock.now();
        let (summary, ()) = tokio::join!(self.engine.run(start, cancel.clone()), async {
            condition(&self.server).await;
            cancel.cancel();
        });
        self.recorded(start, summary)
    }

    /// Adds every record, in order, and checks what holds of every run.
    fn recorded(&mut self, start: UnixNanos, summary: Summary) -> (Summary, Vec<RequestRecord>) {
        let mut records = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let LoadEvent::Request(record) = event {
                records.push(*record);
            }
        }
        records.sort_by_key(|record| (record.arrival, record.step));
        accounted(&summary, &records);
        // Users start when they are ready, which no schedule says.
        let scheduled = |record: &&RequestRecord| record.step == 0 && self.schedule.planned() > 0;
        for record in records.iter().filter(scheduled) {
            let arrival = self.schedule.arrivals().nth(usize::try_from(record.arrival).unwrap()).unwrap();
            assert_eq!(record.intended, start + arrival.at, "an arrival was moved");
        }
        (summary, records)
    }
}

/// Whatever happened, each planned arrival is started, shed or not started, and the ledger shows each of the
/// first two.
fn accounted(summary: &Summary, records: &[RequestRecord]) {
    assert_eq!(summary.planned, summary.started + summary.shed + summary.not_started, "{summary:?}");
    let arrivals: BTreeSet<u64> = records.iter().map(|record| record.arrival).collect();
    assert_eq!(arrivals.len() as u64, summary.started + summary.shed, "{summary:?}");
    for record in records {
        assert!(record.started >= record.intended && record.ended >= record.started, "{record:?}");
    }
}

/// `count` arrivals in `millis`, evenly spaced.
fn load(count: u32, millis: u64, mix: Vec<MixEntry>) -> Load {
    Load {
        arrivals: Some(Arrivals::flat(
            Rate::per_second(f64::from(count) * 1000.0 / millis as f64).unwrap(),
            Shape::Constant,
            Duration::from_millis(millis),
        )),
        mix,
        namespace: "ns".to_owned(),
        objects: 1,
        client: ClientOptions { connections: 1, ..ClientOptions::default() },
        timeout: Duration::from_secs(30),
        ..Load::default()
    }
}

/// Reads one configmap.
fn get() -> MixEntry {
    let get = Some(GetOperation { resource: Resource::Configmaps, resource_version: None });
    MixEntry { get, ..MixEntry::default() }
}

/// Answers as an API server where everything is there and allowed.
fn willing(seen: &Seen) -> Answer {
    let status = if seen.method == http::Method::POST { 201 } else { 200 };
    let body =
        r#"{"metadata":{"name":"x","resourceVersion":"5"},"status":{"allowed":true,"phase":"Active"}}"#;
    Answer::Status(status, body.to_owned())
}

/// Whether a request belongs to the load and not to its preparation.
fn is_load(seen: &Seen) -> bool {
    !seen.header("traceparent").ends_with("-00")
}
