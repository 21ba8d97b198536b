//! Spangate as a load generator, beside others.
//!
//! Each generator is a process, and so is the server, so what a request costs is what its process took. The others
//! keep all their streams busy, which lets them send many requests in one packet. Spangate sends in an open loop at
//! a share of the rate that h2load reached, through everything that a run has: the schedule, the ledger's records
//! and the histograms. A second arm is its client alone, with all streams busy.
//!
//! The parts are `stub` (against a server that costs as little as one can), `start` (how late operations start, at
//! half load), `memory` (`--long` sends ten million) and `apiserver`.

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
    figures,
};
use spangate_trace::stats::SplitMix64;

mod generator;
mod measure;
mod peers;
mod stub;

use self::{
    generator::{CLIENT, ENGINE, Order, Sent},
    measure::Run,
    peers::{Peer, Tool},
    stub::{Stub, Target},
};

/// Says which part this process plays; what it is asked for stands beside it.
const ROLE: &str = "SPANGATE_BENCH_ROLE";
const ASKED: &str = "SPANGATE_BENCH_ASKED";

/// Rounds, in each of which every generator has its turn.
const ROUNDS: usize = 7;
/// Operations of the engine and of the client in a round.
const REQUESTS: u64 = 100_000;
/// Rates of the engine, as shares of what h2load reaches.
const HALF: f64 = 0.5;
const HIGH: f64 = 0.8;

/// One who sends.
#[derive(Debug, Clone)]
enum Arm {
    Engine(f64),
    Client,
    Peer(Tool),
}

fn main() -> ExitCode {
    command::run(|command| {
        if let Ok(role) = env::var(ROLE) {
            return play(&role);
        }
        let scratch = tempfile::tempdir()?;
        if command.wants("stub") {
            beside_others(scratch.path())?;
        }
        if command.wants("start") {
            start_lag(scratch.path())?;
        }
        if command.wants("memory") {
            memory()?;
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

/// Every generator against the stub, in random order.
fn beside_others(scratch: &Path) -> Result<(), Failure> {
    let stub = Stub::start()?;
    let tools = find(scratch)?;
    let mut table = Table::begin("Generators against an HTTP/2 stub: GET of 300 bytes over TLS")?;
    let Some(h2load) = tools.iter().find(|tool| tool.peer == Peer::H2load) else {
        return Err("without h2load there is nothing to compare with, and no rate to begin from".into());
    };
    let capacity = Arm::Peer(h2load.clone()).send(&stub.target, 0.0)?.1.rate();
    let mut arms: Vec<_> = [Arm::Engine(HALF), Arm::Engine(HIGH), Arm::Client].into();
    arms.extend(tools.iter().cloned().map(Arm::Peer));
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); arms.len()];
    let mut random = SplitMix64::new(7);
    for _ in 0..ROUNDS {
        let mut order: Vec<_> = (0..arms.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        for index in order {
            runs[index].push(arms[index].send(&stub.target, capacity)?.1);
        }
    }
    for (arm, runs) in arms.iter().zip(&runs) {
        for (what, unit, of) in [
            ("requests", "/s", (|run| run.rate()) as fn(&Run) -> f64),
            ("CPU", "us/request", |run| 1e6 / run.per_cpu_second()),
            ("requests", "/CPU s", Run::per_cpu_second),
            ("p50", "ms", |run| run.p50),
            ("p99", "ms", |run| run.p99),
        ] {
            let values: Vec<_> = runs.iter().map(of).collect();
            table.row(&Figure::median(format!("{}: {what}", arm.name()), unit, &values))?;
        }
    }
    let costs = |wanted: &dyn Fn(&Arm) -> bool| -> Option<Vec<f64>> {
        let index = arms.iter().position(wanted)?;
        Some(runs[index].iter().map(Run::per_cpu_second).collect())
    };
    let of_engine = costs(&|arm| matches!(arm, Arm::Engine(HIGH))).ok_or("there is no engine")?;
    let of_client = costs(&|arm| matches!(arm, Arm::Client)).ok_or("there is no client")?;
    for (peer, goal) in [(Peer::H2load, Some(0.7)), (Peer::K6, Some(5.0)), (Peer::Hey, None)] {
        let is = |arm: &Arm| matches!(arm, Arm::Peer(tool) if tool.peer == peer);
        let Some(of_peer) = costs(&is) else { continue };
        for (name, mine, goal) in [("engine", &of_engine, goal), ("client alone", &of_client, None)] {
            let ratio = figures::compare(mine, &of_peer, |one, other| one / other);
            let figure =
                Figure::new(format!("{name} over {}, requests/CPU s", peer.name()), "x", ratio, ROUNDS);
            table.row(&goal.map_or(figure.clone(), |goal| figure.target(Goal::AtLeast(goal))))?;
        }
    }
    let rest = figures::compare(&of_engine, &of_client, |engine, client| 1e6 / engine - 1e6 / client);
    table.row(&Figure::new("what the engine adds to the client", "us/request", rest, ROUNDS))?;
    Ok(())
}

/// The peers that are there; the others are told of.
fn find(scratch: &Path) -> Result<Vec<Tool>, Failure> {
    let mut tools = Vec::new();
    for peer in Peer::ALL {
        match peer.find(scratch) {
            Ok(tool) => tools.push(tool),
            Err(why) => writeln!(io::stdout(), "\n*** {} IS SKIPPED: {why} ***", peer.name())?,
        }
    }
    Ok(tools)
}

/// How late operations start when the server is at half load.
fn start_lag(scratch: &Path) -> Result<(), Failure> {
    let stub = Stub::start()?;
    let mut table = Table::begin("Start lag and achieved rate at half load")?;
    let h2load = Peer::H2load.find(scratch)?;
    let capacity = Arm::Peer(h2load).send(&stub.target, 0.0)?.1.rate();
    let mut sent = Vec::new();
    for _ in 0..ROUNDS {
        sent.extend(Arm::Engine(HALF).send(&stub.target, capacity)?.0);
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

/// Lets this program send in a process of its own.
fn generate(part: &str, order: &Order) -> Result<(Sent, f64), Failure> {
    let (output, cpu) = measure::run(&mut role(part, order)?)?;
    let sent: Sent = serde_json::from_str(&output)?;
    if sent.failed > 0 {
        return Err(format!("{} of {} requests failed", sent.failed, sent.requests).into());
    }
    Ok((sent, cpu))
}

// === impl Arm ===

impl Arm {
    fn name(&self) -> String {
        match self {
            Self::Engine(share) => format!("spangate at {:.0}%", share * 100.0),
            Self::Client => "spangate's client".to_owned(),
            Self::Peer(tool) => tool.peer.name().to_owned(),
        }
    }

    /// Sends a round's requests; what Spangate says more of it comes first.
    fn send(&self, target: &Target, capacity: f64) -> Result<(Option<Sent>, Run), Failure> {
        let order = |requests, rate| Order { target: target.clone(), requests, rate };
        let (part, order) = match self {
            Self::Peer(tool) => return Ok((None, tool.send(&order(tool.peer.requests(), 0.0))?)),
            Self::Engine(share) => (ENGINE, order(REQUESTS, capacity * share)),
            Self::Client => (CLIENT, order(REQUESTS, 0.0)),
        };
        let (sent, cpu) = generate(part, &order)?;
        let Sent { requests, seconds, p50, p99, .. } = sent;
        Ok((Some(sent), Run { requests, seconds, cpu, p50, p99 }))
    }
}
