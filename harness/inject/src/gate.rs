//! When faults act: from the start of load, within their windows, until the end of the run.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use spangate_scenario::model::Window;
use spangate_trace::UnixNanos;

/// Closed until it is armed with the start of load.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The start of load in nanoseconds since the epoch; 0 is closed.
    load_start: AtomicU64,
}

// === impl Gate ===

impl Gate {
    /// Lets faults act from `load_start` on; their windows count from there.
    pub(crate) fn arm(&self, load_start: UnixNanos) {
        self.load_start.store(load_start.0.max(1), Ordering::Release);
    }

    /// Stops all faults.
    pub(crate) fn disarm(&self) {
        self.load_start.store(0, Ordering::Release);
    }

    /// How long load has been going on at `now`; `None` while faults are not to act.
    pub(crate) fn elapsed(&self, now: UnixNanos) -> Option<Duration> {
        match self.load_start.load(Ordering::Acquire) {
            0 => None,
            start => (now.0 >= start).then(|| now.since(UnixNanos(start))),
        }
    }
}

/// Whether `elapsed` lies in the window: its start belongs to it, its end does not.
pub(crate) fn within(window: Option<Window>, elapsed: Duration) -> bool {
    window.is_none_or(|window| (window.from.get()..window.to.get()).contains(&elapsed))
}

#[cfg(test)]
mod tests {
    use spangate_scenario::units;

    use super::*;

    #[test]
    fn it_is_open_from_the_start_of_load_until_disarmed() {
        let gate = Gate::default();
        assert_eq!(gate.elapsed(UnixNanos(u64::MAX)), None);
        gate.arm(UnixNanos(1000));
        assert_eq!(gate.elapsed(UnixNanos(999)), None);
        assert_eq!(gate.elapsed(UnixNanos(1000)), Some(Duration::ZERO));
        assert_eq!(gate.elapsed(UnixNanos(1500)), Some(Duration::from_nanos(500)));
        gate.disarm();
        assert_eq!(gate.elapsed(UnixNanos(1500)), None);
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let window = Window { from: units::Duration::from_millis(5), to: units::Duration::from_millis(8) };
        let inside: Vec<u64> =
            (0..12).filter(|ms| within(Some(window), Duration::from_millis(*ms))).collect();
        assert_eq!(inside, [5, 6, 7]);
        assert!(within(None, Duration::MAX));
    }
}
