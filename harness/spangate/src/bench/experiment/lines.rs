//! What an experiment says of each arm: medians over its units, and what they are over those of the reference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spangate_trace::stats::{self, Bootstrap, Estimate, effect};

use crate::overhead::{Measured, Metric, Unit};

/// The probability with which an effect that is said to show does.
const POWER: f64 = 0.8;

/// What is said of an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The arm.
    pub arm: String,
    /// Units that count.
    pub units: u64,
    /// Units that do not.
    pub excluded: u64,
    /// Requests, or spans, of the units that count.
    pub n: u64,
    /// The figures.
    pub figures: BTreeMap<Metric, Figure>,
}

/// A figure of an arm. Times are in seconds, memory and traffic in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// The median of the units, with the interval of the bootstrap.
    pub median: Estimate,
    /// What the median is over that of the reference, by pairs of units of the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Estimate>,
    /// Pairs that the ratio is made from.
    pub pairs: u64,
    /// The least effect that so many pairs show in four experiments of five, as a part: 0.05 is 5 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
}

/// Units without which an interval is narrower than its confidence.
pub fn fewest() -> u64 {
    effect::fewest(Bootstrap::default().confidence)
}

/// What is said of each arm, in their order.
pub fn lines(measured: &Measured) -> Vec<Line> {
    let counted = |arm: &str| -> Vec<&Unit> {
        measured.units.iter().filter(|unit| unit.arm == arm && unit.excluded.is_none()).collect()
    };
    let reference = counted(&measured.reference);
    let line = |arm: &str| {
        let units = counted(arm);
        let all = measured.units.iter().filter(|unit| unit.arm == arm).count();
        let metrics: std::collections::BTreeSet<Metric> =
            units.iter().flat_map(|unit| unit.figures.keys().copied()).collect();
        let other = (arm != measured.reference).then_some(reference.as_slice());
        let figure = |metric| Some((metric, figure(metric, &units, other)?));
        Line {
            arm: arm.to_owned(),
            units: units.len() as u64,
            excluded: (all - units.len()) as u64,
            n: units.iter().map(|unit| unit.n).sum(),
            figures: metrics.into_iter().filter_map(figure).collect(),
        }
    };
    measured.arms.iter().map(|arm| line(&arm.name)).collect()
}

/// Figures of one metric of two arms, in pairs of the same round.
pub(super) fn pairs(metric: Metric, one: &[&Unit], other: &[&Unit]) -> Vec<(f64, f64)> {
    let by_round: BTreeMap<u32, f64> =
        other.iter().filter_map(|unit| Some((unit.round, *unit.figures.get(&metric)?))).collect();
    one.iter().filter_map(|unit| Some((*unit.figures.get(&metric)?, *by_round.get(&unit.round)?))).collect()
}

fn figure(metric: Metric, units: &[&Unit], reference: Option<&[&Unit]>) -> Option<Figure> {
    let method = Bootstrap::default();
    let values: Vec<f64> = units.iter().filter_map(|unit| unit.figures.get(&metric).copied()).collect();
    let median = stats::median(&values, &method)?;
    let pairs = reference.map(|reference| pairs(metric, reference, units)).unwrap_or_default();
    let ratio = stats::ratio_of_medians(&pairs, &method);
    let count = pairs.len() as u64;
    let detectable =
        effect::spread(&pairs).map(|spread| effect::detectable(spread, count, method.confidence, POWER));
    Some(Figure { median, ratio, pairs: count, detectable: detectable.filter(|_| ratio.is_some()) })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::overhead::{Arm, Key};

    /// Arms that take so much over the first one, in rounds that drift.
    pub(crate) fn measured(arms: &[(&str, f64)], rounds: u32) -> Measured {
        let unit = |(arm, factor): &(&str, f64), round: u32| {
            let drift = 1.0 + f64::from(round) / 10.0;
            let cpu = 0.002 * factor * drift * (1.0 + f64::from(round * 7 % 5) / 1000.0 * (factor - 0.9));
            Unit {
                arm: (*arm).to_owned(),
                round,
                began_ms: 0,
                n: 1000,
                figures: BTreeMap::from([
                    (Metric::CpuPerRequest, cpu),
                    (Metric::Rss, 3e8 * factor),
                    (Metric::ResponseP50, 0.003 * factor),
                    (Metric::ResponseP90, 0.006 * factor),
                    (Metric::ResponseP99, 0.012 * factor * drift),
                    (Metric::SpansPerRequest, 9.0 * (factor - 1.0)),
                ]),
                excluded: None,
            }
        };
        Measured {
            key: Key {
                experiment: "overhead".to_owned(),
                hash: "0".to_owned(),
                versions: BTreeMap::from([("kube-apiserver".to_owned(), "1.37.2".to_owned())]),
                cpu: "a CPU".to_owned(),
                cores: 2,
                kernel: "6.18".to_owned(),
            },
            reference: arms[0].0.to_owned(),
            arms: arms
                .iter()
                .map(|(name, _)| Arm { name: (*name).to_owned(), description: format!("arm {name}") })
                .collect(),
            units: (1..=rounds).flat_map(|round| arms.iter().map(move |arm| unit(arm, round))).collect(),
        }
    }

    /// Scenario: rounds drift by 60 %, and an arm takes 10 % more in each of them.
    /// Guarantees: the 10 % are found, with an interval that the drift does not widen; one that takes no more is not said
    /// to.
    #[test]
    fn what_an_arm_adds_is_found_within_rounds() {
        let lines = lines(&measured(&[("off", 1.0), ("all", 1.1), ("same", 1.0)], 6));
        let ratio = |line: &Line| line.figures[&Metric::CpuPerRequest].ratio;
        assert_eq!(ratio(&lines[0]), None);
        let all = ratio(&lines[1]).unwrap();
        assert!(all.low > 1.05 && all.high < 1.15, "{all:?}");
        assert!(ratio(&lines[2]).unwrap().contains(1.0));
        assert_eq!((lines[1].units, lines[1].excluded, lines[1].n), (6, 0, 6000));
        assert!(lines[1].figures[&Metric::CpuPerRequest].detectable.unwrap() < 0.05);
    }

    #[test]
    fn a_unit_that_does_not_count_leaves_its_pair() {
        let mut measured = measured(&[("off", 1.0), ("all", 1.1)], 6);
        measured.units[4].excluded = Some("too busy".to_owned());
        let lines = lines(&measured);
        assert_eq!((lines[0].units, lines[0].excluded), (5, 1));
        assert_eq!((lines[1].units, lines[1].figures[&Metric::Rss].pairs), (6, 5));
    }
}
