//! How long requests took: response time and service time side by side.
//!
//! Response time counts from when a request was to start, service time from when it was handed to the
//! connection. Where the two part, requests waited: a report that shows service time alone hides it
//! ("coordinated omission").

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram as Hdr,
    serialization::{Deserializer as HdrDeserializer, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{Outcome, RequestRecord, Verb};

/// A histogram of durations with three significant digits, from one microsecond up.
///
/// In text it is the V2 format of `HdrHistogram`, deflated, in base64: every HDR library reads it, and two of
/// them can be added up without loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(Hdr<u64>);

/// The histograms of one [`Series`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// From the intended start to the end of the body.
    pub response: Histogram,
    /// From the handing over to the connection to the end of the body.
    pub service: Histogram,
}

/// Requests whose latencies are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// What they asked for.
    pub verb: Verb,
    /// The resource, plural; empty for discovery.
    pub resource: String,
    /// How they ended.
    pub class: Class,
}

/// How a request ended, in the coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// Status below 400.
    Success,
    /// Status 400 to 499.
    ClientError,
    /// Status 500 and above.
    ServerError,
    /// No whole answer.
    Error,
    /// Given up: its latency is a lower bound.
    Timeout,
}

/// The latencies of a run by [`Series`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies(BTreeMap<Series, Latency>);

/// A series with its histograms, as an element of the text form of [`Latencies`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<S, L> {
    series: S,
    latency: L,
}

/// What a longer duration is cut to, so that one outlier does not make a histogram large.
const LONGEST: Duration = Duration::from_hours(24);

// === impl Histogram ===

impl Histogram {
    /// Adds one duration, rounded up to whole microseconds; zero counts as one, and more than a day as a day.
    pub fn record(&mut self, duration: Duration) {
        let micros = duration.min(LONGEST).as_nanos().div_ceil(1000).max(1);
        add(&mut self.0, u64::try_from(micros).unwrap_or(u64::MAX));
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
    pub fn merge(&mut self, other: &Self) {
        merge(&mut self.0, &other.0);
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Hdr::new(3).expect("three digits are within what the format allows"))
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
        let mut hdr: Hdr<u64> =
            HdrDeserializer::new().deserialize(&mut bytes.as_slice()).map_err(de::Error::custom)?;
        hdr.auto(true);
        Ok(Self(hdr))
    }
}

fn add(hdr: &mut Hdr<u64>, micros: u64) {
    hdr.record(micros).expect("a histogram that resizes itself takes every value");
}

fn merge(hdr: &mut Hdr<u64>, other: &Hdr<u64>) {
    hdr.add(other).expect("a histogram that resizes itself takes every value");
}

// === impl Class ===

impl Class {
    /// The class of `outcome`; `None` for what was never sent and took no time.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Status(0..400) => Some(Self::Success),
            Outcome::Status(400..500) => Some(Self::ClientError),
            Outcome::Status(500..) => Some(Self::ServerError),
            Outcome::Error(_) => Some(Self::Error),
            Outcome::Timeout => Some(Self::Timeout),
            Outcome::Shed => None,
        }
    }
}

// === impl Latencies ===

impl Latencies {
    /// Adds one request.
    pub fn record(&mut self, record: &RequestRecord) {
        let Some(class) = Class::of(&record.outcome) else { return };
        let series = Series { verb: record.verb, resource: record.resource.clone(), class };
        let latency = self.0.entry(series).or_default();
        latency.response.record(record.ended.since(record.intended));
        latency.service.record(record.ended.since(record.started));
    }

    /// Every series, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Series, &Latency)> {
        self.0.iter()
    }

    /// One series.
    pub fn get(&self, series: &Series) -> Option<&Latency> {
        self.0.get(series)
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(series, latency)| Line { series, latency }))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lines = Vec::<Line<Series, Latency>>::deserialize(deserializer)?;
        Ok(Self(lines.into_iter().map(|line| (line.series, line.latency)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spangate_trace::UnixNanos;

    use super::*;
    use crate::testing;

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

    #[test]
    fn response_time_shows_the_wait_that_service_time_hides() {
        let mut record = testing::record(Outcome::Status(201));
        (record.intended, record.started, record.ended) =
            (UnixNanos(0), UnixNanos(500_000_000), UnixNanos(510_000_000));
        let mut latencies = Latencies::default();
        latencies.record(&record);
        latencies.record(&testing::record(Outcome::Shed));
        let (series, latency) = latencies.iter().next().unwrap();
        assert_eq!((series.class, latencies.iter().count()), (Class::Success, 1));
        let millis = |histogram: &Histogram| histogram.max().unwrap().as_millis();
        assert_eq!((millis(&latency.response), millis(&latency.service)), (510, 10));
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
