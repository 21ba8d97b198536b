//! Latencies by what was asked and how it ended.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use spangate_trace::UnixNanos;

use super::Histogram;
use crate::{Outcome, RequestRecord, Verb};

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
    /// Index of the stage, or of the users' session.
    pub stage: u32,
    /// What they asked for.
    pub verb: Verb,
    /// The resource, plural; empty for discovery.
    pub resource: String,
    /// The subresource, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// How they ended.
    pub ending: Ending,
}

/// How a request ended that took any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// With an HTTP status.
    Status(u16),
    /// Without a whole answer.
    Error,
    /// Given up: its latency is a lower bound.
    Timeout,
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
    /// Given up.
    Timeout,
}

/// The latencies of a run by [`Series`], in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies(Vec<(Series, Latency)>);

/// A series with its histograms, as an element of the text form of [`Latencies`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<S, L> {
    series: S,
    latency: L,
}

// === impl Latency ===

impl Latency {
    /// Adds a request.
    pub fn record(&mut self, intended: UnixNanos, started: UnixNanos, ended: UnixNanos) {
        self.response.record(ended.since(intended));
        self.service.record(ended.since(started));
    }

    /// Adds all requests of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
    }

    /// Number of requests.
    pub fn count(&self) -> u64 {
        self.response.count()
    }

    /// The response time that `percentile` (0 to 100) of the requests do not exceed; `None` without any.
    pub fn percentile(&self, percentile: f64) -> Option<Duration> {
        self.response.percentile(percentile)
    }
}

// === impl Series ===

impl Series {
    /// Compares without making a series of the record: this runs once a request.
    fn order(&self, record: &RequestRecord, ending: Ending) -> std::cmp::Ordering {
        let of_self =
            (self.stage, self.verb, self.resource.as_str(), self.subresource.as_deref(), self.ending);
        of_self.cmp(&(record.stage, record.verb, &*record.resource, record.subresource.as_deref(), ending))
    }
}

// === impl Ending ===

impl Ending {
    /// The ending of `outcome`; `None` for what was never sent and took no time.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Status(status) => Some(Self::Status(*status)),
            Outcome::Error(_) => Some(Self::Error),
            Outcome::Timeout => Some(Self::Timeout),
            Outcome::Shed => None,
        }
    }

    /// In the coarse.
    pub const fn class(self) -> Class {
        match self {
            Self::Status(0..400) => Class::Success,
            Self::Status(400..500) => Class::ClientError,
            Self::Status(500..) => Class::ServerError,
            Self::Error => Class::Error,
            Self::Timeout => Class::Timeout,
        }
    }
}

// === impl Class ===

impl Class {
    /// The class of `outcome`; `None` for what was never sent and took no time.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        Ending::of(outcome).map(Ending::class)
    }
}

// === impl Latencies ===

impl Latencies {
    /// Adds one request.
    pub fn record(&mut self, record: &RequestRecord) {
        let Some(ending) = Ending::of(&record.outcome) else { return };
        let place = match self.0.binary_search_by(|(series, _)| series.order(record, ending)) {
            Ok(place) => place,
            Err(place) => {
                let series = Series {
                    stage: record.stage,
                    verb: record.verb,
                    resource: record.resource.to_string(),
                    subresource: record.subresource.as_deref().map(str::to_owned),
                    ending,
                };
                self.0.insert(place, (series, Latency::default()));
                place
            }
        };
        self.0[place].1.record(record.intended, record.started, record.ended);
    }

    /// Every series, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Series, &Latency)> {
        self.0.iter().map(|(series, latency)| (series, latency))
    }

    /// One series.
    pub fn get(&self, series: &Series) -> Option<&Latency> {
        self.place(series).ok().map(|place| &self.0[place].1)
    }

    /// Those of all series that `wanted` picks, in one.
    pub fn total(&self, wanted: impl Fn(&Series) -> bool) -> Latency {
        let mut total = Latency::default();
        self.iter().filter(|(series, _)| wanted(series)).for_each(|(_, latency)| total.merge(latency));
        total
    }

    /// Adds all requests of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (series, latency) in &other.0 {
            match self.place(series) {
                Ok(place) => self.0[place].1.merge(latency),
                Err(place) => self.0.insert(place, (series.clone(), latency.clone())),
            }
        }
    }

    fn place(&self, wanted: &Series) -> Result<usize, usize> {
        self.0.binary_search_by(|(series, _)| series.cmp(wanted))
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(series, latency)| Line { series, latency }))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Self::default();
        // Whatever order they are written in, and also when one is written twice.
        for Line { series, latency } in Vec::<Line<Series, Latency>>::deserialize(deserializer)? {
            latencies.merge(&Self(vec![(series, latency)]));
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    #[test]
    fn response_time_shows_the_wait_that_service_time_hides() {
        let mut record = testing::record(Outcome::Status(201));
        (record.intended, record.started, record.ended) =
            (UnixNanos(0), UnixNanos(500_000_000), UnixNanos(510_000_000));
        let mut latencies = Latencies::default();
        latencies.record(&record);
        latencies.record(&testing::record(Outcome::Shed));
        let (series, latency) = latencies.iter().next().unwrap();
        assert_eq!((series.ending.class(), latencies.iter().count()), (Class::Success, 1));
        let millis = |histogram: &Histogram| histogram.max().unwrap().as_millis();
        assert_eq!((millis(&latency.response), millis(&latency.service)), (510, 10));
    }

    fn record() -> impl Strategy<Value = RequestRecord> {
        let verb = prop_oneof![Just(Verb::Create), Just(Verb::List)];
        let resource = prop_oneof![Just("pods"), Just("configmaps"), Just("")];
        let outcome = prop_oneof![
            (200_u16..600).prop_map(|status| Outcome::Status(status / 100 * 100)),
            Just(Outcome::Error("x".to_owned())),
            Just(Outcome::Timeout),
            Just(Outcome::Shed),
        ];
        (0_u32..3, verb, resource, any::<bool>(), outcome, 0_u64..1_000_000_000).prop_map(
            |(stage, verb, resource, scale, outcome, ended)| RequestRecord {
                stage,
                verb,
                resource: resource.to_owned().into(),
                subresource: scale.then(|| "scale".into()),
                ended: UnixNanos(ended),
                ..testing::record(outcome)
            },
        )
    }

    fn of(records: &[RequestRecord]) -> Latencies {
        let mut latencies = Latencies::default();
        for record in records {
            latencies.record(record);
        }
        latencies
    }

    proptest! {
        #[test]
        fn every_request_is_in_the_series_that_it_names(records in prop::collection::vec(record(), 0..60)) {
            let latencies = of(&records);
            prop_assert!(latencies.0.is_sorted_by(|a, b| a.0 < b.0), "each series once, in order");
            for record in &records {
                let Some(ending) = Ending::of(&record.outcome) else { continue };
                let like = |other: &&RequestRecord| {
                    (other.stage, other.verb, &other.resource, &other.subresource)
                        == (record.stage, record.verb, &record.resource, &record.subresource)
                        && Ending::of(&other.outcome) == Some(ending)
                };
                let series = Series {
                    stage: record.stage,
                    verb: record.verb,
                    resource: record.resource.to_string(),
                    subresource: record.subresource.as_deref().map(str::to_owned),
                    ending,
                };
                let count = latencies.get(&series).map(Latency::count);
                prop_assert_eq!(count, Some(records.iter().filter(like).count() as u64));
            }
            let sent = records.iter().filter(|record| record.outcome != Outcome::Shed).count() as u64;
            prop_assert_eq!(latencies.total(|_| true).count(), sent);
        }

        #[test]
        fn text_round_trips_and_merging_is_recording_both(
            a in prop::collection::vec(record(), 0..30), b in prop::collection::vec(record(), 0..30),
        ) {
            let text = serde_json::to_string(&of(&a)).unwrap();
            let mut merged: Latencies = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&merged, &of(&a));
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }
    }
}
