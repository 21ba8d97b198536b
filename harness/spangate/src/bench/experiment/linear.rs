//! Whether cost grows with the sampling rate in a straight line: at a rate p it is base + p x cost.

use serde::{Deserialize, Serialize};
use spangate_scenario::{Experiment, experiment::ExperimentArm, units::PerMillion};
use spangate_trace::stats::{self, Estimate};

use crate::overhead::{Measured, Metric, compare::Method};

/// What a straight line says of the arms that differ in nothing but their rate. Times are in seconds of CPU a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linear {
    /// The arm at a rate of 0.
    pub from: String,
    /// The arm at a rate of 1.
    pub to: String,
    /// What a request costs at a rate of 0.
    pub base: Estimate,
    /// What it costs more when every request is sampled.
    pub cost: Estimate,
    /// The arms between.
    pub between: Vec<Between>,
}

/// An arm between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Between {
    /// The arm.
    pub arm: String,
    /// Its rate, 0 to 1.
    pub rate: f64,
    /// What the line says.
    pub expected: f64,
    /// How much more was measured, by rounds.
    pub differs: Estimate,
    /// Rounds in which all three were measured.
    pub rounds: u64,
}

/// The rate of an arm that says nothing but what it traces.
fn rate(arm: &ExperimentArm) -> Option<f64> {
    let ExperimentArm { kubernetes: None, api_server: None, collector: None, sink: None, .. } = arm else {
        return None;
    };
    let tracing = arm.tracing.as_ref().filter(|tracing| tracing.enabled)?;
    tracing.sampling_rate_per_million.map(PerMillion::get).map(|rate| f64::from(rate) / 1e6)
}

/// What a straight line says; nothing where no arm is at one of its ends.
pub fn linear(experiment: &Experiment, measured: &Measured, method: &Method) -> Option<Linear> {
    let arms = || experiment.spec.arms.iter().filter_map(|arm| Some((arm, rate(arm)?)));
    let end = |wanted: f64| arms().find(|(_, rate)| (rate - wanted).abs() < 1e-9).map(|(arm, _)| arm);
    let (from, to) = (end(0.0)?, end(1.0)?);
    let at = |arm: &str, round: u32| measured.by_round(arm, Metric::CpuPerRequest).get(&round).copied();
    let method = method.bootstrap();
    let rounds = 1..=experiment.spec.rounds;
    let ends: Vec<(u32, f64, f64)> = rounds
        .filter_map(|round| {
            let base = at(&from.name, round)?;
            Some((round, base, at(&to.name, round)? - base))
        })
        .collect();
    let base = stats::median(&ends.iter().map(|(_, base, _)| *base).collect::<Vec<_>>(), &method)?;
    let cost = stats::median(&ends.iter().map(|(.., cost)| *cost).collect::<Vec<_>>(), &method)?;
    let between = arms().filter(|(arm, _)| arm.name != from.name && arm.name != to.name);
    let between = between.filter_map(|(arm, rate)| {
        let differs: Vec<f64> = ends
            .iter()
            .filter_map(|(round, base, cost)| Some(at(&arm.name, *round)? - (base + rate * cost)))
            .collect();
        Some(Between {
            arm: arm.name.clone(),
            rate,
            expected: base.value + rate * cost.value,
            rounds: differs.len() as u64,
            differs: stats::median(&differs, &method)?,
        })
    });
    Some(Linear { from: from.name.clone(), to: to.name.clone(), base, cost, between: between.collect() })
}

#[cfg(test)]
mod tests {
    use spangate_scenario::experiment;

    use super::*;
    use crate::bench::experiment::report::tests::measured;

    fn experiment() -> Experiment {
        let text = "
apiVersion: spangate/v1alpha1
kind: Experiment
metadata: {name: overhead}
spec:
  reference: without
  rounds: 8
  load: {arrivals: {rate: 10/s, for: 30s}, mix: [{get: {resource: configmaps}}]}
  arms:
    - {name: without, tracing: {enabled: false}}
    - {name: none, tracing: {samplingRatePerMillion: 0}}
    - {name: tenth, tracing: {samplingRatePerMillion: 100000}}
    - {name: half, tracing: {samplingRatePerMillion: 500000}}
    - {name: all, tracing: {samplingRatePerMillion: 1000000}}
";
        experiment::parse("e", text).unwrap()
    }

    #[test]
    fn what_is_on_the_line_is_told_from_what_is_not() {
        // At a half it costs as much as at all.
        let measured =
            measured(&[("without", 0.9), ("none", 1.0), ("tenth", 1.02), ("half", 1.2), ("all", 1.2)], 8);
        let linear = linear(&experiment(), &measured, &Method::default()).unwrap();
        assert_eq!((linear.from.as_str(), linear.to.as_str()), ("none", "all"));
        let [tenth, half] = linear.between.as_slice() else { panic!("{linear:#?}") };
        assert!(tenth.differs.contains(0.0) || tenth.differs.value.abs() < 1e-5, "{tenth:#?}");
        assert!(half.differs.low > 1e-4, "{half:#?}");
        assert_eq!(half.rounds, 8);
    }

    #[test]
    fn without_an_end_there_is_no_line() {
        let mut experiment = experiment();
        experiment.spec.arms.pop();
        let measured = measured(&[("without", 0.9), ("none", 1.0)], 8);
        assert_eq!(linear(&experiment, &measured, &Method::default()), None);
    }
}
