//! Made-up rounds whose truth is known, for tests that falsify them.

use std::sync::Arc;

use spangate_scenario::{gate::GateRules, model::TrafficClass, units::Ratio};
use spangate_trace::TraceId;

use super::{
    judge::judge,
    observe::{LaneRound, Round, TraceFate},
    report::GateReport,
};
use crate::report::overall;

/// The classes of the traffic.
pub(crate) const CLASSES: [&str; 3] = ["errors", "slow", "normal"];
/// Traces of each in a round.
const TRACES: [u64; 3] = [1_000, 250, 1_500];
/// One ordinary trace of so many is kept.
const ONE_OF: u64 = 10;

/// Five rounds in which both configurations do what they say, at the same cost.
pub(crate) fn rounds() -> Vec<Round> {
    (1..=5).map(|number| Round { number, base: lane(number), head: lane(number) }).collect()
}

pub(crate) fn classes() -> Vec<Arc<str>> {
    CLASSES.map(Arc::from).to_vec()
}

/// The report on rounds by the default rules.
pub(crate) fn report(rounds: Vec<Round>) -> GateReport {
    let class = |name: &str| TrafficClass {
        error: name == "errors",
        ..TrafficClass::new(name, Ratio::new_unchecked(0.1))
    };
    let judged = judge(&GateRules::default_for(&CLASSES.map(class)), &classes(), &rounds);
    GateReport {
        api_version: "spangate/v1alpha1".to_owned(),
        kind: "GateReport".to_owned(),
        status: overall(&judged.verdicts),
        base: "old|one.yaml".to_owned(),
        head: "new.yaml".to_owned(),
        confidence: 0.99,
        classes: judged.classes,
        costs: judged.costs,
        verdicts: judged.verdicts,
        warnings: vec!["mind the gap".to_owned()],
        rounds,
        components: Vec::new(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        seconds: 81.0,
        repeat: "spangate gate sampling --base old --head new".to_owned(),
        directory: "target/spangate/gate-1".to_owned(),
    }
}

fn lane(round: u32) -> LaneRound {
    let fates = (0_u64..).zip(CLASSES.into_iter().zip(TRACES)).flat_map(|(class, (name, traces))| {
        (0..traces).map(move |number| {
            let kept = name != "normal" || number % ONE_OF == 0;
            TraceFate {
                trace: TraceId::new(id(round, class, number).to_be_bytes()),
                class: name.into(),
                whole: true,
                kept,
                must: Some(kept),
                wrong: false,
            }
        })
    });
    let mut lane = LaneRound {
        traces: fates.collect(),
        taken: 27_500,
        bytes_out: 5 << 20,
        traces_in_memory: 2_750,
        ..LaneRound::default()
    };
    lane.facts.peak_rss = 100 << 20;
    // No two rounds cost the same.
    lane.facts.telemetry.cpu_seconds = 0.5 + f64::from(round) / 100.0;
    lane.facts.telemetry.tail.new_traces = 2_750;
    lane
}

fn id(round: u32, class: u64, number: u64) -> u128 {
    (u128::from(round) << 64) | (u128::from(class) << 32) | u128::from(number + 1)
}

/// Loses `count` traces of a class in the new configuration, spread over the rounds.
pub(crate) fn lose(rounds: &mut [Round], class: &str, count: usize) {
    let of_class = |fate: &&mut TraceFate| &*fate.class == class && fate.kept;
    let each = count.div_ceil(rounds.len());
    let mut left = count;
    for round in rounds {
        for fate in round.head.traces.iter_mut().filter(of_class).take(each.min(left)) {
            (fate.kept, fate.must) = (false, Some(false));
            left -= 1;
        }
    }
}
