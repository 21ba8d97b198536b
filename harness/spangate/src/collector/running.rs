//! A Collector that runs, with a tap in front of it: what it is given is known, and what it answers.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use spangate_cluster::{
    CollectorConfig, CollectorProgram, Found, Lifetime, LocalCollector, StartError, Version,
    local::{self, CollectorEnd},
    process,
};
use spangate_scenario::model::{self, CollectorOutage, GrpcStatus};
use spangate_sink::{Misbehaviour, Passage, Sink, SinkConfig, SinkHandle, Store};
use spangate_trace::{Clock, UnixNanos};

use super::{
    Configuration, Wired,
    facts::{CollectorAway, CollectorFacts, Crash, Series},
    pods::{PodCollector, PodConfig},
    prometheus,
    telemetry::Telemetry,
};
use crate::{error::CommandError, measure::Meter};

/// How often the Collector is started again on other ports.
const ATTEMPTS: u32 = 3;
/// How long it may take to send on what it has when it is asked to end.
pub(super) const GRACE: Duration = Duration::from_secs(30);
/// Lines of its log that are kept of a crash.
pub(super) const TAIL: usize = 20;

/// A Collector, and the tap in front of it. Dropping it kills the process; a pod goes with its cluster.
pub struct RunningCollector {
    tap: SinkHandle,
    wired: Wired,
    clock: Clock,
    host: Host,
    state: Arc<Mutex<State>>,
}

/// Where a Collector runs.
enum Host {
    /// As a child process, or in a container.
    Process(Box<Process>),
    /// In a pod of a kind cluster.
    Pod(Box<PodCollector>),
}

/// A process on this machine, and what another one like it is made from.
struct Process {
    config: CollectorConfig,
    running: tokio::sync::Mutex<Option<LocalCollector>>,
}

/// Where a Collector's files go.
#[derive(Debug, Clone, Copy)]
pub struct Places<'p> {
    /// What it needs.
    pub files: &'p Path,
    /// What it says.
    pub logs: &'p Path,
}

/// What is noted of a Collector while it runs.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What earlier processes counted.
    earlier: Telemetry,
    /// Since when the process that runs now is to end, if it is.
    pub(super) ending: Option<UnixNanos>,
    peak_rss: u64,
    counted: UnixNanos,
    untold: Option<String>,
    outages: Vec<CollectorAway>,
    not_acted: Vec<String>,
    pub(super) crashes: Vec<Crash>,
    /// Whether the last that was known of a pod or container was not heard.
    pub(super) unheard: bool,
}

// === impl RunningCollector ===

impl RunningCollector {
    /// A binary as the program of a Collector, which is then a child process.
    pub fn child(binary: &Found) -> (CollectorProgram, Version) {
        let (path, lifetime) = (binary.path.clone(), Lifetime::WithParent);
        (CollectorProgram::Binary { path, lifetime }, binary.version)
    }

    /// Starts a Collector that sends to `sink`, and a tap that sends to the Collector.
    pub async fn start(
        configuration: &Configuration,
        model: &model::Collector,
        (mut program, version): (CollectorProgram, Version),
        places: Places<'_>,
        sink: &SinkHandle,
        clock: Clock,
        progress: &dyn spangate_cluster::Progress,
    ) -> Result<Self, CommandError> {
        let files = places.files.join("files");
        std::fs::create_dir_all(&files).map_err(|error| {
            CommandError::environment(format!("cannot make {}", files.display())).because(error)
        })?;
        if let CollectorProgram::Container { directories, .. } = &mut program {
            directories.push(files.clone());
        }
        let mut attempt = 1;
        let (wired, process) = loop {
            let wired = configuration.wire(sink, &files)?;
            let config = CollectorConfig {
                program: program.clone(),
                version,
                dir: places.files.to_owned(),
                log: places.logs.join(LocalCollector::LOG),
                config: wired.yaml.clone(),
                metrics: wired.metrics,
                receivers: wired.receivers.clone(),
                feature_gates: model.feature_gates.clone(),
                env: model.env.clone(),
            };
            match LocalCollector::start(config, progress).await {
                Ok(process) => break (wired, process),
                Err(StartError::NotReady(error)) if error.port_taken() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => {
                    return Err(CommandError::environment("the Collector does not start").because(error).help(
                        "`spangate collector check` says what of a configuration a Collector does not take",
                    ));
                }
            }
        };
        let tap = Sink::start(SinkConfig { forward: Some(wired.grpc), clock, ..SinkConfig::default() })
            .await
            .map_err(no_tap)?;
        let state = Arc::default();
        watch(&state, clock, &process);
        let host = Process { config: process.config().clone(), running: Some(process).into() };
        Ok(Self { tap, wired, clock, state, host: Host::Process(Box::new(host)) })
    }

    /// A tap that is there before its Collector: it listens at `here`, and until the Collector is there it throws away
    /// what it is sent.
    pub async fn early_tap(here: SocketAddr, clock: Clock) -> Result<SinkHandle, CommandError> {
        let config =
            SinkConfig { grpc: here, http: here, awaits_receiver: true, clock, ..SinkConfig::default() };
        Sink::start(config).await.map_err(no_tap)
    }

    /// Starts a Collector in a pod, behind a tap that is there already.
    pub(crate) async fn in_pod(
        tap: SinkHandle,
        config: PodConfig<'_>,
        clock: Clock,
    ) -> Result<Self, CommandError> {
        let state = Arc::default();
        let (pod, wired) = PodCollector::start(config, &state, clock).await?;
        tap.forward_to(wired.grpc);
        Ok(Self { tap, wired, clock, state, host: Host::Pod(Box::new(pod)) })
    }

    /// Where spans are to be sent: the tap.
    pub fn tap(&self) -> &SinkHandle {
        &self.tap
    }

    /// What the Collector was given.
    pub fn given(&self) -> Arc<Store> {
        self.tap.store()
    }

    /// How it answered.
    pub fn passages(&self) -> Vec<Passage> {
        self.tap.passages()
    }

    /// Ends the Collector as a fault does. Where that fails, its facts say that the fault did not act.
    pub async fn take_away(&self, fault: &str, how: CollectorOutage) -> Result<(), CommandError> {
        let from = self.clock.now();
        let before = self.state().earlier.clone();
        let done = self.end(how).await;
        let ended = self.clock.now();
        let mut state = self.state();
        match &done {
            Ok(()) => {
                let away = CollectorAway { fault: fault.to_owned(), from, ended, to: ended };
                state.outages.push(away);
            }
            Err(error) => state.not_acted(fault, &error.chain(), before),
        }
        done
    }

    async fn end(&self, how: CollectorOutage) -> Result<(), CommandError> {
        match &self.host {
            Host::Process(process) => {
                let mut process = process.running.lock().await;
                let gone = || CommandError::environment("there is no Collector to end");
                let running = process.take().ok_or_else(gone)?;
                // What it counts while it ends, nobody can read any more.
                self.ending(Some(running.pid())).await;
                let grace = match how {
                    CollectorOutage::Stop => GRACE,
                    CollectorOutage::Kill => Duration::ZERO,
                };
                let told = running.stop(grace).await.is_some();
                self.state().unheard |= !told;
            }
            Host::Pod(pod) => {
                self.ending(pod.pid().await).await;
                let heard = pod.take_away(how).await?;
                self.state().unheard |= !heard;
            }
        }
        Ok(())
    }

    /// Starts another Collector like the one that was taken away.
    pub async fn bring_back(&self, fault: &str) -> Result<(), CommandError> {
        match &self.host {
            Host::Process(process) => {
                let mut running = process.running.lock().await;
                let started = LocalCollector::start(process.config.clone(), &()).await;
                let started = started.map_err(|error| {
                    CommandError::environment(format!("the Collector does not start again after {fault}"))
                        .because(error)
                })?;
                watch(&self.state, self.clock, &started);
                *running = Some(started);
            }
            Host::Pod(pod) => pod.bring_back(&self.wired).await?,
        }
        let to = self.clock.now();
        let mut state = self.state();
        state.ending = None;
        if let Some(away) = state.outages.iter_mut().rev().find(|away| away.fault == fault) {
            away.to = to;
        }
        Ok(())
    }

    /// What the Collector says that it has counted so far, all its processes together.
    pub async fn telemetry(&self) -> Result<Telemetry, String> {
        let now = self.scrape().await?;
        Ok(now.after(&self.state().earlier))
    }

    async fn scrape(&self) -> Result<Telemetry, String> {
        let text = local::scrape(self.wired.metrics).await.map_err(|error| error.to_string())?;
        Telemetry::parse(&text).map_err(|error| error.to_string())
    }

    /// Ends the Collector, which sends on what it still has, and tells what is known of it.
    pub async fn finish(&self) -> CollectorFacts {
        // An API server goes on sending, and what the Collector takes in after it was asked is in no count. A pod is
        // there for some seconds more.
        let refuse = Misbehaviour::Refuse { status: GrpcStatus::Unavailable, retry_after: None };
        self.tap.misbehave(Some(refuse));
        let prometheus = match self.wired.prometheus {
            Some(address) => local::scrape(address).await.ok(),
            None => None,
        };
        let prometheus = prometheus.and_then(|text| prometheus::parse(&text).ok()).unwrap_or_default();
        match &self.host {
            Host::Process(process) => {
                if let Some(running) = process.running.lock().await.take() {
                    self.ending(Some(running.pid())).await;
                    let told = running.stop(GRACE).await.is_some();
                    self.state().unheard |= !told;
                }
            }
            Host::Pod(pod) => {
                self.ending(pod.pid().await).await;
                // Its log says why; what it had left is missing at the sink, and is judged there.
                let heard = pod.take_away(CollectorOutage::Stop).await.unwrap_or_else(|error| {
                    tracing::warn!(error = error.chain(), "the Collector does not end");
                    false
                });
                self.state().unheard |= !heard;
            }
        }
        let state = self.state();
        CollectorFacts {
            rewired: self.wired.changes.clone(),
            left: self.wired.left.clone(),
            telemetry: state.earlier.clone(),
            counted: state.counted,
            untold: state.untold.clone(),
            prometheus: prometheus
                .into_iter()
                .map(|sample| Series { name: sample.name, labels: sample.labels, value: sample.value })
                .collect(),
            stored: Vec::new(),
            peak_rss: state.peak_rss,
            outages: state.outages.clone(),
            not_acted: state.not_acted.clone(),
            crashes: state.crashes.clone(),
            unheard: state.unheard,
        }
    }

    /// Ends the tap.
    pub async fn shutdown(self) {
        if let Host::Process(process) = &self.host {
            drop(process.running.lock().await.take());
        }
        self.tap.shutdown().await;
    }

    /// The process that runs now, if one does and can be seen from here.
    pub async fn pid(&self) -> Option<u32> {
        match &self.host {
            Host::Process(process) => Some(process.running.lock().await.as_ref()?.pid()),
            Host::Pod(pod) => pod.pid().await,
        }
    }

    /// Where its `prometheus` exporter serves, if it has one.
    pub fn prometheus(&self) -> Option<SocketAddr> {
        self.wired.prometheus
    }

    /// Where the log of all its processes is.
    pub fn log(&self) -> PathBuf {
        match &self.host {
            Host::Process(process) => process.config.log.clone(),
            Host::Pod(pod) => pod.log().to_owned(),
        }
    }

    /// Writes what it has said to its log, if nobody does so yet.
    pub async fn save_log(&self) {
        if let Host::Pod(pod) = &self.host {
            pod.save_log().await;
        }
    }

    /// Adds what a process that is about to end has counted.
    async fn ending(&self, pid: Option<u32>) {
        self.state().ending = Some(self.clock.now());
        let peak = pid.and_then(|pid| Meter::new(pid).read().ok()).map_or(0, |usage| usage.peak_rss);
        let counted = self.scrape().await;
        let now = self.clock.now();
        let mut state = self.state();
        state.counted = now;
        state.peak_rss = state.peak_rss.max(peak);
        match counted {
            Ok(counted) => state.earlier = counted.after(&state.earlier),
            Err(why) => state.untold = Some(why),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

// === impl State ===

impl State {
    /// Notes the end of a process, unless it was asked for and nothing else is behind it.
    fn ended(&mut self, end: &CollectorEnd, at: UnixNanos, log: impl FnOnce() -> String) {
        let asked = self.ending.is_some_and(|since| at >= since);
        // Nobody asks for it, though it may come when the process was to end anyway.
        let no_memory = end.reason == Some(CollectorEnd::OOM_KILLED);
        if asked && !no_memory {
            // It may have been that as well.
            self.unheard |= end.reason == Some(CollectorEnd::UNKNOWN);
            return;
        }
        let how = end.status.map_or_else(|| "nobody told how".to_owned(), |status| status.to_string());
        let status = match end.reason {
            Some(reason) => format!("{reason} ({how})"),
            None => how,
        };
        let reason = end.reason.map(str::to_owned);
        self.crashes.push(Crash { at: Some(at), status, reason, back: None, log: log() });
    }

    /// Notes that a fault did not act: nobody has asked for an end from here on. The counts are those from before it, as the
    /// process that was read then may go on with them or not.
    fn not_acted(&mut self, fault: &str, why: &str, earlier: Telemetry) {
        self.ending = None;
        self.earlier = earlier;
        self.untold.get_or_insert_with(|| {
            format!("{fault} did not act to its end, so whether a process took its counts with it is unknown")
        });
        self.not_acted.push(format!("{fault}: {why}"));
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_tap(error: spangate_sink::SinkError) -> CommandError {
    CommandError::environment("the tap in front of the Collector does not start").because(error)
}

/// Notes when a process ends though nobody asked it to.
fn watch(state: &Arc<Mutex<State>>, clock: Clock, process: &LocalCollector) {
    let state = Arc::clone(state);
    let (ended, log) = (process.ended(), process.log().to_owned());
    tokio::spawn(async move {
        let end = ended.await;
        lock(&state).ended(&end, clock.at(end.at), || process::log_tail(&log, TAIL));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a fault begins to end the Collector, whose counts are read for that, and fails.
    /// Guarantees: it is told with the reason; what ends from then on was not asked for, and nothing is counted twice.
    #[test]
    fn a_fault_that_fails_has_not_acted() {
        let mut counted = Telemetry::default();
        counted.received.accepted = 5;
        let mut state = State { ending: Some(UnixNanos(7)), earlier: counted, ..State::default() };
        state.not_acted("restart", "docker exec failed", Telemetry::default());
        assert_eq!((state.ending, &state.earlier), (None, &Telemetry::default()));
        assert_eq!(state.not_acted, ["restart: docker exec failed"]);
        assert!(state.untold.is_some_and(|why| why.starts_with("restart did not act")));
    }

    /// Scenario: containers end before and after they were asked to; of some nobody tells how.
    /// Guarantees: an end that was not asked for is a crash, with its reason; one that was is none, and not excused where
    /// nobody told of it.
    #[test]
    fn an_end_of_which_nobody_told_is_not_excused() {
        let after = |asked: bool, reason| {
            let mut state = State { ending: asked.then_some(UnixNanos(5)), ..State::default() };
            let end = CollectorEnd { status: None, reason: Some(reason), at: std::time::Instant::now() };
            state.ended(&end, UnixNanos(7), String::new);
            let crashes: Vec<String> = state.crashes.into_iter().map(|crash| crash.status).collect();
            (crashes, state.unheard)
        };
        assert_eq!(after(true, "Completed"), (Vec::new(), false));
        assert_eq!(after(true, CollectorEnd::UNKNOWN), (Vec::new(), true));
        assert_eq!(after(true, CollectorEnd::OOM_KILLED).0.len(), 1);
        let untold = "unknown (nobody told how)".to_owned();
        assert_eq!(after(false, CollectorEnd::UNKNOWN), (vec![untold], false));
    }
}
