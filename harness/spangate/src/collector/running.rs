//! A Collector that runs, with a tap in front of it: what it is given is known, and what it answers.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spangate_cluster::{CollectorConfig, Found, Lifetime, LocalCollector, StartError, local, process};
use spangate_scenario::model::{self, CollectorOutage};
use spangate_sink::{Passage, Sink, SinkConfig, SinkHandle, Store};
use spangate_trace::{Clock, UnixNanos};

use super::{Configuration, Rewiring, Wired, prometheus, telemetry::Telemetry};
use crate::{error::CommandError, measure::Meter};

/// How often the Collector is started again on other ports.
const ATTEMPTS: u32 = 3;
/// How long it may take to send on what it has when it is asked to end.
const GRACE: Duration = Duration::from_secs(30);
/// Lines of its log that are kept of a crash.
const TAIL: usize = 20;

/// A Collector, and the tap in front of it. Dropping it kills the process.
pub struct RunningCollector {
    tap: SinkHandle,
    wired: Wired,
    clock: Clock,
    config: CollectorConfig,
    process: tokio::sync::Mutex<Option<LocalCollector>>,
    state: Arc<Mutex<State>>,
}

/// Where a Collector's files go.
#[derive(Debug, Clone, Copy)]
pub struct Places<'p> {
    /// What it needs.
    pub files: &'p Path,
    /// What it says.
    pub logs: &'p Path,
}

/// What is known of a Collector's life.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CollectorFacts {
    /// What was replaced in its configuration.
    pub rewired: Vec<Rewiring>,
    /// What of it still names an address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// What it counted, all its processes together.
    pub telemetry: Telemetry,
    /// When its last counts were read.
    #[schemars(with = "u64")]
    pub counted: UnixNanos,
    /// Why its last counts could not be had, if they could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
    /// What its `prometheus` exporter served in the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prometheus: Vec<Series>,
    /// The most memory that was ever resident, in bytes.
    pub peak_rss: u64,
    /// When faults took it away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<CollectorAway>,
    /// When it ended though nobody asked it to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crashes: Vec<Crash>,
}

/// A series of a `prometheus` exporter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Series {
    /// The name.
    pub name: String,
    /// The labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// A time in which a fault had taken the Collector away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorAway {
    /// The fault.
    pub fault: String,
    /// When it was told to end.
    #[schemars(with = "u64")]
    pub from: UnixNanos,
    /// When it had ended.
    #[schemars(with = "u64")]
    pub ended: UnixNanos,
    /// When another one was ready.
    #[schemars(with = "u64")]
    pub to: UnixNanos,
}

/// An end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crash {
    /// When.
    #[schemars(with = "u64")]
    pub at: UnixNanos,
    /// How it ended.
    pub status: String,
    /// The end of its log.
    pub log: String,
}

#[derive(Debug, Default)]
struct State {
    /// What earlier processes counted.
    earlier: Telemetry,
    /// Whether the process that runs now is to end.
    ending: bool,
    peak_rss: u64,
    counted: UnixNanos,
    untold: Option<String>,
    outages: Vec<CollectorAway>,
    crashes: Vec<Crash>,
}

// === impl RunningCollector ===

impl RunningCollector {
    /// Starts a Collector that sends to `sink`, and a tap that sends to the Collector.
    pub async fn start(
        configuration: &Configuration,
        model: &model::Collector,
        binary: &Found,
        places: Places<'_>,
        sink: &SinkHandle,
        clock: Clock,
        progress: &dyn spangate_cluster::Progress,
    ) -> Result<Self, CommandError> {
        let files = places.files.join("files");
        std::fs::create_dir_all(&files).map_err(|error| {
            CommandError::environment(format!("cannot make {}", files.display())).because(error)
        })?;
        let mut attempt = 1;
        let (wired, process) = loop {
            let wired = configuration.wire(sink.grpc_addr(), sink.http_addr(), &files)?;
            let config = CollectorConfig {
                binary: binary.path.clone(),
                version: binary.version,
                dir: places.files.to_owned(),
                log: places.logs.join(LocalCollector::LOG),
                config: wired.yaml.clone(),
                metrics: wired.metrics,
                receivers: wired.receivers.clone(),
                feature_gates: model.feature_gates.clone(),
                env: model.env.clone(),
                lifetime: Lifetime::WithParent,
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
            .map_err(|error| {
                CommandError::environment("the tap in front of the Collector does not start").because(error)
            })?;
        let this = Self {
            tap,
            wired,
            clock,
            config: process.config().clone(),
            state: Arc::default(),
            process: tokio::sync::Mutex::new(None),
        };
        this.watch(&process);
        *this.process.lock().await = Some(process);
        Ok(this)
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

    /// Ends the Collector as a fault does.
    pub async fn take_away(&self, fault: &str, how: CollectorOutage) {
        let from = self.clock.now();
        let mut process = self.process.lock().await;
        let Some(running) = process.take() else { return };
        self.state().ending = true;
        // What it counts while it ends, nobody can read any more.
        self.count(&running).await;
        match how {
            CollectorOutage::Stop => running.stop(GRACE).await,
            CollectorOutage::Kill => running.stop(Duration::ZERO).await,
        };
        let ended = self.clock.now();
        let away = CollectorAway { fault: fault.to_owned(), from, ended, to: ended };
        self.state().outages.push(away);
    }

    /// Starts another Collector like the one that was taken away.
    pub async fn bring_back(&self, fault: &str) -> Result<(), CommandError> {
        let mut process = self.process.lock().await;
        let started = LocalCollector::start(self.config.clone(), &()).await.map_err(|error| {
            CommandError::environment(format!("the Collector does not start again after {fault}"))
                .because(error)
        })?;
        self.watch(&started);
        *process = Some(started);
        let to = self.clock.now();
        let mut state = self.state();
        state.ending = false;
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
        let prometheus = match self.wired.prometheus {
            Some(address) => local::scrape(address).await.ok(),
            None => None,
        };
        let prometheus = prometheus.and_then(|text| prometheus::parse(&text).ok()).unwrap_or_default();
        if let Some(running) = self.process.lock().await.take() {
            self.state().ending = true;
            self.count(&running).await;
            running.stop(GRACE).await;
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
            peak_rss: state.peak_rss,
            outages: state.outages.clone(),
            crashes: state.crashes.clone(),
        }
    }

    /// Ends the tap.
    pub async fn shutdown(self) {
        drop(self.process.lock().await.take());
        self.tap.shutdown().await;
    }

    /// The process that runs now, if one does.
    pub async fn pid(&self) -> Option<u32> {
        Some(self.process.lock().await.as_ref()?.child().pid())
    }

    /// Where the log of all its processes is.
    pub fn log(&self) -> PathBuf {
        self.config.log.clone()
    }

    /// Adds what a process that is about to end has counted.
    async fn count(&self, process: &LocalCollector) {
        let peak = Meter::new(process.child().pid()).read().map_or(0, |usage| usage.peak_rss);
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

    /// Notes when a process ends though nobody asked it to.
    fn watch(&self, process: &LocalCollector) {
        let (state, clock) = (Arc::clone(&self.state), self.clock);
        let (exited, log) = (process.exited(), process.child().log().to_owned());
        tokio::spawn(async move {
            let status = exited.await;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if !state.ending {
                let log = process::log_tail(&log, TAIL);
                state.crashes.push(Crash { at: clock.now(), status: status.to_string(), log });
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
