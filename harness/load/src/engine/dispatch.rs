//! The thread that starts arrivals at their times.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};

use spangate_trace::UnixNanos;
use tokio::{runtime::Handle, sync::Semaphore};

use super::worker::Worker;

/// Starts every arrival of the schedule at its time, or sheds it; ends early when the sender of `stop` goes
/// away. Blocks its thread.
pub(super) fn dispatch(worker: &Worker, start: UnixNanos, stop: &Receiver<()>) {
    let runtime = Handle::current();
    let permits = Arc::new(Semaphore::new(worker.max_in_flight()));
    for arrival in worker.arrivals() {
        let intended = start + arrival.at;
        if !wait(worker.instant(intended), stop) {
            return;
        }
        let (worker, arrival) = (worker.clone(), arrival);
        // Nothing is done here but to start: even the body of a request that is shed takes time to make.
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            runtime.spawn(async move {
                worker.perform(arrival, intended).await;
                drop(permit);
            });
        } else {
            runtime.spawn(async move { worker.shed(&arrival, intended) });
        }
    }
}

/// Waits until `at`; false when the run was stopped before.
///
/// A wait on a channel ends within some tens of microseconds of its time, which a timer of the runtime does
/// not.
fn wait(at: Instant, stop: &Receiver<()>) -> bool {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        match stop.recv_timeout(left) {
            Err(RecvTimeoutError::Timeout) if Instant::now() >= at => return true,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn a_wait_ends_at_its_time_and_not_before() {
        let (_running, stop) = mpsc::channel();
        let at = Instant::now() + Duration::from_millis(20);
        assert!(wait(at, &stop));
        assert!(Instant::now() >= at);
        assert!(wait(at, &stop), "a time that has passed is no reason to wait");
    }

    #[test]
    fn a_wait_ends_when_the_run_does() {
        let (running, stop) = mpsc::channel::<()>();
        drop(running);
        let before = Instant::now();
        assert!(!wait(before + Duration::from_hours(1), &stop));
        assert!(!wait(before, &stop), "nothing starts after the end");
    }
}
