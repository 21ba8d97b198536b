//! The decision of the head sampler, as Go takes it.
//!
//! The API server samples with `ParentBased(TraceIDRatioBased(n / 1e6))`
//! (`k8s.io/component-base@v0.37.2/tracing/utils.go:77`): without a parent the decision follows from the trace
//! id alone, so it can be foretold for every id and checked for every trace.

use crate::{TraceId, stats::Estimate};

/// Go's `TraceIDRatioBased` (`go.opentelemetry.io/otel/sdk@v1.44.0/trace/sampling.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatioSampler {
    /// Ids whose number is below are kept.
    bound: u64,
}

// === impl RatioSampler ===

impl RatioSampler {
    /// The sampler for `samplingRatePerMillion`; a million or more keeps everything.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 2^63, cut off as Go does"
    )]
    pub fn per_million(rate: u32) -> Self {
        if rate >= 1_000_000 {
            return Self { bound: 1 << 63 };
        }
        Self { bound: (f64::from(rate) / 1e6 * TWO_63) as u64 }
    }

    /// Whether a trace with this id is kept when no parent decides.
    pub const fn keeps(&self, id: TraceId) -> bool {
        number(id) < self.bound
    }
}

/// 2^63, the number of different ids to the sampler.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

/// What the sampler compares: the upper 63 bits of the last eight bytes.
const fn number(id: TraceId) -> u64 {
    let [_, _, _, _, _, _, _, _, last @ ..] = *id.as_bytes();
    u64::from_be_bytes(last) >> 1
}

/// The ratio that a sampler must have had to keep these traces, from their ids alone.
///
/// Kept ids are uniform below the bound, so the greatest of k bounds it from below, and the greatest divided by
/// the k-th root of what `confidence` leaves over bounds it from above. Losses in transit do not matter, as
/// long as they do not depend on the id. The value is the unbiased estimate, greatest * (k + 1) / k. Only ids
/// that this sampler decided may be given: no trace with a remote parent. `None` of no ids.
///
/// # Panics
///
/// When `confidence` is not between 0 and 1.
pub fn ratio_of_kept(ids: impl IntoIterator<Item = TraceId>, confidence: f64) -> Option<Estimate> {
    assert!(confidence > 0.0 && confidence < 1.0, "a confidence lies between 0 and 1, got {confidence}");
    let (kept, greatest) = ids
        .into_iter()
        .fold((0_u32, None), |(kept, greatest), id| (kept.saturating_add(1), greatest.max(Some(number(id)))));
    let low = greatest? as f64 / TWO_63;
    let kept = f64::from(kept);
    let value = (low * (kept + 1.0) / kept).min(1.0);
    Some(Estimate { value, low, high: (low * (1.0 - confidence).powf(-kept.recip())).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{SplitMix64, clopper_pearson};

    /// An id with this number in its last eight bytes and noise before.
    fn id(last: u64) -> TraceId {
        TraceId::new(((0xfeed_u128 << 64) | u128::from(last)).to_be_bytes())
    }

    #[test]
    fn bounds_are_those_of_go() {
        for (rate, bound) in [
            (0, 0),
            (10_000, 92_233_720_368_547_760),
            (100_000, 922_337_203_685_477_632),
            (500_000, 4_611_686_018_427_387_904),
        ] {
            assert_eq!(RatioSampler::per_million(rate).bound, bound, "{rate}");
        }
    }

    #[test]
    fn the_lowest_bit_does_not_count() {
        let sampler = RatioSampler::per_million(500_000);
        assert!(sampler.keeps(id(u64::MAX >> 1)));
        assert!(!sampler.keeps(id(1 << 63)));
        assert!(!RatioSampler::per_million(0).keeps(id(0)));
        assert!(RatioSampler::per_million(1_000_000).keeps(id(u64::MAX)));
        assert!(RatioSampler::per_million(2_000_000).keeps(id(u64::MAX)));
    }

    #[test]
    fn kept_ids_tell_the_ratio_within_a_percent() {
        const SEED: u64 = 21;
        let mut random = SplitMix64::new(SEED);
        let sampler = RatioSampler::per_million(10_000);
        let mut covered = 0;
        let runs = 50;
        for _ in 0..runs {
            let ids = std::iter::repeat_with(|| id(random.next_u64())).filter(|id| sampler.keeps(*id));
            let ratio = ratio_of_kept(ids.take(1_000), 0.999).unwrap();
            assert!(ratio.high / ratio.low < 1.007, "seed {SEED}: {ratio:?}");
            covered += u64::from(ratio.contains(0.01));
        }
        let coverage = clopper_pearson(covered, runs, 0.999_9);
        assert!(coverage.contains(0.999), "seed {SEED}: {coverage:?}");
        assert_eq!(ratio_of_kept([], 0.999), None);
    }
}
