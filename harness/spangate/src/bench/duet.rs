//! Runs a duet: one operation after the other, each with a server of its own.

use std::{path::PathBuf, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    analysis::analyse,
    design::{Design, Operation},
    report::{DuetReport, Said},
    trouble::{Stretch, look_for_counts, look_for_space},
};
use crate::{
    error::CommandError,
    event::{Event, Events},
    measure::Machine,
    plan::Plan,
    report::Report,
    run::{RunOptions, directory::RunDirectory},
    saved,
};

/// What a duet does not take from its design.
#[derive(Debug, Clone)]
pub struct DuetOptions {
    /// Directory in which it makes its own.
    pub out: PathBuf,
    /// The command that repeats it.
    pub repeat: String,
}

/// The report.
const RESULT: &str = "result.json";
/// The report for people who read it elsewhere.
const MARKDOWN: &str = "result.md";

/// Measures what tracing adds to operations, each by a run that `carry_out` makes. Every run that is whole is kept, also
/// when a later one breaks.
pub async fn run(
    design: &Design,
    operations: &[Operation],
    options: &DuetOptions,
    cancel: &CancellationToken,
    carry_out: impl AsyncFn(Operation, Plan, &RunOptions) -> Result<(Report, RunDirectory), CommandError>,
    events: &Events,
) -> Result<(DuetReport, RunDirectory), CommandError> {
    look_for_counts()?;
    let (start, began) = (Instant::now(), jiff::Timestamp::now());
    let time = began.strftime("%Y%m%dT%H%M%SZ").to_string();
    let unusable =
        |error| CommandError::environment("the directory of the duet cannot be used").because(error);
    let directory = RunDirectory::create(&options.out, "duet", &time).map_err(unusable)?;
    let runs = RunOptions { out: directory.path().to_owned(), together: None };
    let length = design.length() * u32::try_from(operations.len()).unwrap_or(u32::MAX);
    events.send(Event::Note(format!(
        "{} pairs of blocks of {} s for each of {} operations: about {} min",
        design.pairs,
        design.block.as_secs_f64(),
        operations.len(),
        length.as_secs().div_ceil(60)
    )));
    let mut report =
        DuetReport::new(design.clone(), Machine::this(), began.to_string(), options.repeat.clone());
    for operation in operations {
        let text = design.scenario(*operation);
        let scenario = spangate_scenario::parse("the duet", &text)
            .map_err(|error| CommandError::bug("the scenario of the duet is not valid").because(error))?;
        let path = PathBuf::from(format!("duet-{}.yaml", operation.name()));
        let plan = Plan::new(spangate_scenario::Loaded { scenario, text, path }, None)?;
        look_for_space(&directory)?;
        let stretch = Stretch::begin();
        let (judged, run) = carry_out(*operation, plan, &runs).await?;
        let clocks = stretch.clocks_agree();
        report.components = judged.components;
        let evidence = saved::read(&run, None)?;
        report.rows.push(match clocks.and_then(|()| analyse(design, *operation, &evidence)) {
            Ok(row) => Said::Row(Box::new(row)),
            Err(why) => Said::Nothing { operation: *operation, why },
        });
        report.seconds = start.elapsed().as_secs_f64();
        report.directory = directory.path().display().to_string();
        directory.write_json(RESULT, &report).map_err(unusable)?;
        directory.write(MARKDOWN, &report.markdown()).map_err(unusable)?;
        if cancel.is_cancelled() {
            return Err(CommandError::interrupted());
        }
    }
    Ok((report, directory))
}
