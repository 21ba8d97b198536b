//! Waits until the Collector has sent on what it was given.
//!
//! It decides on traces when their time is up, collects batches and keeps a queue. So first the time passes that its
//! configuration asks for, counted from the last span that it was given. Then its own counts must show that nothing
//! waits in a queue, and that the sink has all that was sent.

use std::time::{Duration, Instant};

use spangate_sink::Store;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::running::RunningCollector,
    event::{Event, Events},
};

/// Time beyond what the configuration asks for: ticks and exports on a busy machine.
const MARGIN: Duration = Duration::from_millis(500);
/// Time after which what is not through counts as not sent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Waits for `hold`, and then at most until patience ends.
pub(crate) async fn drain(
    collector: &RunningCollector,
    sink: &Store,
    hold: Duration,
    events: &Events,
    cancel: &CancellationToken,
) {
    let start = Instant::now();
    let what = "waiting for the Collector".to_owned();
    events.send(Event::Progress { what, done: None });
    let waiting = async {
        sleep(hold + MARGIN).await;
        loop {
            let Ok(told) = collector.telemetry().await else { return };
            let sent: u64 = told.exporters.values().map(|exporter| exporter.sent).sum();
            // Other exporters than the sink's count too, so the sink may have less, and then patience ends.
            if told.is_drained() && sink.stats().received_spans >= sent {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        _ = timeout(hold + MARGIN + PATIENCE, waiting) => {}
        () = cancel.cancelled() => {}
    }
    tracing::debug!(elapsed = ?start.elapsed(), "the Collector was waited for");
}
