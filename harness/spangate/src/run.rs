//! The run of a scenario, from the plan to the report.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use spangate_cluster::{Assets, AssetsEnv};
use spangate_load::{Engine, EngineConfig, Outcome, RequestRecord, Summary};
use spangate_scenario::{delay::DelaySampler, model::Fault};
use spangate_sink::{DelayFn, Misbehaviour, capture_file};
use spangate_trace::{Clock, UnixNanos};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::{
    directory::{DirectoryError, RunDirectory},
    environment::{Environment, Notes, sleep_until},
    ledgers::{Ledgers, Noted},
    settle::Settle,
    stalls::StallMonitor,
    telling::Telling,
};
use crate::{
    error::CommandError,
    event::{Event, Events, Step},
    evidence::{Aborted, Evidence, Facts, Generator, Outage, SinkFacts},
    plan::Plan,
    report::{self, Report, RequestTotals},
    verdict,
};

mod api;
pub mod directory;
pub(crate) mod environment;
mod ledgers;
mod priority;
mod recorder;
mod settle;
mod stalls;
pub(crate) mod telling;

/// Time between the arming of the faults and the first arrival.
const LEAD: Duration = Duration::from_millis(100);
/// Time after the sink's return in which the exporter must find it again; its gRPC connection backs off for up
/// to two minutes.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(150);

/// What a run does not take from its scenario.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Directory in which the run makes its own.
    pub out: PathBuf,
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
    match Box::pin(run_in(&directory, began, plan, events, cancel)).await {
        Ok(report) => Ok((report, directory)),
        Err(error) => Err(error.in_directory(directory.path())),
    }
}

async fn run_in(
    directory: &RunDirectory,
    began: jiff::Timestamp,
    plan: Plan,
    events: Events,
    cancel: CancellationToken,
) -> Result<Report, CommandError> {
    let start = Instant::now();
    directory.write(RunDirectory::SCENARIO, &plan.text).map_err(unusable_directory)?;
    directory.write_json(RunDirectory::PLAN, &plan.view()).map_err(unusable_directory)?;
    if let Some(replay) = &plan.replay {
        directory.copy(RunDirectory::RECORD, replay.path()).map_err(unusable_directory)?;
    }
    directory.write_script(RunDirectory::REPEAT, &plan.repeat_script()).map_err(unusable_directory)?;

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
    let run =
        Run { plan: &plan, environment: &environment, clock: notes.clock, events: &events, cancel: &cancel };
    let outcome = tokio::select! {
        outcome = run.carry_out(&ledgers) => outcome,
        broken = environment.broken() => Err(broken),
        () = cancel.cancelled() => Err(CommandError::interrupted()),
    };
    events.step(Step::Clean);
    let (components, to_first_span) = (environment.components.clone(), environment.to_first_span);
    let store = environment.sink.store();
    environment.stop(directory).await;
    drop(notes);
    // Also what a broken run has recorded is kept.
    let written = capture_file::write(&directory.file(RunDirectory::CAPTURE), &store);
    let ledgers = ledgers.close().await?;
    let (summary, facts) = outcome.map_err(|error| error.help_else(|| logs_are_in(directory)))?;
    written.map_err(|error| CommandError::environment("the capture cannot be written").because(error))?;
    directory.write_json(RunDirectory::SUMMARY, &summary).map_err(unusable_directory)?;
    directory.write_json(RunDirectory::FACTS, &facts).map_err(unusable_directory)?;

    events.step(Step::Judge);
    let totals = totals(&ledgers.requests);
    let repeat = plan.repeat();
    let mut warnings = plan.warnings();
    let Noted { requests, injections, watched } = ledgers;
    let evidence = Evidence::new(plan.scenario, requests, injections, store.snapshot(), facts);
    let evidence = evidence.with_watched(watched);
    let verdicts = verdict::judge(&evidence);
    warnings.extend(report::warnings(&evidence.facts.generator, &totals));
    let report = Report {
        api_version: Report::API_VERSION.to_owned(),
        kind: "Report".to_owned(),
        scenario: evidence.scenario.metadata.name.clone(),
        seed: evidence.scenario.spec.seed,
        status: report::overall(&verdicts),
        verdicts,
        components,
        warnings,
        requests: totals,
        facts: evidence.facts,
        started: began.to_string(),
        seconds: start.elapsed().as_secs_f64(),
        seconds_to_first_span: Some(to_first_span.as_secs_f64()),
        repeat,
        directory: directory.path().display().to_string(),
    };
    directory.write(RunDirectory::REPORT, &report.to_json()).map_err(unusable_directory)?;
    let junit = report::junit::junit(std::slice::from_ref(&report))
        .map_err(|error| CommandError::bug("the report cannot be written as JUnit XML").because(error))?;
    directory.write(RunDirectory::JUNIT, &junit).map_err(unusable_directory)?;
    events.send(Event::Finished(Box::new(report.clone())));
    Ok(report)
}

fn unusable_directory(error: DirectoryError) -> CommandError {
    CommandError::environment("the directory of the run cannot be used").because(error)
}

fn logs_are_in(directory: &RunDirectory) -> String {
    format!("the logs are in {}", directory.file(RunDirectory::LOGS).display())
}

/// A run in its environment.
struct Run<'r> {
    plan: &'r Plan,
    environment: &'r Environment,
    clock: Clock,
    events: &'r Events,
    cancel: &'r CancellationToken,
}

// === impl Run ===

impl Run<'_> {
    /// Prepares, arms, sends, waits and disarms.
    async fn carry_out(&self, ledgers: &Ledgers) -> Result<(Summary, Facts), CommandError> {
        let (plan, environment, events) = (self.plan, self.environment, self.events);
        let (endpoint, ca_pem, admin, unprivileged) = environment.target();
        let engine = Engine::new(EngineConfig {
            endpoint,
            ca_pem,
            admin,
            unprivileged,
            load: plan.scenario.spec.load.clone(),
            schedule: plan.schedule.clone(),
            replay: plan.replay.clone(),
            clock: self.clock,
            events: ledgers.load.clone(),
            run_label: plan.scenario.metadata.name.clone(),
        })
        .map_err(|error| CommandError::environment("the load cannot reach the API server").because(error))?;
        events.step(Step::Prepare);
        engine.prepare().await.map_err(|error| {
            CommandError::environment("the objects of the load cannot be made").because(error)
        })?;
        if let Some(webhooks) = &environment.webhooks {
            events.step(Step::Faults);
            let registered = environment.administrator.register(webhooks).await;
            registered.map_err(|error| {
                CommandError::environment("the webhooks cannot be registered").because(error)
            })?;
        }
        let watching = engine
            .watch(self.cancel)
            .await
            .map_err(|error| CommandError::environment("the watchers cannot begin").because(error))?;
        let monitor = StallMonitor::start(self.clock, environment.realtime());
        let load_start = self.clock.now() + LEAD;
        environment.arm(load_start);
        let store = environment.sink.store();
        let counting = Telling::start(events.clone(), move || Event::Spans(store.len() as u64));
        events.step(Step::Load);
        events
            .send(Event::LoadStarted { planned: plan.schedule.planned(), duration: plan.schedule.duration });
        let gauging = Telling::of_load(events.clone(), engine.gauge());
        let load = async {
            let mut summary = engine.run(load_start, self.cancel.child_token()).await;
            environment.disarm();
            let end = self.clock.now();
            summary.watched = watching.stop().await;
            (summary, end, monitor.stop())
        };
        let ((summary, load_end, stalls), outages) = tokio::join!(load, join_all(self.outages(load_start)));
        drop(gauging);

        events.step(Step::Spans);
        let requests = ledgers.requests_so_far().await;
        Settle::new(&requests, &plan.scenario.spec)
            .wait(&environment.sink.store(), events, self.cancel)
            .await;
        drop(counting);
        if let Some(webhooks) = &environment.webhooks {
            let removed = environment.administrator.unregister(webhooks).await;
            removed.map_err(|error| {
                CommandError::environment("the webhooks cannot be removed").because(error)
            })?;
        }
        let stats = environment.sink.store().stats();
        let facts = Facts {
            load_start,
            load_end,
            realtime: environment.realtime().is_some(),
            generator: generator(&summary),
            sink: SinkFacts {
                exports: stats.requests,
                received: stats.received_spans,
                refused: stats.refused_spans + stats.invalid_spans,
                stored: stats.stored_spans,
            },
            outages,
            stalls,
        };
        Ok((summary, facts))
    }

    /// The misbehaviours of the sink, each at its time.
    fn outages(&self, load_start: UnixNanos) -> impl Iterator<Item = impl Future<Output = Outage>> {
        let spec = &self.plan.scenario.spec;
        spec.faults.iter().filter_map(move |fault| {
            let Fault::Sink(fault) = fault else { return None };
            let whole = (Duration::ZERO, self.plan.schedule.duration);
            let (from, to) = fault.during.map_or(whole, |window| (window.from.get(), window.to.get()));
            let misbehaviour = Misbehaviour::of(&fault.does, |delay| sampler(delay, spec.seed));
            Some(self.outage(fault.name.clone(), misbehaviour, load_start + from, load_start + to))
        })
    }

    /// Misbehaves from `from` to `to`, then waits until spans come again.
    async fn outage(
        &self,
        fault: String,
        misbehaviour: Misbehaviour,
        from: UnixNanos,
        to: UnixNanos,
    ) -> Outage {
        let sink = &self.environment.sink;
        sleep_until(&self.clock, from).await;
        sink.misbehave(Some(misbehaviour));
        let from = self.clock.now();
        sleep_until(&self.clock, to).await;
        let mut changed = sink.store().changed();
        changed.mark_unchanged();
        sink.misbehave(None);
        let to = self.clock.now();
        let came = timeout(RECOVERY_PATIENCE, changed.changed()).await;
        let first_span = matches!(came, Ok(Ok(()))).then(|| self.clock.now());
        Outage { fault, from, to, first_span }
    }
}

fn sampler(delay: &spangate_scenario::model::Delay, seed: u64) -> DelayFn {
    match DelaySampler::new(delay, seed) {
        Ok(sampler) => {
            let sampler = Mutex::new(sampler);
            Arc::new(move || sampler.lock().unwrap_or_else(PoisonError::into_inner).sample())
        }
        // Validation refuses impossible delays.
        Err(_) => Arc::new(|| Duration::ZERO),
    }
}

fn generator(summary: &Summary) -> Generator {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let lag = |percentile| micros(summary.start_lag.percentile(percentile).unwrap_or_default());
    Generator {
        skipped: summary.skipped.clone(),
        bottleneck: summary.bottleneck.clone(),
        aborted: summary.aborted.as_ref().map(|aborted| Aborted {
            rule: aborted.rule.clone(),
            observed: aborted.observed.clone(),
            n: aborted.n,
            after_seconds: aborted.at.as_secs_f64(),
        }),
        planned: summary.planned,
        started: summary.started,
        shed: summary.shed,
        start_lag_p50_us: lag(50.0),
        start_lag_p99_us: lag(99.0),
        start_lag_max_us: lag(100.0),
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
