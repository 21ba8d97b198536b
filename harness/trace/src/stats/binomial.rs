//! The binomial distribution, exactly.
//!
//! Tails are summed term by term from the one next to the mean outwards, which is exact to rounding for any
//! n; the continued fraction of `statrs::function::beta` stops after 140 terms, too early for large n.

use std::ops::RangeInclusive;

use statrs::function::gamma::ln_gamma;

/// The number of successes in `n` independent trials, each with the probability `p`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Binomial {
    n: u64,
    p: f64,
}

// === impl Binomial ===

impl Binomial {
    /// The distribution for `n` trials.
    ///
    /// # Panics
    ///
    /// When `p` is not a probability.
    pub fn new(n: u64, p: f64) -> Self {
        assert!((0.0..=1.0).contains(&p), "a probability lies between 0 and 1, got {p}");
        Self { n, p }
    }

    /// The probability of exactly `k` successes.
    pub fn exactly(&self, k: u64) -> f64 {
        if k > self.n {
            return 0.0;
        }
        if self.p <= 0.0 || self.p >= 1.0 {
            let certain = if self.p <= 0.0 { 0 } else { self.n };
            return if k == certain { 1.0 } else { 0.0 };
        }
        let (n, k) = (self.n as f64, k as f64);
        let choose = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
        (choose + k * self.p.ln() + (n - k) * (-self.p).ln_1p()).exp()
    }

    /// The probability of `k` successes or fewer.
    pub fn at_most(&self, k: u64) -> f64 {
        if k >= self.n {
            1.0
        } else if (k as f64) < self.mean() {
            self.sum(k, |k| (k > 0).then(|| (k - 1, self.step(k - 1).recip())))
        } else {
            (1.0 - self.at_least(k + 1)).max(0.0)
        }
    }

    /// The probability of `k` successes or more.
    pub fn at_least(&self, k: u64) -> f64 {
        if k == 0 {
            1.0
        } else if k as f64 > self.mean() {
            self.sum(k, |k| (k < self.n).then(|| (k + 1, self.step(k))))
        } else {
            (1.0 - self.at_most(k - 1)).max(0.0)
        }
    }

    /// The counts that a two-sided test at the level `alpha` accepts: each tail beyond has at most half of it.
    pub fn acceptance(&self, alpha: f64) -> RangeInclusive<u64> {
        let low = first(0, self.n, |k| self.at_most(k) > alpha / 2.0);
        let high = first(low, self.n, |k| self.at_least(k + 1) <= alpha / 2.0);
        low..=high
    }

    /// The least number of trials with the probability `p` of which all but the part `miss` have `successes`.
    ///
    /// # Panics
    ///
    /// When `p` is not above 0 and at most 1, or `miss` not above 0.
    pub fn trials_for(p: f64, successes: u64, miss: f64) -> u64 {
        assert!(p > 0.0 && miss > 0.0, "{successes} successes at {p} never come for certain");
        let Some(short) = successes.checked_sub(1) else { return 0 };
        let enough = |n| Self::new(n, p).at_most(short) <= miss;
        let mut high = successes;
        while !enough(high) {
            high = high.saturating_mul(2);
        }
        first(successes, high, enough)
    }

    fn mean(&self) -> f64 {
        self.n as f64 * self.p
    }

    /// The probability of `k + 1` over that of `k`.
    fn step(&self, k: u64) -> f64 {
        (self.n - k) as f64 / (k + 1) as f64 * self.p / (1.0 - self.p)
    }

    /// The sum from `k` on, where terms fall: `next` gives the next count and its probability over this one's.
    fn sum(&self, mut k: u64, next: impl Fn(u64) -> Option<(u64, f64)>) -> f64 {
        let mut term = self.exactly(k);
        let mut sum = term;
        while let Some((beyond, ratio)) = next(k) {
            term *= ratio;
            let before = sum;
            sum += term;
            if sum <= before {
                break;
            }
            k = beyond;
        }
        sum.min(1.0)
    }
}

/// The first number from `low` to `high` of which `holds`, which must then hold of all after it; else `high`.
pub(super) fn first(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Regions computed with another implementation of the exact test.
    #[test]
    fn acceptance_regions() {
        for (n, p, region) in [
            (5_000, 0.01, 29..=75),
            (10_000, 0.01, 69..=134),
            (20_000, 0.01, 155..=248),
            (50_000, 0.01, 428..=575),
            (100_000, 0.01, 898..=1105),
            (1_000, 0.1, 70..=132),
            (10_000, 0.1, 903..=1100),
        ] {
            assert_eq!(Binomial::new(n, p).acceptance(0.001), region, "n = {n}, p = {p}");
        }
    }

    #[test]
    fn certain_trials() {
        for (p, certain) in [(0.0, 0), (1.0, 5)] {
            let trials = Binomial::new(5, p);
            assert_eq!(trials.acceptance(0.01), certain..=certain);
            assert!((trials.exactly(certain) - 1.0).abs() < 1e-15);
            assert!((trials.at_most(certain) - 1.0).abs() < 1e-15);
            assert!((trials.at_least(certain) - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn a_million_trials_keep_their_precision() {
        let trials = Binomial::new(1_000_000, 0.5);
        // By symmetry, each side has half of what the middle leaves over.
        let side = (1.0 - trials.exactly(500_000)) / 2.0;
        assert!((trials.at_most(499_999) - side).abs() < 1e-9);
        assert!((trials.at_least(500_001) - side).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn tails_are_the_sums_of_their_terms(n in 0..60_u64, p in 0.0..=1.0_f64, k in 0..60_u64) {
            let trials = Binomial::new(n, p);
            let below: f64 = (0..=k).map(|k| trials.exactly(k)).sum();
            let above: f64 = (k..=n).map(|k| trials.exactly(k)).sum();
            prop_assert!((trials.at_most(k) - below).abs() < 1e-12);
            prop_assert!((trials.at_least(k) - above).abs() < 1e-12);
        }
    }
}
