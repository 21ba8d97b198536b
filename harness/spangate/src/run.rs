//! The run of a scenario, from the plan to the report.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use spangate_cluster::{Assets, AssetsEnv};
use spangate_load::{
    Engine, EngineConfig, Outcome, RequestRecord, Summary,
    synthetic::{Pace, Sender, SenderConfig, SentTrace, Synthetic, Target},
};
use spangate_scenario::{delay::DelaySampler, model::Fault};
use spangate_sink::{DelayFn, Misbehaviour, Passage, Store, capture_file};
use spangate_trace::{Clock, UnixNanos};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::{
    directory::{DirectoryError, RunDirectory},
    environment::{Cluster, Environment, Notes, sleep_until},
    ledgers::{Ledgers, Noted},
    settle::Settle,
    stalls::StallMonitor,
    telling::Telling,
};
use crate::{
    collector::running::CollectorFacts,
    error::CommandError,
    event::{Event, Events, Step},
    evidence::{Aborted, Evidence, Facts, Generator, Outage, Passed, SinkFacts, TraceTotals},
    plan::Plan,
    report::{self, Report, RequestTotals},
    verdict,
};

mod api;
mod decided;
pub mod directory;
pub(crate) mod drain;
pub(crate) mod environment;
mod ledgers;
mod priority;
mod recorder;
mod settle;
mod stalls;
pub(crate) mod telling;

/// Time between the arming of the faults and the first arrival.
pub(crate) const LEAD: Duration = Duration::from_millis(100);
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
    if let Some(configuration) = &plan.collector {
        directory.write(RunDirectory::COLLECTOR, &configuration.text).map_err(unusable_directory)?;
    }
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
    let components = environment.components.clone();
    let to_first_span = environment.cluster.as_ref().map(|cluster| cluster.to_first_span);
    let saving = Saving::of(&environment);
    environment.stop(directory).await;
    drop(notes);
    // Also what a broken run has recorded is kept.
    let written = saving.write(directory);
    let ledgers = ledgers.close().await?;
    let Carried { summary, traces, facts } =
        outcome.map_err(|error| error.help_else(|| logs_are_in(directory)))?;
    written?;
    if let Some(summary) = &summary {
        directory.write_json(RunDirectory::SUMMARY, summary).map_err(unusable_directory)?;
    }
    if plan.synthetic.is_some() {
        directory.write_lines(RunDirectory::TRACES, &traces).map_err(unusable_directory)?;
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
    let evidence = evidence.with_watched(watched).with_passed(passed).with_traces(traces);
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
        seconds_to_first_span: to_first_span.map(|time| time.as_secs_f64()),
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

/// What is written of a run's spans when its processes have ended.
struct Saving {
    /// Where spans arrived first.
    given: Arc<Store>,
    /// Where they arrived in the end.
    kept: Arc<Store>,
    passages: Vec<Passage>,
    has_collector: bool,
}

/// What a run came to.
struct Carried {
    /// The load, where it was requests.
    summary: Option<Summary>,
    /// The ledger of synthetic traces.
    traces: Vec<SentTrace>,
    facts: Facts,
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
    async fn carry_out(&self, ledgers: &Ledgers) -> Result<Carried, CommandError> {
        match (&self.environment.cluster, &self.plan.synthetic) {
            (_, Some(synthetic)) => self.send_traces(synthetic).await,
            (Some(cluster), None) => self.send_requests(cluster, ledgers).await,
            (None, None) => Err(CommandError::bug("the run has neither a control plane nor traces to send")),
        }
    }

    /// Prepares, arms, sends, waits and disarms.
    async fn send_requests(&self, cluster: &Cluster, ledgers: &Ledgers) -> Result<Carried, CommandError> {
        let (plan, environment, events) = (self.plan, self.environment, self.events);
        let (endpoint, ca_pem, admin, unprivileged) = cluster.target();
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
        if let Some(webhooks) = &cluster.webhooks {
            events.step(Step::Faults);
            let registered = cluster.administrator.register(webhooks).await;
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
        let store = environment.receiver().store();
        let counted = Arc::clone(&store);
        let counting = Telling::start(events.clone(), move || Event::Spans(counted.len() as u64));
        events.step(Step::Load);
        events
            .send(Event::LoadStarted { planned: plan.schedule.planned(), duration: plan.schedule.duration });
        let gauging = Telling::of_load(events.clone(), engine.gauge());
        let load = async {
            let stop = self.cancel.child_token();
            let decided = decided::decided(&plan.scenario.spec, ledgers, &store, &self.clock, events);
            let sending = engine.run(load_start, stop.clone());
            tokio::pin!(sending);
            let mut summary = tokio::select! {
                summary = &mut sending => summary,
                () = decided => {
                    stop.cancel();
                    sending.await
                }
            };
            environment.disarm();
            let end = self.clock.now();
            summary.watched = watching.stop().await;
            (summary, end, monitor.stop())
        };
        let ((summary, load_end, stalls), outages, ()) =
            tokio::join!(load, join_all(self.outages(load_start)), self.collector_outages(load_start));
        drop(gauging);

        events.step(Step::Spans);
        let requests = ledgers.requests_so_far().await;
        Settle::new(&requests, &plan.scenario.spec)
            .wait(&environment.receiver().store(), events, self.cancel)
            .await;
        drop(counting);
        if let Some(webhooks) = &cluster.webhooks {
            let removed = cluster.administrator.unregister(webhooks).await;
            removed.map_err(|error| {
                CommandError::environment("the webhooks cannot be removed").because(error)
            })?;
        }
        let facts = Facts {
            load_start,
            load_end,
            realtime: environment.realtime().is_some(),
            generator: generator(&summary),
            traces: None,
            collector: self.drained().await,
            sink: self.sink_facts(),
            outages,
            stalls,
        };
        Ok(Carried { summary: Some(summary), traces: Vec::new(), facts })
    }

    /// Sends synthetic traces, and waits until the Collector has decided on them.
    async fn send_traces(&self, synthetic: &Synthetic) -> Result<Carried, CommandError> {
        let (environment, events) = (self.environment, self.events);
        let unsent = |error| CommandError::environment("the traces cannot be sent").because(error);
        let address = environment.receiver().grpc_addr();
        let target = Target { host: address.ip().to_string(), port: address.port() };
        let sender = Sender::new(SenderConfig::new(target), self.clock);
        sender.connect().await.map_err(unsent)?;
        let store = environment.receiver().store();
        let counting = Telling::start(events.clone(), move || Event::Spans(store.len() as u64));
        let load_start = self.clock.now() + LEAD;
        events.step(Step::Traces);
        let (delivery, outages, ()) = tokio::join!(
            sender.send(synthetic, Pace::Planned, load_start, self.cancel),
            join_all(self.outages(load_start)),
            self.collector_outages(load_start)
        );
        let delivery = delivery.map_err(unsent)?;
        let load_end = self.clock.now();
        drop(counting);
        let totals = TraceTotals {
            traces: delivery.traces.len() as u64,
            spans: delivery.traces.iter().map(|trace| u64::from(trace.sent())).sum(),
            accepted: delivery.traces.iter().map(|trace| u64::from(trace.accepted())).sum(),
            late_exports: delivery.counts.waits,
        };
        let facts = Facts {
            load_start,
            load_end,
            traces: Some(totals),
            collector: self.drained().await,
            sink: self.sink_facts(),
            outages,
            ..Facts::default()
        };
        Ok(Carried { summary: None, traces: delivery.traces, facts })
    }

    /// Waits until the Collector has sent on what it was given, and ends it.
    async fn drained(&self) -> Option<CollectorFacts> {
        let (collector, configuration) =
            self.environment.collector.as_ref().zip(self.plan.collector.as_ref())?;
        self.events.step(Step::Drain);
        let sink = self.environment.sink.store();
        drain::drain(collector, &sink, configuration.hold(), self.events, self.cancel).await;
        Some(collector.finish().await)
    }

    fn sink_facts(&self) -> SinkFacts {
        let stats = self.environment.sink.store().stats();
        SinkFacts {
            exports: stats.requests,
            received: stats.received_spans,
            refused: stats.refused_spans + stats.invalid_spans,
            stored: stats.stored_spans,
        }
    }

    /// Takes the Collector away and brings it back, as the faults say.
    async fn collector_outages(&self, load_start: UnixNanos) {
        let Some(collector) = &self.environment.collector else { return };
        for fault in &self.plan.scenario.spec.faults {
            let Fault::Collector(fault) = fault else { continue };
            sleep_until(&self.clock, load_start + fault.during.from.get()).await;
            collector.take_away(&fault.name, fault.does).await;
            sleep_until(&self.clock, load_start + fault.during.to.get()).await;
            if let Err(error) = collector.bring_back(&fault.name).await {
                // Its facts say that it was never there again.
                self.events.send(Event::Note(error.chain()));
            }
        }
    }

    /// The misbehaviours of the sink, each at its time.
    fn outages(&self, load_start: UnixNanos) -> impl Iterator<Item = impl Future<Output = Outage>> {
        let spec = &self.plan.scenario.spec;
        spec.faults.iter().filter_map(move |fault| {
            let Fault::Sink(fault) = fault else { return None };
            let whole = (Duration::ZERO, self.plan.duration());
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
