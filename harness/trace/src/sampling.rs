//! Whether a head sampler did what its rate says, from the roots that it kept.
//!
//! Go's `TraceIDRatioBased` decides by the trace id alone ([`RatioSampler`]), so the kept ids say two things that a
//! count cannot. An id that is not below the bound is proof, and the greatest of k ids tells the rate within a
//! factor of `alpha^(-1/k)`, whatever was lost on the way. The count tells the rate and the losses together; what it
//! falls short of the ids by is the loss. Where the flag of a remote parent decides, nothing is left to chance:
//! [`flags`] compares two sets.

use std::{collections::BTreeSet, ops::RangeInclusive};

use crate::{
    RatioSampler, TraceId, ratio_of_kept,
    stats::{Binomial, Estimate, clopper_pearson},
};

/// What a sampler at a given rate did with roots whose ids say nothing beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadRatio {
    /// The rate that it was to have, 0 to 1.
    pub rate: f64,
    /// Roots that it kept.
    pub kept: u64,
    /// Kept ids that a sampler of this rate never keeps, least first.
    pub beyond: Vec<TraceId>,
    /// The rate that the kept ids tell. `None` of no ids.
    pub by_ids: Option<Estimate>,
    /// What the count tells. `None` when nobody knows how many roots there were.
    pub by_count: Option<CountTest>,
}

/// What the number of kept roots tells.
#[derive(Debug, Clone, PartialEq)]
pub struct CountTest {
    /// Roots that the sampler decided on.
    pub offered: u64,
    /// The part that was kept, with the interval of Clopper and Pearson.
    pub ratio: Estimate,
    /// What was counted, and the counts that its exact test accepts.
    pub accepted: Accepted,
    /// The part of the kept roots that did not arrive: 1 - ratio by count / ratio by ids. `None` of no ids.
    ///
    /// The interval covers whatever both others cover. The value may be below zero by chance.
    pub lost: Option<Estimate>,
}

/// What an exact test accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// So many kept of a number of roots that was fixed beforehand: binomial.
    Kept(RangeInclusive<u64>),
    /// So many roots until a number of kept ones that was fixed beforehand: negative binomial.
    Offered(RangeInclusive<u64>),
}

/// What became of roots whose fate their parents' flags decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// Ids that were sent with the flag 01 and not kept.
    pub missing: Vec<TraceId>,
    /// Ids that were kept and not sent with the flag 01.
    pub extra: Vec<TraceId>,
}

/// Holds `kept` against `sampled`, the ids that were sent with the flag 01: the two sets must be equal.
pub fn flags(sampled: &BTreeSet<TraceId>, kept: &BTreeSet<TraceId>) -> Flags {
    Flags {
        missing: sampled.difference(kept).copied().collect(),
        extra: kept.difference(sampled).copied().collect(),
    }
}

// === impl HeadRatio ===

impl HeadRatio {
    /// Holds the ids of the `kept` roots, and how many were `offered`, against a rate in parts of a million.
    ///
    /// A true sampler is contradicted with a probability of at most `alpha`: the ids and the count get half of it
    /// each.
    ///
    /// # Panics
    ///
    /// When `alpha` is not between 0 and 1, or more roots were kept than offered.
    pub fn new(per_million: u32, kept: &BTreeSet<TraceId>, offered: Option<u64>, alpha: f64) -> Self {
        let sampler = RatioSampler::per_million(per_million);
        let rate = (f64::from(per_million) / 1e6).min(1.0);
        let by_ids = ratio_of_kept(kept.iter().copied(), 1.0 - alpha / 2.0);
        let count = kept.len() as u64;
        let by_count = offered.map(|offered| CountTest::new(rate, count, offered, by_ids, alpha / 2.0));
        let beyond = kept.iter().copied().filter(|id| !sampler.keeps(*id)).collect();
        Self { rate, kept: count, beyond, by_ids, by_count }
    }

    /// As [`HeadRatio::new`], of roots that were offered until so many were kept as `kept` has: a number that was fixed
    /// beforehand.
    ///
    /// When to stop then depends on the number of kept roots alone. Their ids are as random as ever, and how many roots
    /// it took has a negative binomial distribution, so the certainty is that of a test of fixed length, with no price to
    /// pay for having looked all the time (inverse sampling: Haldane, Biometrika 33, 1945).
    ///
    /// # Panics
    ///
    /// When `alpha` is not between 0 and 1, or more roots were kept than offered, or none.
    pub fn until_kept(per_million: u32, kept: &BTreeSet<TraceId>, offered: u64, alpha: f64) -> Self {
        let plain = Self::new(per_million, kept, None, alpha);
        let by_count = CountTest::inverse(plain.rate, plain.kept, offered, plain.by_ids, alpha / 2.0);
        Self { by_count: Some(by_count), ..plain }
    }

    /// Whether the ids rule the rate out: one is proof of too high a rate, or all are too small for it.
    pub fn ids_contradict(&self) -> bool {
        !self.beyond.is_empty() || self.ids_fall_short()
    }

    /// Whether all kept ids are too small for the rate.
    pub fn ids_fall_short(&self) -> bool {
        self.by_ids.is_some_and(|ratio| ratio.high < self.rate)
    }

    /// Whether the count rules the rate out.
    pub fn count_contradicts(&self) -> bool {
        self.by_count.as_ref().is_some_and(|count| match &count.accepted {
            Accepted::Kept(accepted) => !accepted.contains(&self.kept),
            Accepted::Offered(accepted) => !accepted.contains(&count.offered),
        })
    }
}

/// Kept roots from which the ids tell the rate to a relative width of `within`: its least k for which
/// `alpha^(-1/k) - 1` is no more.
///
/// # Panics
///
/// When `within` or `alpha` is not above 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
pub fn kept_for(within: f64, alpha: f64) -> u64 {
    assert!(within > 0.0 && alpha > 0.0, "a width of {within} at {alpha} is never reached");
    (-(alpha / 2.0).ln() / within.ln_1p()).ceil().max(1.0) as u64
}

/// Roots to offer so that all but one run in a thousand keep `kept` of them. At a rate of zero, where none are kept,
/// those from which the count tells a rate of at most `within`.
///
/// # Panics
///
/// When `within` or `alpha` is not above 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
pub fn offered_for(per_million: u32, within: f64, alpha: f64) -> u64 {
    /// Runs that may keep fewer.
    const MISS: f64 = 0.001;
    if per_million == 0 {
        assert!(within > 0.0 && alpha > 0.0, "a width of {within} at {alpha} is never reached");
        // None of n has the upper end 1 - (alpha / 4)^(1/n): half of the level, and of that one of two tails.
        return ((alpha / 4.0).ln() / (-within.min(0.999_999)).ln_1p()).ceil().max(1.0) as u64;
    }
    let rate = (f64::from(per_million) / 1e6).min(1.0);
    Binomial::trials_for(rate, kept_for(within, alpha), MISS)
}

// === impl CountTest ===

impl CountTest {
    fn new(rate: f64, kept: u64, offered: u64, by_ids: Option<Estimate>, alpha: f64) -> Self {
        let ratio = clopper_pearson(kept, offered, 1.0 - alpha);
        let accepted = Accepted::Kept(Binomial::new(offered, rate).acceptance(alpha));
        Self { offered, ratio, accepted, lost: lost(by_ids, &ratio) }
    }

    /// Of roots that were offered until `kept` of them were kept.
    ///
    /// Of n roots the last was kept, so n are as few as `kept` or more of n, and as many as fewer than `kept` of n - 1.
    fn inverse(rate: f64, kept: u64, offered: u64, by_ids: Option<Estimate>, alpha: f64) -> Self {
        assert!(0 < kept && kept <= offered, "{kept} kept of {offered} roots");
        let low = clopper_pearson(kept, offered, 1.0 - alpha).low;
        let high = clopper_pearson(kept - 1, (offered - 1).max(1), 1.0 - alpha).high;
        let value = kept as f64 / offered as f64;
        let ratio = Estimate { value, low: low.min(value), high: high.max(value) };
        let few = |n: u64| Binomial::new(n, rate).at_least(kept) > alpha / 2.0;
        let many = |n: u64| Binomial::new(n - 1, rate).at_most(kept - 1) <= alpha / 2.0;
        let first = least(kept, few);
        let last = least(first.max(kept + 1), many) - 1;
        let accepted = Accepted::Offered(first..=last.max(first));
        Self { offered, ratio, accepted, lost: lost(by_ids, &ratio) }
    }
}

/// The least number from `from` on for which something holds that holds for every larger number too.
fn least(from: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let mut low = from;
    let mut step = 1;
    while !holds(low + step) {
        low += step;
        step *= 2;
    }
    if holds(low) {
        return low;
    }
    let mut high = low + step;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}

/// What of the kept roots did not arrive.
fn lost(by_ids: Option<Estimate>, ratio: &Estimate) -> Option<Estimate> {
    by_ids.map(|ids| Estimate {
        value: 1.0 - ratio.value / ids.value,
        low: (1.0 - ratio.high / ids.low.max(f64::MIN_POSITIVE)).max(0.0),
        high: (1.0 - ratio.low / ids.high.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0),
    })
}

#[cfg(test)]
mod tests;
