//! Spangate as a generator, in a process of its own: the whole engine in an open loop, or its client alone.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::json;
use spangate_benches::command::Failure;
use spangate_load::{
    Client, ClientConfig, ClientIdentity, Engine, EngineConfig, Histogram, LoadEvent, Schedule,
};
use spangate_scenario::model::{Load, Protocol};
use spangate_trace::Clock;
use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// The names of the parts in the processes that play them.
pub(crate) const ENGINE: &str = "engine";
pub(crate) const CLIENT: &str = "client";

/// Connections and streams of every generator.
pub(crate) const CONNECTIONS: u16 = 2;
pub(crate) const STREAMS: u32 = 100;

/// Path of what is read.
pub(crate) const PATH: &str = "/api/v1/namespaces/spangate-load/configmaps/pool-0";

/// Headers of each request of those who can be told of them. Spangate's engine sends the same, with a `traceparent`
/// that is new for each request.
pub(crate) const HEADERS: [(&str, &str); 2] = [
    ("accept", "application/json"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

/// Where a server listens, how it proves who it is, and who sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) addr: String,
    pub(crate) ca_pem: String,
    /// The bearer token of each request, if the server asks for one.
    pub(crate) token: Option<String>,
}

/// What to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) target: Target,
    pub(crate) requests: u64,
    /// Requests a second; the client alone sends as fast as it can.
    pub(crate) rate: f64,
}

/// What came of it. Times are in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) seconds: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// How late operations started.
    pub(crate) lag_p50: f64,
    pub(crate) lag_p99: f64,
    /// Operations a second that started, of those that were planned.
    pub(crate) achieved: f64,
    /// Memory at the end.
    pub(crate) rss_mib: f64,
}

// === impl Target ===

impl Target {
    fn identity(&self) -> ClientIdentity {
        self.token.as_ref().map_or_else(ClientIdentity::none, |token| ClientIdentity::token("bench", token))
    }

    /// An engine that sends reads of one object, so many at so many a second, and what it tells.
    pub(crate) fn engine(
        &self,
        requests: u64,
        rate: f64,
    ) -> Result<(Engine, Clock, UnboundedReceiver<LoadEvent>), Failure> {
        let load: Load = serde_json::from_value(json!({
            "arrivals": {"rate": format!("{rate}/s"), "for": format!("{:.0}us", requests as f64 / rate * 1e6)},
            "mix": [{"get": {"resource": "configmaps"}}],
            "client": {"connections": CONNECTIONS, "streams": STREAMS},
            "objects": 1,
            // At 95% of what the server can take, a stall of a tenth of a second is more than ten thousand requests.
            "maxInFlight": 100_000,
        }))?;
        let (events, told) = unbounded_channel();
        let clock = Clock::new();
        let engine = Engine::new(EngineConfig {
            endpoint: self.addr.parse()?,
            ca_pem: self.ca_pem.clone(),
            admin: self.identity(),
            unprivileged: ClientIdentity::none(),
            schedule: Schedule::new(&load, 7),
            load,
            replay: None,
            clock,
            events,
            run_label: "bench".to_owned(),
        })?;
        Ok((engine, clock, told))
    }
}

// === impl Order ===

impl Order {
    /// Sends through the whole engine.
    pub(crate) fn engine(&self) -> Result<Sent, Failure> {
        Builder::new_current_thread().enable_all().build()?.block_on(self.open_loop())
    }

    async fn open_loop(&self) -> Result<Sent, Failure> {
        let (engine, clock, mut told) = self.target.engine(self.requests, self.rate)?;
        engine.join().await?;
        let told = tokio::spawn(async move {
            let (mut requests, mut last) = (0, None);
            while let Some(event) = told.recv().await {
                if let LoadEvent::Request(record) = event {
                    requests += 1;
                    last = last.max(Some(record.ended));
                }
            }
            (requests, last)
        });
        let start = clock.now() + Duration::from_millis(10);
        let summary = engine.run(start, CancellationToken::new()).await;
        drop(engine);
        let (requests, last): (u64, _) = told.await?;
        let took = last.ok_or("nothing was sent")?.since(start);
        let total = summary.latencies.total(|_| true);
        let achieved = summary.achieved_rate() / summary.planned_rate();
        Ok(Sent {
            requests,
            failed: summary.errors + summary.timeouts + summary.refused + summary.shed,
            seconds: took.as_secs_f64(),
            p50: millis(&total.response, 50.0),
            p99: millis(&total.response, 99.0),
            lag_p50: millis(&summary.start_lag, 50.0),
            lag_p99: millis(&summary.start_lag, 99.0),
            achieved,
            rss_mib: rss_mib()?,
        })
    }

    /// Sends through the client alone, with all streams busy.
    pub(crate) fn client(&self) -> Result<Sent, Failure> {
        Builder::new_current_thread().enable_all().build()?.block_on(self.closed_loop())
    }

    async fn closed_loop(&self) -> Result<Sent, Failure> {
        let client = Arc::new(Client::new(&ClientConfig {
            endpoint: self.target.addr.parse()?,
            ca_pem: self.target.ca_pem.clone(),
            identity: self.target.identity(),
            protocol: Protocol::Http2,
            connections: CONNECTIONS,
            streams: STREAMS,
        })?);
        client.connect().await?;
        let streams = u64::from(CONNECTIONS) * u64::from(STREAMS);
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            let (client, share) = (Arc::clone(&client), self.requests / streams);
            tasks.spawn(async move {
                let mut times = Histogram::default();
                for _ in 0..share {
                    let began = Instant::now();
                    get(&client).await?;
                    times.record(began.elapsed());
                }
                Ok::<_, Failure>(times)
            });
        }
        let mut times = Histogram::default();
        while let Some(task) = tasks.join_next().await {
            times.merge(&task??);
        }
        Ok(Sent {
            requests: times.count(),
            failed: 0,
            seconds: began.elapsed().as_secs_f64(),
            p50: millis(&times, 50.0),
            p99: millis(&times, 99.0),
            lag_p50: 0.0,
            lag_p99: 0.0,
            achieved: 1.0,
            rss_mib: rss_mib()?,
        })
    }
}

async fn get(client: &Client) -> Result<(), Failure> {
    let mut request = client.request(&Method::GET, PATH, Bytes::new())?;
    for (name, value) in HEADERS {
        let mut value = HeaderValue::from_static(value);
        value.set_sensitive(name == "traceparent");
        request.headers_mut().insert(name, value);
    }
    let response = client.connection().await?.send(request).await?;
    if !response.status().is_success() {
        return Err(format!("the server answered {}", response.status()).into());
    }
    let mut body = response.into_body();
    while body.chunk().await.transpose()?.is_some() {}
    Ok(())
}

fn millis(histogram: &Histogram, percentile: f64) -> f64 {
    histogram.percentile(percentile).unwrap_or_default().as_secs_f64() * 1e3
}

/// Resident memory of this process (`/proc/self/status`).
fn rss_mib() -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
