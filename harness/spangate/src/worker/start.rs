//! When the load of a worker begins.

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;
use spangate_load::Shard;
use spangate_trace::{Clock, UnixNanos};

use crate::error::CommandError;

/// When the load of a worker begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At a time, the same for all workers.
    At(UnixNanos),
    /// After a while, for a worker that is alone.
    In(Duration),
}

/// A text that names no start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 2026-01-31T12:00:00Z, or a while from now such as +5s")]
#[non_exhaustive]
pub struct ParseStartError;

// === impl StartAt ===

impl StartAt {
    /// The time; a usage error if it has passed, or if several workers were to begin each at its own.
    pub(super) fn resolve(self, clock: &Clock, shard: Shard) -> Result<UnixNanos, CommandError> {
        let now = clock.now();
        match self {
            Self::At(at) if at <= now => {
                let late = now.since(at).as_secs_f64();
                Err(CommandError::usage(format!("the load was to begin {late:.1} s ago"))
                    .help("agree on a --start-at that leaves all workers time to get ready"))
            }
            Self::At(at) => Ok(at),
            Self::In(_) if shard.of() > 1 => {
                Err(CommandError::usage("several workers must agree on a time, and not on a while")
                    .help("give all of them the same --start-at, such as \"$(date -ud +1min +%FT%TZ)\""))
            }
            Self::In(after) => Ok(now + after),
        }
    }
}

impl FromStr for StartAt {
    type Err = ParseStartError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(text) = text.strip_prefix('+') {
            let duration: spangate_scenario::units::Duration = text.parse().map_err(|_| ParseStartError)?;
            return Ok(Self::In(duration.get()));
        }
        let time: Timestamp = text.parse().map_err(|_| ParseStartError)?;
        u64::try_from(time.as_nanosecond())
            .map(|nanos| Self::At(UnixNanos(nanos)))
            .map_err(|_| ParseStartError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_whiles_are_read() {
        assert_eq!("+1m30s".parse(), Ok(StartAt::In(Duration::from_secs(90))));
        assert_eq!(
            "2026-01-31T12:00:00.5+01:00".parse(),
            Ok(StartAt::At(UnixNanos(1_769_857_200_500_000_000)))
        );
        for wrong in ["", "+", "5s", "now", "2026-01-31", "1960-01-01T00:00:00Z"] {
            assert_eq!(wrong.parse::<StartAt>(), Err(ParseStartError), "{wrong}");
        }
    }

    #[test]
    fn a_start_that_workers_cannot_keep_is_refused() {
        let clock = Clock::new();
        let three = Shard::new(1, 3).unwrap();
        let told = |start: StartAt, shard| start.resolve(&clock, shard).map_err(|error| error.to_string());
        let later = clock.now() + Duration::from_hours(1);
        assert_eq!(told(StartAt::At(later), three), Ok(later));
        let past = UnixNanos(clock.now().0 - 2_000_000_000);
        assert!(told(StartAt::At(past), three).unwrap_err().contains("2.0 s ago"));
        assert!(told(StartAt::In(Duration::from_secs(5)), three).unwrap_err().contains("must agree"));
        assert!(told(StartAt::In(Duration::from_secs(5)), Shard::WHOLE).is_ok());
    }
}
