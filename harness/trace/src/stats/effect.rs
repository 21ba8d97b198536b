//! What one side of pairs is over the other, whether that is nothing, and how small an effect would show.

use serde::{Deserialize, Serialize};

use super::{Bootstrap, Estimate, SplitMix64, bootstrap::middle, median, quantile_interval};

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

/// The median of what the second side of each pair is of the first one. Its interval is that of the bootstrap over pairs,
/// and never narrower than the exact one from order statistics: of few pairs the bootstrap alone covers too little.
///
/// What both sides of a pair share is gone before the median is taken. [`ratio_of_medians`] loses it only as far as both
/// medians fall on the same pairs: where both sides share most of what varies, the interval of this one is about half as
/// wide. With [`fewest`] pairs or more it has the median behind them with at least the confidence, whatever the
/// distribution; with less it is all that lies between the least and the greatest.
///
/// `None` without pairs whose first side is above 0.
pub fn median_of_ratios(pairs: &[(f64, f64)], method: &Bootstrap) -> Option<Estimate> {
    let usable = pairs.iter().filter(|(one, _)| *one > 0.0);
    let mut ratios: Vec<f64> = usable.map(|(one, other)| other / one).collect();
    let estimate = median(&ratios, method)?;
    ratios.sort_unstable_by(f64::total_cmp);
    let exact = quantile_interval(&ratios, 0.5, method.confidence);
    let (least, greatest) = (*ratios.first()?, *ratios.last()?);
    Some(Estimate {
        low: estimate.low.min(exact.low.unwrap_or(least)),
        high: estimate.high.max(exact.high.unwrap_or(greatest)),
        ..estimate
    })
}

/// The median of the second values over that of the first ones, where they were measured apart: each side is drawn again by
/// itself.
///
/// `None` without values on a side, or where the first side's median is not above 0.
pub fn ratio_of_apart(first: &[f64], second: &[f64], method: &Bootstrap) -> Option<Estimate> {
    let mut random = SplitMix64::new(method.seed);
    let mut drawn = (first.to_vec(), second.to_vec());
    let (below, above) = (middle(&mut drawn.0)?, middle(&mut drawn.1)?);
    let value = Some(above / below).filter(|value| below > 0.0 && value.is_finite())?;
    Some(method.interval(value, || {
        drawn.0.iter_mut().for_each(|place| *place = first[random.below(first.len())]);
        drawn.1.iter_mut().for_each(|place| *place = second[random.below(second.len())]);
        let (below, above) = (middle(&mut drawn.0).unwrap_or(1.0), middle(&mut drawn.1).unwrap_or(value));
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

/// The least effect that would have shown with the probability `power`, by the width of a ratio's interval: the deviation of
/// the logarithm of the estimate is that of an interval which is so wide, whatever the estimator.
///
/// `None` where the interval has no width that can be told.
///
/// # Panics
///
/// When `confidence` or `power` is not between 0 and 1.
pub fn detectable_by(ratio: &Estimate, confidence: f64, power: f64) -> Option<f64> {
    let one = z(1.0 - super::tail(confidence));
    let deviation = (ratio.high / ratio.low).ln() / (2.0 * one);
    Some(((one + z(power)) * deviation).exp_m1()).filter(|least| least.is_finite())
}

/// The spread of pairs by the width of a ratio's interval of so many of them, for [`detectable`]: the one of which as many
/// pairs have an interval so wide, whatever the estimator. With it another number of pairs can be foretold.
///
/// `None` where the interval has no width that can be told.
///
/// # Panics
///
/// When `confidence` is not between 0 and 1.
pub fn spread_by(ratio: &Estimate, pairs: u64, confidence: f64) -> Option<f64> {
    let deviation = (ratio.high / ratio.low).ln() / (2.0 * z(1.0 - super::tail(confidence)));
    let spread = deviation / (std::f64::consts::FRAC_PI_2 / pairs.max(1) as f64).sqrt();
    Some(spread).filter(|spread| spread.is_finite())
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

    /// Scenario: twelve values of each side, measured apart, five hundred times.
    /// Guarantees: the interval has the ratio in it about as often as it says, and pairs that are none gain nothing.
    #[test]
    fn sides_apart_have_an_interval_too() {
        const SEED: u64 = 23;
        let mut random = SplitMix64::new(SEED);
        let method = Bootstrap { resamples: 400, ..Bootstrap::default() };
        let covered = (0..500)
            .filter(|_| {
                let (first, second): (Vec<f64>, Vec<f64>) =
                    pairs(&mut random, 12, 1.2, 0.05, 0.0).into_iter().unzip();
                ratio_of_apart(&first, &second, &method).unwrap().contains(1.2)
            })
            .count();
        assert!(clopper_pearson(covered as u64, 500, 0.999).high >= 0.95, "seed {SEED}: {covered}");
        assert_eq!(ratio_of_apart(&[], &[1.0], &method), None);
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
    /// Guarantees: the interval of the median of ratios has the ratio in it as often as it says, also of few pairs; that of
    /// the ratio of medians about as often.
    #[test]
    fn the_interval_covers_the_ratio() {
        const SEED: u64 = 21;
        let mut random = SplitMix64::new(SEED);
        let method = Bootstrap { resamples: 400, ..Bootstrap::default() };
        for n in [8, 20] {
            let (mut apart, mut together) = (0, 0);
            for _ in 0..1_000 {
                let pairs = pairs(&mut random, n, 1.1, 0.02, 0.1);
                apart += u64::from(ratio_of_medians(&pairs, &method).unwrap().contains(1.1));
                together += u64::from(median_of_ratios(&pairs, &method).unwrap().contains(1.1));
            }
            let most = |covered| clopper_pearson(covered, 1_000, 0.999).high;
            assert!(most(together) >= 0.95, "seed {SEED}, n {n}: {together}");
            assert!(most(apart) >= 0.94, "seed {SEED}, n {n}: {apart}");
        }
    }

    /// Scenario: pairs that share five times as much of what varies as each side has of its own.
    /// Guarantees: the median of ratios has an interval of about half the width.
    #[test]
    fn what_is_shared_is_gone_before_the_median() {
        let mut random = SplitMix64::new(24);
        let method = Bootstrap { resamples: 400, ..Bootstrap::default() };
        let (mut apart, mut together) = (0.0, 0.0);
        for _ in 0..50 {
            let pairs = pairs(&mut random, 20, 1.1, 0.02, 0.1);
            let width = |it: Option<Estimate>| it.map_or(0.0, |it| it.high - it.low);
            apart += width(ratio_of_medians(&pairs, &method));
            together += width(median_of_ratios(&pairs, &method));
        }
        assert!(together < 0.6 * apart, "{together} {apart}");
    }

    /// By hand: an interval at 95 % from 1/1.1 to 1.1 is two times 1.96 deviations of 0.048629 wide.
    #[test]
    fn what_would_have_shown() {
        let ratio = Estimate { value: 1.0, low: 1.0 / 1.1, high: 1.1 };
        let least = detectable_by(&ratio, 0.95, 0.8).unwrap();
        assert!((least - ((1.959_964 + 0.841_621) * 0.048_629_f64).exp_m1()).abs() < 1e-5, "{least}");
        assert_eq!(detectable_by(&Estimate { low: 0.0, ..ratio }, 0.95, 0.8), None);
        // As many pairs again show the same, and four times as many half of it (by its logarithm).
        let spread = spread_by(&ratio, 6, 0.95).unwrap();
        assert!((detectable(spread, 6, 0.95, 0.8) - least).abs() < 1e-12);
        let (more, half) = (detectable(spread, 24, 0.95, 0.8).ln_1p(), least.ln_1p() / 2.0);
        assert!((more - half).abs() < 1e-12, "{more} {half}");
        assert_eq!(spread_by(&Estimate { low: 0.0, ..ratio }, 6, 0.95), None);
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
