//! All generators against one server, round after round, in random order.

use std::{
    io::{self, Write},
    path::Path,
};

use spangate_benches::{Figure, Table, Target as Goal, command::Failure, figures};
use spangate_trace::stats::SplitMix64;

use crate::{
    arm::{Arm, FULL, HALF, HIGH, Sizes},
    generator::Target,
    measure::Run,
    parts,
    peers::{Peer, Tool},
};

/// Rounds, in each of which every generator has its turn.
pub(crate) const ROUNDS: usize = 7;

/// What is compared.
pub(crate) struct Contest<'a> {
    pub(crate) title: &'a str,
    pub(crate) target: &'a Target,
    pub(crate) sizes: Sizes,
    /// Whether there are goals.
    pub(crate) goals: bool,
}

/// The arms with their runs.
struct Outcome {
    arms: Vec<Arm>,
    runs: Vec<Vec<Run>>,
}

// === impl Contest ===

impl Contest<'_> {
    pub(crate) fn hold(&self, scratch: &Path) -> Result<(), Failure> {
        let tools = find(scratch)?;
        let Some(h2load) = tools.iter().find(|tool| tool.peer == Peer::H2load) else {
            return Err("without h2load there is nothing to compare with, and no rate to begin from".into());
        };
        let mut table = Table::begin(self.title)?;
        let outcome = self.measure(h2load.clone(), &tools)?;
        outcome.show(&mut table)?;
        self.compare(&outcome, &mut table)
    }

    fn measure(&self, h2load: Tool, tools: &[Tool]) -> Result<Outcome, Failure> {
        let capacity = Arm::Peer(h2load).send(self.target, &self.sizes, 0.0)?.1.rate();
        let mut arms: Vec<_> = [Arm::Engine(HALF), Arm::Engine(HIGH), Arm::Engine(FULL), Arm::Client].into();
        arms.extend(tools.iter().cloned().map(Arm::Peer));
        let mut runs: Vec<Vec<Run>> = vec![Vec::new(); arms.len()];
        let mut random = SplitMix64::new(7);
        for _ in 0..ROUNDS {
            let mut order: Vec<_> = (0..arms.len()).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, random.below(last + 1));
            }
            for index in order {
                runs[index].push(arms[index].send(self.target, &self.sizes, capacity)?.1);
            }
        }
        Ok(Outcome { arms, runs })
    }

    fn compare(&self, outcome: &Outcome, table: &mut Table) -> Result<(), Failure> {
        let engine = |wanted| {
            outcome
                .costs(|arm| matches!(arm, Arm::Engine(share) if *share >= wanted))
                .ok_or("there is no engine at that rate")
        };
        let (high, full) = (engine(HIGH)?, engine(FULL)?);
        let client = outcome.costs(|arm| matches!(arm, Arm::Client)).ok_or("there is no client")?;
        for (peer, goal) in [(Peer::H2load, Some(0.7)), (Peer::K6, Some(5.0)), (Peer::Hey, None)] {
            let is = |arm: &Arm| matches!(arm, Arm::Peer(tool) if tool.peer == peer);
            let Some(of_peer) = outcome.costs(is) else { continue };
            let goal = goal.filter(|_| self.goals);
            for (name, mine, goal) in
                [("at 95%", &full, goal), ("at 80%", &high, goal), ("client alone", &client, None)]
            {
                let ratio = figures::compare(mine, &of_peer, |one, other| one / other);
                let what = format!("{name}, over {}, requests/CPU s", peer.name());
                let figure = Figure::new(what, "x", ratio, ROUNDS);
                table.row(&goal.map_or(figure.clone(), |goal| figure.target(Goal::AtLeast(goal))))?;
            }
        }
        let rest = |what, more: &[f64], less: &[f64]| {
            let rest = figures::compare(more, less, |more, less| 1e6 / more - 1e6 / less);
            Figure::new(what, "us/request", rest, ROUNDS)
        };
        table.row(&rest("what the engine at 95% adds to the client", &full, &client))?;
        parts::show(table)?;
        table.row(&rest("what smaller groups at 80% add to that", &high, &full))?;
        Ok(())
    }
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

// === impl Outcome ===

impl Outcome {
    fn show(&self, table: &mut Table) -> Result<(), Failure> {
        for (arm, runs) in self.arms.iter().zip(&self.runs) {
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
        Ok(())
    }

    /// Requests per CPU second of the first arm that is `wanted`.
    fn costs(&self, wanted: impl Fn(&Arm) -> bool) -> Option<Vec<f64>> {
        let index = self.arms.iter().position(wanted)?;
        Some(self.runs[index].iter().map(Run::per_cpu_second).collect())
    }
}
