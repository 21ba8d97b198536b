//! Intervals of a proportion.

use statrs::function::erf::erfc_inv;

use super::{Binomial, Estimate, tail};

/// The exact interval of Clopper and Pearson (1934): it never covers less than `confidence`, so it is the one
/// that verdicts use.
///
/// # Panics
///
/// When there are more successes than trials or `confidence` is not between 0 and 1.
pub fn clopper_pearson(successes: u64, trials: u64, confidence: f64) -> Estimate {
    let alpha = tail(confidence);
    let low =
        if successes == 0 { 0.0 } else { root(|p| Binomial::new(trials, p).at_least(successes) >= alpha) };
    let high =
        if successes == trials { 1.0 } else { root(|p| Binomial::new(trials, p).at_most(successes) < alpha) };
    Estimate { value: proportion(successes, trials), low, high }
}

/// The score interval of Wilson (1927): it covers `confidence` on average and is shorter, so it is the one that
/// is shown.
///
/// # Panics
///
/// When there are more successes than trials or `confidence` is not between 0 and 1.
pub fn wilson(successes: u64, trials: u64, confidence: f64) -> Estimate {
    let z = std::f64::consts::SQRT_2 * erfc_inv(2.0 * tail(confidence));
    let value = proportion(successes, trials);
    if trials == 0 {
        return Estimate { value, low: 0.0, high: 1.0 };
    }
    let (n, z2) = (trials as f64, z * z);
    let centre = (value + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (value * (1.0 - value) / n + z2 / (4.0 * n * n)).sqrt();
    // Rounding must not make zero or all successes impossible.
    let low = if successes == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if successes == trials { 1.0 } else { (centre + half).min(1.0) };
    Estimate { value, low, high }
}

/// The part of the trials that were successes; zero of none.
fn proportion(successes: u64, trials: u64) -> f64 {
    assert!(successes <= trials, "{successes} successes in {trials} trials");
    if trials == 0 { 0.0 } else { successes as f64 / trials as f64 }
}

/// The least probability for which `holds`, which must then hold of all greater ones.
fn root(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // Each step halves the interval; after 60 it is below the precision of a float near one.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(estimate: Estimate, low: f64, high: f64, within: f64) {
        assert!(
            (estimate.low - low).abs() < within && (estimate.high - high).abs() < within,
            "{estimate:?}, expected {low}..{high}"
        );
    }

    /// Intervals of 99.9 % at 1 %, in the precision in which they were published.
    #[test]
    fn clopper_pearson_at_one_percent() {
        close(clopper_pearson(10, 1_000, 0.999), 0.0027, 0.025, 0.0001);
        close(clopper_pearson(100, 10_000, 0.999), 0.0070, 0.0137, 0.0001);
        close(clopper_pearson(1_000, 100_000, 0.999), 0.0090, 0.0111, 0.0001);
    }

    /// Closed forms: no success gives 1 - (alpha/2)^(1/n), and the other way round for nothing but successes.
    #[test]
    fn clopper_pearson_at_the_ends() {
        let edge = 0.025_f64.powf(0.1);
        close(clopper_pearson(0, 10, 0.95), 0.0, 1.0 - edge, 1e-12);
        close(clopper_pearson(10, 10, 0.95), edge, 1.0, 1e-12);
        close(clopper_pearson(0, 0, 0.95), 0.0, 1.0, 1e-12);
    }

    /// Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29, at 95 %.
    #[test]
    fn published_intervals() {
        close(wilson(81, 263, 0.95), 0.2553, 0.3662, 0.00005);
        close(wilson(15, 148, 0.95), 0.0624, 0.1605, 0.00005);
        close(wilson(0, 20, 0.95), 0.0, 0.1611, 0.00005);
        close(wilson(1, 29, 0.95), 0.0061, 0.1718, 0.00005);
        close(clopper_pearson(81, 263, 0.95), 0.2527, 0.3676, 0.00005);
        close(clopper_pearson(15, 148, 0.95), 0.0578, 0.1617, 0.00005);
        close(clopper_pearson(0, 20, 0.95), 0.0, 0.1684, 0.00005);
        close(clopper_pearson(1, 29, 0.95), 0.0009, 0.1776, 0.00005);
    }

    proptest! {
        #[test]
        fn the_exact_interval_never_covers_too_little(n in 1..40_u64, p in 0.0..=1.0_f64) {
            let trials = Binomial::new(n, p);
            let covered = |k: &u64| clopper_pearson(*k, n, 0.95).contains(p);
            let coverage: f64 = (0..=n).filter(covered).map(|k| trials.exactly(k)).sum();
            prop_assert!(coverage >= 0.95 - 1e-9, "{coverage}");
        }

        #[test]
        fn intervals_hold_their_estimate(k in 0..500_u64, more in 0..500_u64) {
            for estimate in [wilson(k, k + more, 0.99), clopper_pearson(k, k + more, 0.99)] {
                prop_assert!(estimate.contains(estimate.value), "{estimate:?}");
                prop_assert!(0.0 <= estimate.low && estimate.high <= 1.0);
            }
        }
    }
}
