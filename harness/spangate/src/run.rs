//! The run of a scenario, from the plan to the report.

use std::{path::PathBuf, sync::Arc, time::Instant};

use spangate_cluster::{Assets, AssetsEnv};
use spangate_load::{Outcome, RequestRecord};
use spangate_sink::{Passage, Store, capture_file};
use spangate_trace::Clock;
use tokio_util::sync::CancellationToken;

pub use self::together::Place;
pub(crate) use self::{carry_out::LEAD, together::together};
use self::{
    carry_out::{Carried, Run},
    directory::{DirectoryError, RunDirectory},
    environment::{Environment, Notes},
    ledgers::{Ledgers, Noted},
};
use crate::{
    error::CommandError,
    event::{Event, Events, Step},
    evidence::{Evidence, Passed},
    measure::Machine,
    plan::Plan,
    report::{self, Report, RequestTotals},
    verdict,
};

mod api;
mod carry_out;
mod collector_on_kind;
mod decided;
pub mod directory;
pub(crate) mod drain;
pub(crate) mod environment;
pub(crate) mod etcd_proxy;
mod existing;
pub(crate) mod kind;
mod ledgers;
mod priority;
mod quiet;
mod recorder;
mod servers;
mod settle;
mod stalls;
pub(crate) mod telling;
mod together;
mod webhook_service;

/// What a run does not take from its scenario.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Directory in which the run makes its own.
    pub out: PathBuf,
    /// Where it waits before its load begins, if it is to begin together with others.
    pub together: Option<Place>,
}

/// Runs a scenario and judges it. Whatever happens, everything that was started is ended.
pub async fn run(
    plan: Plan,
    options: &RunOptions,
    events: Events,
    cancel: CancellationToken,
) -> Result<(Report, RunDirectory), CommandError> {
    let began = jiff::Timestamp::now();
    let time = began.strftime("%Y%m%dT%H%M%SZ").to_string();
    let directory = RunDirectory::create(&options.out, &plan.scenario.metadata.name, &time)
        .map_err(unusable_directory)?;
    environment::sweep(&directory);
    // Boxed, since it holds all that a run needs.
    match Box::pin(run_in(&directory, began, plan, options, events, cancel)).await {
        Ok(report) => Ok((report, directory)),
        Err(error) => Err(error.in_directory(directory.path())),
    }
}

async fn run_in(
    directory: &RunDirectory,
    began: jiff::Timestamp,
    mut plan: Plan,
    options: &RunOptions,
    events: Events,
    cancel: CancellationToken,
) -> Result<Report, CommandError> {
    let start = Instant::now();
    note_down(&plan, directory).map_err(unusable_directory)?;
    let ledgers = Ledgers::open(directory, events.clone())?;
    let notes = Notes { clock: Clock::new(), injections: ledgers.injections.clone() };
    let assets = Assets::new(AssetsEnv::from_process());
    let started = tokio::select! {
        started = Environment::start(&plan, &assets, directory, &notes, &events) => started,
        () = cancel.cancelled() => Err(CommandError::interrupted()),
    };
    let environment = match started {
        Ok(environment) => environment,
        Err(error) => {
            environment::tidy(directory);
            return Err(error.help_else(|| logs_are_in(directory)));
        }
    };
    // From here on it is known who the load will be.
    if let Some(group) = environment.admin_group() {
        plan.scenario.spec.cluster.admin_group = Some(group.to_owned());
    }
    let run = Run {
        plan: &plan,
        environment: &environment,
        clock: notes.clock,
        together: options.together.as_ref(),
        events: &events,
        cancel: &cancel,
    };
    let outcome = tokio::select! {
        outcome = run.carry_out(&ledgers) => outcome,
        broken = environment.broken() => Err(broken),
        () = cancel.cancelled() => Err(CommandError::interrupted()),
    };
    events.step(Step::Clean);
    let components = environment.components.clone();
    let to_first_span = environment.cluster.as_ref().map(|cluster| cluster.to_first_span);
    let saving = Saving::of(&environment);
    let left = environment.leave(outcome.is_err()).await;
    environment.stop(directory).await;
    drop(notes);
    // Also what a broken run has recorded is kept.
    let written = saving.write(directory);
    let ledgers = ledgers.close().await?;
    let Carried { summary, traces, usage, stored, facts } =
        outcome.map_err(|error| error.help_else(|| logs_are_in(directory)))?;
    written?;
    if let Some(summary) = &summary {
        directory.write_json(RunDirectory::SUMMARY, summary).map_err(unusable_directory)?;
    }
    if plan.synthetic.is_some() {
        directory.write_lines(RunDirectory::TRACES, &traces).map_err(unusable_directory)?;
    }
    directory.write_lines(RunDirectory::USAGE, &usage.0).map_err(unusable_directory)?;
    if let Some(stored) = &stored {
        directory.write_lines(RunDirectory::STORED, stored).map_err(unusable_directory)?;
    }
    directory.write_json(RunDirectory::FACTS, &facts).map_err(unusable_directory)?;

    events.step(Step::Judge);
    let totals = totals(&ledgers.requests);
    let repeat = plan.repeat();
    let mut warnings = plan.warnings();
    let Noted { requests, injections, watched } = ledgers;
    let evidence = Evidence::new(plan.scenario, requests, injections, saving.given.snapshot(), facts);
    let passed = plan.collector.map(|configuration| Passed {
        kept: saving.kept.snapshot(),
        passages: saving.passages,
        configuration,
    });
    let evidence = evidence.with_watched(watched).with_passed(passed).with_traces(traces).with_usage(usage);
    let evidence = evidence.with_stored(stored);
    let verdicts = verdict::judge(&evidence);
    warnings.extend(report::warnings(&evidence.facts.generator, &totals));
    warnings.extend(left.iter().map(|left| left.warning.clone()));
    let report = Report {
        api_version: Report::API_VERSION.to_owned(),
        kind: "Report".to_owned(),
        scenario: evidence.scenario.metadata.name.clone(),
        seed: evidence.scenario.spec.seed,
        status: report::overall(&verdicts),
        verdicts,
        components,
        machine: Some(Machine::this()),
        warnings,
        requests: totals,
        facts: evidence.facts,
        started: began.to_string(),
        seconds: start.elapsed().as_secs_f64(),
        seconds_to_first_span: to_first_span.map(|time| time.as_secs_f64()),
        repeat,
        directory: directory.path().display().to_string(),
        left_behind: left.is_some_and(|left| !left.going),
    };
    directory.write(RunDirectory::REPORT, &report.to_json()).map_err(unusable_directory)?;
    let junit = report::junit::junit(std::slice::from_ref(&report))
        .map_err(|error| CommandError::bug("the report cannot be written as JUnit XML").because(error))?;
    directory.write(RunDirectory::JUNIT, &junit).map_err(unusable_directory)?;
    events.send(Event::Finished(Box::new(report.clone())));
    Ok(report)
}

/// What is to be done, where it can be read and repeated.
fn note_down(plan: &Plan, directory: &RunDirectory) -> Result<(), DirectoryError> {
    directory.write(RunDirectory::SCENARIO, &plan.text)?;
    directory.write_json(RunDirectory::PLAN, &plan.view())?;
    if let Some(configuration) = &plan.collector {
        directory.write(RunDirectory::COLLECTOR, &configuration.text)?;
    }
    if let Some(config) = &plan.kind_config {
        directory.write(RunDirectory::KIND, config)?;
    }
    if let Some(replay) = &plan.replay {
        directory.copy(RunDirectory::RECORD, replay.path())?;
    }
    directory.write_script(RunDirectory::REPEAT, &plan.repeat_script())
}

fn unusable_directory(error: DirectoryError) -> CommandError {
    CommandError::environment("the directory of the run cannot be used").because(error)
}

fn logs_are_in(directory: &RunDirectory) -> String {
    format!("the logs are in {}", directory.file(RunDirectory::LOGS).display())
}

/// What is written of a run's spans when its processes have ended.
struct Saving {
    /// Where spans arrived first.
    given: Arc<Store>,
    /// Where they arrived in the end.
    kept: Arc<Store>,
    passages: Vec<Passage>,
    has_collector: bool,
}

// === impl Saving ===

impl Saving {
    fn of(environment: &Environment) -> Self {
        Self {
            given: environment.receiver().store(),
            kept: environment.sink.store(),
            passages: environment.receiver().passages(),
            has_collector: environment.collector.is_some(),
        }
    }

    fn write(&self, directory: &RunDirectory) -> Result<(), CommandError> {
        let write = |name, store| {
            capture_file::write(&directory.file(name), store)
                .map_err(|error| CommandError::environment("the capture cannot be written").because(error))
        };
        write(RunDirectory::CAPTURE, &self.given)?;
        if self.has_collector {
            write(RunDirectory::KEPT, &self.kept)?;
            directory.write_lines(RunDirectory::PASSAGES, &self.passages).map_err(unusable_directory)?;
        }
        Ok(())
    }
}

fn totals(requests: &[RequestRecord]) -> RequestTotals {
    let mut totals = RequestTotals::default();
    for request in requests {
        totals.total += 1;
        *match &request.outcome {
            Outcome::Status(status) if *status < 400 => &mut totals.succeeded,
            Outcome::Status(_) => &mut totals.refused,
            Outcome::Error(_) => &mut totals.errors,
            Outcome::Timeout => &mut totals.timeouts,
            Outcome::Shed => &mut totals.shed,
        } += 1;
    }
    totals
}
