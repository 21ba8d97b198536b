//! How the times of a recorded trace are fitted to another duration of its root.

use std::time::Duration;

/// Where a time of a recorded trace comes to lie, in nanoseconds from the beginning of its root.
///
/// Every way of stretching keeps the order of times, so that a span that lay within another one still does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stretch {
    /// As it was.
    None,
    /// Everything takes so many times as long.
    Scale(f64),
    /// What came after the first time comes later by the second: the trace waited there.
    Wait(i64, i64),
}

// === impl Stretch ===

impl Stretch {
    /// From a root that lasted `recorded` to one that lasts `wanted`. `idle` is when the root began to wait for its
    /// end, if it did.
    pub(super) fn new(recorded: i64, idle: Option<i64>, wanted: i64) -> Self {
        match idle {
            _ if wanted == recorded => Self::None,
            Some(idle) if wanted > idle => Self::Wait(idle, wanted - recorded),
            // A root without any duration has nothing that could be made longer.
            _ if recorded == 0 => Self::Wait(-1, wanted),
            _ => Self::Scale(wanted as f64 / recorded as f64),
        }
    }

    /// The new place of `time`.
    #[expect(clippy::cast_possible_truncation, reason = "times of traces are far below 2^53 nanoseconds")]
    pub(super) fn apply(self, time: i64) -> i64 {
        match self {
            Self::Scale(factor) => (time as f64 * factor).round() as i64,
            Self::Wait(idle, by) if time > idle => (time + by).max(idle),
            Self::None | Self::Wait(..) => time,
        }
    }
}

/// Whole nanoseconds.
pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wait_moves_only_what_comes_after_it() {
        let stretch = Stretch::new(1000, Some(100), 60_000);
        assert_eq!([0, 100, 101, 1000].map(|time| stretch.apply(time)), [0, 100, 59_101, 60_000]);
        let shorter = Stretch::new(1000, Some(100), 50);
        assert_eq!([0, 100, 1000].map(|time| shorter.apply(time)), [0, 5, 50]);
    }

    proptest! {
        #[test]
        fn the_root_lasts_as_wanted_and_the_order_stays(
            recorded in 0..600_000_000_000_i64,
            wanted in 0..600_000_000_000_i64,
            idle in proptest::option::of(0.0..1.0_f64),
            mut times in proptest::collection::vec(-0.1..1.1_f64, 0..20),
        ) {
            #[expect(clippy::cast_possible_truncation, reason = "test times are small")]
            let place = |share: f64| (recorded as f64 * share) as i64;
            let stretch = Stretch::new(recorded, idle.map(place), wanted);
            prop_assert_eq!(stretch.apply(recorded), wanted);
            times.sort_by(f64::total_cmp);
            let moved: Vec<_> = times.iter().map(|share| stretch.apply(place(*share))).collect();
            prop_assert!(moved.is_sorted(), "{:?}", moved);
        }
    }
}
