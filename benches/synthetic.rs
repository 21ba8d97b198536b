//! Synthetic traces: spans per CPU second of the sender, and how late it is at a fixed rate.
//!
//! The receiver is a sink in another process (this program again, with a first argument), so that the CPU time of
//! this one is the sender's: drawing traces, changing ids and times, the ledger, gRPC, HTTP/2, and the kernel's share
//! of all that. Requests have 512 spans.
//!
//! The parts are `encode`, `send` and `lag`. `SPANGATE_BENCH_SECONDS` is how long the lag is measured: 5 unless it
//! says otherwise.

use std::{
    env,
    hint::black_box,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio},
    sync::Arc,
};

use spangate_benches::{Command, CpuWatch, Figure, Table, Target, command, command::Failure, figures};
use spangate_load::synthetic::{Batch, Delivery, Pace, Sender, SenderConfig, Synthetic};
use spangate_sink::{Sink, SinkConfig};
use spangate_trace::{Clock, UnixNanos};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Spans in a request: the batch of the SDK in an API server.
const SPANS: usize = 512;
const ROUNDS: usize = 9;
/// Traces in a round.
const TRACES: u64 = 40_000;
/// The first argument of a receiver.
const RECEIVE: &str = "--receive";

/// A sink in another process.
struct Receiver {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The URL for OTLP/gRPC.
    url: String,
}

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some(RECEIVE) {
        return command::run(|_| receive());
    }
    command::run(bench)
}

fn bench(command: &Command) -> Result<(), Failure> {
    if command.wants("encode") {
        encode()?;
    }
    if command.wants("send") {
        send()?;
    }
    if command.wants("lag") {
        lag()?;
    }
    Ok(())
}

/// Traces of all kinds of requests, some of them failed, slow or late.
fn synthetic(seed: u64, rate: f64, traces: u64) -> Result<Synthetic, Failure> {
    let traffic = serde_json::from_value(serde_json::json!({
        "seed": seed, "rate": format!("{rate}/s"), "shape": "poisson", "traces": traces, "classes": [
            {"name": "errors", "share": "5%", "error": true},
            {"name": "slow", "share": "5%", "duration": {"exponential": {"mean": "500ms"}}},
            {"name": "late", "share": "5%", "late": {"by": "1s"}},
            {"name": "normal", "share": "85%", "duration": {"exponential": {"mean": "10ms"}}},
        ],
    }))?;
    Ok(Synthetic::new(&traffic)?)
}

/// Drawing and encoding alone.
fn encode() -> Result<(), Failure> {
    let mut table = Table::begin("Traces drawn and encoded into requests of 512 spans, not sent")?;
    let (mut rate, mut bytes) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let synthetic = synthetic(round as u64, 10_000.0, TRACES)?;
        let mut batch = Batch::new(Arc::clone(synthetic.templates()));
        let (mut spans, mut size) = (0, 0);
        let cpu = CpuWatch::of_thread();
        for trace in synthetic.traces() {
            for send in &trace.sends {
                batch.push(&trace, send, UnixNanos(1));
                if batch.spans() == SPANS {
                    spans += batch.spans();
                    size += black_box(batch.take()).len();
                }
            }
        }
        rate.push(spans as f64 / cpu.elapsed().as_secs_f64() / 1e3);
        bytes.push(size as f64 / spans as f64);
    }
    table.row(&Figure::median("encode", "k spans/CPU s", &rate))?;
    table.row(&Figure::median("size", "bytes/span", &bytes))?;
    Ok(())
}

/// All of it, as fast as the receiver takes it.
fn send() -> Result<(), Failure> {
    let mut table = Table::begin("Traces sent over loopback, ledger included, sink in another process")?;
    let (mut cpu, mut wall, mut share) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (delivery, took) = deliver(&synthetic(round as u64, 10_000.0, TRACES)?, Pace::Unthrottled)?;
        let (spans, elapsed) = (delivery.counts.spans as f64, delivery.ended.since(delivery.began));
        cpu.push(spans / took / 1e3);
        wall.push(spans / elapsed.as_secs_f64() / 1e3);
        share.push(took / elapsed.as_secs_f64() * 100.0);
    }
    table.row(&Figure::median("encode and send", "k spans/CPU s", &cpu).target(Target::AtLeast(300.0)))?;
    table.row(&Figure::median("both on this machine", "k spans/s", &wall))?;
    table.row(&Figure::median("sender", "% of a core", &share))?;
    Ok(())
}

/// How late requests are at a fixed rate.
fn lag() -> Result<(), Failure> {
    const RATE: f64 = 5_000.0;
    let seconds: u64 = match env::var("SPANGATE_BENCH_SECONDS") {
        Ok(text) => {
            text.parse().map_err(|_| format!("SPANGATE_BENCH_SECONDS is {text:?}: give whole seconds"))?
        }
        Err(_) => 5,
    };
    let title = format!("{RATE} traces/s for {seconds} s, the sender beside the sink");
    let mut table = Table::begin(&title)?;
    let (delivery, took) = deliver(&synthetic(1, RATE, seconds * 5_000)?, Pace::Planned)?;
    let lags: Vec<_> =
        delivery.exports.iter().map(|export| export.at.since(export.due).as_secs_f64() * 1e3).collect();
    let (n, elapsed) = (lags.len(), delivery.ended.since(delivery.began).as_secs_f64());
    table.row(&Figure::once("sent", "k spans/s", delivery.counts.spans as f64 / elapsed / 1e3))?;
    table.row(&Figure::new("requests sent late by, p50", "ms", figures::quantile(&lags, 0.5), n))?;
    let p99 = Figure::new("requests sent late by, p99", "ms", figures::quantile(&lags, 0.99), n);
    table.row(&p99.target(Target::AtMost(1.0)))?;
    table.row(&Figure::once("sender", "% of a core", took / elapsed * 100.0))?;
    Ok(())
}

/// Sends to a new sink, and gives the CPU seconds that it took.
fn deliver(synthetic: &Synthetic, pace: Pace) -> Result<(Delivery, f64), Failure> {
    let receiver = Receiver::start()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (delivery, took) = runtime.block_on(async {
        let clock = Clock::new();
        let sender = Sender::new(SenderConfig::new(receiver.url.parse()?), clock);
        sender.connect().await?;
        let cpu = CpuWatch::of_process();
        let delivery = sender.send(synthetic, pace, clock.now(), &CancellationToken::new()).await?;
        Ok::<_, Failure>((delivery, cpu.elapsed().as_secs_f64()))
    })?;
    let (counts, stored) = (&delivery.counts, receiver.stop()?);
    if counts.accepted != counts.spans || stored != counts.spans {
        return Err(format!("{stored} spans were stored, but {counts:?} sent").into());
    }
    Ok((delivery, took))
}

/// What the receiver's process does: it tells its address, and how many spans it has when its input ends.
fn receive() -> Result<(), Failure> {
    let runtime = Runtime::new()?;
    let sink = runtime.block_on(Sink::start(SinkConfig::default()))?;
    let mut out = io::stdout();
    writeln!(out, "http://{}", sink.grpc_addr())?;
    out.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(writeln!(out, "{}", sink.store().stats().stored_spans)?)
}

// === impl Receiver ===

impl Receiver {
    fn start() -> Result<Self, Failure> {
        let mut child = std::process::Command::new(env::current_exe()?)
            .arg(RECEIVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().ok_or("the receiver has no output")?);
        let mut url = String::new();
        stdout.read_line(&mut url)?;
        Ok(Self { child, stdin, stdout, url: url.trim().to_owned() })
    }

    /// Stops it, and gives the spans that it has.
    fn stop(mut self) -> Result<u64, Failure> {
        self.stdin = None;
        let mut stored = String::new();
        self.stdout.read_line(&mut stored)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the receiver ended with {status}").into());
        }
        Ok(stored.trim().parse()?)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // One that has been stopped is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
