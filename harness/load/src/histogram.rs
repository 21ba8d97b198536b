//! How long requests took: response time and service time side by side.
//!
//! Response time counts from when a request was to start, service time from when it was handed to the
//! connection. Where the two part, requests waited: a report that shows service time alone hides it
//! ("coordinated omission").

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram as Hdr,
    serialization::{Deserializer as HdrDeserializer, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

mod coarse;
mod latencies;
mod timeline;

pub use coarse::CoarseHistogram;
pub use latencies::{Class, Ending, Latencies, Latency, Series};
pub use timeline::{Slot, Timeline};

/// A histogram of durations with three significant digits, from one microsecond up.
///
/// In text it is the V2 format of `HdrHistogram`, deflated, in base64: every HDR library reads it, and two of
/// them can be added up without loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(Hdr<u64>);

/// What a longer duration is cut to, so that one outlier does not make a histogram large.
const LONGEST: Duration = Duration::from_hours(24);

// === impl Histogram ===

impl Histogram {
    /// Adds one duration, rounded up to whole microseconds; zero counts as one, and more than a day as a day.
    #[expect(clippy::missing_panics_doc, reason = "a histogram that resizes itself takes every value")]
    pub fn record(&mut self, duration: Duration) {
        self.0.record(micros(duration)).expect(RESIZES);
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration that `percentile` (0 to 100) of all do not exceed; `None` without any.
    pub fn percentile(&self, percentile: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_percentile(percentile)))
    }

    /// The longest duration; `None` without any.
    pub fn max(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.max()))
    }

    /// Adds all durations of `other`.
    #[expect(clippy::missing_panics_doc, reason = "a histogram that resizes itself takes every value")]
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect(RESIZES);
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Hdr::new(3).expect("three digits are within what the format allows"))
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut hdr = read(deserializer)?;
        hdr.auto(true);
        Ok(Self(hdr))
    }
}

const RESIZES: &str = "a histogram that resizes itself takes every value";

/// What a histogram counts for `duration`.
fn micros(duration: Duration) -> u64 {
    let micros = duration.min(LONGEST).as_nanos().div_ceil(1000).max(1);
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// As deflated V2 format in base64.
fn write<S: Serializer>(hdr: &Hdr<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(hdr, &mut bytes).map_err(ser::Error::custom)?;
    serializer.serialize_str(&STANDARD.encode(bytes))
}

/// What [`write`] wrote.
fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hdr<u64>, D::Error> {
    let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
    HdrDeserializer::new().deserialize(&mut bytes.as_slice()).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(micros: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for micros in micros {
            histogram.record(Duration::from_micros(*micros));
        }
        histogram
    }

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let histogram = of(&(1..=10_000).collect::<Vec<_>>());
        for (percentile, micros) in [(50.0, 5000.0), (99.0, 9900.0), (100.0, 10_000.0)] {
            let found = histogram.percentile(percentile).unwrap().as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.001, "p{percentile} is {found}");
        }
        assert_eq!(Histogram::default().percentile(50.0), None);
    }

    #[test]
    fn nothing_is_too_short_or_too_long_to_count() {
        let mut histogram = Histogram::default();
        for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            histogram.record(duration);
        }
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.percentile(0.0), Some(Duration::from_micros(1)));
    }

    proptest! {
        #[test]
        fn text_round_trips_and_merging_is_recording_both(
            a in prop::collection::vec(1_u64..100_000_000, 0..50),
            b in prop::collection::vec(1_u64..100_000_000, 0..50),
        ) {
            let text = serde_json::to_string(&of(&a)).unwrap();
            let mut merged: Histogram = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&merged, &of(&a));
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }
    }
}
