//! Waits that end on time.
//!
//! The timers of the async runtime are a millisecond coarse, since they are the timeouts of `epoll_wait`. A timer
//! of the kernel that is one of the things that `epoll` waits for ends within some tens of microseconds.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// A timer of the runtime that it was made on.
#[derive(Debug)]
pub(crate) struct Timer(AsyncFd<OwnedFd>);

// === impl Timer ===

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for owners that are less strict than OwnedFd"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Waits until `at`. A time that has passed is no wait.
    pub(crate) async fn until(&self, at: Instant) {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let once = Itimerspec { it_interval: span(Duration::ZERO), it_value: span(left) };
            // To set it forgets that an earlier time has passed, so there is nothing to read.
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once).expect("a time to come can be set");
            self.0.readable().await.expect("the runtime is there as long as its tasks").clear_ready();
        }
    }
}

fn span(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_end_at_their_time_and_not_before() {
        let timer = Timer::new().unwrap();
        for millis in [5, 0, 1, 20] {
            let at = Instant::now() + Duration::from_millis(millis);
            timer.until(at).await;
            assert!(Instant::now() >= at);
        }
        timer.until(Instant::now()).await;
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_does_not_end_the_next() {
        let timer = Timer::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        tokio::select! {
            biased;
            () = timer.until(soon) => unreachable!("it is not time yet"),
            () = std::future::ready(()) => {}
        }
        let at = soon + Duration::from_millis(20);
        timer.until(at).await;
        assert!(Instant::now() >= at);
    }
}
