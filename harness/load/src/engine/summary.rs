//! What a run of the load came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spangate_scenario::units::Duration;
use spangate_trace::UnixNanos;

use super::{
    abort::Aborted,
    monitor::Findings,
    watchdog::{self, GeneratorLoad, Signs},
};
use crate::{Histogram, Latencies, Outcome, RequestRecord, Schedule, Timeline, WatchCounts};

/// What a run of the load came to.
///
/// `planned` is the sum of `started`, `shed` and `not_started`. Summaries of the parts of one load add up to that of
/// the whole ([`Summary::merge`]), so nothing in it is rounded or averaged.
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
    /// How long the schedule is.
    pub duration: Duration,
    /// When the first arrival was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_start: Option<UnixNanos>,
    /// When the last arrival was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_start: Option<UnixNanos>,
    /// Records of a replay that could not be sent, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// Events that watchers received, by watcher and type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watched: WatchCounts,
    /// What the generator itself needed.
    #[serde(default)]
    pub generator: GeneratorLoad,
    /// Why the generator was the bottleneck, if it was: then the run says little about the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
    /// Why the load was given up before its end, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<Aborted>,
    /// How late arrivals were started: the generator's own fault, not the server's.
    pub start_lag: Histogram,
    /// How long requests took.
    pub latencies: Latencies,
    /// What happened in each second.
    pub timeline: Timeline,
}

/// Something to count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Note<'r> {
    /// An arrival was started.
    Began {
        /// When.
        at: UnixNanos,
        /// How late.
        lag: std::time::Duration,
    },
    /// A request is over, or an arrival was shed.
    Request(&'r RequestRecord),
}

/// The fold over all notes.
#[derive(Debug)]
pub(crate) struct Tally {
    start: UnixNanos,
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
    timeline: Timeline,
}

// === impl Summary ===

impl Summary {
    /// Arrivals per second in the schedule.
    pub fn planned_rate(&self) -> f64 {
        per_second(self.planned, self.duration.get())
    }

    /// Arrivals per second that were started. A run that starts all of them in time takes the duration of the
    /// schedule; one that lags, longer.
    pub fn achieved_rate(&self) -> f64 {
        let span = self.last_start.zip(self.first_start).map(|(last, first)| last.since(first));
        per_second(self.started, span.unwrap_or_default().max(self.duration.get()))
    }

    /// With what was found while the load was under way.
    pub(super) fn found(mut self, findings: Findings) -> Self {
        let Findings { load, aborted } = findings;
        let signs = Signs {
            lag: self.start_lag.percentile(99.0).unwrap_or_default(),
            response: self.latencies.total(|_| true).percentile(99.0).unwrap_or_default(),
            shed: self.shed,
            load,
        };
        self.bottleneck = watchdog::bottleneck(&signs);
        (self.generator, self.aborted) = (load, aborted);
        self
    }

    /// Adds what another part of the same load came to; both began at the same time.
    pub fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        self.started += other.started;
        self.shed += other.shed;
        self.not_started += other.not_started;
        self.requests += other.requests;
        self.errors += other.errors;
        self.timeouts += other.timeouts;
        self.refused += other.refused;
        self.duration = self.duration.max(other.duration);
        self.first_start = self.first_start.into_iter().chain(other.first_start).min();
        self.last_start = self.last_start.max(other.last_start);
        // Every part reads the whole record, so each of them counts everything that is skipped.
        for (reason, count) in &other.skipped {
            let most = self.skipped.entry(reason.clone()).or_default();
            *most = (*most).max(*count);
        }
        for (watcher, events) in &other.watched {
            let sum = self.watched.entry(watcher.clone()).or_default();
            for (event, count) in events {
                *sum.entry(*event).or_default() += count;
            }
        }
        // Each part has a thread of its own, and one that fell short spoils the whole.
        self.generator = self.generator.worst(other.generator);
        self.bottleneck = self.bottleneck.take().or_else(|| other.bottleneck.clone());
        self.aborted = self.aborted.take().into_iter().chain(other.aborted.clone()).min_by_key(|end| end.at);
        self.start_lag.merge(&other.start_lag);
        self.latencies.merge(&other.latencies);
        self.timeline.merge(&other.timeline);
    }
}

fn per_second(count: u64, time: std::time::Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

// === impl Tally ===

impl Tally {
    /// Of a load that begins at `start`.
    pub(crate) fn new(start: UnixNanos) -> Self {
        Self {
            start,
            started: 0,
            first: None,
            last: None,
            shed: 0,
            requests: 0,
            errors: 0,
            timeouts: 0,
            refused: 0,
            lag: Histogram::default(),
            latencies: Latencies::default(),
            timeline: Timeline::default(),
        }
    }

    pub(crate) fn add(&mut self, note: &Note<'_>) {
        match note {
            Note::Began { at, lag } => {
                self.started += 1;
                self.first = Some(self.first.map_or(*at, |first| first.min(*at)));
                self.last = self.last.max(Some(*at));
                self.lag.record(*lag);
            }
            Note::Request(record) => {
                self.latencies.record(record);
                self.timeline.record(self.start, record);
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
    pub(crate) fn summary(self, schedule: &Schedule) -> Summary {
        let planned = schedule.planned();
        Summary {
            planned,
            started: self.started,
            shed: self.shed,
            not_started: planned.saturating_sub(self.started + self.shed),
            requests: self.requests,
            errors: self.errors,
            timeouts: self.timeouts,
            refused: self.refused,
            duration: schedule.duration.into(),
            first_start: self.first,
            last_start: self.last,
            skipped: BTreeMap::new(),
            watched: WatchCounts::new(),
            generator: GeneratorLoad::default(),
            bottleneck: None,
            aborted: None,
            start_lag: self.lag,
            latencies: self.latencies,
            timeline: self.timeline,
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
        let mut tally = Tally::new(UnixNanos(0));
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
            tally.add(&Note::Request(&testing::record(outcome)));
        }
        let summary = tally.summary(&schedule);
        assert_eq!((summary.planned, summary.started, summary.shed, summary.not_started), (20, 10, 1, 9));
        assert_eq!((summary.requests, summary.refused, summary.errors, summary.timeouts), (4, 1, 1, 1));
        assert_eq!(summary.start_lag.max().unwrap().as_micros(), 90);
        assert!((summary.planned_rate() - 10.0).abs() < 1e-9 && (summary.achieved_rate() - 5.0).abs() < 1e-9);
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }

    #[test]
    fn a_run_that_lags_has_a_lower_rate() {
        let mut load = testing::load(Vec::new());
        load.arrivals.as_mut().unwrap().duration = Some(spangate_scenario::units::Duration::from_secs(1));
        let schedule = Schedule::new(&load, 1);
        let mut tally = Tally::new(UnixNanos(0));
        for at in [0, 4_000_000_000] {
            tally.add(&Note::Began { at: UnixNanos(at), lag: time::Duration::ZERO });
        }
        assert!((tally.summary(&schedule).achieved_rate() - 0.5).abs() < 1e-9);
    }
}
