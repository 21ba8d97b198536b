//! What one side of pairs is over the other, whether that is nothing, and how small an effect would show.

use serde::{Deserialize, Serialize};

use super::{Bootstrap, Estimate, SplitMix64, bootstrap::middle};

/// What an interval says of a margin within which a difference does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Equivalence {
    /// All of the interval lies within the margin: no difference that matters.
    Equivalent,
    /// All of the interval lies beyond the margin.
    Different,
    /// It lies on both sides.
    Undecided,
}

/// The median of the second side over that of the first one, with the interval of the bootstrap over pairs.
///
/// Pairs are drawn whole, so that what both sides of a pair share widens nothing (B. Efron and R. Tibshirani, An
/// Introduction to the Bootstrap, 1993, 8.3 and 13.3). The interval is that of percentiles.
///
/// `None` without pairs, or where the first side's median is not above 0.
pub fn ratio_of_medians(pairs: &[(f64, f64)], method: &Bootstrap) -> Option<Estimate> {
    let mut random = SplitMix64::new(method.seed);
    let (mut first, mut second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (below, above) = (middle(&mut first)?, middle(&mut second)?);
    let value = Some(above / below).filter(|value| below > 0.0 && value.is_finite())?;
    Some(method.interval(value, || {
        for (one, other) in first.iter_mut().zip(&mut second) {
            (*one, *other) = pairs[random.below(pairs.len())];
        }
        let (below, above) = (middle(&mut first).unwrap_or(1.0), middle(&mut second).unwrap_or(value));
        if below > 0.0 { above / below } else { f64::INFINITY }
    }))
}

/// The fewest values of which the interval of a median can have this confidence: n values have the median behind them
/// between their least and their greatest one with the probability 1 - 2^(1 - n), and no interval of theirs is wider.
///
/// # Panics
///
/// When `confidence` is not between 0 and 1.
pub fn fewest(confidence: f64) -> u64 {
    let outside = 2.0 * super::tail(confidence);
    (1..=64).find(|n| 2.0_f64.powi(1 - n) <= outside).map_or(64, |n| n.unsigned_abs().into())
}

/// The least effect that `pairs` pairs show with the probability `power`, as a part: 0.05 is 5 %.
///
/// `spread` is the standard deviation of the logarithm of a pair's ratio. The median of n has pi/2 of the variance of
/// their mean where logarithms are normal, so that it is exp((z(1 - alpha/2) + z(power)) spread sqrt(pi / 2n)) - 1
/// (J. Cohen, Statistical Power Analysis, 1988, 2.4).
///
/// # Panics
///
/// When `confidence` or `power` is not between 0 and 1.
pub fn detectable(spread: f64, pairs: u64, confidence: f64, power: f64) -> f64 {
    let deviations = z(1.0 - super::tail(confidence)) + z(power);
    (deviations * spread * (std::f64::consts::FRAC_PI_2 / pairs.max(1) as f64).sqrt()).exp_m1()
}

/// The number of pairs that show `effect` (0.05 is 5 %) with the probability `power`: [`detectable`], turned around.
///
/// # Panics
///
/// When `effect` is not above 0, or `confidence` or `power` not between 0 and 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, and it saturates")]
pub fn pairs_for(effect: f64, spread: f64, confidence: f64, power: f64) -> u64 {
    assert!(effect > 0.0, "an effect is above 0, got {effect}");
    let deviations = z(1.0 - super::tail(confidence)) + z(power);
    let pairs = std::f64::consts::FRAC_PI_2 * (deviations * spread / effect.ln_1p()).powi(2);
    (pairs.ceil() as u64).max(fewest(confidence))
}

/// The standard deviation of the logarithms of the pairs' ratios, for [`detectable`]: 1.4826 times the median of their
/// distances from their median, so that one pair that went wrong does not make it.
///
/// `None` of fewer than two pairs that can be compared.
pub fn spread(pairs: &[(f64, f64)]) -> Option<f64> {
    let usable = pairs.iter().filter(|(one, other)| *one > 0.0 && *other > 0.0);
    let mut logs: Vec<f64> = usable.map(|(one, other)| (other / one).ln()).collect();
    if logs.len() < 2 {
        return None;
    }
    let center = middle(&mut logs)?;
    let mut distances: Vec<f64> = logs.iter().map(|log| (log - center).abs()).collect();
    Some(1.4826 * middle(&mut distances)?)
}

/// The quantile of the standard normal distribution.
pub(crate) fn z(p: f64) -> f64 {
    assert!(p > 0.0 && p < 1.0, "a probability lies between 0 and 1, got {p}");
    std::f64::consts::SQRT_2 * statrs::function::erf::erf_inv(2.0 * p - 1.0)
}

// === impl Estimate ===

impl Estimate {
    /// Whether a ratio with this interval is none that matters: `margin` is the part by which it may differ from 1 to
    /// either side.
    pub fn equivalence(&self, margin: f64) -> Equivalence {
        // One that is 10 % more is undone by one that is 1/1.1.
        let (least, most) = (1.0 / (1.0 + margin), 1.0 + margin);
        if self.low >= least && self.high <= most {
            Equivalence::Equivalent
        } else if self.low > most || self.high < least {
            Equivalence::Different
        } else {
            Equivalence::Undecided
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::clopper_pearson;

    fn normal(random: &mut SplitMix64) -> f64 {
        let uniform = (random.below(1 << 52) as f64 + 0.5) / (1_u64 << 52) as f64;
        z(uniform)
    }

    /// Pairs that share a drift, with a true ratio and a spread of their own.
    fn pairs(random: &mut SplitMix64, n: usize, ratio: f64, own: f64, shared: f64) -> Vec<(f64, f64)> {
        (0..n)
            .map(|_| {
                let both = (shared * normal(random)).exp();
                (both * (own * normal(random)).exp(), ratio * both * (own * normal(random)).exp())
            })
            .collect()
    }

    /// The standard normal distribution, as every table has it.
    #[test]
    fn normal_quantiles() {
        for (p, quantile) in [(0.5, 0.0), (0.8, 0.841_621), (0.975, 1.959_964), (0.995, 2.575_829)] {
            assert!((z(p) - quantile).abs() < 1e-5, "{p}: {}", z(p));
        }
    }

    #[test]
    fn a_ratio_of_medians_by_hand() {
        let pairs = [(1.0, 2.0), (2.0, 4.0), (4.0, 10.0), (3.0, 9.0), (100.0, 1.0)];
        let estimate = ratio_of_medians(&pairs, &Bootstrap::default()).unwrap();
        assert!((estimate.value - 4.0 / 3.0).abs() < 1e-12 && estimate.contains(4.0 / 3.0), "{estimate:?}");
        assert_eq!(ratio_of_medians(&[], &Bootstrap::default()), None);
        assert_eq!(ratio_of_medians(&[(0.0, 1.0)], &Bootstrap::default()), None);
    }

    #[test]
    fn confidence_needs_values() {
        assert_eq!([0.75, 0.95, 0.99, 0.998].map(fewest), [3, 6, 8, 10]);
    }

    /// By hand: (1.959964 + 0.841621) * 0.1 * sqrt(pi / 40) = 0.078512, and exp of it less 1.
    #[test]
    fn what_shows_and_how_many_it_takes() {
        let least = detectable(0.1, 20, 0.95, 0.8);
        assert!((least - 0.081_677).abs() < 1e-5, "{least}");
        assert_eq!(pairs_for(least, 0.1, 0.95, 0.8), 20);
        // However large it is: fewer have no interval.
        assert_eq!(pairs_for(9.0, 0.1, 0.99, 0.99), fewest(0.99));
    }

    #[test]
    fn one_pair_that_went_wrong_makes_no_spread() {
        let mut random = SplitMix64::new(4);
        let mut many = pairs(&mut random, 400, 1.3, 0.05, 0.3);
        let before = spread(&many).unwrap();
        assert!((before - 0.05 * std::f64::consts::SQRT_2).abs() < 0.01, "{before}");
        many[7].1 *= 1000.0;
        assert!((spread(&many).unwrap() - before).abs() < 0.002);
        assert_eq!(spread(&[(1.0, 2.0)]), None);
    }

    #[test]
    fn nothing_that_matters_is_said_of_the_whole_interval_only() {
        let of = |low, high| Estimate { value: f64::midpoint(low, high), low, high }.equivalence(0.05);
        assert_eq!(of(0.96, 1.04), Equivalence::Equivalent);
        assert_eq!(of(0.99, 1.06), Equivalence::Undecided);
        assert_eq!(of(0.90, 1.01), Equivalence::Undecided);
        assert_eq!(of(1.06, 1.2), Equivalence::Different);
        assert_eq!(of(0.7, 0.9), Equivalence::Different);
    }

    /// Scenario: a thousand times twenty pairs of a known ratio, whose drift is five times their own spread.
    /// Guarantees: the interval has the ratio in it about as often as it says.
    #[test]
    fn the_interval_covers_the_ratio() {
        const SEED: u64 = 21;
        let mut random = SplitMix64::new(SEED);
        let method = Bootstrap { resamples: 400, ..Bootstrap::default() };
        for n in [8, 20] {
            let covered = (0..1_000)
                .filter(|_| {
                    let pairs = pairs(&mut random, n, 1.1, 0.02, 0.1);
                    ratio_of_medians(&pairs, &method).unwrap().contains(1.1)
                })
                .count();
            let coverage = clopper_pearson(covered as u64, 1_000, 0.999);
            assert!(coverage.high >= 0.95, "seed {SEED}, n {n}: {coverage:?}");
        }
    }

    /// Scenario: an effect as large as twenty pairs are said to show with 80 %.
    /// Guarantees: about as many of five hundred trials show it.
    #[test]
    fn the_least_effect_shows_as_often_as_it_says() {
        const SEED: u64 = 22;
        let mut random = SplitMix64::new(SEED);
        let method = Bootstrap { resamples: 400, ..Bootstrap::default() };
        let own = 0.05;
        let effect = detectable(own * std::f64::consts::SQRT_2, 20, 0.95, 0.8);
        let shown = (0..500)
            .filter(|_| {
                let pairs = pairs(&mut random, 20, 1.0 + effect, own, 0.0);
                ratio_of_medians(&pairs, &method).unwrap().low > 1.0
            })
            .count();
        assert!((350..=450).contains(&shown), "seed {SEED}: {shown}");
    }

    proptest! {
        #[test]
        fn a_ratio_turns_around_and_has_no_unit(
            sides in prop::collection::vec((1.0..100.0_f64, 1.0..100.0_f64), 1..30), unit in 1e-6..1e6_f64
        ) {
            let method = Bootstrap { resamples: 100, ..Bootstrap::default() };
            let there = ratio_of_medians(&sides, &method).unwrap();
            let turned: Vec<_> = sides.iter().map(|(one, other)| (*other, *one)).collect();
            let back = ratio_of_medians(&turned, &method).unwrap();
            prop_assert!((there.value * back.value - 1.0).abs() < 1e-9);
            let scaled: Vec<_> = sides.iter().map(|(one, other)| (one * unit, other * unit)).collect();
            let scaled = ratio_of_medians(&scaled, &method).unwrap();
            prop_assert!((scaled.value / there.value - 1.0).abs() < 1e-9);
            prop_assert!((scaled.low / there.low - 1.0).abs() < 1e-9);
            prop_assert!(there.low <= there.high);
        }
    }
}
