//! A small histogram, of which a run can keep thousands.

use std::time::Duration;

use hdrhistogram::Histogram as Hdr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{micros, read, write};

/// A histogram of durations with two significant digits, from one microsecond up, that holds only what it counted.
///
/// It has the buckets of `HdrHistogram`, and its text is the same format as that of
/// [`Histogram`](super::Histogram). It suits few durations: adding one takes a search, and a bucket takes eight
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoarseHistogram {
    /// Buckets that counted anything, in order, each with its count.
    buckets: Vec<(u16, u32)>,
}

/// Buckets of one microsecond each: the power of two above `2 * 10^2`, for two digits.
const FINE: u64 = 256;
/// Buckets of each doubling above them.
const HALF: u64 = FINE / 2;

// === impl CoarseHistogram ===

impl CoarseHistogram {
    /// Adds one duration, rounded up to whole microseconds; zero counts as one, and more than a day as a day.
    pub fn record(&mut self, duration: Duration) {
        self.add(bucket(micros(duration)), 1);
    }

    /// Whether it has counted nothing.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// The duration that `percentile` (0 to 100) of all do not exceed; `None` without any.
    pub fn percentile(&self, percentile: f64) -> Option<Duration> {
        let hdr = self.to_hdr();
        (!hdr.is_empty()).then(|| Duration::from_micros(hdr.value_at_percentile(percentile)))
    }

    /// Adds all durations of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    fn add(&mut self, bucket: u16, count: u32) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.buckets[place].1 = self.buckets[place].1.saturating_add(count),
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
    }

    fn to_hdr(&self) -> Hdr<u64> {
        let mut hdr = Hdr::new(2).expect("two digits are within what the format allows");
        for (bucket, count) in &self.buckets {
            hdr.record_n(lowest(*bucket), u64::from(*count)).expect(super::RESIZES);
        }
        hdr
    }
}

/// The bucket of a number of microseconds.
fn bucket(micros: u64) -> u16 {
    let bucket = if micros < FINE {
        micros
    } else {
        // Of the digits that count there are as many as there are in HALF, and one.
        let doublings = u64::from(micros.ilog2() - HALF.ilog2());
        doublings * HALF + (micros >> doublings)
    };
    u16::try_from(bucket).expect("64 bits have less than 58 doublings of 128 buckets")
}

/// The fewest microseconds that fall into a bucket.
fn lowest(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < FINE {
        return bucket;
    }
    let doublings = bucket / HALF - 1;
    (bucket - doublings * HALF) << doublings
}

impl Serialize for CoarseHistogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(&self.to_hdr(), serializer)
    }
}

impl<'de> Deserialize<'de> for CoarseHistogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hdr = read(deserializer)?;
        if hdr.sigfig() != 2 {
            return Err(de::Error::custom("expected a histogram of two digits"));
        }
        let mut coarse = Self::default();
        for value in hdr.iter_recorded() {
            let count = u32::try_from(value.count_at_value()).unwrap_or(u32::MAX);
            coarse.add(bucket(value.value_iterated_to()), count);
        }
        Ok(coarse)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(micros: &[u64]) -> CoarseHistogram {
        let mut histogram = CoarseHistogram::default();
        for micros in micros {
            histogram.record(Duration::from_micros(*micros));
        }
        histogram
    }

    fn durations() -> impl Strategy<Value = Vec<u64>> {
        let spread = (0_u32..36, any::<u64>()).prop_map(|(power, part)| {
            let base = 1_u64 << power;
            base + part % base
        });
        prop::collection::vec(spread, 0..60)
    }

    #[test]
    fn a_day_is_the_longest() {
        let histogram = of(&[1, 1 << 40]);
        let longest = histogram.percentile(100.0).unwrap().as_secs_f64();
        assert!((longest / 86_400.0 - 1.0).abs() < 0.01, "{longest}");
        assert_eq!(CoarseHistogram::default().percentile(50.0), None);
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(serde_json::from_str::<CoarseHistogram>(&text).unwrap(), histogram);
    }

    proptest! {
        #[test]
        fn its_buckets_are_those_of_the_format(micros in 1_u64..100_000_000_000) {
            let hdr = Hdr::<u64>::new(2).unwrap();
            let bucket = bucket(micros);
            prop_assert_eq!(lowest(bucket), hdr.lowest_equivalent(micros));
            prop_assert_eq!(lowest(bucket + 1), hdr.next_non_equivalent(micros));
        }

        #[test]
        fn text_round_trips_and_merging_is_recording_both(a in durations(), b in durations()) {
            let text = serde_json::to_string(&of(&a)).unwrap();
            let mut merged: CoarseHistogram = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&merged, &of(&a));
            merged.merge(&of(&b));
            prop_assert_eq!(&merged, &of(&[a, b].concat()));
            prop_assert_eq!(merged.count(), merged.to_hdr().len());
        }
    }
}
