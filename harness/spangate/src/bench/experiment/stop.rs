//! When an experiment has measured enough: every arm's ratio to the reference is known as well as was asked for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use spangate_scenario::experiment::ExperimentSpec;
use spangate_trace::stats::{Estimate, Sequential, effect::fewest};

use crate::{
    error::CommandError,
    overhead::{
        Measured,
        compare::{Method, Pairing, compare_by},
    },
};

/// When an experiment ends before its last round: `until` of its file. A look that finds its intervals narrow is one that was
/// lucky more often than not; so each look has its part of what the confidence leaves over, and the intervals that are
/// reported have it too, whichever look it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// How far an interval may reach to either side of its ratio, as a part of it.
    pub within: f64,
    /// The confidence of all looks together.
    pub confidence: f64,
    /// Looks, the last one at the end included.
    pub looks: u32,
    /// The most rounds.
    pub cap: u32,
    /// How the units of a round belong together.
    pub pairing: Pairing,
}

/// The arm that is known least.
#[derive(Debug, Clone, PartialEq)]
pub struct Least {
    /// The arm.
    pub arm: String,
    /// How far its interval reaches; nothing where it has none of this confidence.
    pub by: Option<f64>,
}

/// How far an interval of a ratio reaches to either side, as a part of the ratio; what is half as much reaches as far as what
/// is twice as much.
pub fn width(ratio: &Estimate) -> f64 {
    let reaches = (ratio.high / ratio.value).max(ratio.value / ratio.low) - 1.0;
    if reaches.is_finite() { reaches.max(0.0) } else { f64::INFINITY }
}

/// How the units of a round belong together.
fn pairing(spec: &ExperimentSpec) -> Pairing {
    if spec.at_once { Pairing::AtOnce } else { Pairing::InTurn }
}

/// How the figures of an experiment are compared: as each look must, where it may end before its last round.
pub fn method(spec: &ExperimentSpec) -> Method {
    let whole = Method { pairing: pairing(spec), ..Method::default() };
    Stop::of(spec).map_or(whole, |stop| stop.method())
}

// === impl Stop ===

impl Stop {
    /// When an experiment ends, if it may end before its last round.
    pub fn of(spec: &ExperimentSpec) -> Option<Self> {
        let until = spec.until?;
        let confidence = Method::default().confidence;
        Some(Self {
            within: until.within.get(),
            confidence,
            looks: until.looks,
            cap: spec.rounds,
            pairing: pairing(spec),
        })
    }

    /// Says what keeps an experiment from ever ending as was asked for.
    pub fn check(spec: &ExperimentSpec) -> Result<(), CommandError> {
        let Some(stop) = Self::of(spec) else { return Ok(()) };
        let each = stop.plan().each();
        let needed = fewest(each);
        if u64::from(spec.rounds) >= needed {
            return Ok(());
        }
        Err(CommandError::usage(format!(
            "{} rounds have no interval of {}%, which {} looks take: {needed} have",
            spec.rounds,
            (each * 1e4).round() / 100.0,
            stop.looks
        ))
        .help("raise `rounds`, which are the most then, or lower `until.looks`"))
    }

    /// When to look, and what each look may believe.
    pub fn plan(&self) -> Sequential {
        Sequential { confidence: self.confidence, looks: self.looks, cap: self.cap }
    }

    /// How figures are compared at a look, and in the report.
    pub fn method(&self) -> Method {
        Method { confidence: self.plan().each(), pairing: self.pairing, ..Method::default() }
    }

    /// What a look after a round says; nothing where that is no time to look. Only what was measured until then counts, so
    /// that a bench which is gone on with sees what it saw. Arms that were given up do not keep the others.
    pub fn look(
        &self,
        measured: &Measured,
        round: u32,
        given_up: &BTreeSet<String>,
    ) -> Option<Result<(), Least>> {
        if !self.plan().looks_at(round) {
            return None;
        }
        let mut until_then = measured.clone();
        until_then.units.retain(|unit| unit.round <= round);
        let method = self.method();
        let needed = fewest(method.confidence);
        let comparison = compare_by(&until_then, &method);
        let others = comparison.arms.iter().filter(|row| row.arm.name != comparison.reference);
        let least = others
            .filter(|row| !given_up.contains(&row.arm.name))
            .map(|row| {
                let effect = row.main_effect().filter(|effect| effect.pairs >= needed);
                Least { arm: row.arm.name.clone(), by: effect.map(|effect| width(&effect.ratio)) }
            })
            .max_by(|a, b| a.reach().total_cmp(&b.reach()));
        // Where nothing is left to compare, more rounds tell no more.
        Some(match least {
            Some(least) if least.reach() > self.within => Err(least),
            _ => Ok(()),
        })
    }
}

// === impl Least ===

impl Least {
    fn reach(&self) -> f64 {
        self.by.unwrap_or(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use spangate_trace::stats::SplitMix64;

    use super::*;
    use crate::overhead::{
        simulate::{Noise, normal},
        testing::{measured, unit},
    };

    const STOP: Stop = Stop { within: 0.05, confidence: 0.95, looks: 3, cap: 24, pairing: Pairing::InTurn };

    /// Rounds of arms that take turns, of which `head` takes 10 % more.
    fn in_turn(rounds: u32, noise: &Noise, seed: u64) -> Measured {
        let mut random = SplitMix64::new(seed);
        let mut made = measured(0, |_| (0.0, 0.0));
        for round in 1..=rounds {
            for (arm, cpu) in [("base", 2e-3), ("head", 2.2e-3)] {
                let far = noise.own.hypot(noise.round) * normal(&mut random);
                made.units.push(unit(arm, round, cpu * far.exp()));
            }
        }
        made
    }

    #[test]
    fn an_interval_reaches_as_far_either_way() {
        let of = |value, low, high| width(&Estimate { value, low, high });
        assert!((of(1.0, 1.0 / 1.1, 1.05) - 0.1).abs() < 1e-12);
        assert!((of(2.0, 1.9, 2.2) - 0.1).abs() < 1e-12);
        assert!(of(1.0, 0.0, 1.0).is_infinite());
    }

    #[test]
    fn it_looks_when_it_should_and_no_sooner() {
        let quiet = Noise { round: 0.01, ..Noise::BUSY };
        let (all, none) = (in_turn(24, &quiet, 5), BTreeSet::new());
        assert_eq!(STOP.plan().at(), [8, 16, 24]);
        assert_eq!(STOP.look(&all, 7, &none), None);
        // What was measured later is not seen.
        let first = in_turn(8, &quiet, 5);
        assert_eq!(STOP.look(&all, 8, &none), STOP.look(&first, 8, &none));
        let narrow = Stop { within: 1e-6, ..STOP };
        let least = narrow.look(&all, 8, &none).unwrap().unwrap_err();
        assert_eq!(least.arm, "head");
        assert!(least.by.is_some_and(|by| by > 1e-6), "{least:?}");
        // Pairs that were never whole have no interval.
        let mut halves = all.clone();
        halves.units.retain(|unit| unit.arm == "base" || unit.round > 4);
        assert_eq!(STOP.look(&halves, 8, &none).unwrap().unwrap_err().by, None);
        let given_up = BTreeSet::from(["head".to_owned()]);
        assert_eq!(STOP.look(&halves, 8, &given_up), Some(Ok(())));
    }

    /// Scenario: two hundred experiments on made-up machines, each ended by the first look that finds its interval narrow
    /// enough, or by its last round.
    /// Guarantees: the interval that is told at the end has the ratio in it as often as it says, wherever it ended; some end
    /// at each look. Where each look believes as much as all together it has it less often.
    #[test]
    fn intervals_hold_what_they_promise_wherever_it_ends() {
        const SEED: u64 = 41;
        let noise = Noise { round: 0.04, ..Noise::BUSY };
        let ratio = |all: &Measured, rounds: u32, method: &Method| {
            let mut seen = all.clone();
            seen.units.retain(|unit| unit.round <= rounds);
            compare_by(&seen, method).arms[1].main_effect().unwrap().ratio
        };
        let (mut covered, mut naive, mut ends) = (0, 0, BTreeMap::new());
        for trial in 0..200 {
            let all = in_turn(STOP.cap, &noise, SEED + 1_000 * trial);
            let enough = |round: &u32| STOP.look(&all, *round, &BTreeSet::new()) == Some(Ok(()));
            let end = STOP.plan().at().into_iter().find(enough).unwrap_or(STOP.cap);
            covered += u32::from(ratio(&all, end, &STOP.method()).contains(1.1));
            *ends.entry(end).or_insert(0) += 1;

            let believed = |round: &u32| width(&ratio(&all, *round, &Method::default())) <= STOP.within;
            let end = STOP.plan().at().into_iter().find(believed).unwrap_or(STOP.cap);
            naive += u32::from(ratio(&all, end, &Method::default()).contains(1.1));
        }
        // 95 % of them.
        assert!(covered >= 190 && naive < 190, "seed {SEED}: {covered} {naive}, {ends:?}");
        assert_eq!(ends.len(), 3, "{ends:?}");
    }

    #[test]
    fn rounds_that_can_never_tell_are_refused() {
        let spec = |rounds: u32, looks: u32| {
            let text = format!(
                "{{apiVersion: spangate/v1alpha1, kind: Experiment, metadata: {{name: e}}, spec: {{reference: a, rounds: \
                 {rounds}, until: {{within: 5%, looks: {looks}}}, load: {{arrivals: {{rate: 10/s, for: 30s}}, mix: \
                 [{{get: {{resource: pods}}}}]}}, arms: [{{name: a}}, {{name: b}}]}}}}"
            );
            spangate_scenario::experiment::parse("e", &text).unwrap().spec
        };
        assert!(Stop::check(&spec(8, 4)).is_ok());
        let told = Stop::check(&spec(7, 4)).unwrap_err().to_string();
        assert!(told.starts_with("7 rounds have no interval of 98.75%"), "{told}");
    }
}
