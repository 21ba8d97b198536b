//! Everything random, as a pure function of one seed.
//!
//! Each purpose has its own generator, so that a change of one thing (the weights of the mix) leaves the
//! others (times, ids) as they were. `ChaCha` can be entered at any position, so the ids of request 7 of
//! arrival 42 need no draw of what comes before them.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rand_distr::{Distribution, LogNormal};
use spangate_scenario::model::{SizeDistribution, Sizes};
use spangate_trace::{SpanId, TraceId};

/// What random numbers are for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Gaps between arrivals.
    Gaps = 1,
    /// The mix entry of each arrival.
    Entries = 2,
    /// The object that each arrival works on.
    Choices = 3,
    /// Trace and span ids of the load.
    Ids = 4,
    /// Trace and span ids of what prepares the load.
    Prepare = 5,
    /// Trace and span ids of what cleans up after it.
    Cleanup = 6,
    /// Payloads of objects.
    Payloads = 7,
    /// Sizes of payloads.
    Sizes = 8,
    /// What the users of a closed loop do.
    Users = 9,
    /// Trace and span ids of synthetic traces.
    SyntheticIds = 10,
    /// Classes, templates and late spans of synthetic traces.
    Synthetic = 11,
    /// Gaps between synthetic traces.
    SyntheticGaps = 12,
}

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

/// Words of a `ChaCha` block: each request's ids start a block of their own.
const BLOCK: u128 = 16;

/// The generator for `purpose`.
pub(crate) fn generator(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = purpose as u8;
    ChaCha8Rng::from_seed(key)
}

/// Trace and span id of request `step` of stream `stream`.
///
/// All 128 and 64 bits are random, as W3C Trace Context (level 2) asks, so samplers that look at any part
/// of the trace id see an even spread.
pub(crate) fn ids(seed: u64, purpose: Purpose, stream: u64, step: u32) -> (TraceId, SpanId) {
    let mut generator = generator(seed, purpose);
    generator.set_stream(stream);
    generator.set_word_pos(u128::from(step) * BLOCK);
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    generator.fill_bytes(&mut trace);
    generator.fill_bytes(&mut span);
    (TraceId::new(trace), SpanId::new(span))
}

/// `bytes` letters and digits for the payload of the object called `name`; gzip hardly shrinks them.
pub(crate) fn payload(seed: u64, name: &str, bytes: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut generator = generator(seed, Purpose::Payloads);
    generator.set_stream(fnv1a(name.bytes()));
    let mut raw = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    generator.fill_bytes(&mut raw);
    raw.into_iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect()
}

/// Bytes of payload of the object called `name`.
///
/// A normal logarithm is bounded by nothing; whoever needs a bound cuts it.
pub(crate) fn size(seed: u64, name: &str, sizes: &Sizes) -> u64 {
    let mut generator = generator(seed, Purpose::Sizes);
    generator.set_stream(fnv1a(name.bytes()));
    match sizes {
        Sizes::Fixed(size) => size.0,
        Sizes::Drawn(SizeDistribution::Uniform { min, max }) => {
            min.0 + pick(generator.next_u64(), max.0.saturating_sub(min.0).saturating_add(1))
        }
        Sizes::Drawn(SizeDistribution::LogNormal { median, p99 }) => {
            let [median, p99] = [median.0 as f64, p99.0 as f64];
            let sigma = (p99 / median).ln() / NORMAL_P99;
            // Two percentiles that are none, such as a median of zero, leave nothing to draw from.
            let drawn = LogNormal::new(median.ln(), sigma).map(|sizes| sizes.sample(&mut generator));
            whole(drawn.unwrap_or(median))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are positive, and one that is too large becomes the largest number"
)]
fn whole(size: f64) -> u64 {
    size.round() as u64
}

/// One of `0..count`, from 64 random bits. The bias is at most `count` in 2^64.
pub(crate) fn pick(random: u64, count: u64) -> u64 {
    u64::try_from((u128::from(random) * u128::from(count)) >> 64).expect("the product is below count * 2^64")
}

/// [`pick`] among 32-bit numbers.
pub(crate) fn pick_u32(random: u64, count: u32) -> u32 {
    u32::try_from(pick(random, count.into())).expect("the pick is below count")
}

/// The 64-bit FNV-1a hash: stable over versions and platforms, unlike the standard library's hasher.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use spangate_scenario::units::Size;

    use super::*;

    #[test]
    fn ids_differ_by_step_by_stream_by_seed_and_by_purpose() {
        let mut seen = BTreeSet::new();
        for seed in 0..3 {
            for purpose in [Purpose::Ids, Purpose::Prepare] {
                for stream in 0..20 {
                    for step in 0..20 {
                        let (trace, span) = ids(seed, purpose, stream, step);
                        assert!(seen.insert(trace.to_string()) && seen.insert(span.to_string()));
                    }
                }
            }
        }
    }

    #[test]
    fn trace_ids_are_spread_evenly_over_the_bits_that_go_samples_by() {
        // TraceIDRatioBased takes bytes 8 to 16 shifted right by one.
        let below_half =
            (0..4000).filter(|stream| ids(7, Purpose::Ids, *stream, 0).0.as_bytes()[8] < 0x80).count();
        // Six standard deviations of a fair coin.
        assert!((1810..=2190).contains(&below_half), "{below_half} of 4000 with seed 7");
    }

    #[test]
    fn fnv1a_matches_its_published_vectors() {
        assert_eq!(fnv1a([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(*b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_pick_covers_its_range_and_stays_in_it() {
        assert_eq!(pick(0, 10), 0);
        assert_eq!(pick(u64::MAX, 10), 9);
        assert_eq!(pick(1 << 63, 10), 5);
    }

    fn sizes(distribution: SizeDistribution) -> Vec<u64> {
        let sizes = Sizes::Drawn(distribution);
        let mut drawn: Vec<_> = (0..4000).map(|number| size(7, &format!("pool-{number}"), &sizes)).collect();
        assert_eq!(drawn[3], size(7, "pool-3", &sizes), "a size is a function of seed and name");
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn uniform_sizes_cover_their_range() {
        let drawn = sizes(SizeDistribution::Uniform { min: Size(100), max: Size(300) });
        assert_eq!((drawn[0], drawn[3999]), (100, 300));
        // The standard error of the mean is 0.9.
        let mean = drawn.iter().sum::<u64>() as f64 / 4000.0;
        assert!((mean - 200.0).abs() < 5.0, "{mean}");
        assert!(
            sizes(SizeDistribution::Uniform { min: Size(5), max: Size(5) }).iter().all(|size| *size == 5)
        );
    }

    #[test]
    fn logarithmic_sizes_have_the_percentiles_that_are_asked_for() {
        let drawn = sizes(SizeDistribution::LogNormal { median: Size(1000), p99: Size(10_000) });
        let share = |limit| drawn.partition_point(|size| *size <= limit) as f64 / 4000.0;
        // Standard errors: 0.8 % and 0.16 %.
        assert!((share(1000) - 0.5).abs() < 0.04 && (share(10_000) - 0.99).abs() < 0.008);
    }

    #[test]
    fn sizes_without_a_distribution_are_no_surprise() {
        assert_eq!(size(7, "x", &Sizes::Fixed(Size(42))), 42);
        let nothing = SizeDistribution::LogNormal { median: Size(0), p99: Size(0) };
        assert_eq!(size(7, "x", &Sizes::Drawn(nothing)), 0);
    }

    #[test]
    fn a_payload_is_a_function_of_seed_and_name() {
        assert_eq!(payload(1, "a", 100), payload(1, "a", 100));
        assert_ne!(payload(1, "a", 100), payload(1, "b", 100));
        assert_ne!(payload(1, "a", 100), payload(2, "a", 100));
        assert_eq!(payload(1, "a", 1000).len(), 1000);
    }
}
