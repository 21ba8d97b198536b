//! What a run of the load came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spangate_scenario::units::Duration;
use spangate_trace::UnixNanos;

use crate::{Histogram, Latencies, Outcome, RequestRecord, Schedule};

/// What a run of the load came to.
///
/// `planned` is the sum of `started`, `shed` and `not_started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Arrivals in the schedule.
    pub planned: u64,
    /// Arrivals that were started.
    pub started: u64,
    /// Arrivals that were not, because too many operations were under way.
    pub shed: u64,
    /// Arrivals that were not, because the run was cancelled.
    pub not_started: u64,
    /// Requests that were sent or tried: one or more for each arrival that was started.
    pub requests: u64,
    /// Requests without a whole answer.
    pub errors: u64,
    /// Requests that were given up after the scenario's timeout.
    pub timeouts: u64,
    /// Requests that were answered with a status of 400 or more. `kubectl apply` and `kubectl delete` ask for
    /// objects that are not there, so a few are no sign of trouble.
    pub refused: u64,
    /// Arrivals per second in the schedule.
    pub planned_rate: f64,
    /// Started arrivals per second.
    pub achieved_rate: f64,
    /// Records of a replay that could not be sent, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// How late arrivals were started: the generator's own fault, not the server's.
    pub start_lag: StartLag,
    /// How long requests took.
    pub latencies: Latencies,
}

/// How late arrivals were started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartLag {
    /// The median.
    pub p50: Duration,
    /// Not exceeded by 99 of 100.
    pub p99: Duration,
    /// The latest.
    pub max: Duration,
}

/// Something to count.
#[derive(Debug)]
pub(super) enum Note {
    /// An arrival was started.
    Began {
        /// When.
        at: UnixNanos,
        /// How late.
        lag: std::time::Duration,
    },
    /// A request is over, or an arrival was shed.
    Request(Box<RequestRecord>),
}

/// The fold over all notes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    started: u64,
    first: Option<UnixNanos>,
    last: Option<UnixNanos>,
    shed: u64,
    requests: u64,
    errors: u64,
    timeouts: u64,
    refused: u64,
    lag: Histogram,
    latencies: Latencies,
}

// === impl Tally ===

impl Tally {
    pub(super) fn add(&mut self, note: &Note) {
        match note {
            Note::Began { at, lag } => {
                self.started += 1;
                self.first = Some(self.first.map_or(*at, |first| first.min(*at)));
                self.last = self.last.max(Some(*at));
                self.lag.record(*lag);
            }
            Note::Request(record) => {
                self.latencies.record(record);
                self.requests += u64::from(record.outcome != Outcome::Shed);
                match record.outcome {
                    Outcome::Status(status) => self.refused += u64::from(status >= 400),
                    Outcome::Error(_) => self.errors += 1,
                    Outcome::Timeout => self.timeouts += 1,
                    Outcome::Shed => self.shed += 1,
                }
            }
        }
    }

    /// The summary of a run of `schedule`.
    pub(super) fn summary(self, schedule: &Schedule) -> Summary {
        let planned = schedule.planned();
        let span = self.last.zip(self.first).map(|(last, first)| last.since(first)).unwrap_or_default();
        // A run that starts all arrivals in time takes the duration of the schedule; one that lags, longer.
        let seconds = span.max(schedule.duration).as_secs_f64();
        let percentile = |percentile| self.lag.percentile(percentile).unwrap_or_default().into();
        Summary {
            planned,
            started: self.started,
            shed: self.shed,
            not_started: planned.saturating_sub(self.started + self.shed),
            requests: self.requests,
            errors: self.errors,
            timeouts: self.timeouts,
            refused: self.refused,
            planned_rate: schedule.rate(),
            achieved_rate: if seconds > 0.0 { self.started as f64 / seconds } else { 0.0 },
            skipped: BTreeMap::new(),
            start_lag: StartLag { p50: percentile(50.0), p99: percentile(99.0), max: percentile(100.0) },
            latencies: self.latencies,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time;

    use spangate_scenario::model::{GetOperation, MixEntry, Resource};

    use super::*;
    use crate::testing;

    #[test]
    fn every_arrival_is_accounted_for() {
        let get = Some(GetOperation { resource: Resource::Pods, resource_version: None });
        let load = testing::load(vec![MixEntry { get, ..MixEntry::default() }]);
        let schedule = Schedule::new(&load, 7);
        assert_eq!(schedule.planned(), 20);
        let mut tally = Tally::default();
        for number in 0..10 {
            let at = UnixNanos(number * 100_000_000);
            tally.add(&Note::Began { at, lag: time::Duration::from_micros(number * 10) });
        }
        let outcomes = [
            Outcome::Status(200),
            Outcome::Status(409),
            Outcome::Error("x".to_owned()),
            Outcome::Timeout,
            Outcome::Shed,
        ];
        for outcome in outcomes {
            tally.add(&Note::Request(Box::new(testing::record(outcome))));
        }
        let summary = tally.summary(&schedule);
        assert_eq!((summary.planned, summary.started, summary.shed, summary.not_started), (20, 10, 1, 9));
        assert_eq!((summary.requests, summary.refused, summary.errors, summary.timeouts), (4, 1, 1, 1));
        assert_eq!(summary.start_lag.max.as_micros(), 90);
        assert!((summary.planned_rate - 10.0).abs() < 1e-9 && (summary.achieved_rate - 5.0).abs() < 1e-9);
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }

    #[test]
    fn a_run_that_lags_has_a_lower_rate() {
        let mut load = testing::load(Vec::new());
        load.arrivals.as_mut().unwrap().duration = Some(spangate_scenario::units::Duration::from_secs(1));
        let schedule = Schedule::new(&load, 1);
        let mut tally = Tally::default();
        for at in [0, 4_000_000_000] {
            tally.add(&Note::Began { at: UnixNanos(at), lag: time::Duration::ZERO });
        }
        assert!((tally.summary(&schedule).achieved_rate - 0.5).abs() < 1e-9);
    }
}
