//! What an experiment's figures say: arm by arm and figure by figure, against the reference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spangate_trace::stats::{
    Bootstrap, Equivalence, Estimate,
    effect::{detectable, detectable_by, fewest, median_of_ratios, spread},
    median, median_value, ratio_of_medians, signed_rank,
};

use super::{Arm, Key, Measured, Metric, Unit};
use crate::text::growth;

/// What an experiment's figures say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// What was measured, and where.
    pub key: Key,
    /// The arm that the others are compared with.
    pub reference: String,
    /// How it was compared.
    pub method: Method,
    /// Every arm, the reference included.
    pub arms: Vec<ArmRow>,
}

/// How figures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// The confidence of every interval.
    pub confidence: f64,
    /// The part by which a figure may differ and still be called the same.
    pub margin: f64,
    /// The seed of the bootstrap.
    pub seed: u64,
    /// How the units of a round belong together.
    #[serde(default)]
    pub pairing: Pairing,
}

/// How the units of a round belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pairing {
    /// One was measured after the other: the ratio of their medians is told.
    #[default]
    InTurn,
    /// They ran at the same time, so that most of what varies is in both: the median of their ratios is told.
    AtOnce,
}

/// What is said of an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmRow {
    /// The arm.
    pub arm: Arm,
    /// Units that count.
    pub units: u64,
    /// Requests, or synthetic spans, in them.
    pub n: u64,
    /// Units that do not count, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub excluded: BTreeMap<String, u64>,
    /// Its figures, in the order of [`Metric::ALL`].
    pub figures: Vec<Figure>,
}

/// What is said of one figure of an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// Which one.
    pub metric: Metric,
    /// Rounds in which it was measured.
    pub rounds: u64,
    /// The median of the rounds, in the unit of the metric.
    pub value: Estimate,
    /// The most of any round.
    #[serde(default)]
    pub most: f64,
    /// What it is of the reference's; nothing for the reference itself, where no round has both, or where the reference
    /// has nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

/// What an arm's figure is of the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// Rounds that have both, and a ratio.
    pub pairs: u64,
    /// Rounds in which the reference has nothing and the arm has something, so that they have no ratio.
    #[serde(default)]
    pub from_nothing: u64,
    /// The reference's median in those rounds.
    pub reference: f64,
    /// The arm's median in those rounds.
    pub value: f64,
    /// What the arm is of the reference, by [`Pairing`].
    pub ratio: Estimate,
    /// The probability of such differences if there were none, by ranks: a second opinion, and never the verdict.
    pub p: f64,
    /// Whether the difference is one that matters.
    pub equivalence: Equivalence,
    /// The standard deviation of the logarithm of a pair's ratio; nothing of one pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// The least effect that would have shown with 80 %, as a part, by the width of the
    /// interval; nothing of so few pairs that the interval is not what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
}

/// The power of which [`Effect::detectable`] is told.
pub(crate) const POWER: f64 = 0.8;

/// The least change that so many pairs of a deviation show with that power, in words.
pub(crate) fn would_show(spread: f64, pairs: u32, confidence: f64) -> String {
    growth(1.0 + detectable(spread, pairs.into(), confidence, POWER))
}

/// Compares with 95 % intervals and a margin of 5 %.
pub fn compare(measured: &Measured) -> Comparison {
    compare_by(measured, &Method::default())
}

/// Compares every arm with the reference.
///
/// A round counts once for each arm: where an arm has several units in it, their median does. Units that are excluded are
/// counted by their reason and in nothing else.
pub fn compare_by(measured: &Measured, method: &Method) -> Comparison {
    let arms = measured.arms.iter().map(|arm| row(measured, arm, method)).collect();
    Comparison { key: measured.key.clone(), reference: measured.reference.clone(), method: *method, arms }
}

fn row(measured: &Measured, arm: &Arm, method: &Method) -> ArmRow {
    let of_arm = || measured.units.iter().filter(|unit| unit.arm == arm.name);
    let counted = || of_arm().filter(|unit| unit.excluded.is_none());
    let mut excluded = BTreeMap::new();
    for why in of_arm().filter_map(|unit| unit.excluded.as_ref()) {
        *excluded.entry(why.clone()).or_insert(0) += 1;
    }
    let figures = Metric::ALL.into_iter().filter_map(|metric| figure(measured, arm, metric, method));
    ArmRow {
        arm: arm.clone(),
        units: counted().count() as u64,
        n: counted().map(|unit| unit.n).sum(),
        excluded,
        figures: figures.collect(),
    }
}

fn figure(measured: &Measured, arm: &Arm, metric: Metric, method: &Method) -> Option<Figure> {
    let rounds = measured.by_round(&arm.name, metric);
    let values: Vec<f64> = rounds.values().copied().collect();
    let value = median(&values, &method.bootstrap())?;
    let effect = if arm.name == measured.reference {
        None
    } else {
        effect(&pairs(&measured.by_round(&measured.reference, metric), &rounds), method)
    };
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    Some(Figure { metric, rounds: values.len() as u64, value, most, effect })
}

/// The values of rounds that have both, the reference's first.
fn pairs(reference: &BTreeMap<u32, f64>, arm: &BTreeMap<u32, f64>) -> Vec<(f64, f64)> {
    reference.iter().filter_map(|(round, value)| Some((*value, *arm.get(round)?))).collect()
}

/// What the second sides are of the first ones.
pub(crate) fn effect(pairs: &[(f64, f64)], method: &Method) -> Option<Effect> {
    // A pair whose first side is nothing has no ratio, and counts in none.
    let usable: Vec<(f64, f64)> = match method.pairing {
        Pairing::InTurn => pairs.to_vec(),
        Pairing::AtOnce => pairs.iter().copied().filter(|(reference, _)| *reference > 0.0).collect(),
    };
    let has_no_ratio = |(reference, value): &&(f64, f64)| *reference <= 0.0 && *value > 0.0;
    let from_nothing = match method.pairing {
        Pairing::InTurn => 0,
        Pairing::AtOnce => pairs.iter().filter(has_no_ratio).count(),
    };
    let pairs = usable.as_slice();
    let ratio = match method.pairing {
        Pairing::InTurn => ratio_of_medians(pairs, &method.bootstrap())?,
        Pairing::AtOnce => median_of_ratios(pairs, &method.bootstrap())?,
    };
    let differences: Vec<f64> = pairs.iter().map(|(reference, value)| value - reference).collect();
    let middle = |side: fn(&(f64, f64)) -> f64| median_value(&pairs.iter().map(side).collect::<Vec<f64>>());
    Some(Effect {
        pairs: pairs.len() as u64,
        from_nothing: from_nothing as u64,
        reference: middle(|pair| pair.0)?,
        value: middle(|pair| pair.1)?,
        ratio,
        p: signed_rank(&differences),
        equivalence: ratio.equivalence(method.margin),
        spread: spread(pairs),
        detectable: (pairs.len() as u64 >= fewest(method.confidence))
            .then(|| detectable_by(&ratio, method.confidence, POWER))
            .flatten(),
    })
}

// === impl Method ===

impl Method {
    pub(crate) fn bootstrap(&self) -> Bootstrap {
        Bootstrap { confidence: self.confidence, seed: self.seed, ..Bootstrap::default() }
    }
}

impl Default for Method {
    fn default() -> Self {
        Self { confidence: 0.95, margin: 0.05, seed: Bootstrap::default().seed, pairing: Pairing::InTurn }
    }
}

// === impl ArmRow ===

impl ArmRow {
    /// What the arm's CPU time is of the reference's: for a request, or else for a span.
    pub fn main_effect(&self) -> Option<Effect> {
        let figure = |metric: Metric| self.figures.iter().find(|figure| figure.metric == metric);
        Metric::MAIN.into_iter().find_map(figure)?.effect
    }
}

// === impl Comparison ===

impl Comparison {
    /// What is said of a figure of an arm.
    pub fn figure(&self, arm: &str, metric: Metric) -> Option<&Figure> {
        let row = self.arms.iter().find(|row| row.arm.name == arm)?;
        row.figures.iter().find(|figure| figure.metric == metric)
    }
}

// === impl Measured ===

impl Measured {
    /// When the first unit began (RFC 3339); none without units.
    pub fn began(&self) -> Option<String> {
        let first = self.units.iter().map(|unit| unit.began_ms).min()?;
        let at = jiff::Timestamp::from_millisecond(i64::try_from(first).ok()?).ok()?;
        Some(at.to_string())
    }

    /// The value of each round in which the arm has that figure in a unit that counts.
    pub fn by_round(&self, arm: &str, metric: Metric) -> BTreeMap<u32, f64> {
        let mut rounds: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        let counted = |unit: &&Unit| unit.arm == arm && unit.excluded.is_none();
        for unit in self.units.iter().filter(counted) {
            let value = unit.figures.get(&metric).filter(|value| value.is_finite());
            rounds.entry(unit.round).or_default().extend(value);
        }
        let middle = |(round, values): (u32, Vec<f64>)| Some((round, median_value(&values)?));
        rounds.into_iter().filter_map(middle).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overhead::testing::{measured, unit};

    #[test]
    fn an_effect_is_found_in_pairs_that_drift() {
        // The machine gets slower by 3 % from round to round; head takes 10 % more in each.
        let cpu = |round: u32| 1e-3 * 1.03_f64.powi(round.cast_signed());
        let measured = measured(12, |round| (cpu(round), 1.1 * cpu(round)));
        let comparison = compare(&measured);
        let head = comparison.figure("head", Metric::CpuPerRequest).unwrap();
        let effect = head.effect.unwrap();
        assert!((effect.ratio.value - 1.1).abs() < 1e-9 && effect.ratio.low > 1.09, "{effect:?}");
        assert_eq!((effect.pairs, effect.equivalence, head.rounds), (12, Equivalence::Different, 12));
        assert!(effect.p < 0.01 && effect.detectable.unwrap() < 0.01, "{effect:?}");
        assert_eq!(comparison.figure("base", Metric::CpuPerRequest).unwrap().effect, None);
        assert_eq!(comparison.figure("head", Metric::LagP50), None);
    }

    /// Scenario: one side of a round went wrong, another round has only one side, and one has two units of an arm.
    /// Guarantees: what is excluded counts in nothing, only whole rounds are pairs, and a round counts once.
    #[test]
    fn only_whole_rounds_are_pairs() {
        let mut measured = measured(6, |_| (1e-3, 1e-3));
        measured.units[3].excluded = Some("the machine below took time".to_owned());
        measured.units[3].figures.insert(Metric::CpuPerRequest, 9.0);
        measured.units.remove(0);
        measured.units.push(unit("head", 5, 3e-3));
        measured.units.push(unit("head", 5, 2e-3));
        let comparison = compare(&measured);
        let head = comparison.figure("head", Metric::CpuPerRequest).unwrap();
        // Round 0 lost its base and round 1 its head.
        assert_eq!((head.rounds, head.effect.unwrap().pairs), (5, 4));
        let row = &comparison.arms[1];
        assert_eq!((row.units, row.excluded["the machine below took time"]), (7, 1));
        assert!((measured.by_round("head", Metric::CpuPerRequest)[&5] - 2e-3).abs() < 1e-12);
    }

    /// Scenario: nineteen of twenty rounds have nothing on the side of the reference, and one has a little.
    /// Guarantees: the one pair with a ratio is not taken for twenty.
    #[test]
    fn pairs_without_a_ratio_count_in_none() {
        let measured = measured(20, |round| (if round == 7 { 2.0 } else { 0.0 }, 1.0));
        let method = Method { pairing: Pairing::AtOnce, ..Method::default() };
        let comparison = compare_by(&measured, &method);
        let effect = comparison.figure("head", Metric::CpuPerRequest).unwrap().effect.unwrap();
        assert_eq!((effect.pairs, effect.from_nothing, effect.detectable), (1, 19, None));
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let mut none = measured(0, |_| (1.0, 1.0));
        assert!(compare(&none).arms.iter().all(|row| row.figures.is_empty() && row.units == 0));
        none.units = vec![unit("base", 0, 0.0), unit("head", 0, 1.0)];
        assert_eq!(compare(&none).figure("head", Metric::CpuPerRequest).unwrap().effect, None);
    }

    #[test]
    fn a_comparison_is_read_back() {
        let comparison = compare(&measured(3, |round| (1.0, 1.0 + f64::from(round))));
        let text = serde_json::to_string(&comparison).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), comparison);
    }
}
