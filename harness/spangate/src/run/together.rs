//! Runs at the same time, so that what the machine does is in all of them.

use std::{path::PathBuf, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::{RunOptions, directory::RunDirectory, run};
use crate::{error::CommandError, event::Events, plan::Plan, report::Report};

/// Carries out runs at the same time, each in a directory of its own in the one beside it. None begins its load before all of
/// them can. Two that talk at once cannot be told apart, so only the first one is heard, by `heard`.
///
/// Without one of them the others are of no use: they are ended as soon as one fails, and that one is told with its place.
pub(crate) async fn together(
    runs: Vec<(Plan, PathBuf)>,
    heard: Option<&Events>,
    cancel: &CancellationToken,
) -> Result<Vec<(Report, RunDirectory)>, (usize, CommandError)> {
    let (start, stop) = (Arc::new(Barrier::new(runs.len())), cancel.child_token());
    let running = runs.into_iter().enumerate().map(|(place, (plan, out))| {
        let options = RunOptions { out, together: Some(Arc::clone(&start)) };
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
