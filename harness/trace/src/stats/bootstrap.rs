//! The bootstrap: what an estimate would have been with other samples of the same kind.

use super::{Estimate, SplitMix64, quantile, tail};

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How often.
    pub resamples: usize,
    /// The seed of all choices.
    pub seed: u64,
    /// The confidence of the interval, between 0 and 1.
    pub confidence: f64,
}

/// The values of one group, ready to be resampled many times; each value has `N` parts.
///
/// At most [`Sample::UNITS`] units are drawn from: a greater group is dealt out at random to as many bags,
/// and bags are drawn whole. The variance of a mean is the same either way, the cost is not.
#[derive(Debug, Clone)]
pub(crate) struct Sample<const N: usize> {
    /// Sums of the parts in each bag, and how many values it has.
    bags: Vec<([f64; N], f64)>,
}

/// The interval of mean(`treated`) - mean(`control`).
///
/// `None` when a group is empty.
pub fn mean_difference(treated: &[f64], control: &[f64], method: &Bootstrap) -> Option<Estimate> {
    let mut random = SplitMix64::new(method.seed);
    let one = |value: &f64| [*value];
    let treated = Sample::new(treated.iter().map(one).collect(), &mut random)?;
    let control = Sample::new(control.iter().map(one).collect(), &mut random)?;
    let value = treated.mean()[0] - control.mean()[0];
    Some(method.interval(value, || treated.resample(&mut random)[0] - control.resample(&mut random)[0]))
}

/// The interval of the sum of the first parts over the sum of the second ones, where pairs belong together: what was used
/// and what was done with it, window by window.
///
/// `None` when nothing was done, or there is no pair.
pub fn ratio(pairs: &[(f64, f64)], method: &Bootstrap) -> Option<Estimate> {
    let mut random = SplitMix64::new(method.seed);
    let sample = Sample::new(pairs.iter().map(|(used, done)| [*used, *done]).collect(), &mut random)?;
    let [used, done] = sample.mean();
    let value = Some(used / done).filter(|value| value.is_finite())?;
    Some(method.interval(value, || {
        let [used, done] = sample.resample(&mut random);
        // All that was drawn may be windows in which nothing was done.
        if done > 0.0 { used / done } else { f64::INFINITY }
    }))
}

/// The interval of the median of `values`; of an even number of them it is the mean of the two in the middle.
///
/// The median of few values is often one of the outermost ones when they are drawn again, so that the interval of up to
/// five values at 95 % is all that lies between the least and the greatest of them. That has the median of what is
/// behind n values with the probability 1 - 2^(1 - n): of three values 75 %, of five 94 %.
///
/// `None` of no values.
pub fn median(values: &[f64], method: &Bootstrap) -> Option<Estimate> {
    let mut random = SplitMix64::new(method.seed);
    let mut drawn = values.to_vec();
    let value = middle(&mut drawn)?;
    Some(method.interval(value, || {
        for place in &mut drawn {
            *place = values[random.below(values.len())];
        }
        middle(&mut drawn).unwrap_or(value)
    }))
}

/// The median of `values` alone, without an interval; of an even number of them the mean of the two in the middle.
///
/// `None` of no values.
pub fn median_value(values: &[f64]) -> Option<f64> {
    middle(&mut values.to_vec())
}

/// The median of values, which are sorted for it.
pub(super) fn middle(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

// === impl Bootstrap ===

impl Default for Bootstrap {
    /// 2000 resamples at 95 %.
    fn default() -> Self {
        Self { resamples: 2_000, seed: 0x5eed, confidence: 0.95 }
    }
}

impl Bootstrap {
    /// The percentile interval of what `resample` gives, around `value`.
    pub(super) fn interval(&self, value: f64, resample: impl FnMut() -> f64) -> Estimate {
        let mut values: Vec<_> = std::iter::repeat_with(resample).take(self.resamples).collect();
        self.percentiles(value, &mut values)
    }

    /// The percentile interval of resampled `values`, around `value`.
    pub(crate) fn percentiles(&self, value: f64, values: &mut [f64]) -> Estimate {
        values.sort_unstable_by(f64::total_cmp);
        let at = |q| quantile(values, q).copied().unwrap_or(value);
        let alpha = tail(self.confidence);
        Estimate { value, low: at(alpha), high: at(1.0 - alpha) }
    }
}

// === impl Sample ===

impl<const N: usize> Sample<N> {
    /// The greatest number of units to draw from.
    pub(crate) const UNITS: usize = 1_000;

    /// Gets a group ready; `None` when it is empty.
    pub(crate) fn new(mut values: Vec<[f64; N]>, random: &mut SplitMix64) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        if values.len() > Self::UNITS {
            random.shuffle(&mut values);
        }
        let mut bags = vec![([0.0; N], 0.0); values.len().min(Self::UNITS)];
        let count = bags.len();
        for (at, value) in values.into_iter().enumerate() {
            add(&mut bags[at % count], &(value, 1.0));
        }
        Some(Self { bags })
    }

    /// The mean of the values.
    pub(crate) fn mean(&self) -> [f64; N] {
        mean(self.bags.iter())
    }

    /// The mean of as many units again, drawn with replacement.
    pub(crate) fn resample(&self, random: &mut SplitMix64) -> [f64; N] {
        mean((0..self.bags.len()).map(|_| &self.bags[random.below(self.bags.len())]))
    }
}

fn mean<'b, const N: usize>(bags: impl Iterator<Item = &'b ([f64; N], f64)>) -> [f64; N] {
    let mut all = ([0.0; N], 0.0);
    bags.for_each(|bag| add(&mut all, bag));
    all.0.map(|sum| sum / all.1)
}

fn add<const N: usize>(bag: &mut ([f64; N], f64), more: &([f64; N], f64)) {
    for (sum, value) in bag.0.iter_mut().zip(more.0) {
        *sum += value;
    }
    bag.1 += more.1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_sums() {
        let pairs = [(10.0, 1.0), (30.0, 2.0), (20.0, 3.0)];
        let estimate = ratio(&pairs, &Bootstrap::default()).unwrap();
        assert!((estimate.value - 10.0).abs() < 1e-12, "{estimate:?}");
        assert!(estimate.low < 10.0 && estimate.high > 10.0, "{estimate:?}");
        assert_eq!(ratio(&[], &Bootstrap::default()), None);
        assert_eq!(ratio(&[(1.0, 0.0)], &Bootstrap::default()), None);
    }

    /// Scenario: a hundred times forty windows with 30 a unit and noise.
    /// Guarantees: the interval of 95 % has the true value in it in nearly that many.
    #[test]
    fn the_interval_of_a_ratio_covers_it() {
        let mut random = SplitMix64::new(9);
        let mut covered = 0;
        for _ in 0..100 {
            let pairs: Vec<(f64, f64)> = (0..40)
                .map(|_| {
                    let done = 50.0 + 100.0 * (random.below(1_000_001) as f64 / 1e6);
                    (30.0 * done * (0.7 + 0.6 * (random.below(1_000_001) as f64 / 1e6)), done)
                })
                .collect();
            covered += usize::from(ratio(&pairs, &Bootstrap::default()).unwrap().contains(30.0));
        }
        assert!((88..=100).contains(&covered), "{covered}");
    }

    /// Exponential values with the mean one: as skewed as latencies.
    fn skewed(random: &mut SplitMix64, n: usize) -> Vec<f64> {
        let uniform = |random: &mut SplitMix64| (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (0..n).map(|_| -(1.0 - uniform(random)).ln()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let mut random = SplitMix64::new(1);
        let (one, other) = (skewed(&mut random, 50), skewed(&mut random, 50));
        let method = Bootstrap::default();
        let interval = mean_difference(&one, &other, &method).unwrap();
        assert_eq!(mean_difference(&one, &other, &method), Some(interval));
        assert_ne!(mean_difference(&one, &other, &Bootstrap { seed: 1, ..method }), Some(interval));
        assert_eq!(mean_difference(&one, &[], &method), None);
    }

    #[test]
    fn the_interval_has_the_difference_about_as_often_as_it_says() {
        const SEED: u64 = 5;
        let mut random = SplitMix64::new(SEED);
        let runs = 400;
        let covers = (0..runs).filter(|seed| {
            let (treated, control) = (skewed(&mut random, 60), skewed(&mut random, 80));
            let treated: Vec<_> = treated.iter().map(|value| value + 2.0).collect();
            let method = Bootstrap { resamples: 400, seed: *seed, confidence: 0.9 };
            mean_difference(&treated, &control, &method).unwrap().contains(2.0)
        });
        let coverage = crate::stats::clopper_pearson(covers.count() as u64, runs, 0.999_9);
        assert!(coverage.contains(0.89), "seed {SEED}: {coverage:?}");
    }

    #[test]
    fn the_median_of_few_values_lies_between_all_of_them() {
        let method = Bootstrap::default();
        let of = |values: &[f64]| median(values, &method);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 5.0, 2.0, 4.0]), Some(Estimate { value: 3.0, low: 1.0, high: 5.0 }));
        assert_eq!(of(&[4.0, 1.0]).map(|estimate| estimate.value), Some(2.5));
        assert_eq!([&[][..], &[4.0, 1.0], &[3.0, 9.0, 1.0]].map(median_value), [None, Some(2.5), Some(3.0)]);
        let mut random = SplitMix64::new(2);
        let sure = Bootstrap { confidence: 0.999_9, ..method };
        let many = median(&skewed(&mut random, 400), &sure).unwrap();
        assert!(many.contains(std::f64::consts::LN_2) && many.high - many.low < 0.6, "{many:?}");
    }

    #[test]
    fn bags_keep_the_mean_and_the_width() {
        let mut random = SplitMix64::new(9);
        let n = 20_500;
        let values = skewed(&mut random, n);
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64;
        let sample = Sample::new(values.iter().map(|value| [*value]).collect(), &mut random).unwrap();
        assert_eq!(sample.bags.len(), Sample::<1>::UNITS);
        assert!((sample.mean()[0] - mean).abs() < 1e-9);
        let method = Bootstrap { resamples: 4_000, ..Bootstrap::default() };
        let interval = method.interval(mean, || sample.resample(&mut random)[0]);
        // 95 % of a normal distribution lie within 1.96 standard errors.
        let expected = 2.0 * 1.96 * (variance / n as f64).sqrt();
        assert!(((interval.high - interval.low) / expected - 1.0).abs() < 0.1, "{interval:?}");
    }
}
