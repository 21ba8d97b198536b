//! Throughput and latencies over the time of a run.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use spangate_trace::UnixNanos;

use super::CoarseHistogram;
use crate::{Outcome, RequestRecord};

/// What happened in each second of a load.
///
/// An hour of seconds is kept. A longer run is kept in slots of two seconds, of four, and so on, so that memory is
/// bounded; slots are joined without loss, so the timelines of several workers add up to that of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Seconds of a slot: a power of two.
    width: u64,
    slots: Vec<Slot>,
}

/// What happened in one stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Requests that ended.
    pub ended: u64,
    /// Those among them that failed: no whole answer, `429`, or 500 and more.
    pub failed: u64,
    /// Arrivals that were to start, and were shed.
    pub shed: u64,
    /// Response times of the requests that were to start.
    #[serde(default, skip_serializing_if = "CoarseHistogram::is_empty")]
    pub response: CoarseHistogram,
    /// Service times of the requests that started.
    #[serde(default, skip_serializing_if = "CoarseHistogram::is_empty")]
    pub service: CoarseHistogram,
}

/// The most slots that are kept.
const SLOTS: usize = 3600;

// === impl Timeline ===

impl Timeline {
    /// Adds a request of a load that began at `start`.
    pub fn record(&mut self, start: UnixNanos, record: &RequestRecord) {
        let intended = record.intended.since(start);
        if record.outcome == Outcome::Shed {
            self.slot(intended).shed += 1;
            return;
        }
        self.slot(intended).response.record(record.ended.since(record.intended));
        self.slot(record.started.since(start)).service.record(record.ended.since(record.started));
        let slot = self.slot(record.ended.since(start));
        slot.ended += 1;
        slot.failed += u64::from(record.outcome.is_failure());
    }

    /// Length of a slot.
    pub fn width(&self) -> Duration {
        Duration::from_secs(self.width)
    }

    /// The slots from the first on, each with its start, counted from the start of the load.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, &Slot)> {
        (0..).zip(&self.slots).map(|(number, slot)| (Duration::from_secs(number * self.width), slot))
    }

    /// Adds the timeline of another part of the same load.
    pub fn merge(&mut self, other: &Self) {
        while self.width < other.width {
            self.coarsen();
        }
        let mut other = Cow::Borrowed(other);
        while other.width < self.width {
            other.to_mut().coarsen();
        }
        if self.slots.len() < other.slots.len() {
            self.slots.resize_with(other.slots.len(), Slot::default);
        }
        for (slot, more) in self.slots.iter_mut().zip(&other.slots) {
            slot.merge(more);
        }
    }

    /// The slot that `at` falls into.
    fn slot(&mut self, at: Duration) -> &mut Slot {
        let mut number = self.number(at);
        while number >= SLOTS {
            self.coarsen();
            number = self.number(at);
        }
        if number >= self.slots.len() {
            self.slots.resize_with(number + 1, Slot::default);
        }
        &mut self.slots[number]
    }

    fn number(&self, at: Duration) -> usize {
        usize::try_from(at.as_secs() / self.width).unwrap_or(usize::MAX)
    }

    /// Joins each two slots.
    fn coarsen(&mut self) {
        self.width *= 2;
        let join = |pair: &[Slot]| {
            let mut slot = pair[0].clone();
            pair[1..].iter().for_each(|second| slot.merge(second));
            slot
        };
        self.slots = self.slots.chunks(2).map(join).collect();
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: 1, slots: Vec::new() }
    }
}

// === impl Slot ===

impl Slot {
    fn merge(&mut self, other: &Self) {
        self.ended += other.ended;
        self.failed += other.failed;
        self.shed += other.shed;
        self.response.merge(&other.response);
        self.service.merge(&other.service);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    const START: UnixNanos = UnixNanos(1_000_000_000_000);

    /// Milliseconds from the start of the load: intended, started, ended.
    fn record(millis: (u64, u64, u64), outcome: Outcome) -> RequestRecord {
        let at = |millis| START + Duration::from_millis(millis);
        let (intended, started, ended) = millis;
        RequestRecord {
            intended: at(intended),
            started: at(started),
            ended: at(ended),
            ..testing::record(outcome)
        }
    }

    fn of<'r>(records: impl IntoIterator<Item = &'r RequestRecord>) -> Timeline {
        let mut timeline = Timeline::default();
        records.into_iter().for_each(|record| timeline.record(START, record));
        timeline
    }

    #[test]
    fn a_wait_shows_in_the_second_in_which_the_request_was_to_start() {
        let late = record((500, 2_500, 2_600), Outcome::Status(503));
        let shed = record((1_500, 1_500, 1_500), Outcome::Shed);
        let timeline = of([&late, &shed]);
        let counts: Vec<_> = timeline
            .iter()
            .map(|(at, slot)| {
                let started = (slot.response.count(), slot.service.count());
                (at.as_secs(), started, slot.ended, slot.failed, slot.shed)
            })
            .collect();
        assert_eq!(counts, [(0, (1, 0), 0, 0, 0), (1, (0, 0), 0, 0, 1), (2, (0, 1), 1, 1, 0)]);
        let slot = timeline.iter().next().unwrap().1;
        let response = slot.response.percentile(99.0).unwrap().as_secs_f64();
        assert!((response / 2.1 - 1.0).abs() < 0.01, "{response}");
    }

    #[test]
    fn a_long_run_takes_no_more_slots_than_an_hour() {
        let hours = |hours: u64| record((0, 0, hours * 3_600_000 - 1), Outcome::Timeout);
        assert_eq!(of([&hours(1)]).width(), Duration::from_secs(1));
        let long = of([&hours(1), &hours(24)]);
        assert_eq!((long.width(), long.slots.len()), (Duration::from_secs(32), 2700));
        assert_eq!(long.iter().map(|(_, slot)| slot.ended).sum::<u64>(), 2);
    }

    proptest! {
        // Up to an hour of slots each.
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn text_round_trips_and_merging_is_recording_both(
            times in prop::collection::vec((0_u64..9_000_000, 0_u64..1_000, 0_u64..60_000), 0..40), parts in 1_usize..5,
        ) {
            let records: Vec<_> = times
                .into_iter()
                .map(|(at, wait, takes)| record((at, at + wait, at + wait + takes), Outcome::Status(200)))
                .collect();
            let mut merged = Timeline::default();
            for part in 0..parts {
                let part = of(records.iter().skip(part).step_by(parts));
                let text = serde_json::to_string(&part).unwrap();
                merged.merge(&serde_json::from_str(&text).unwrap());
            }
            prop_assert_eq!(merged, of(&records));
        }
    }
}
