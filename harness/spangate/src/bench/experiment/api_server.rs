//! Measures units with an API server: a run of each arm's scenario, read back.

use std::time::Duration;

use spangate_scenario::{Loaded, units};
use tokio_util::sync::CancellationToken;

use super::{Outcome, Task, figures};
use crate::{
    error::CommandError, event::Events, evidence::Evidence, measure::Beside, plan::Plan, run::together, saved,
};

/// What a unit runs.
pub fn plan(task: &Task<'_>) -> Result<Plan, CommandError> {
    let scenario = task.experiment.scenario(task.arm, task.round);
    if scenario.spec.load.traces.is_some() {
        return Err(CommandError::usage("the load is traces, so there is no API server to measure")
            .help("run it by `spangate bench collector`"));
    }
    let text = scenario.to_yaml();
    let path = task.base.join(format!("{}.yaml", task.arm.name));
    let mut plan = Plan::new(Loaded { scenario, text, path }, None)?;
    plan.quiet = Some(task.experiment.spec.quiet);
    Ok(plan)
}

/// Measures units at the same time, if there are several, in the time in which all of them were loaded and warm. Where one
/// cannot be measured, the others do not count.
pub async fn measure(
    tasks: &[Task<'_>],
    events: &Events,
    cancel: &CancellationToken,
) -> Vec<Result<Outcome, CommandError>> {
    match measured(tasks, events, cancel).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err((place, error)) => {
            let mut error = Some(error);
            let failed = tasks[place].arm.name.clone();
            let outcome = |(index, _)| match error.take_if(|_| index == place) {
                Some(error) => Err(error),
                None => Ok(Outcome {
                    components: Vec::new(),
                    found: Err(figures::beside_one_that_fails(&failed)),
                }),
            };
            tasks.iter().enumerate().map(outcome).collect()
        }
    }
}

/// The same; the error is that of the first one that failed.
async fn measured(
    tasks: &[Task<'_>],
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Vec<Outcome>, (usize, CommandError)> {
    let mut runs = Vec::new();
    for (place, task) in tasks.iter().enumerate() {
        let plan = plan(task).map_err(|error| (place, error))?;
        runs.push((plan, task.directory.join(&task.arm.name)));
    }
    let done = together(runs, Some(events), cancel).await?;
    let mut all: Vec<Evidence> = Vec::new();
    for (place, (_, run)) in done.iter().enumerate() {
        all.push(saved::read(run, None).map_err(|error| (place, error))?);
    }
    let all: Vec<&Evidence> = all.iter().collect();
    // All of them are sent the load of one experiment.
    let spec = tasks.first().map(|task| &task.experiment.spec);
    let warm_up = spec.map_or(Duration::ZERO, |spec| spec.warm_up.get());
    let length = spec.and_then(|spec| spec.load.length()).map_or(Duration::ZERO, units::Duration::get);
    let time = figures::in_common(&all, warm_up, length);
    let found = all.iter().map(|evidence| {
        let mut found = figures::of_api_server(evidence, time.clone()?)?;
        // Of one run the other ones cannot be told from strangers.
        found.beside = found.beside.map(|it| Beside { others: it.others.filter(|_| all.len() == 1), ..it });
        Ok(found)
    });
    let components = done.iter().map(|(report, _)| report.components.clone());
    Ok(components.zip(found).map(|(components, found)| Outcome { components, found }).collect())
}
