//! Deliberate failures of the sink, and the record of what they hit.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spangate_scenario::{
    model::{Delay, GrpcStatus, SinkMisbehaviour},
    units::Ratio,
};
use spangate_trace::{Clock, UnixNanos};

/// Gives the delay of the next export.
pub type DelayFn = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What the sink does in place of accepting an export at once.
#[derive(Clone)]
pub enum Misbehaviour {
    /// Keeps the spans, but answers late.
    Delay(DelayFn),
    /// Refuses with this status. Over HTTP it becomes the status to which the Collector maps it.
    Refuse {
        /// The status.
        status: GrpcStatus,
        /// When the client may try again: `RetryInfo` over gRPC, `Retry-After` in whole seconds over HTTP.
        retry_after: Option<Duration>,
    },
    /// Keeps all but this share of the spans, evenly over all exports, and says so (`partial_success`).
    PartialSuccess {
        /// Share of the spans that are not kept.
        rejected: Ratio,
    },
    /// Keeps nothing and never answers.
    Hang,
    /// Is not there: connections are refused, open ones are closed.
    Away,
}

/// An export that met a misbehaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Misdeed {
    /// What the sink did.
    pub kind: MisdeedKind,
    /// When the whole export was there.
    pub received: UnixNanos,
    /// When the answer was ready, or the client was seen to have gone.
    pub answered: UnixNanos,
    /// Spans in the export.
    pub spans: u64,
    /// Spans of it that were not kept because of the misbehaviour.
    pub lost: u64,
}

/// What the sink did to an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MisdeedKind {
    /// Kept it, but answered late.
    Delayed,
    /// Refused it with this gRPC status.
    Refused(GrpcStatus),
    /// Kept only a part of it.
    PartiallyKept,
    /// Did not answer.
    Unanswered,
}

/// The record of misdeeds, in the order in which they ended.
#[derive(Debug)]
pub(crate) struct Record {
    clock: Clock,
    misdeeds: Mutex<Vec<Misdeed>>,
}

/// A misdeed under way, which is recorded when it ends, be it because the client went away.
pub(crate) struct UnderWay<'a> {
    record: &'a Record,
    misdeed: Misdeed,
}

/// Chooses which spans a partial success rejects.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    seen: AtomicU64,
}

// === impl Misbehaviour ===

impl Misbehaviour {
    /// What a scenario asks for; `sampler` makes the source of delays for a distribution.
    pub fn of(model: &SinkMisbehaviour, sampler: impl FnOnce(&Delay) -> DelayFn) -> Self {
        match model {
            SinkMisbehaviour::Delay(delay) => Self::Delay(sampler(delay)),
            SinkMisbehaviour::Refuse { status, retry_after } => {
                Self::Refuse { status: *status, retry_after: retry_after.map(|after| *after) }
            }
            SinkMisbehaviour::PartialSuccess { rejected } => Self::PartialSuccess { rejected: *rejected },
            SinkMisbehaviour::Hang => Self::Hang,
            SinkMisbehaviour::Away => Self::Away,
        }
    }

    /// Whether this is [`Self::Away`].
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }
}

impl fmt::Debug for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(_) => f.write_str("Delay"),
            Self::Refuse { status, retry_after } => {
                f.debug_struct("Refuse").field("status", status).field("retry_after", retry_after).finish()
            }
            Self::PartialSuccess { rejected } => {
                f.debug_struct("PartialSuccess").field("rejected", rejected).finish()
            }
            Self::Hang => f.write_str("Hang"),
            Self::Away => f.write_str("Away"),
        }
    }
}

// === impl Record ===

impl Record {
    /// An empty record on this time line.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, misdeeds: Mutex::default() }
    }

    /// What was recorded so far.
    pub(crate) fn misdeeds(&self) -> Vec<Misdeed> {
        self.lock().clone()
    }

    /// Notes that a misdeed to an export of `spans` spans begins, of which `lost` are not kept.
    pub(crate) fn begin(&self, kind: MisdeedKind, spans: u64, lost: u64) -> UnderWay<'_> {
        let received = self.clock.now();
        let misdeed = Misdeed { kind, received, answered: received, spans, lost };
        UnderWay { record: self, misdeed }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Misdeed>> {
        self.misdeeds.lock().expect("nothing panics while it holds the lock")
    }
}

// === impl UnderWay ===

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let answered = self.record.clock.now();
        self.record.lock().push(Misdeed { answered, ..self.misdeed.clone() });
    }
}

// === impl Rejections ===

impl Rejections {
    /// Numbers the next `spans` spans and gives the number of the first.
    pub(crate) fn number(&self, spans: u64) -> u64 {
        self.seen.fetch_add(spans, Ordering::Relaxed)
    }

    /// Whether the span with this number is rejected.
    ///
    /// Of the first n spans, `n * share` are, rounded down: the share is met however the spans are cut
    /// into exports.
    pub(crate) fn rejects(number: u64, share: Ratio) -> bool {
        let upto = |spans: u64| (spans as f64 * share.get()).floor();
        upto(number + 1) > upto(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_share_of_rejections_is_met_at_any_time(
            share in 0.0..=1.0_f64,
            exports in proptest::collection::vec(0_u64..600, 0..8),
        ) {
            let share = Ratio::new(share).unwrap();
            let rejections = Rejections::default();
            let (mut seen, mut rejected) = (0, 0_u64);
            for spans in exports {
                let first = rejections.number(spans);
                prop_assert_eq!(first, seen);
                rejected += (first..first + spans).map(|n| u64::from(Rejections::rejects(n, share))).sum::<u64>();
                seen += spans;
                let exact = seen as f64 * share.get();
                prop_assert!((rejected as f64 - exact).abs() <= 1.0, "{rejected} of {seen}, {exact} wanted");
            }
        }
    }

    #[test]
    fn nothing_and_everything_are_shares_too() {
        assert!((0..10_000).all(|n| !Rejections::rejects(n, Ratio::new_unchecked(0.0))));
        assert!((0..10_000).all(|n| Rejections::rejects(n, Ratio::one())));
    }

    #[test]
    fn a_misdeed_is_recorded_when_it_ends() {
        let record = Record::new(Clock::new());
        let under_way = record.begin(MisdeedKind::Unanswered, 5, 5);
        assert_eq!(record.misdeeds(), []);
        drop(under_way);
        let misdeeds = record.misdeeds();
        assert_eq!((misdeeds[0].spans, misdeeds[0].lost), (5, 5));
        assert!(misdeeds[0].answered >= misdeeds[0].received);
    }

    #[test]
    fn a_scenario_is_translated() {
        let no_delay = |_: &Delay| -> DelayFn { panic!("no delay was asked for") };
        let refuse = SinkMisbehaviour::Refuse { status: GrpcStatus::Unavailable, retry_after: None };
        assert_eq!(
            format!("{:?}", Misbehaviour::of(&refuse, no_delay)),
            "Refuse { status: Unavailable, retry_after: None }"
        );
        assert!(Misbehaviour::of(&SinkMisbehaviour::Away, no_delay).is_away());
        let delay = SinkMisbehaviour::Delay(Delay::Fixed(Duration::from_millis(3).into()));
        let delay = Misbehaviour::of(&delay, |delay| {
            let Delay::Fixed(fixed) = delay else { panic!("a fixed delay was asked for") };
            let fixed = **fixed;
            Arc::new(move || fixed)
        });
        assert!(matches!(delay, Misbehaviour::Delay(next) if next() == Duration::from_millis(3)));
    }
}
