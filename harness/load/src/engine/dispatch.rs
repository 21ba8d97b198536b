//! Starts arrivals at their times.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use spangate_trace::UnixNanos;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::{hands::Hands, timer::Timer, worker::Worker};

/// Waits are no shorter than this: arrivals that come closer together start together. Each wait costs several
/// calls into the kernel, and so do requests that go out one by one.
const SHORTEST_WAIT: Duration = Duration::from_micros(250);
/// Arrivals that start before others get a turn. What starts together goes out together, as far as it has the same
/// connection.
const BURST: u32 = 64;

/// Starts every arrival of the schedule at its time, or sheds it, until `halt` is cancelled. Returns when all
/// that was started is over.
pub(super) async fn dispatch(worker: Arc<Worker>, timer: &Timer, start: UnixNanos, halt: CancellationToken) {
    let mut hands = Hands::new(Arc::clone(&worker));
    let mut halted = pin!(halt.cancelled());
    let (mut woke, mut burst) = (Instant::now(), 0);
    for arrival in worker.arrivals() {
        let intended = start + arrival.at;
        let at = worker.instant(intended);
        if Instant::now() < at {
            tokio::select! {
                biased;
                () = &mut halted => break,
                () = timer.until(at.max(woke + SHORTEST_WAIT)) => {}
            }
            (woke, burst) = (Instant::now(), 0);
        } else if burst == BURST {
            yield_now().await;
            burst = 0;
        }
        if burst == 0 && halt.is_cancelled() {
            break;
        }
        burst += 1;
        if !hands.take(arrival, intended) {
            worker.shed(&arrival, intended);
        }
    }
    hands.finish().await;
}
