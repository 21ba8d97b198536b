//! What an experiment will do, how long that takes, and what it would show. Nothing is started for it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde::Serialize;
use spangate_scenario::{Experiment, units};
use spangate_trace::stats::{
    effect::{fewest, pairs_for, spread_by},
    median_value,
};

use super::{
    order::order,
    rounds::unit_length,
    stop::{Stop, method},
};
use crate::{
    error::CommandError,
    overhead::{
        Measured,
        compare::{Method, POWER, Pairing, compare_by, would_show},
        simulate::Noise,
    },
    text,
};

/// How far pairs of an arm and the reference are expected to vary.
#[derive(Debug, Clone, PartialEq)]
pub enum Spread {
    /// As on the machine that gates are tried on; what both sides of a pair share there is not shared by arms in turn.
    MadeUp,
    /// By so much: the standard deviation of the logarithm of a pair's ratio.
    Given(f64),
    /// As they did when it was measured before.
    Measured(Box<Measured>),
}

/// What an experiment will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// Its name.
    pub experiment: String,
    /// The seed of the orders.
    pub seed: u64,
    /// The arm that the others are compared with.
    pub reference: String,
    /// Whether the arms of a round run at the same time.
    pub at_once: bool,
    /// The arms of each round, in the order in which they are measured, or are started.
    pub rounds: Vec<Vec<String>>,
    /// How long one unit takes, about, in seconds; its part of the round, where arms run at once.
    pub unit_seconds: f64,
    /// How long all of them take, none measured again.
    pub seconds: f64,
    /// Time after which no further round begins, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_seconds: Option<f64>,
    /// Rounds that there is time for.
    pub affordable: u32,
    /// When it ends before, if it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// The rounds after which that is looked at, or the last one.
    pub looks: Vec<u32>,
    /// The confidence of each interval.
    pub confidence: f64,
    /// Where the deviations are from.
    pub spread: String,
    /// What would show of each arm but the reference.
    pub arms: Vec<Arm>,
}

/// What would show of an arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The deviation of its pairs.
    pub spread: f64,
    /// The least change of CPU time that shows in four of five experiments, by rounds; nothing of so few rounds that they
    /// have no interval.
    pub shows: BTreeMap<u32, String>,
    /// Rounds that show a change of 5 % as often.
    pub rounds_for_margin: u64,
}

/// Rounds whose order is shown to people.
const SHOWN: usize = 20;

// === impl Spread ===

impl Spread {
    /// The deviation of each arm, in their order, and where they are from.
    fn of(&self, experiment: &Experiment, arms: &[&str]) -> Result<(Vec<f64>, String), CommandError> {
        match self {
            Self::MadeUp => {
                let noise = Noise::BUSY;
                let (spread, told) = if experiment.spec.at_once {
                    let told = "as two servers that run at once on a busy machine of two cores".to_owned();
                    (noise.at_once(), told)
                } else {
                    let told = format!(
                        "as on a busy machine of two cores, where one start of a server differs from the next by {}",
                        text::percent(noise.own.hypot(noise.round))
                    );
                    (noise.in_turn(), told)
                };
                Ok((vec![spread; arms.len()], told))
            }
            Self::Given(spread) => Ok((vec![*spread; arms.len()], "as was said".to_owned())),
            Self::Measured(measured) => {
                let before = measured_before(experiment, measured, arms)?;
                let known: Vec<f64> = before.iter().flatten().copied().collect();
                let middle = median_value(&known).ok_or_else(|| {
                    CommandError::usage(format!(
                        "no arm was measured in {} rounds or more beside {}, so nobody knows how pairs vary",
                        fewest(Method::default().confidence),
                        experiment.spec.reference
                    ))
                    .help("name a directory with more rounds, or say how pairs vary with --spread")
                })?;
                let middle_told = text::percent(middle);
                let told =
                    format!("as they did before; those of an arm that was not measured by {middle_told}");
                Ok((before.into_iter().map(|spread| spread.unwrap_or(middle)).collect(), told))
            }
        }
    }

    /// How long a unit took before, in seconds, where that was noted.
    fn unit_seconds(&self) -> Option<f64> {
        let Self::Measured(measured) = self else { return None };
        let known = measured.units.iter().map(|unit| unit.seconds).filter(|seconds| *seconds > 0.0);
        let known: Vec<f64> = known.collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

/// The deviation of the pairs of each arm when it was measured before, where enough of them were. It is that of which so many
/// pairs have an interval as wide as theirs was, so that it is fit for the estimator whatever they share.
fn measured_before(
    experiment: &Experiment,
    measured: &Measured,
    arms: &[&str],
) -> Result<Vec<Option<f64>>, CommandError> {
    let (was, is) = (&measured.reference, &experiment.spec.reference);
    if was != is {
        let message = format!("what was measured before is against {was}, and this is against {is}");
        return Err(
            CommandError::usage(message).help("name the directory of an experiment with the same reference")
        );
    }
    let pairing = method(&experiment.spec).pairing;
    if measured.pairing.is_some_and(|was| was != pairing) {
        let told = |pairing| match pairing {
            Pairing::AtOnce => "at once",
            Pairing::InTurn => "in turn",
        };
        let (was, is) = (measured.pairing.map_or("", told), told(pairing));
        return Err(CommandError::usage(format!("what was measured before ran {was}, and this runs {is}"))
            .help("pairs vary otherwise then: name the directory of an experiment of the same kind, or use --spread"));
    }
    let comparison = compare_by(measured, &Method { pairing, ..Method::default() });
    let confidence = comparison.method.confidence;
    let spread = |arm: &&str| {
        let row = comparison.arms.iter().find(|row| row.arm.name == **arm)?;
        let effect = row.main_effect().filter(|effect| effect.pairs >= fewest(confidence))?;
        spread_by(&effect.ratio, effect.pairs, confidence)
    };
    Ok(arms.iter().map(spread).collect())
}

// === impl Outlook ===

impl Outlook {
    /// What an experiment will do, with pairs that vary so much.
    pub fn new(experiment: &Experiment, spread: &Spread) -> Result<Self, CommandError> {
        let spec = &experiment.spec;
        let stop = Stop::of(spec);
        let confidence = method(spec).confidence;
        let unit_seconds = spread.unit_seconds().unwrap_or_else(|| unit_length(spec).as_secs_f64());
        let round_seconds = unit_seconds * spec.arms.len() as f64;
        let budget_seconds = spec.budget.map(|budget| budget.get().as_secs_f64());
        let fits =
            |rounds: &u32| budget_seconds.is_none_or(|budget| f64::from(*rounds) * round_seconds <= budget);
        // The first one always begins.
        let affordable = (1..=spec.rounds).rev().find(fits).unwrap_or(1);
        let mut looks: Vec<u32> = stop.map_or_else(Vec::new, |stop| stop.plan().at());
        looks.retain(|round| *round < affordable);
        looks.push(affordable);
        let others: Vec<_> = spec.arms.iter().filter(|arm| arm.name != spec.reference).collect();
        let names: Vec<&str> = others.iter().map(|arm| arm.name.as_str()).collect();
        let (spreads, told) = spread.of(experiment, &names)?;
        let arms = others.into_iter().zip(spreads).map(|(arm, spread)| {
            let told = looks.iter().filter(|rounds| u64::from(**rounds) >= fewest(confidence));
            Arm {
                name: arm.name.clone(),
                description: arm.description.clone().unwrap_or_default(),
                spread,
                shows: told.map(|rounds| (*rounds, would_show(spread, *rounds, confidence))).collect(),
                rounds_for_margin: pairs_for(Method::default().margin, spread, confidence, POWER),
            }
        });
        let arms = arms.collect();
        let in_order = |round| {
            let places = order(spec.seed, spec.arms.len(), round);
            places.into_iter().map(|place| spec.arms[place].name.clone()).collect()
        };
        Ok(Self {
            experiment: experiment.metadata.name.clone(),
            seed: spec.seed,
            reference: spec.reference.clone(),
            at_once: spec.at_once,
            rounds: (1..=spec.rounds).map(in_order).collect(),
            unit_seconds,
            seconds: round_seconds * f64::from(spec.rounds),
            budget_seconds,
            affordable,
            stop,
            looks,
            confidence,
            spread: told,
            arms,
        })
    }
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rounds, each) = (self.rounds.len(), self.rounds.first().map_or(0, Vec::len));
        writeln!(
            f,
            "{} (seed {}): {each} arms, {rounds} rounds, {} units",
            self.experiment,
            self.seed,
            rounds * each
        )?;
        let mut out = String::new();
        let order = if self.at_once {
            "arms, all at the same time"
        } else {
            "arms, in the order in which they are measured"
        };
        let titles = ["round", order].map(str::to_owned);
        let shown = self.rounds.iter().enumerate().take(SHOWN);
        let rows: Vec<[String; 2]> =
            shown.map(|(round, arms)| [(round + 1).to_string(), arms.join(", ")]).collect();
        text::table(&mut out, &titles, &rows);
        if rounds > SHOWN {
            let _ = writeln!(out, "and {} rounds more", rounds - SHOWN);
        }
        let minutes = |seconds: f64| (seconds / 60.0).ceil();
        let (what, units) = if self.at_once { ("round", each) } else { ("unit", 1) };
        let seconds = self.unit_seconds * units as f64;
        let all = minutes(self.seconds);
        let _ = write!(out, "\nA {what} takes about {seconds:.0} s, all of them about {all} min");
        if let Some(budget) = self.budget_seconds {
            let budget = units::Duration::from(std::time::Duration::from_secs_f64(budget));
            let _ = write!(out, "; in the budget of {budget} there is time for {} rounds", self.affordable);
        }
        out.push_str(".\n");
        if let Some(stop) = self.stop {
            let at: Vec<String> = self.looks.iter().map(u32::to_string).collect();
            let within = text::percent(stop.within);
            let _ = writeln!(
                out,
                "It is looked at after {} rounds, and ends when every arm is known within {within}.",
                at.join(", ")
            );
        }
        let mut titles = vec!["arm".to_owned(), "pairs vary by".to_owned()];
        titles.extend(self.looks.iter().map(|rounds| format!("{rounds} rounds show")));
        titles.extend(["rounds for 5%".to_owned(), "what it is".to_owned()]);
        let row = |arm: &Arm| {
            let mut cells = vec![arm.name.clone(), text::percent(arm.spread)];
            let none = || "-".to_owned();
            cells.extend(self.looks.iter().map(|rounds| arm.shows.get(rounds).cloned().unwrap_or_else(none)));
            cells.extend([arm.rounds_for_margin.to_string(), arm.description.clone()]);
            cells
        };
        out.push('\n');
        text::table(&mut out, &titles, &self.arms.iter().map(row).collect::<Vec<_>>());
        let needed = fewest(self.confidence);
        let percent = (self.confidence * 1e4).round() / 100.0;
        if u64::from(self.affordable) < needed {
            let _ = writeln!(out, "So few rounds have no interval of {percent}%: {needed} have.");
        }
        let _ = writeln!(
            out,
            "Changes of CPU time against {} that show in 4 of 5 experiments, with intervals of {percent}%. Pairs vary {}.",
            self.reference, self.spread
        );
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::experiment::{Until, parse};
    use spangate_trace::stats::{SplitMix64, effect::detectable};

    use super::*;
    use crate::overhead::{Arm as MeasuredArm, simulate::normal, testing};

    fn experiment(rounds: u32) -> Experiment {
        let text = format!(
            "{{apiVersion: spangate/v1alpha1, kind: Experiment, metadata: {{name: e}}, spec: {{reference: a, rounds: {rounds}, \
             warmUp: 5s, quiet: {{within: 8s, idle: 2s}}, load: {{arrivals: {{rate: 100/s, for: 20s}}, mix: [{{get: \
             {{resource: pods}}}}]}}, arms: [{{name: a}}, {{name: b, description: the second}}, {{name: c}}]}}}}"
        );
        parse("e", &text).unwrap()
    }

    /// Arms that take turns and vary so much, so often.
    fn measured(rounds: u32, spread: f64) -> Measured {
        let mut random = SplitMix64::new(3);
        let mut measured = testing::measured(0, |_| (0.0, 0.0));
        measured.reference = "a".to_owned();
        measured.arms =
            ["a", "b"].map(|name| MeasuredArm { name: name.to_owned(), description: String::new() }).into();
        for round in 1..=rounds {
            for arm in ["a", "b"] {
                let far = spread / std::f64::consts::SQRT_2 * normal(&mut random);
                let mut unit = testing::unit(arm, round, 2e-3 * far.exp());
                unit.seconds = 40.0;
                measured.units.push(unit);
            }
        }
        measured
    }

    #[test]
    fn the_order_is_that_of_the_bench() {
        let outlook = Outlook::new(&experiment(6), &Spread::MadeUp).unwrap();
        assert_eq!(outlook.rounds.len(), 6);
        for (round, arms) in (1..).zip(&outlook.rounds) {
            let wanted: Vec<&str> =
                order(1, 3, round).into_iter().map(|place| ["a", "b", "c"][place]).collect();
            assert_eq!(*arms, wanted);
        }
        assert!((outlook.unit_seconds - 30.0).abs() < 1e-9 && (outlook.seconds - 540.0).abs() < 1e-9);
        let text = outlook.to_string();
        assert!(text.contains("3 arms, 6 rounds, 18 units") && text.contains("about 9 min"), "{text}");
        assert!(text.contains("the second"), "{text}");

        let mut together = experiment(6);
        together.spec.at_once = true;
        let text = Outlook::new(&together, &Spread::MadeUp).unwrap().to_string();
        assert!(text.contains("A round takes about 30 s, all of them about 3 min"), "{text}");
        assert!(text.contains("two servers that run at once"), "{text}");
    }

    /// Scenario: pairs that vary by 10 %, in twenty rounds, as said by hand and as measured before.
    /// Guarantees: what would show is what the formula says, and about the same of what was measured; an arm that was not
    /// measured takes that of the others.
    #[test]
    fn what_would_show_is_as_pairs_vary() {
        let given = Outlook::new(&experiment(20), &Spread::Given(0.1)).unwrap();
        let wanted = text::growth(1.0 + detectable(0.1, 20, 0.95, 0.8));
        assert_eq!(given.arms[0].shows, BTreeMap::from([(20, wanted)]));
        assert_eq!(given.arms[0].rounds_for_margin, pairs_for(0.05, 0.1, 0.95, 0.8));

        let before = Outlook::new(&experiment(20), &Spread::Measured(Box::new(measured(200, 0.1)))).unwrap();
        let spreads: Vec<f64> = before.arms.iter().map(|arm| arm.spread).collect();
        assert!((spreads[0] / 0.1 - 1.0).abs() < 0.25, "{spreads:?}");
        assert!((spreads[1] - spreads[0]).abs() < 1e-12 && (before.unit_seconds - 40.0).abs() < 1e-9);
    }

    #[test]
    fn a_budget_and_looks_are_told() {
        let mut short = experiment(40);
        short.spec.budget = Some(units::Duration::from_secs(40 * 90 - 100));
        short.spec.until = Some(Until { within: units::Ratio::new_unchecked(0.05), looks: 4 });
        let outlook = Outlook::new(&short, &Spread::MadeUp).unwrap();
        assert_eq!((outlook.affordable, outlook.looks.as_slice()), (38, &[10, 20, 30, 38][..]));
        assert!((outlook.confidence - 0.9875).abs() < 1e-12);
        let text = outlook.to_string();
        assert!(
            text.contains("after 10, 20, 30, 38 rounds") && text.contains("and 20 rounds more"),
            "{text}"
        );
        let few = Outlook::new(&experiment(5), &Spread::MadeUp).unwrap();
        assert!(few.arms[0].shows.is_empty() && few.to_string().contains("6 have"), "{few}");
    }

    #[test]
    fn what_was_measured_otherwise_is_refused() {
        let mut other = measured(20, 0.1);
        other.reference = "b".to_owned();
        let wrong =
            |measured| Outlook::new(&experiment(6), &Spread::Measured(Box::new(measured))).unwrap_err();
        assert!(wrong(other).to_string().contains("against b"));
        let at_once = Measured { pairing: Some(Pairing::AtOnce), ..measured(20, 0.1) };
        assert!(wrong(at_once).to_string().contains("ran at once, and this runs in turn"));
        assert!(wrong(measured(5, 0.1)).to_string().contains("in 6 rounds or more"));
    }
}
