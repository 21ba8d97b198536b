//! One time line for ledgers and spans.
//!
//! Spans carry wall-clock times of the process that made them. The ledgers are noted by monotonic time, so
//! that a step of the wall clock during a run changes no duration. [`Clock`] anchors the one to the other
//! once, so that both can be laid over each other as [`UnixNanos`].

use std::{
    fmt,
    ops::Add,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch, as OTLP counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixNanos(pub u64);

/// Monotonic time, shown as nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    unix: UnixNanos,
}

// === impl UnixNanos ===

impl UnixNanos {
    /// The time from `earlier` to this, or zero when `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This minus `other` in nanoseconds, with its sign.
    pub const fn signed_since(self, other: Self) -> i64 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

impl Add<Duration> for UnixNanos {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

// === impl Clock ===

impl Clock {
    /// Anchors monotonic time to the wall clock as it stands now.
    #[expect(clippy::new_without_default, reason = "reading the clock is an act, not a default value")]
    pub fn new() -> Self {
        let anchor = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { anchor, unix: UnixNanos::default() + unix }
    }

    /// The current time.
    pub fn now(&self) -> UnixNanos {
        self.at(Instant::now())
    }

    /// `instant` on this time line; instants before the anchor are exact too.
    pub fn at(&self, instant: Instant) -> UnixNanos {
        if let Some(after) = instant.checked_duration_since(self.anchor) {
            return self.unix + after;
        }
        let before = self.anchor.duration_since(instant).as_nanos();
        UnixNanos(self.unix.0.saturating_sub(u64::try_from(before).unwrap_or(u64::MAX)))
    }

    /// The instant at `time`, for sleeping until then.
    pub fn instant(&self, time: UnixNanos) -> Instant {
        if time >= self.unix {
            self.anchor + time.since(self.unix)
        } else {
            self.anchor.checked_sub(self.unix.since(time)).unwrap_or(self.anchor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_times_map_onto_each_other() {
        let clock = Clock::new();
        let later = clock.anchor + Duration::from_millis(1500);
        assert_eq!(clock.at(later).since(clock.unix), Duration::from_millis(1500));
        assert_eq!(clock.instant(clock.at(later)), later);
    }

    #[test]
    fn a_difference_keeps_its_sign() {
        assert_eq!(UnixNanos(5).signed_since(UnixNanos(8)), -3);
        assert_eq!(UnixNanos(5).since(UnixNanos(8)), Duration::ZERO);
    }
}
