//! What a terminal shows of a load while it is sent: a fold over its requests, as one line of text.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    time::Duration,
};

use spangate_load::{Histogram, Outcome, RequestRecord};

use crate::text;

/// Seconds that rates and percentiles look back.
const WINDOW: u64 = 5;

/// What is known of a load that is being sent.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Operations in the schedule; none of a closed loop.
    planned: u64,
    duration: Duration,
    /// Operations whose first request is over.
    operations: u64,
    shed: u64,
    /// Operations that are not over.
    in_flight: u64,
    /// Operations that were started too late.
    late: u64,
    /// Requests that failed, by what went wrong.
    errors: BTreeMap<String, u64>,
    /// The last seconds, the newest last.
    recent: VecDeque<Second>,
}

/// What ended in one second of the load.
#[derive(Debug)]
struct Second {
    number: u64,
    operations: u64,
    response: Histogram,
}

// === impl Live ===

impl Live {
    /// A load of `planned` operations that takes `duration`.
    pub(super) fn new(planned: u64, duration: Duration) -> Self {
        Self { planned, duration, ..Self::default() }
    }

    /// Takes how the load stands.
    pub(super) fn under_way(&mut self, in_flight: u64, late: u64) {
        (self.in_flight, self.late) = (in_flight, late);
    }

    /// Takes a request that ended `at` after the start of the load.
    pub(super) fn request(&mut self, request: &RequestRecord, at: Duration) {
        let first = u64::from(request.step == 0);
        self.operations += first;
        match &request.outcome {
            Outcome::Shed => {
                self.shed += 1;
                return;
            }
            outcome if outcome.is_failure() => {
                let class = match outcome {
                    Outcome::Status(status) => status.to_string(),
                    Outcome::Timeout => "timeout".to_owned(),
                    _ => "no answer".to_owned(),
                };
                *self.errors.entry(class).or_default() += 1;
            }
            _ => {}
        }
        let second = self.second(at.as_secs());
        second.operations += first;
        second.response.record(request.ended.since(request.intended));
    }

    fn second(&mut self, number: u64) -> &mut Second {
        if self.recent.back().is_none_or(|last| last.number < number) {
            self.recent.push_back(Second { number, operations: 0, response: Histogram::default() });
        }
        while self.recent.front().is_some_and(|first| first.number + WINDOW < number) {
            self.recent.pop_front();
        }
        self.recent.back_mut().expect("one was pushed when there was none")
    }

    /// Operations that are over, and those planned.
    pub(super) fn done(&self) -> (u64, u64) {
        (self.operations.min(self.planned), self.planned)
    }

    /// Everything in one line: rates, operations in flight, percentiles of the last seconds, what went wrong, and the
    /// time left.
    pub(super) fn line(&self, at: Duration, spans: u64) -> String {
        // The second that has only just begun would make every rate jump.
        let now = at.as_secs();
        let whole = self.recent.iter().filter(|second| second.number < now && second.number + WINDOW >= now);
        let (mut operations, mut response) = (0, Histogram::default());
        for second in whole {
            operations += second.operations;
            response.merge(&second.response);
        }
        let over = now.clamp(1, WINDOW);
        let mut line = format!("{:.0}/s", operations as f64 / over as f64);
        if self.planned > 0 && !self.duration.is_zero() {
            let _ = write!(line, " of {:.0}", self.planned as f64 / self.duration.as_secs_f64());
        }
        let _ = write!(line, ", {} in flight", self.in_flight);
        if let Some((p50, p99)) = response.percentile(50.0).zip(response.percentile(99.0)) {
            let _ = write!(line, ", p50 {} p99 {}", text::duration(p50), text::duration(p99));
        }
        for (count, what) in [(self.late, "late"), (self.shed, "shed")] {
            if count > 0 {
                let _ = write!(line, ", {count} {what}");
            }
        }
        if !self.errors.is_empty() {
            let classes: Vec<_> =
                self.errors.iter().map(|(class, count)| format!("{class}: {count}")).collect();
            let _ = write!(line, ", errors {}", classes.join(" "));
        }
        let _ = write!(line, ", {spans} spans, {} s left", self.duration.saturating_sub(at).as_secs());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn ended(at: u64, millis: u64, outcome: Outcome) -> (RequestRecord, Duration) {
        let mut request = RequestRecord { step: 0, outcome, ..testing::request() };
        request.ended = request.intended + Duration::from_millis(millis);
        (request, Duration::from_secs(at))
    }

    #[test]
    fn the_line_looks_back_on_the_last_whole_seconds() {
        let mut live = Live::new(1_000, Duration::from_secs(10));
        for second in 0..8 {
            for _ in 0..100 {
                let (request, at) = ended(second, if second < 2 { 900 } else { 10 }, Outcome::Status(200));
                live.request(&request, at);
            }
        }
        live.under_way(12, 0);
        let shown = live.line(Duration::from_millis(8_500), 7);
        assert_eq!(shown, "100/s of 100, 12 in flight, p50 10.0ms p99 10.0ms, 7 spans, 1 s left");
        assert_eq!(live.done(), (800, 1_000));
    }

    #[test]
    fn errors_are_told_by_class_and_what_was_shed_apart() {
        let mut live = Live::new(10, Duration::from_secs(10));
        for outcome in [
            Outcome::Status(404),
            Outcome::Status(429),
            Outcome::Timeout,
            Outcome::Error(String::new()),
            Outcome::Shed,
        ] {
            let (request, at) = ended(0, 1, outcome);
            live.request(&request, at);
        }
        live.under_way(0, 3);
        let shown = live.line(Duration::from_secs(1), 0);
        assert!(shown.contains(", 3 late, 1 shed, errors 429: 1 no answer: 1 timeout: 1, "), "{shown}");
        assert_eq!(live.done(), (5, 10));
    }

    #[test]
    fn a_load_without_a_plan_has_no_planned_rate() {
        let shown = Live::new(0, Duration::from_secs(3)).line(Duration::ZERO, 0);
        assert_eq!(shown, "0/s, 0 in flight, 0 spans, 3 s left");
    }
}
