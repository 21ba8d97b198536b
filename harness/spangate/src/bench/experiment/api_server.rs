//! Measures a unit with an API server: a run of the arm's scenario, read back.

use spangate_scenario::Loaded;

use super::{Outcome, Task, figures};
use crate::{
    error::CommandError,
    plan::Plan,
    report::Report,
    run::{RunOptions, directory::RunDirectory},
    saved,
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

/// Measures a unit by a run that `carry_out` makes.
pub async fn measure(
    task: Task<'_>,
    carry_out: impl AsyncFn(Plan, &RunOptions) -> Result<(Report, RunDirectory), CommandError>,
) -> Result<Outcome, CommandError> {
    let plan = plan(&task)?;
    let (report, run) = carry_out(plan, &RunOptions { out: task.directory.to_owned() }).await?;
    let evidence = saved::read(&run, None)?;
    let found = figures::of_api_server(&task.experiment.spec, &evidence);
    Ok(Outcome { components: report.components, found })
}
