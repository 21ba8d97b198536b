//! When a load is given up: rules over a window of time that slides with the run.
//!
//! A window moves in tenths of its length, so that a run of any length needs no more memory than ten slices a
//! rule. A rule is looked at only when there is a whole window since its grace ended: the first failed request of
//! a run is all of the requests so far, and says nothing.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};
use spangate_scenario::{
    model::{AbortRule, Percentiles},
    units::{self, Bound, Ratio},
};

use crate::Histogram;

/// Why and when a load was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aborted {
    /// The bound that held, and the time over which it was measured: `errors > 20% over 10s`.
    pub rule: String,
    /// What was measured.
    pub observed: String,
    /// When, from the start of the load.
    pub at: units::Duration,
    /// Requests that were looked at; for `achieved`, the operations that were planned.
    pub n: u64,
}

/// What happened within a short time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sample {
    /// Operations that were to start.
    pub(super) planned: f64,
    /// Operations that started.
    pub(super) started: u64,
    /// Requests that ended.
    pub(super) ended: u64,
    /// Those among them that failed ([`crate::Outcome::is_failure`]).
    pub(super) failed: u64,
    /// Response times of those that ended.
    pub(super) response: Histogram,
}

/// Watches over the rules of a load.
#[derive(Debug)]
pub(super) struct AbortRules {
    watches: Vec<Watch>,
}

/// One rule and what it looks at.
#[derive(Debug)]
struct Watch {
    rule: AbortRule,
    /// Whole slices of the window, the oldest first.
    slices: VecDeque<Sample>,
    /// The slice that is not over.
    current: Sample,
    /// When it is.
    until: Duration,
}

/// Parts of a window.
const SLICES: u32 = 10;
/// How often samples are taken, at most.
const SHORTEST: Duration = Duration::from_millis(10);

// === impl AbortRules ===

impl AbortRules {
    pub(super) fn new(rules: &[AbortRule]) -> Self {
        Self { watches: rules.iter().cloned().map(Watch::new).collect() }
    }

    /// How often [`AbortRules::sample`] wants to be called; never without rules.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.watches.iter().map(Watch::slice).min()
    }

    /// Takes what happened since the last call, which goes until `at` from the start of the load; gives the first
    /// rule that holds.
    pub(super) fn sample(&mut self, at: Duration, sample: &Sample) -> Option<Aborted> {
        // All of them see the sample, whichever holds.
        let held: Vec<_> = self.watches.iter_mut().filter_map(|watch| watch.sample(at, sample)).collect();
        held.into_iter().next()
    }
}

// === impl Watch ===

impl Watch {
    fn new(rule: AbortRule) -> Self {
        let mut watch = Self {
            rule,
            slices: VecDeque::with_capacity(SLICES as usize),
            current: Sample::default(),
            until: Duration::ZERO,
        };
        watch.until = watch.rule.grace.get() + watch.slice();
        watch
    }

    fn slice(&self) -> Duration {
        (self.rule.over.get() / SLICES).max(SHORTEST)
    }

    fn sample(&mut self, at: Duration, sample: &Sample) -> Option<Aborted> {
        if at <= self.rule.grace.get() {
            return None;
        }
        self.current.merge(sample);
        if at < self.until {
            return None;
        }
        while self.until <= at {
            self.until += self.slice();
        }
        if self.slices.len() == SLICES as usize {
            self.slices.pop_front();
        }
        self.slices.push_back(std::mem::take(&mut self.current));
        if self.slices.len() < SLICES as usize {
            return None;
        }
        let mut window = Sample::default();
        self.slices.iter().for_each(|slice| window.merge(slice));
        let (bound, observed, n) = self.held(&window)?;
        let rule = format!("{bound} over {}", self.rule.over);
        Some(Aborted { rule, observed, at: at.into(), n })
    }

    /// The bound that holds, what was observed, and of how many.
    fn held(&self, window: &Sample) -> Option<(String, String, u64)> {
        let AbortRule { errors, latency, achieved, .. } = &self.rule;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of operations is not negative, and far below 2^64"
        )]
        let share = |name: &str, bound: &Option<Bound<Ratio>>, part: u64, whole: f64| {
            let share = Ratio::new((part as f64 / whole).min(1.0)).filter(|_| whole > 0.0)?;
            let bound = bound.as_ref().filter(|bound| bound.holds(&share))?;
            Some((format!("{name} {bound}"), format!("{:.1}%", share.get() * 100.0), whole.round() as u64))
        };
        share("errors", errors, window.failed, window.ended as f64)
            .or_else(|| late(latency.as_ref()?, &window.response))
            .or_else(|| share("achieved", achieved, window.started, window.planned))
    }
}

/// The first percentile whose bound holds.
fn late(percentiles: &Percentiles, response: &Histogram) -> Option<(String, String, u64)> {
    let Percentiles { min, p50, p90, p95, p99, max } = percentiles;
    let named = [("min", 0.0, min), ("p50", 50.0, p50), ("p90", 90.0, p90), ("p95", 95.0, p95)];
    named.into_iter().chain([("p99", 99.0, p99), ("max", 100.0, max)]).find_map(
        |(name, percentile, bound)| {
            let observed = units::Duration::from(response.percentile(percentile)?);
            let bound = bound.as_ref().filter(|bound| bound.holds(&observed))?;
            Some((format!("latency {name} {bound}"), observed.to_string(), response.count()))
        },
    )
}

// === impl Sample ===

impl Sample {
    fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        self.started += other.started;
        self.ended += other.ended;
        self.failed += other.failed;
        self.response.merge(&other.response);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: serde_json::Value) -> AbortRules {
        AbortRules::new(&[serde_json::from_value(text).unwrap()])
    }

    /// `ended` requests, of which `failed` failed and all took `millis`; as many operations started, of 100.
    fn sample(ended: u64, failed: u64, millis: u64) -> Sample {
        let mut response = Histogram::default();
        (0..ended).for_each(|_| response.record(Duration::from_millis(millis)));
        Sample { planned: 100.0, started: ended, ended, failed, response }
    }

    /// Takes one sample each 100 ms until a rule holds.
    fn run(rules: &mut AbortRules, samples: impl IntoIterator<Item = Sample>) -> Option<Aborted> {
        let interval = rules.interval().unwrap();
        (1..).zip(samples).find_map(|(number, sample)| rules.sample(interval * number, &sample))
    }

    #[test]
    fn a_rule_holds_once_its_share_of_a_whole_window_is_reached() {
        let mut rules = rule(serde_json::json!({"errors": "> 20%", "over": "1s"}));
        // 5 good tenths, then only failures: 3 of 10 tenths are above 20 %.
        let samples = (0..20).map(|tenth| sample(10, if tenth < 10 { 0 } else { 10 }, 1));
        let aborted = run(&mut rules, samples).unwrap();
        assert_eq!(aborted.at, units::Duration::from_millis(1300));
        assert_eq!((aborted.rule.as_str(), aborted.observed.as_str()), ("errors > 20% over 1s", "30.0%"));
        assert_eq!(aborted.n, 100);
    }

    #[test]
    fn nothing_counts_before_a_window_is_whole_or_within_the_grace() {
        let failing = || (0..).map(|_| sample(10, 10, 1));
        let mut rules = rule(serde_json::json!({"errors": "> 20%", "over": "1s"}));
        assert_eq!(run(&mut rules, failing()).unwrap().at, units::Duration::from_secs(1));
        let mut rules = rule(serde_json::json!({"errors": "> 20%", "over": "1s", "grace": "2s"}));
        assert_eq!(run(&mut rules, failing()).unwrap().at, units::Duration::from_secs(3));
        // What failed within the grace is not held against what comes after it.
        let mut rules = rule(serde_json::json!({"errors": "> 20%", "over": "1s", "grace": "2s"}));
        let samples = (0..60).map(|tenth| sample(10, if tenth < 20 { 10 } else { 0 }, 1));
        assert_eq!(run(&mut rules, samples), None);
    }

    #[test]
    fn nothing_sent_is_no_error() {
        let mut rules =
            rule(serde_json::json!({"errors": ">= 0%", "latency": {"p50": ">= 0s"}, "over": "1s"}));
        assert_eq!(run(&mut rules, (0..30).map(|_| sample(0, 0, 0))), None);
    }

    #[test]
    fn percentiles_and_starts_have_rules_too() {
        let mut rules = rule(serde_json::json!({"latency": {"p50": "> 1h", "p99": "> 5s"}, "over": "1s"}));
        let aborted = run(&mut rules, (0..30).map(|_| sample(10, 0, 6_000))).unwrap();
        assert_eq!((aborted.rule.as_str(), aborted.n), ("latency p99 > 5s over 1s", 100));
        let mut rules = rule(serde_json::json!({"achieved": "< 90%", "over": "1s"}));
        let aborted = run(&mut rules, (0..30).map(|_| sample(85, 0, 1))).unwrap();
        assert_eq!((aborted.rule.as_str(), aborted.observed.as_str()), ("achieved < 90% over 1s", "85.0%"));
        assert_eq!(aborted.n, 1000);
        let text = serde_json::to_string(&aborted).unwrap();
        assert_eq!(serde_json::from_str::<Aborted>(&text).unwrap(), aborted);
    }

    proptest! {
        #[test]
        fn a_window_is_the_last_ten_slices(failures in prop::collection::vec(0_u64..=10, 10..40)) {
            let mut rules = rule(serde_json::json!({"errors": "> 50%", "over": "1s"}));
            let found = run(&mut rules, failures.iter().map(|failed| Sample { ended: 10, failed: *failed, ..Sample::default() }));
            let expected = failures.windows(10).position(|window| window.iter().sum::<u64>() > 50);
            let at = |index: usize| units::Duration::from_millis(100 * (index as u64 + 10));
            prop_assert_eq!(found.map(|aborted| aborted.at), expected.map(at));
        }
    }
}
