//! The sink: spans per CPU second, loss at a fixed rate, and the walk against a full decode.
//!
//! The sender is another process (this program again, with an [`Order`]), so that the CPU time of this one is
//! the sink's: HTTP/2, gRPC, walk, rows, the index by trace, and the kernel's share of all that. It sends
//! exports as an API server does, 512 spans each; every trace id in them is new, so that the index grows as
//! in a run.
//!
//! The parts are `throughput`, `loss` and `walk`. `SPANGATE_BENCH_SECONDS` is how long the loss is measured:
//! 5 unless it says otherwise.

use std::{
    env,
    hint::black_box,
    io::{self, Write},
    net::SocketAddr,
    process::{ExitCode, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use futures::future::try_join_all;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use spangate_benches::{
    Command, CpuWatch, Figure, Table, Target,
    command::{self, Failure},
    figures,
    grpc::{self, Client},
};
use spangate_sink::{
    Sink, SinkConfig, Stats, Store, shape,
    wire::{self, WireError},
};
use spangate_trace::{Estimate, stats};
use tokio::{
    process,
    runtime::{Builder, Runtime},
    time::sleep_until,
};

/// Spans in an export: the batch of the SDK in an API server.
const SPANS: u64 = 512;
/// Traces that an export has a part of.
const TRACES: u64 = SPANS.div_ceil(shape::TRACE_SPANS as u64);
/// Connections of the sender, each with one export under way, as that many API servers have.
const CONNECTIONS: usize = 4;
/// Different exports; the ids in them are changed for each that is sent.
const TEMPLATES: u64 = 16;
/// The first argument of a sender.
const SEND: &str = "--send";

/// What a sender is to do.
#[derive(Serialize, Deserialize)]
struct Order {
    sink: SocketAddr,
    exports: u64,
    /// Spans per second; without it as many as the sink takes.
    rate: Option<f64>,
}

/// What a sender did.
#[derive(Serialize, Deserialize)]
struct Sent {
    accepted: u64,
    failed: u64,
    took: Duration,
    cpu: Duration,
    /// How late each export was sent, in milliseconds; nothing without a rate.
    lags: Vec<f64>,
}

/// One measurement.
struct Round {
    sent: Sent,
    stored: Stats,
    /// CPU time of the sink.
    cpu: Duration,
}

/// An export whose trace ids can be changed.
struct Template {
    message: Bytes,
    /// Where the trace ids are.
    traces: Vec<usize>,
}

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    if args.next().as_deref() == Some(SEND) {
        return command::run(|_| send(&args.next().unwrap_or_default()));
    }
    command::run(bench)
}

fn bench(command: &Command) -> Result<(), Failure> {
    let runtime = Runtime::new()?;
    if command.wants("throughput") {
        runtime.block_on(throughput())?;
    }
    if command.wants("loss") {
        runtime.block_on(loss())?;
    }
    if command.wants("walk") {
        walk()?;
    }
    criteria();
    Ok(())
}

async fn throughput() -> Result<(), Failure> {
    const ROUNDS: usize = 9;
    const EXPORTS: u64 = 2_000;
    let mut table = Table::begin("OTLP/gRPC into the index, 1M spans a round, sender in another process")?;
    let (mut sink, mut sender, mut index, mut wall) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let round = Round::run(EXPORTS, None).await?;
        if round.lost() > 0 || round.stored.traces != EXPORTS * TRACES {
            return Err(format!("not everything was sent and stored: {:?}", round.stored).into());
        }
        let spans = round.stored.stored_spans as f64;
        sink.push(spans / round.cpu.as_secs_f64() / 1e3);
        sender.push(spans / round.sent.cpu.as_secs_f64() / 1e3);
        wall.push(spans / round.sent.took.as_secs_f64() / 1e3);
        index.push(round.stored.index_bytes as f64 / spans);
    }
    table.row(&Figure::median("sink", "k spans/CPU s", &sink).target(Target::AtLeast(400.0)))?;
    table.row(&Figure::median("index", "bytes/span", &index).target(Target::AtMost(96.0)))?;
    table.row(&Figure::median("sender", "k spans/CPU s", &sender))?;
    table.row(&Figure::median("both on this machine", "k spans/s", &wall))?;
    Ok(())
}

async fn loss() -> Result<(), Failure> {
    const RATE: f64 = 100_000.0;
    let seconds = match env::var("SPANGATE_BENCH_SECONDS") {
        Ok(text) => {
            text.parse().map_err(|_| format!("SPANGATE_BENCH_SECONDS is {text:?}: give whole seconds"))?
        }
        Err(_) => 5,
    };
    let title = format!("Loss at 100k spans/s for {seconds} s, the sender beside the sink");
    let mut table = Table::begin(&title)?;
    let round = Round::run(seconds * 100_000 / SPANS, Some(RATE)).await?;
    let (lost, Round { sent, cpu, .. }) = (round.lost(), round);
    let spans = sent.accepted + sent.failed;
    let n = usize::try_from(spans)?;
    let share = stats::clopper_pearson(lost, spans, figures::CONFIDENCE);
    let ppm = |share: f64| share * 1e6;
    let share = Estimate { value: ppm(share.value), low: ppm(share.low), high: ppm(share.high) };
    let figure = Figure::new("sent and not stored", "per million", share, n);
    table.row(&figure.target(Target::AtMost(0.0)))?;
    let rate = spans as f64 / sent.took.as_secs_f64() / RATE * 100.0;
    table.row(&Figure::once("sent, of the rate", "%", rate).target(Target::AtLeast(99.5)))?;
    let p99 = figures::quantile(&sent.lags, 0.99);
    table.row(&Figure::new("exports sent late by, p99", "ms", p99, sent.lags.len()))?;
    let busy = |cpu: Duration| cpu.as_secs_f64() / sent.took.as_secs_f64() * 100.0;
    table.row(&Figure::once("sink", "% of a core", busy(cpu)))?;
    table.row(&Figure::once("sender", "% of a core", busy(sent.cpu)))?;
    Ok(())
}

/// The walk, the walk with the store behind it, and prost, in turns over the same bytes.
fn walk() -> Result<(), Failure> {
    const TURNS: u64 = 400;
    let mut table = Table::begin("An export of 512 spans: walked, stored, decoded in full")?;
    let (mut walked, mut stored, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
    let store = Store::new();
    for turn in 0..TURNS {
        let export = shape::request(turn, 512);
        let nanos = |began: Instant| began.elapsed().as_nanos() as f64 / SPANS as f64;
        let began = Instant::now();
        walk_once(&export)?;
        walked.push(nanos(began));
        let began = Instant::now();
        drop(black_box(ExportTraceServiceRequest::decode(export.clone())?));
        decoded.push(nanos(began));
        let began = Instant::now();
        store.append(&export)?;
        stored.push(nanos(began));
    }
    table.row(&Figure::median("walk", "ns/span", &walked))?;
    table.row(&Figure::median("walk, rows and index", "ns/span", &stored))?;
    table.row(&Figure::median("prost decode", "ns/span", &decoded))?;
    let ratio = |walked: &[f64]| figures::compare(&decoded, walked, |decoded, walked| decoded / walked);
    table.row(&Figure::new("decode / walk", "times", ratio(&walked), decoded.len()))?;
    table.row(&Figure::new("decode / (walk, rows and index)", "times", ratio(&stored), decoded.len()))?;
    Ok(())
}

fn walk_once(export: &[u8]) -> Result<(), WireError> {
    wire::walk(export, |span| {
        black_box(&span);
    })
}

/// The same under criterion, which remembers and compares.
fn criteria() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("walk");
    let export = shape::request(7, 512);
    group.throughput(Throughput::Elements(SPANS));
    group.bench_function("walk", |bench| bench.iter(|| walk_once(&export)));
    group.bench_function("prost", |bench| bench.iter(|| ExportTraceServiceRequest::decode(export.clone())));
    group.finish();
    criterion.final_summary();
}

// === impl Round ===

impl Round {
    /// Sends `exports` to a new sink.
    async fn run(exports: u64, rate: Option<f64>) -> Result<Self, Failure> {
        let sink = Sink::start(SinkConfig::default()).await?;
        let order = serde_json::to_string(&Order { sink: sink.grpc_addr(), exports, rate })?;
        let cpu = CpuWatch::of_process();
        let sender = process::Command::new(env::current_exe()?)
            .args([SEND, &order])
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await?;
        let cpu = cpu.elapsed();
        if !sender.status.success() {
            return Err(format!("the sender ended with {}", sender.status).into());
        }
        let sent = serde_json::from_slice(&sender.stdout)?;
        let stored = sink.store().stats();
        sink.shutdown().await;
        Ok(Self { sent, stored, cpu })
    }

    /// Spans that were sent and not stored, or stored and not sent.
    fn lost(&self) -> u64 {
        (self.sent.accepted + self.sent.failed).abs_diff(self.stored.stored_spans)
    }
}

// === impl Template ===

impl Template {
    fn new(seed: u64) -> Result<Self, WireError> {
        let export = shape::request(seed, 512);
        let message = grpc::framed(&export);
        let prefix = message.len() - export.len();
        let mut traces = Vec::new();
        wire::walk(&export, |span| {
            // The id is the first field: a byte for the key, one for the length.
            let id = span.range.start + 2;
            let found = span.ids.map(|ids| *ids.trace_id.as_bytes());
            assert_eq!(found.as_ref().map(<[u8; 16]>::as_slice), export.get(id..id + 16), "not the trace id");
            traces.push(prefix + id);
        })?;
        Ok(Self { message, traces })
    }

    /// The export with this number; no two have a trace in common.
    fn export(&self, number: u64) -> Bytes {
        let mut export = BytesMut::from(&self.message[..]);
        for id in &self.traces {
            for (byte, change) in export[*id..].iter_mut().zip(number.to_be_bytes()) {
                *byte ^= change;
            }
        }
        export.freeze()
    }
}

/// What the sender's process does.
fn send(order: &str) -> Result<(), Failure> {
    let order: Order = serde_json::from_str(order)?;
    let templates = (0..TEMPLATES).map(Template::new).collect::<Result<Vec<_>, _>>()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(send_all(&order, &templates))?;
    Ok(io::stdout().write_all(&serde_json::to_vec(&sent)?)?)
}

async fn send_all(order: &Order, templates: &[Template]) -> Result<Sent, Failure> {
    let clients = try_join_all((0..CONNECTIONS).map(|_| Client::connect(order.sink))).await?;
    let (next, accepted, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (began, cpu) = (Instant::now(), CpuWatch::of_process());
    let senders = clients.iter().map(|client| async {
        let method = client.method("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        let mut lags = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= order.exports {
                return Ok::<_, Failure>(lags);
            }
            if let Some(rate) = order.rate {
                let due = began + Duration::from_secs_f64((number * SPANS) as f64 / rate);
                sleep_until(due.into()).await;
                lags.push(due.elapsed().as_secs_f64() * 1e3);
            }
            let template = &templates[usize::try_from(number % TEMPLATES)?];
            // An answer that is not empty says that spans were rejected.
            let kept = matches!(client.call(&method, template.export(number)).await, Ok(0));
            let count = if kept { &accepted } else { &failed };
            count.fetch_add(SPANS, Ordering::Relaxed);
        }
    });
    let lags = try_join_all(senders).await?.concat();
    Ok(Sent {
        took: began.elapsed(),
        cpu: cpu.elapsed(),
        accepted: accepted.into_inner(),
        failed: failed.into_inner(),
        lags,
    })
}
