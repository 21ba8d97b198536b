//! Gates tried on machines that are made up: how often a gate is red of nothing, and how often it sees something.
//!
//! What a gate promises is a rate, so no single measurement can show it. Here the truth is known, and a gate costs no
//! time; the same [`look`] judges as after a real measurement.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use spangate_trace::stats::{Binomial, Estimate, Sequential, SplitMix64, clopper_pearson};

use super::{Arm, Key, Measured, Metric, OverheadRules, Unit, compare::Pairing, gate::look};
use crate::verdict::Status;

/// How figures of a real machine vary. Deviations are standard deviations of logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Noise {
    /// From one round to the next, of both arms alike: what the machine does to two servers that run at the same time.
    pub round: f64,
    /// Of each arm within a round.
    pub own: f64,
    /// The part by which all gets slower from round to round.
    pub drift: f64,
    /// The part of units whose own deviation is five times as large.
    pub tail: f64,
}

/// What became of many gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Gates that were red.
    pub red: u64,
    /// Gates that were green.
    pub green: u64,
    /// Gates that could not tell.
    pub open: u64,
}

/// What gates do when CPU time a request grows by a part, and nothing else does.
pub fn gates(
    rules: &OverheadRules,
    plan: &Sequential,
    noise: &Noise,
    burn: f64,
    trials: u64,
    seed: u64,
) -> Tally {
    let mut tally = Tally::default();
    for trial in 0..trials {
        let mut random = SplitMix64::new(seed.wrapping_add(trial).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut measured = nothing();
        let mut status = Status::Inconclusive;
        for round in 1..=plan.cap {
            measured.units.extend(noise.round(round, burn, &mut random));
            if plan.looks_at(round) {
                status = look(&measured, rules, plan, Date::MAX).status;
                if status != Status::Inconclusive {
                    break;
                }
            }
        }
        tally.count(status);
    }
    tally
}

/// An experiment of which nothing has been measured yet.
fn nothing() -> Measured {
    let arm = |name: &str| Arm { name: name.to_owned(), description: "made up".to_owned() };
    let key = Key {
        experiment: "simulation".to_owned(),
        hash: String::new(),
        versions: BTreeMap::new(),
        cpu: String::new(),
        cores: 0,
        kernel: String::new(),
    };
    Measured {
        key,
        reference: "base".to_owned(),
        pairing: Some(Pairing::AtOnce),
        arms: vec![arm("base"), arm("head")],
        units: Vec::new(),
    }
}

// === impl Noise ===

impl Noise {
    /// As two API servers vary that run at the same time: CPU time a request differed by 11 % from round to round, and
    /// the ratio of both by 2.9 %, in six rounds of 16 s on a machine that was busy with other work
    /// (`docs/methodology.md`).
    pub const BUSY: Self = Self { round: 0.11, own: 0.0205, drift: 0.005, tail: 0.05 };

    /// The deviation of a pair whose sides are measured at the same time: what they share is in both.
    pub fn at_once(&self) -> f64 {
        self.own * std::f64::consts::SQRT_2
    }

    /// The deviation of a pair whose sides are measured one after the other: nothing of it is in both.
    pub fn in_turn(&self) -> f64 {
        self.own.hypot(self.round) * std::f64::consts::SQRT_2
    }

    /// The units of a round.
    fn round(&self, round: u32, burn: f64, random: &mut SplitMix64) -> [Unit; 2] {
        let both = self.round * normal(random) + f64::from(round) * self.drift.ln_1p();
        ["base", "head"].map(|arm| {
            let mut own = |wider: f64| {
                let far = (random.below(10_000) as f64) < self.tail * 1e4;
                let width = self.own * wider * if far { 5.0 } else { 1.0 };
                (both + width * normal(random)).exp()
            };
            let burnt = if arm == "head" { 1.0 + burn } else { 1.0 };
            // Memory hardly varies, and tails of response time vary more than anything else.
            let figures = [
                (Metric::CpuPerRequest, 2e-3 * burnt * own(1.0)),
                (Metric::Rss, 3e8 * own(0.5)),
                (Metric::ResponseP99, 1e-2 * own(4.0)),
            ];
            Unit { arm: arm.to_owned(), round, n: 3_000, figures: figures.into(), ..Unit::default() }
        })
    }
}

/// A number from the standard normal distribution (G. Box and M. Muller, 1958).
pub(crate) fn normal(random: &mut SplitMix64) -> f64 {
    let mut uniform = || (random.below(1 << 52) as f64 + 0.5) / (1_u64 << 52) as f64;
    let (size, angle) = (uniform(), uniform());
    (-2.0 * size.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, status: Status) {
        match status {
            Status::Fail => self.red += 1,
            Status::Pass => self.green += 1,
            Status::Inconclusive => self.open += 1,
        }
    }

    /// All gates.
    pub const fn all(&self) -> u64 {
        self.red + self.green + self.open
    }

    /// The share of red ones, with its exact interval at 95 %.
    pub fn share(&self) -> Estimate {
        clopper_pearson(self.red, self.all(), 0.95)
    }

    /// Whether so many red ones are no surprise where at most the part `stated` of gates is red: one in a thousand
    /// tallies of gates that keep the promise is not as it says.
    pub fn keeps(&self, stated: f64) -> bool {
        Binomial::new(self.all(), stated).at_least(self.red) > 1e-3
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::units::{Change, Ratio};

    use super::*;
    use crate::overhead::compare::{Method, Pairing, compare_by};

    const PLAN: Sequential = Sequential { confidence: 0.99, looks: 2, cap: 20 };

    /// Scenario: two hundred gates of two equal arms, on a machine that drifts and has outliers.
    /// Guarantees: no more of them are red than the gate says.
    #[test]
    fn equal_arms_are_red_as_seldom_as_stated() {
        let rules = OverheadRules::default_rules();
        let tally = gates(&rules, &PLAN, &Noise::BUSY, 0.0, 200, 1);
        assert_eq!(tally.all(), 200);
        assert!(tally.keeps(rules.false_red(1)), "{tally:?}, stated {}", rules.false_red(1));
    }

    /// Scenario: one arm takes 10 % more.
    /// Guarantees: at least 99 of a hundred gates are red.
    #[test]
    fn ten_percent_more_is_caught() {
        let tally = gates(&OverheadRules::default_rules(), &PLAN, &Noise::BUSY, 0.1, 100, 2);
        assert!(tally.red >= 99, "{tally:?}");
    }

    /// Scenario: gates that are broken on purpose: one whose threshold is gone and that believes too soon, and one whose
    /// threshold is too high.
    /// Guarantees: the self-test is red of both.
    #[test]
    fn a_broken_gate_does_not_pass_its_own_test() {
        let mut eager = OverheadRules::default_rules();
        let stated = eager.false_red(1);
        eager.confidence = Ratio::new_unchecked(0.5);
        eager.rules.iter_mut().for_each(|rule| rule.change = Change::at_most(0.0).unwrap());
        let believes = Sequential { confidence: 0.5, ..PLAN };
        let tally = gates(&eager, &believes, &Noise::BUSY, 0.0, 200, 1);
        assert!(!tally.keeps(stated), "{tally:?}");

        let mut blind = OverheadRules::default_rules();
        blind.rules[0].change = Change::at_most(0.2).unwrap();
        let tally = gates(&blind, &PLAN, &Noise::BUSY, 0.1, 100, 2);
        assert!(tally.red < 99, "{tally:?}");
    }

    /// Scenario: two percent more, in twenty pairs and with one look at them.
    /// Guarantees: most intervals leave out that there is no change, and of no change hardly any does.
    #[test]
    fn two_percent_are_resolved_with_twenty_pairs() {
        let resolved = |burn: f64| {
            (0..100)
                .filter(|seed| {
                    let mut random = SplitMix64::new(1_000 + seed);
                    let mut measured = nothing();
                    (1..=20).for_each(|n| measured.units.extend(Noise::BUSY.round(n, burn, &mut random)));
                    let method = Method { pairing: Pairing::AtOnce, ..Method::default() };
                    let comparison = compare_by(&measured, &method);
                    let figure = comparison.figure("head", Metric::CpuPerRequest).unwrap();
                    figure.effect.unwrap().ratio.low > 1.0
                })
                .count()
        };
        let (two, none) = (resolved(0.02), resolved(0.0));
        assert!(two >= 50 && none <= 8, "{two} {none}");
    }

    #[test]
    fn a_share_has_its_exact_interval() {
        let tally = Tally { red: 3, green: 150, open: 47 };
        assert!(tally.share().contains(0.015) && tally.keeps(0.015));
        assert!(!Tally { red: 20, ..tally }.keeps(0.015));
    }
}
