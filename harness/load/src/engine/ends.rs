//! What ends an operation before it is over: the scenario's timeout, and the end of the run.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Ends one operation after the other.
///
/// Hardly any operation is ended like this, but each has to be watched. So the timer is not set for each of them: it
/// is left as it is, and when it goes off too early for the operation of that time, it is set again.
pub(super) struct Ends {
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Pin<Box<Sleep>>,
    /// When the current operation is to end.
    deadline: Instant,
}

/// How an operation ended before it was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The run was cancelled.
    Cancelled,
    /// Its time was over.
    Timeout,
}

// === impl Ends ===

impl Ends {
    /// For operations that end when `cancel` is cancelled; the first has no deadline yet.
    pub(super) fn new(cancel: &CancellationToken, deadline: Instant) -> Self {
        Self {
            cancelled: Box::pin(cancel.clone().cancelled_owned()),
            timer: Box::pin(sleep_until(deadline)),
            deadline,
        }
    }

    /// Begins an operation that is to end at `deadline`.
    pub(super) fn begin(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// When the current operation is to end.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready when the current operation is to end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if self.cancelled.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Cancelled);
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            if Instant::now() >= self.deadline {
                return Poll::Ready(End::Timeout);
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test]
    async fn each_operation_ends_at_its_own_deadline() {
        let cancel = CancellationToken::new();
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut ends = Ends::new(&cancel, at(10));
        // The timer goes off before the second has to end, and was set too late for the third.
        for millis in [20, 10_000, 60] {
            ends.begin(at(millis));
            if millis > 1_000 {
                let looked = tokio::time::timeout_at(at(40), poll_fn(|context| ends.poll(context))).await;
                assert!(looked.is_err(), "an operation ended early");
            } else {
                assert_eq!(poll_fn(|context| ends.poll(context)).await, End::Timeout);
                assert!(Instant::now() >= at(millis));
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        cancel.cancel();
        assert_eq!(poll_fn(|context| ends.poll(context)).await, End::Cancelled);
    }
}
