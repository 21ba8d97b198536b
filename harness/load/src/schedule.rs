//! When each operation starts and what it is, fixed before the run.
//!
//! The schedule is a pure function of the load and a seed. Nothing that the server does can move an
//! arrival: that is what makes the load open, and what keeps slow answers from hiding in fewer requests.

use std::time::Duration;

use rand_chacha::rand_core::Rng;
use rand_distr::{Distribution, Exp1};
use serde::Serialize;
use spangate_scenario::{
    model::{Arrivals, Load, Shape},
    units::Rate,
};
use spangate_trace::{SpanId, TraceId};

use crate::{
    operation::Kind,
    seed::{Purpose, fnv1a, generator, ids, pick, pick_u32},
};

/// All arrivals of a run, in the order of their times.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// The seed that everything was drawn from.
    pub seed: u64,
    /// How long arrivals go on.
    pub duration: Duration,
    /// The arrivals.
    arrivals: Vec<Arrival>,
}

/// One operation to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrival {
    /// Its number, from zero.
    pub number: u64,
    /// When it starts, from the start of the load.
    pub at: Duration,
    /// Index of its stage.
    pub stage: u32,
    /// Index of its mix entry, in the order of [`Load::entries`].
    pub entry: usize,
    /// Random bits that choose the object; see [`Arrival::choose`].
    pub choice: u64,
}

// === impl Schedule ===

impl Schedule {
    /// Draws the schedule of `load`.
    ///
    /// Mix entries without an operation are never chosen. A rate of zero, or a mix in which nothing can be
    /// chosen, gives no arrivals.
    pub fn new(load: &Load, seed: u64) -> Self {
        let Some(arrivals) = &load.arrivals else {
            return Self { seed, duration: Duration::ZERO, arrivals: Vec::new() };
        };
        let duration = arrivals.total();
        let weights: Vec<u64> =
            load.mix.iter().map(|entry| Kind::of(entry).map_or(0, |_| u64::from(entry.weight.0))).collect();
        let total: u64 = weights.iter().sum();
        let mut entries = generator(seed, Purpose::Entries);
        let mut choices = generator(seed, Purpose::Choices);
        let times = if total == 0 { Vec::new() } else { times(arrivals, seed) };
        let arrivals = (0..)
            .zip(times)
            .map(|(number, at)| Arrival {
                number,
                at,
                stage: 0,
                entry: weighted(&weights, pick(entries.next_u64(), total)),
                choice: choices.next_u64(),
            })
            .collect();
        Self { seed, duration, arrivals }
    }

    /// Trace and span id of request `step` of arrival `number`.
    ///
    /// Every request has a trace of its own, also within one arrival, as kubectl's requests have.
    pub fn ids(&self, number: u64, step: u32) -> (TraceId, SpanId) {
        ids(self.seed, Purpose::Ids, number, step)
    }

    /// The arrivals, in the order of their times.
    pub fn arrivals(&self) -> impl Iterator<Item = Arrival> + '_ {
        self.arrivals.iter().copied()
    }

    /// How many arrivals there are.
    pub fn planned(&self) -> u64 {
        self.arrivals.len() as u64
    }

    /// Arrivals per second, on average.
    pub fn rate(&self) -> f64 {
        if self.duration.is_zero() { 0.0 } else { self.planned() as f64 / self.duration.as_secs_f64() }
    }

    /// A hash over every arrival and its first trace id: equal for equal loads and seeds, on every platform.
    pub fn fingerprint(&self) -> u64 {
        fnv1a(self.arrivals().flat_map(|arrival| {
            let (trace, span) = self.ids(arrival.number, 0);
            let mut bytes = Vec::with_capacity(64);
            bytes.extend(arrival.number.to_le_bytes());
            bytes.extend(arrival.at.as_nanos().to_le_bytes());
            bytes.extend((arrival.entry as u64).to_le_bytes());
            bytes.extend(arrival.choice.to_le_bytes());
            bytes.extend(trace.as_bytes());
            bytes.extend(span.as_bytes());
            bytes
        }))
    }
}

/// The times of all arrivals, up to the end of the load and without it.
fn times(arrivals: &Arrivals, seed: u64) -> Vec<Duration> {
    let rate = arrivals.rate.map_or(0.0, Rate::get);
    let end = arrivals.total().as_secs_f64();
    if rate <= 0.0 {
        return Vec::new();
    }
    match arrivals.shape.unwrap_or_default() {
        // Multiplied, not added up: the hundred-thousandth arrival is as exact as the first.
        Shape::Constant => {
            let mut number = 0_u64;
            std::iter::from_fn(|| {
                let at = number as f64 / rate;
                number += 1;
                (at < end).then(|| Duration::from_secs_f64(at))
            })
            .collect()
        }
        Shape::Poisson => {
            let mut gaps = generator(seed, Purpose::Gaps);
            let mut at = 0.0;
            std::iter::from_fn(|| {
                let gap: f64 = Exp1.sample(&mut gaps);
                at += gap / rate;
                (at < end).then(|| Duration::from_secs_f64(at))
            })
            .collect()
        }
    }
}

/// The entry that `point`, below the sum of the weights, falls into.
fn weighted(weights: &[u64], point: u64) -> usize {
    let mut upto = 0;
    weights
        .iter()
        .position(|weight| {
            upto += weight;
            point < upto
        })
        .expect("the point lies below the sum of the weights")
}

// === impl Arrival ===

impl Arrival {
    /// One of `count` objects; the first when there is none.
    pub fn choose(&self, count: u32) -> u32 {
        pick_u32(self.choice, count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use spangate_scenario::{
        model::{CreateOperation, GetOperation, MixEntry, Resource, Sizes, Weight},
        units::{Rate, Size},
    };

    use super::*;
    use crate::testing;

    fn entry(weight: u32) -> MixEntry {
        MixEntry {
            weight: Weight(weight),
            get: Some(GetOperation { resource: Resource::Configmaps, resource_version: None }),
            ..MixEntry::default()
        }
    }

    fn load(rate: f64, shape: Shape, seconds: u64, weights: &[u32]) -> Load {
        let mut load = testing::load(weights.iter().copied().map(entry).collect());
        load.arrivals = Some(Arrivals::flat(
            Rate::per_second(rate).unwrap(),
            shape,
            spangate_scenario::units::Duration::from_secs(seconds),
        ));
        load
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_from_the_start() {
        let schedule = Schedule::new(&load(50.0, Shape::Constant, 20, &[1]), 7);
        assert_eq!(schedule.arrivals.len(), 1000);
        assert_eq!(schedule.arrivals[0].at, Duration::ZERO);
        assert_eq!(schedule.arrivals[999].at, Duration::from_millis(19_980));
    }

    #[test]
    fn a_schedule_is_the_same_everywhere_and_forever() {
        // A change of these numbers breaks the repetition of recorded runs: it needs an entry in the change log.
        let poisson = Schedule::new(&load(50.0, Shape::Poisson, 20, &[3, 5, 1]), 7);
        let constant = Schedule::new(&load(50.0, Shape::Constant, 20, &[3, 5, 1]), 7);
        assert_eq!(
            (poisson.arrivals.len(), poisson.fingerprint(), constant.fingerprint()),
            (998, 17_175_769_594_445_685_821, 8_250_792_330_784_874_064)
        );
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_variance_of_an_exponential() {
        for seed in [1, 7, 42] {
            let schedule = Schedule::new(&load(100.0, Shape::Poisson, 200, &[1]), seed);
            let at: Vec<f64> = schedule.arrivals.iter().map(|arrival| arrival.at.as_secs_f64()).collect();
            let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let n = gaps.len() as f64;
            let mean = gaps.iter().sum::<f64>() / n;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (n - 1.0);
            // Standard errors with n = 20000: mean 0.7 %, variance 2 %. Five of them.
            assert!((mean * 100.0 - 1.0).abs() < 0.035, "mean {mean} with seed {seed}");
            assert!((variance * 10_000.0 - 1.0).abs() < 0.1, "variance {variance} with seed {seed}");
        }
    }

    #[test]
    fn weights_are_respected() {
        let schedule = Schedule::new(&load(1000.0, Shape::Constant, 20, &[3, 0, 5, 2]), 7);
        let mut counts = [0.0; 4];
        for arrival in &schedule.arrivals {
            counts[arrival.entry] += 1.0;
        }
        for (count, share) in counts.into_iter().zip([0.3, 0.0, 0.5, 0.2]) {
            // Five standard deviations of a binomial with n = 20000 are below 1.8 %.
            assert!((count / 20_000.0_f64 - share).abs() < 0.018, "{counts:?} with seed 7");
        }
    }

    #[test]
    fn nothing_to_choose_is_an_empty_schedule() {
        let no_operation = MixEntry::default();
        let mut empty = load(10.0, Shape::Poisson, 10, &[]);
        assert!(Schedule::new(&empty, 1).arrivals.is_empty());
        empty.mix.push(no_operation);
        assert!(Schedule::new(&empty, 1).arrivals.is_empty());
        assert!(Schedule::new(&load(0.0, Shape::Poisson, 10, &[1]), 1).arrivals.is_empty());
        assert!(Schedule::new(&load(10.0, Shape::Constant, 10, &[0]), 1).arrivals.is_empty());
    }

    #[test]
    fn a_change_of_the_mix_moves_no_arrival() {
        let before = Schedule::new(&load(50.0, Shape::Poisson, 10, &[1, 1]), 7);
        let mut after = load(50.0, Shape::Poisson, 10, &[9, 1]);
        after.mix[0].get = None;
        after.mix[0].create = Some(CreateOperation {
            resource: Resource::Pods,
            size: Sizes::Fixed(Size(1)),
            labels: BTreeMap::new(),
        });
        let after = Schedule::new(&after, 7);
        assert!(
            before
                .arrivals
                .iter()
                .map(|a| (a.at, a.choice))
                .eq(after.arrivals.iter().map(|a| (a.at, a.choice)))
        );
        assert_ne!(before, after);
    }

    proptest! {
        #[test]
        fn arrivals_are_numbered_sorted_and_within_the_load(
            rate in 0.1_f64..500.0, poisson: bool, seconds in 0_u64..20, seed: u64,
            weights in prop::collection::vec(0_u32..5, 1..5),
        ) {
            let shape = if poisson { Shape::Poisson } else { Shape::Constant };
            let schedule = Schedule::new(&load(rate, shape, seconds, &weights), seed);
            prop_assert_eq!(&schedule, &Schedule::new(&load(rate, shape, seconds, &weights), seed));
            let mut before = Duration::ZERO;
            for (number, arrival) in (0..).zip(&schedule.arrivals) {
                prop_assert_eq!(arrival.number, number);
                prop_assert!(arrival.at >= before && arrival.at < schedule.duration);
                prop_assert!(weights[arrival.entry] > 0);
                prop_assert!(arrival.choose(10) < 10);
                before = arrival.at;
            }
            if weights.iter().any(|weight| *weight > 0) {
                let expected = rate * seconds as f64;
                // Six standard deviations of a Poisson count.
                let slack = if poisson { 6.0 * expected.sqrt() + 6.0 } else { 1.0 };
                prop_assert!((schedule.arrivals.len() as f64 - expected).abs() <= slack);
            }
        }
    }
}
