//! Holding a call for an exact time.
//!
//! Tokio's timers tick in milliseconds and round up, so that a hold would end up to a millisecond late, and
//! not evenly so. One thread that parks until the next hold is due ends it within the kernel's timer slack
//! (some 50 us on Linux) plus the wake-up of the task, and costs nothing in between.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::thread::HOLDS;

/// Holds calls. Clones share one thread, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Timer {
    holds: Sender<Hold>,
}

/// One call that is held.
#[derive(Debug)]
struct Hold {
    until: Instant,
    wake: oneshot::Sender<()>,
}

// === impl Timer ===

impl Timer {
    /// Starts the thread, and returns when it runs: before that it has no name by which it is found.
    pub fn start() -> io::Result<Self> {
        let (holds, incoming) = mpsc::channel();
        let (runs, running) = mpsc::channel::<()>();
        thread::Builder::new().name(HOLDS.to_owned()).spawn(move || {
            drop(runs);
            run(&incoming);
        })?;
        let _ = running.recv();
        Ok(Self { holds })
    }

    /// Waits for `duration`, never less. Dropping the future gives the hold up.
    pub async fn hold(&self, duration: Duration) {
        let (wake, woken) = oneshot::channel();
        let until = Instant::now() + duration;
        // Neither can fail: the thread ends only when the last `Timer` is gone, and this one is borrowed.
        let _ = self.holds.send(Hold { until, wake });
        let _ = woken.await;
    }
}

fn run(incoming: &Receiver<Hold>) {
    let mut holds: BinaryHeap<Hold> = BinaryHeap::new();
    loop {
        let next = match holds.peek() {
            None => incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(first) => incoming.recv_timeout(first.until.saturating_duration_since(Instant::now())),
        };
        match next {
            Ok(hold) => holds.push(hold),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while holds.peek().is_some_and(|first| first.until <= now) {
            if let Some(hold) = holds.pop() {
                // It fails when the caller has gone and nobody waits any more.
                let _ = hold.wake.send(());
            }
        }
    }
}

// === impl Hold ===

/// The earliest is the greatest, for the heap.
impl Ord for Hold {
    fn cmp(&self, other: &Self) -> Ordering {
        other.until.cmp(&self.until)
    }
}

impl PartialOrd for Hold {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hold {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Hold {}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream::FuturesUnordered};

    use super::*;

    #[tokio::test]
    async fn holds_end_in_order_and_never_early() {
        let timer = Timer::start().unwrap();
        let holds: FuturesUnordered<_> = [30_u64, 5, 20, 1, 10]
            .map(|ms| {
                let timer = &timer;
                async move {
                    let (start, wanted) = (Instant::now(), Duration::from_millis(ms));
                    timer.hold(wanted).await;
                    assert!(start.elapsed() >= wanted, "{ms} ms ended after {:?}", start.elapsed());
                    ms
                }
            })
            .into_iter()
            .collect();
        assert_eq!(holds.collect::<Vec<_>>().await, [1, 5, 10, 20, 30]);
    }

    #[tokio::test]
    async fn holds_end_soon_after_they_are_due() {
        let timer = Timer::start().unwrap();
        let wanted = Duration::from_micros(5_500);
        let mut late = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            timer.hold(wanted).await;
            late.push(start.elapsed().saturating_sub(wanted));
        }
        // A busy machine delays some of them, not each.
        let quickest = late.iter().min().unwrap();
        assert!(*quickest < Duration::from_millis(1), "the quickest of {late:?} came too late");
    }

    #[tokio::test]
    async fn a_hold_that_was_given_up_disturbs_no_other() {
        let timer = Timer::start().unwrap();
        {
            let given_up = timer.hold(Duration::from_millis(1));
            tokio::pin!(given_up);
            assert!(futures::poll!(given_up).is_pending());
        }
        timer.hold(Duration::from_millis(3)).await;
    }

    #[test]
    fn the_thread_ends_with_the_last_timer() {
        let (holds, incoming) = mpsc::channel();
        let timer = Timer { holds };
        let thread = thread::spawn(move || run(&incoming));
        drop(timer.clone());
        assert!(!thread.is_finished());
        drop(timer);
        thread.join().unwrap();
    }
}
