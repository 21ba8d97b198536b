//! What is still to be measured, how long that takes, and whether there is time for it.

use std::time::Duration;

use spangate_scenario::{
    experiment::{ExperimentArm, ExperimentSpec},
    units,
};

use super::Rounds;
use crate::event::{Event, Events};

/// What a Collector takes to start and to end, and its last spans to come.
const AROUND: Duration = Duration::from_secs(4);

/// How long a unit takes before one was measured, its part of the round where arms run at once: its load, and the most that its server may take to be quiet, in which its
/// start is too.
pub(in crate::bench::experiment) fn unit_length(spec: &ExperimentSpec) -> Duration {
    let length = spec.load.length().map_or(Duration::ZERO, units::Duration::get);
    // A Collector is measured as soon as it is there.
    let before = if spec.load.traces.is_some() { AROUND } else { spec.quiet.within.get() };
    let arms = if spec.at_once { u32::try_from(spec.arms.len()).unwrap_or(u32::MAX) } else { 1 };
    (length + before + spec.quiet.idle.get()) / arms.max(1)
}

// === impl Rounds ===

impl Rounds {
    /// Whether a unit of an arm is to be measured, perhaps again. Where arms run at once the reference, which is never given up,
    /// stands for all of a round: one that was measured without an arm stays without it, also when that arm starts again later,
    /// since what it costs alone is compared with nothing that ran beside it.
    pub(super) fn is_wanted(&self, arm: &str, round: u32) -> bool {
        let spec = &self.experiment.spec;
        let told = if spec.at_once { spec.reference.as_str() } else { arm };
        let mut tries = 0;
        for unit in self.measured.units.iter().filter(|unit| unit.arm == told && unit.round == round) {
            if unit.excluded.is_none() {
                return false;
            }
            tries += 1;
        }
        !self.given_up.contains(arm) && tries <= spec.retries
    }

    /// Whether there is time for what is left of a round: as long as what was measured before took. The first one always is.
    pub(super) fn affords(&self, round: u32) -> bool {
        let Some(budget) = self.experiment.spec.budget else { return true };
        let left = self.left(round..=round);
        round == 1 || left == 0 || self.spent() + self.typical() * left <= budget.get()
    }

    /// How long all of it has taken, what was measured before a bench broke off included.
    pub(super) fn spent(&self) -> Duration {
        let earlier: f64 = self.measured.units[..self.earlier].iter().map(|unit| unit.seconds).sum();
        Duration::try_from_secs_f64(earlier).unwrap_or_default() + self.start.elapsed()
    }

    /// How long a unit takes.
    fn typical(&self) -> Duration {
        let known = || self.measured.units.iter().map(|unit| unit.seconds).filter(|seconds| *seconds > 0.0);
        let mean = known().sum::<f64>() / known().count() as f64;
        Duration::try_from_secs_f64(mean).unwrap_or_else(|_| unit_length(&self.experiment.spec))
    }

    /// Units of rounds that are still to be measured.
    fn left(&self, rounds: impl Iterator<Item = u32>) -> u32 {
        let arms = &self.experiment.spec.arms;
        let of_round = |round| arms.iter().filter(|arm| self.is_wanted(&arm.name, round)).count();
        u32::try_from(rounds.map(of_round).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Says what comes next, and how much there is to do.
    pub(super) fn announce(&self, arms: &[&ExperimentArm], round: u32, events: &Events) {
        let spec = &self.experiment.spec;
        let left = self.left(1..=spec.rounds);
        let mut time = self.typical() * left;
        if let Some(budget) = spec.budget {
            time = time.min(budget.get().saturating_sub(self.spent()));
        }
        let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
        let most = if spec.until.is_some() { "at most " } else { "" };
        events.send(Event::Note(format!(
            "round {round} of {}, {}: {most}{left} units and about {} min to go",
            spec.rounds,
            names.join(", "),
            time.as_secs().div_ceil(60)
        )));
    }
}
