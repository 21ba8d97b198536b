//! How a load stands at this moment, for those who look on.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::watchdog::LATE;

/// How a load stands at this moment.
///
/// Each operation costs the thread of the load two or three additions to memory that no other thread writes to.
#[derive(Debug, Default)]
pub struct Gauge {
    in_flight: AtomicU64,
    late: AtomicU64,
}

/// An operation that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'g>(&'g AtomicU64);

// === impl Gauge ===

impl Gauge {
    /// Operations that were started and are not over yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Operations so far that were started more than 50 ms after their time.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Counts an operation that is started this much after its time.
    pub(super) fn begin(&self, lag: Duration) -> UnderWay<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if lag > LATE {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        UnderWay(&self.in_flight)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_in_flight_until_they_are_over_and_late_for_good() {
        let gauge = Gauge::default();
        let read = || (gauge.in_flight(), gauge.late());
        let one = gauge.begin(LATE);
        let other = gauge.begin(LATE + Duration::from_nanos(1));
        assert_eq!(read(), (2, 1));
        drop(other);
        assert_eq!(read(), (1, 1));
        drop(one);
        assert_eq!(read(), (0, 1));
    }
}
