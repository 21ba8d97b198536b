//! Runs at the same time, so that what the machine does is in all of them.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::{LEAD, RunOptions, directory::RunDirectory, run};
use crate::{error::CommandError, event::Events, plan::Plan, report::Report};

/// The place of a run among those that are carried out at the same time.
///
/// All of them are sent requests at the same pace. If they began at the same instant, every request would meet the same one to
/// each other server, and always in the same order: the first finds CPUs that sleep, and the next ones what it has left in
/// the caches. Which one is first is chance, and stays so for all of a round: of two equal servers one took 4 % more CPU time
/// than the other, or 4 % less, and seldom something between. So their requests are spread evenly over the time between two.
///
/// The requests are the same ones too. If each came right after the same one to the server before, it would find its code in the
/// caches of the CPU, and only the first server would not: it took 2.6 % more in ten rounds of ten. So each run is also as many
/// requests behind as there are runs before it (docs/adr/0026).
#[derive(Debug, Clone)]
pub struct Place {
    meeting: Arc<Meeting>,
    number: u32,
}

/// Where they wait for each other.
#[derive(Debug)]
struct Meeting {
    barrier: Barrier,
    runs: u32,
    /// When all of them were there.
    start: OnceLock<Instant>,
}

// === impl Place ===

impl Place {
    /// The places of so many runs.
    fn of(runs: usize) -> Vec<Self> {
        let meeting = Arc::new(Meeting {
            barrier: Barrier::new(runs),
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
            start: OnceLock::new(),
        });
        (0..meeting.runs).map(|number| Self { meeting: Arc::clone(&meeting), number }).collect()
    }

    /// Waits for all the others.
    pub(super) async fn wait(&self) {
        self.meeting.barrier.wait().await;
    }

    /// Waits for them once more; says when the load of this one begins, which is sent so many requests a second.
    pub(super) async fn begin(&self, rate: f64) -> Instant {
        self.wait().await;
        let start = *self.meeting.start.get_or_init(Instant::now);
        let behind = f64::from(self.number) * (1.0 + 1.0 / f64::from(self.meeting.runs));
        start + LEAD + Duration::try_from_secs_f64(behind / rate).unwrap_or_default()
    }
}

/// Carries out runs at the same time, each in a directory of its own in the one beside it. None begins its load before all of
/// them can. Two that talk at once cannot be told apart, so only the first one is heard, by `heard`.
///
/// Without one of them the others are of no use: they are ended as soon as one fails, and that one is told with its place.
pub(crate) async fn together(
    runs: Vec<(Plan, PathBuf)>,
    heard: Option<&Events>,
    cancel: &CancellationToken,
) -> Result<Vec<(Report, RunDirectory)>, (usize, CommandError)> {
    let (places, stop) = (Place::of(runs.len()), cancel.child_token());
    let running = runs.into_iter().zip(places).enumerate().map(|(place, ((plan, out), together))| {
        let options = RunOptions { out, together: Some(together) };
        let (heard, stop) = (heard.filter(|_| place == 0).cloned(), stop.clone());
        async move {
            let (events, mut told) = Events::channel();
            let silence = tokio::spawn(async move { while told.recv().await.is_some() {} });
            let outcome = Box::pin(run(plan, &options, heard.unwrap_or(events), stop)).await;
            // It ends with the last sender.
            let _ = silence.await;
            (place, outcome)
        }
    });
    let mut running: FuturesUnordered<_> = running.collect();
    let (mut done, mut failed) = (Vec::new(), None);
    while let Some((place, outcome)) = running.next().await {
        match outcome {
            Ok(outcome) => done.push((place, outcome)),
            Err(error) => {
                stop.cancel();
                // Those that come after it were ended by it.
                failed.get_or_insert((place, error));
            }
        }
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    /// Scenario: five runs of 40 requests a second meet, and one that sends nothing.
    /// Guarantees: each is a request and 5 ms behind the one before, as nobody's clock says but theirs all together.
    #[tokio::test]
    async fn requests_of_all_are_spread_over_the_time_between_two() {
        let places = Place::of(5);
        join_all(places.iter().map(Place::wait)).await;
        let starts = join_all(places.iter().map(|place| place.begin(40.0))).await;
        for (number, start) in (0..).zip(&starts) {
            let apart = start.duration_since(starts[0]).abs_diff(Duration::from_millis(30) * number);
            assert!(apart < Duration::from_micros(1), "{starts:?}");
        }
        let alone = &Place::of(1)[0];
        assert!(alone.begin(0.0).await <= Instant::now() + LEAD);
    }
}
