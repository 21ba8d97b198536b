//! Quantiles of a sample, and what they say of the quantile behind it.

use super::{Binomial, binomial::first, tail};

/// The interval of a quantile.
///
/// An end is missing when the sample is too small to have a value that lies beyond the quantile with enough
/// confidence: no maximum of 100 values bounds a 99th percentile from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantileInterval<T> {
    /// The lower end.
    pub low: Option<T>,
    /// The upper end.
    pub high: Option<T>,
}

/// The quantile `q` of ascending values by the nearest rank: the least value that at least the part `q` of all
/// values does not exceed. `None` of no values.
pub fn quantile<T>(ascending: &[T], q: f64) -> Option<&T> {
    // What binary fractions add must not push a whole rank to the next one: 0.07 * 100 > 7.
    let rank = (q * ascending.len() as f64 - 1e-9).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the ranks")]
    let rank = rank.clamp(1.0, ascending.len().max(1) as f64) as usize;
    ascending.get(rank - 1)
}

/// The interval of the quantile `q` from order statistics: exact, whatever the distribution.
///
/// The number of values up to the quantile is binomial, so ranks that leave out at most half of what
/// `confidence` leaves over on each side have the quantile between their values.
///
/// # Panics
///
/// When `q` or `confidence` is not between 0 and 1.
pub fn quantile_interval<T: Copy>(ascending: &[T], q: f64, confidence: f64) -> QuantileInterval<T> {
    let alpha = tail(confidence);
    let n = ascending.len() as u64;
    let below = Binomial::new(n, q);
    // Ranks count from one. The value of rank l exceeds the quantile with the probability of fewer than l
    // values up to it, and that of rank u falls short of it with the probability of u or more.
    let low = first(0, n, |rank| below.at_most(rank) > alpha);
    let high = first(1, n + 1, |rank| below.at_least(rank) <= alpha);
    let value =
        |rank: u64| rank.checked_sub(1).and_then(|at| ascending.get(usize::try_from(at).ok()?)).copied();
    QuantileInterval { low: value(low), high: value(high) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::SplitMix64;

    #[test]
    fn nearest_ranks() {
        let values: Vec<_> = (1..=100).collect();
        for (q, value) in [(0.0, 1), (0.005, 1), (0.07, 7), (0.5, 50), (0.95, 95), (0.951, 96), (1.0, 100)] {
            assert_eq!(quantile(&values, q), Some(&value), "{q}");
        }
        assert_eq!(quantile(&[8], 0.99), Some(&8));
        assert_eq!(quantile::<u8>(&[], 0.5), None);
    }

    /// The table of Conover (Practical Nonparametric Statistics, 3.2): the median of 16 at 95 % lies between the
    /// 4th and the 13th value, that of 25 between the 8th and the 18th.
    #[test]
    fn published_ranks() {
        let values: Vec<_> = (1..=16).collect();
        assert_eq!(quantile_interval(&values, 0.5, 0.95), QuantileInterval { low: Some(4), high: Some(13) });
        let values: Vec<_> = (1..=25).collect();
        assert_eq!(quantile_interval(&values, 0.5, 0.95), QuantileInterval { low: Some(8), high: Some(18) });
    }

    #[test]
    fn a_small_sample_bounds_no_high_percentile_from_above() {
        let values: Vec<_> = (1..=100).collect();
        let interval = quantile_interval(&values, 0.99, 0.95);
        assert_eq!((interval.low, interval.high), (Some(97), None));
        assert_eq!(quantile_interval::<u8>(&[], 0.5, 0.95), QuantileInterval { low: None, high: None });
        let values: Vec<_> = (1..=1_000).collect();
        assert!(quantile_interval(&values, 0.99, 0.95).high.is_some());
    }

    #[test]
    fn the_interval_has_the_quantile_as_often_as_it_says() {
        const SEED: u64 = 11;
        let mut random = SplitMix64::new(SEED);
        let runs = 4_000;
        let mut covered = 0;
        for _ in 0..runs {
            let mut values: Vec<_> = (0..200).map(|_| random.next_u64()).collect();
            values.sort_unstable();
            let interval = quantile_interval(&values, 0.9, 0.95);
            // The 90th percentile of all 64-bit numbers.
            let truth = u64::MAX / 10 * 9;
            covered += u64::from(interval.low.unwrap() <= truth && truth <= interval.high.unwrap());
        }
        // Exact intervals cover at least as much as they say.
        let coverage = crate::stats::clopper_pearson(covered, runs, 0.999_999);
        assert!(coverage.high >= 0.95 && coverage.low < 0.99, "seed {SEED}: {coverage:?}");
    }

    proptest! {
        #[test]
        fn the_interval_is_around_the_quantile(n in 1..400_usize, q in 0.01..0.99_f64) {
            let values: Vec<_> = (0..n).collect();
            let interval = quantile_interval(&values, q, 0.9);
            let middle = *quantile(&values, q).unwrap();
            prop_assert!(interval.low.is_none_or(|low| low <= middle));
            prop_assert!(interval.high.is_none_or(|high| high >= middle));
        }
    }
}
