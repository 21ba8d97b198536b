//! Spangate as a load generator, beside others.
//!
//! Each generator is a process, and so is the server, so what a request costs is what its process took. Spangate's
//! engine sends in an open loop, through everything that a run has: the schedule, the ledger's records and the
//! histograms. The others keep all their streams busy, which lets them send many requests in one packet. The engine at
//! 95 % of the rate that h2load reached comes nearest to that. At 80 % and 50 %, as it is used, requests go out in
//! smaller groups, each of which costs calls into the kernel. A last arm is Spangate's client alone, with all streams
//! busy. All of them send the same headers.
//!
//! The parts are `stub` (against a server that costs as little as one can), `start` (how late operations start, at
//! half load), `memory` (`--long` sends ten million) and `apiserver` (against a kube-apiserver).

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::{self, ExitCode},
};

use serde::{Serialize, de::DeserializeOwned};
use spangate_benches::{
    Figure, Table, Target as Goal,
    command::{self, Failure},
};

mod apiserver;
mod arm;
mod contest;
mod generator;
mod measure;
mod parts;
mod peers;
mod stub;

use self::{
    apiserver::ApiServer,
    arm::{APISERVER, Arm, HALF, STUB, generate},
    contest::{Contest, ROUNDS},
    generator::{CLIENT, ENGINE, Order, Sent},
    peers::Peer,
    stub::Stub,
};

/// Says which part this process plays; what it is asked for stands beside it.
const ROLE: &str = "SPANGATE_BENCH_ROLE";
const ASKED: &str = "SPANGATE_BENCH_ASKED";

fn main() -> ExitCode {
    command::run(|command| {
        if let Ok(role) = env::var(ROLE) {
            return play(&role);
        }
        let scratch = tempfile::tempdir()?;
        if command.wants("stub") {
            against_stub(scratch.path())?;
        }
        if command.wants("start") {
            start_lag(scratch.path())?;
        }
        if command.wants("memory") {
            memory()?;
        }
        if command.wants("apiserver") {
            against_apiserver(scratch.path())?;
        }
        Ok(())
    })
}

/// This program again, in another part.
fn role(role: &str, asked: &impl Serialize) -> Result<process::Command, Failure> {
    let mut command = process::Command::new(env::current_exe()?);
    command.env(ROLE, role).env(ASKED, serde_json::to_string(asked)?);
    Ok(command)
}

fn play(role: &str) -> Result<(), Failure> {
    let sent = match role {
        stub::ROLE => return stub::play(),
        ENGINE => asked::<Order>()?.engine()?,
        CLIENT => asked::<Order>()?.client()?,
        _ => return Err(format!("there is no part {role:?}").into()),
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&sent)?)?;
    Ok(())
}

fn asked<T: DeserializeOwned>() -> Result<T, Failure> {
    Ok(serde_json::from_str(&env::var(ASKED)?)?)
}

fn against_stub(scratch: &Path) -> Result<(), Failure> {
    let stub = Stub::start()?;
    let title = "Generators against an HTTP/2 stub: GET of 300 bytes over TLS";
    Contest { title, target: &stub.target, sizes: STUB, goals: true }.hold(scratch)
}

fn against_apiserver(scratch: &Path) -> Result<(), Failure> {
    let server = ApiServer::start()?;
    let title = format!("Generators against {}: GET of a config map over TLS", server.name);
    Contest { title: &title, target: &server.target, sizes: APISERVER, goals: false }.hold(scratch)
}

/// How late operations start when the server is at half load.
fn start_lag(scratch: &Path) -> Result<(), Failure> {
    let stub = Stub::start()?;
    let mut table = Table::begin("Start lag and achieved rate at half load")?;
    let h2load = Peer::H2load.find(scratch)?;
    let capacity = Arm::Peer(h2load).send(&stub.target, &STUB, 0.0)?.1.rate();
    let mut sent = Vec::new();
    for _ in 0..ROUNDS {
        sent.extend(Arm::Engine(HALF).send(&stub.target, &STUB, capacity)?.0);
    }
    let values = |of: fn(&Sent) -> f64| sent.iter().map(of).collect::<Vec<_>>();
    table.row(&Figure::once("planned", "/s", capacity * HALF))?;
    table.row(&Figure::median("start lag p50", "ms", &values(|sent| sent.lag_p50)))?;
    let lag = Figure::median("start lag p99", "ms", &values(|sent| sent.lag_p99));
    table.row(&lag.target(Goal::AtMost(1.0)))?;
    let off =
        Figure::median("achieved, off the plan by", "%", &values(|sent| (1.0 - sent.achieved).abs() * 100.0));
    table.row(&off.target(Goal::AtMost(0.5)))?;
    Ok(())
}

/// Memory after ever more operations.
fn memory() -> Result<(), Failure> {
    const RATE: f64 = 40_000.0;
    let stub = Stub::start()?;
    let mut table = Table::begin("Memory of the generator after so many operations")?;
    let mut counts = vec![100_000, 1_000_000];
    if env::args().any(|arg| arg == "--long") {
        counts.push(10_000_000);
    }
    let mut first = None;
    for requests in counts {
        let order = Order { target: stub.target.clone(), requests, rate: RATE };
        let sent: Sent = generate(ENGINE, &order)?.0;
        table.row(&Figure::once(format!("after {requests}"), "MiB", sent.rss_mib))?;
        let grown = sent.rss_mib - *first.get_or_insert(sent.rss_mib);
        table.row(&Figure::once("  more than the first", "MiB", grown).target(Goal::AtMost(50.0)))?;
    }
    Ok(())
}
