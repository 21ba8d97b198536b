//! What a run does in its environment: it sends requests or traces while faults act, and waits for what must come.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use spangate_load::{
    Engine, EngineConfig, Summary,
    synthetic::{Pace, Sender, SenderConfig, SentTrace, Synthetic, Target},
};
use spangate_scenario::{
    delay::DelaySampler,
    model::{Fault, GrpcStatus},
};
use spangate_sink::{DelayFn, Misbehaviour};
use spangate_trace::{Clock, UnixNanos};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    Place, decided, drain,
    environment::{Cluster, Environment, sleep_until},
    ledgers::Ledgers,
    quiet,
    settle::Settle,
    stalls::StallMonitor,
    telling::Telling,
};
use crate::{
    backends::{
        jaeger::{self, StoredTrace},
        prometheus,
    },
    collector::facts::CollectorFacts,
    error::CommandError,
    event::{Event, Events, Step},
    evidence::{Aborted, Facts, Generator, Outage, Rest, SinkFacts, TraceTotals, stalls::Stalls},
    measure::{Border, Measurements, Recorder},
    plan::Plan,
};

/// Time between the arming of the faults and the first arrival.
pub(crate) const LEAD: Duration = Duration::from_millis(100);
/// Time after the sink's return in which the exporter must find it again; its gRPC connection backs off for up
/// to two minutes.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(150);

/// What a run came to.
pub(super) struct Carried {
    /// The load, where it was requests.
    pub(super) summary: Option<Summary>,
    /// The ledger of synthetic traces.
    pub(super) traces: Vec<SentTrace>,
    /// What the processes used of the machine.
    pub(super) usage: Measurements,
    /// What Jaeger had in the end, if there was one that answered.
    pub(super) stored: Option<Vec<StoredTrace>>,
    pub(super) facts: Facts,
}

/// A run in its environment.
pub(super) struct Run<'r> {
    pub(super) plan: &'r Plan,
    pub(super) environment: &'r Environment,
    pub(super) clock: Clock,
    /// Where it waits before its load begins, if it is to begin together with others.
    pub(super) together: Option<&'r Place>,
    pub(super) events: &'r Events,
    pub(super) cancel: &'r CancellationToken,
}

// === impl Run ===

impl Run<'_> {
    /// Prepares, arms, sends, waits and disarms.
    pub(super) async fn carry_out(&self, ledgers: &Ledgers) -> Result<Carried, CommandError> {
        match (&self.environment.cluster, &self.plan.synthetic) {
            (_, Some(synthetic)) => self.send_traces(synthetic).await,
            (Some(cluster), None) => self.send_requests(cluster, ledgers).await,
            (None, None) => Err(CommandError::bug("the run has neither a control plane nor traces to send")),
        }
    }

    /// Waits for those that are to begin at the same time, and takes the place for it.
    async fn ready(&self) {
        if let Some(others) = self.together {
            self.events.send(Event::Progress { what: "waiting for the others".to_owned(), done: None });
            others.wait().await;
            self.environment.raise_again(self.events);
        }
        self.environment.raise_load(self.events);
    }

    /// When the load begins: soon, or at the place of this run among those that begin at the same time.
    async fn start(&self) -> UnixNanos {
        let Some(place) = self.together else { return self.clock.now() + LEAD };
        let begin = place.begin(self.plan.schedule.rate()).await;
        self.clock.now() + begin.saturating_duration_since(Instant::now())
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
            run_label: environment.run_label(plan).to_owned(),
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
        // Each of several watchers would take its part of the time that it watches.
        let monitor =
            self.together.is_none().then(|| StallMonitor::start(self.clock, environment.realtime()));
        let recorder = self.record().await;
        let rest = self.at_rest(cluster, &recorder).await;
        self.ready().await;
        recorder.mark(Border::Load);
        let load_start = self.start().await;
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
            (summary, end, monitor.map_or_else(|| Stalls::new(0, Vec::new()), StallMonitor::stop))
        };
        let ((summary, load_end, stalls), outages, ()) =
            tokio::join!(load, join_all(self.outages(load_start)), self.collector_outages(load_start));
        drop(gauging);
        recorder.mark(Border::LoadEnd);

        events.step(Step::Spans);
        let requests = ledgers.requests_so_far().await;
        if plan.quiet.is_some() {
            // What is used is read once more after the end of the schedule, so that all of it is known.
            sleep_until(&self.clock, load_start + plan.schedule.duration + LEAD).await;
        } else {
            Settle::new(&requests, &plan.scenario.spec)
                .wait(&environment.receiver().store(), events, self.cancel)
                .await;
        }
        drop(counting);
        let (collector, usage) = self.drained(recorder).await;
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
            rest,
            collector,
            sink: self.sink_facts(),
            outages,
            stalls,
            admin_group: environment.admin_group().map(str::to_owned),
        };
        let stored = self.stored().await;
        Ok(Carried { summary: Some(summary), traces: Vec::new(), usage, stored, facts })
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
        let recorder = self.record().await;
        recorder.mark(Border::Load);
        let load_start = self.clock.now() + LEAD;
        events.step(Step::Traces);
        let (delivery, outages, ()) = tokio::join!(
            sender.send(synthetic, Pace::Planned, load_start, self.cancel),
            join_all(self.outages(load_start)),
            self.collector_outages(load_start)
        );
        let delivery = delivery.map_err(unsent)?;
        let load_end = self.clock.now();
        recorder.mark(Border::LoadEnd);
        drop(counting);
        let totals = TraceTotals {
            traces: delivery.traces.len() as u64,
            spans: delivery.traces.iter().map(|trace| u64::from(trace.sent())).sum(),
            accepted: delivery.traces.iter().map(|trace| u64::from(trace.accepted())).sum(),
            late_exports: delivery.counts.waits,
        };
        let (collector, usage) = self.drained(recorder).await;
        let facts = Facts {
            load_start,
            load_end,
            traces: Some(totals),
            collector,
            sink: self.sink_facts(),
            outages,
            ..Facts::default()
        };
        let stored = self.stored().await;
        Ok(Carried { summary: None, traces: delivery.traces, usage, stored, facts })
    }

    /// Asks Jaeger, if there is one, for the traces that it was given.
    async fn stored(&self) -> Option<Vec<StoredTrace>> {
        let jaeger = self.environment.backends.jaeger.as_ref()?;
        self.events.step(Step::Ask);
        let sink = &self.environment.sink;
        // An API server goes on sending, and what comes now would be in neither or in one.
        let refuse = Misbehaviour::Refuse { status: GrpcStatus::Unavailable, retry_after: None };
        sink.misbehave(Some(refuse));
        self.told(jaeger::ask(jaeger.query(), sink).await)
    }

    /// What a backend said, or a note of why it said nothing: nothing is decided then that rests on it.
    fn told<T>(&self, told: Result<T, String>) -> Option<T> {
        told.map_err(|why| self.events.send(Event::Note(why))).ok()
    }

    /// Waits until the API server is quiet, where that is asked for.
    async fn at_rest(&self, cluster: &Cluster, recorder: &Recorder) -> Option<Rest> {
        let (quiet, pid) = (self.plan.quiet.as_ref()?, cluster.api_server_pid()?);
        Some(quiet::wait(quiet, pid, &self.clock, recorder, self.events).await)
    }

    /// Begins to record what the processes use.
    async fn record(&self) -> Recorder {
        self.environment.follow().await;
        Recorder::start(self.clock, self.environment.follow.clone())
    }

    /// Waits until the Collector has sent on what it was given, and ends it; what is used is recorded until then.
    async fn drained(&self, recorder: Recorder) -> (Option<CollectorFacts>, Measurements) {
        let both = self.environment.collector.as_ref().zip(self.plan.collector.as_ref());
        let Some((collector, configuration)) = both else { return (None, recorder.stop()) };
        self.events.step(Step::Drain);
        let sink = self.environment.sink.store();
        drain::drain(collector, &sink, configuration.hold(), self.events, self.cancel).await;
        let usage = recorder.stop();
        let stored = match &self.environment.backends.prometheus {
            Some(prometheus) => self.told(prometheus::series(prometheus.query()).await),
            None => None,
        };
        let facts = collector.finish().await;
        (Some(CollectorFacts { stored: stored.unwrap_or_default(), ..facts }), usage)
    }

    fn sink_facts(&self) -> SinkFacts {
        let stats = self.environment.sink.store().stats();
        SinkFacts {
            exports: stats.requests,
            received: stats.received_spans,
            refused: stats.refused_spans + stats.invalid_spans,
            stored: stats.stored_spans,
            bytes: stats.bytes,
        }
    }

    /// Takes the Collector away and brings it back, as the faults say.
    async fn collector_outages(&self, load_start: UnixNanos) {
        let Some(collector) = &self.environment.collector else { return };
        for fault in &self.plan.scenario.spec.faults {
            let Fault::Collector(fault) = fault else { continue };
            sleep_until(&self.clock, load_start + fault.during.from.get()).await;
            if let Err(error) = collector.take_away(&fault.name, fault.does).await {
                // Its facts say that the fault did not act, and the run is not green.
                self.events.send(Event::Note(error.chain()));
            }
            sleep_until(&self.clock, load_start + fault.during.to.get()).await;
            if let Err(error) = collector.bring_back(&fault.name).await {
                // Its facts say that it was never there again.
                self.events.send(Event::Note(error.chain()));
            }
            self.environment.follow().await;
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
        if self.plan.quiet.is_some() {
            return Outage { fault, from, to, first_span: None };
        }
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
