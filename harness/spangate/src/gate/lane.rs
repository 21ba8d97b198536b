//! A lane: a sink, a Collector with one of the configurations in front of it, and a sender.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use spangate_cluster::Found;
use spangate_load::synthetic::{Delivery, Pace, Sender, SenderConfig, Synthetic, Target};
use spangate_scenario::model;
use spangate_sink::{Arrival, Passage, Sink, SinkConfig, SinkHandle, Store};
use spangate_trace::{Clock, UnixNanos};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::observe::{LaneRound, Seen};
use crate::{
    collector::{
        Configuration,
        facts::CollectorFacts,
        oracle::Oracle,
        running::{Places, RunningCollector},
    },
    error::CommandError,
    event::Events,
    run::{drain::drain, environment::forward},
};

/// Time between two looks at what a Collector says of itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A lane that runs. Dropping it ends its Collector.
pub(crate) struct Lane {
    sink: SinkHandle,
    collector: RunningCollector,
    sender: Sender,
    cpu_before: f64,
    traces_in_memory: AtomicU64,
}

/// What a lane has left, before it is looked at.
pub(crate) struct Left {
    pub(crate) delivery: Delivery,
    pub(crate) given: Arc<Store>,
    pub(crate) kept: Arc<Store>,
    pub(crate) passages: Vec<Passage>,
    /// When exports reached the sink.
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) facts: CollectorFacts,
    cpu_before: f64,
    traces_in_memory: u64,
}

// === impl Lane ===

impl Lane {
    /// Starts a lane whose files go to `directory`. An export has at most `batch` spans, if that is given.
    pub(crate) async fn start(
        configuration: &Configuration,
        model: &model::Collector,
        binary: &Found,
        directory: &Path,
        clock: Clock,
        events: &Events,
        batch: Option<u32>,
    ) -> Result<Self, CommandError> {
        let sink = Sink::start(SinkConfig { clock, ..SinkConfig::default() })
            .await
            .map_err(|error| CommandError::environment("the trace sink does not start").because(error))?;
        let tell = forward(events);
        let places = Places { files: directory, logs: directory };
        let collector = RunningCollector::start(
            configuration,
            model,
            RunningCollector::child(binary),
            places,
            &sink,
            clock,
            &tell,
        )
        .await?;
        let address = collector.tap().grpc_addr();
        let target = Target { host: address.ip().to_string(), port: address.port() };
        let mut config = SenderConfig::new(target);
        if let Some(spans) = batch.and_then(|spans| usize::try_from(spans).ok()) {
            config.batch_spans = spans;
        }
        let sender = Sender::new(config, clock);
        sender.connect().await.map_err(unsent)?;
        let told = collector.telemetry().await.unwrap_or_default();
        let traces_in_memory = AtomicU64::new(0);
        Ok(Self { sink, collector, sender, cpu_before: told.cpu_seconds, traces_in_memory })
    }

    /// The process of its Collector.
    pub(crate) async fn pid(&self) -> Option<u32> {
        self.collector.pid().await
    }

    /// Spans that the Collector was given so far.
    pub(crate) fn given(&self) -> Arc<Store> {
        self.collector.given()
    }

    /// Sends the traces from `origin` on, waits until the Collector has sent on what it keeps, and ends it. Where it is `watched`,
    /// it is asked all the while how many traces are in memory, which takes it time.
    pub(crate) async fn carry_out(
        &self,
        synthetic: &Synthetic,
        origin: UnixNanos,
        hold: Duration,
        watched: bool,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<Left, CommandError> {
        let work = async {
            let delivery =
                self.sender.send(synthetic, Pace::Planned, origin, cancel).await.map_err(unsent)?;
            drain(&self.collector, &self.sink.store(), hold, events, cancel).await;
            Ok(delivery)
        };
        let delivery = tokio::select! {
            done = work => done?,
            () = self.watch(), if watched => {
                return Err(CommandError::bug("a Collector was no longer watched"));
            }
        };
        let facts = self.collector.finish().await;
        Ok(Left {
            delivery,
            given: self.collector.given(),
            kept: self.sink.store(),
            passages: self.collector.passages(),
            arrivals: self.sink.arrivals(),
            facts,
            cpu_before: self.cpu_before,
            traces_in_memory: self.traces_in_memory.load(Ordering::Relaxed),
        })
    }

    /// Looks at how many traces are in memory, until it is dropped. Both lanes are looked at as often.
    async fn watch(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Ok(told) = self.collector.telemetry().await {
                self.traces_in_memory.fetch_max(told.tail.on_memory, Ordering::Relaxed);
            }
        }
    }

    /// Ends what is left of it.
    pub(crate) async fn shutdown(self) {
        self.collector.shutdown().await;
        self.sink.shutdown().await;
    }
}

fn unsent(error: spangate_load::synthetic::SenderError) -> CommandError {
    CommandError::environment("the traces cannot be sent").because(error)
}

// === impl Left ===

impl Left {
    /// What came of the lane, by its configuration. It decides on every trace again, which takes a while.
    pub(crate) fn look(&self, configuration: &Configuration) -> LaneRound {
        let (given, kept) = (self.given.snapshot(), self.kept.snapshot());
        let oracle = Oracle::new(&configuration.config).map_err(|why| why.to_string());
        let oracle = if self.facts.crashes.is_empty() {
            oracle
        } else {
            Err("the Collector ended in between".to_owned())
        };
        let seen =
            Seen { ledger: &self.delivery.traces, given: &given, passages: &self.passages, kept: &kept };
        LaneRound {
            bytes_out: self.kept.stats().bytes,
            traces_in_memory: self.traces_in_memory,
            cpu_before: self.cpu_before,
            lag: self.delivery.counts.lags.percentile(99.0).unwrap_or_default(),
            facts: self.facts.clone(),
            ..LaneRound::of(&seen, oracle.as_ref().map_err(Clone::clone))
        }
    }

    /// What is kept of the lane in its directory.
    pub(crate) fn files(&self) -> Files<'_> {
        Files { delivery: &self.delivery, kept: &self.kept, passages: &self.passages }
    }
}

/// What is written of a lane.
pub(crate) struct Files<'l> {
    pub(crate) delivery: &'l Delivery,
    pub(crate) kept: &'l Store,
    pub(crate) passages: &'l [Passage],
}

/// Where the files of a lane are.
pub(crate) fn directory(root: &Path, round: u32, name: &str) -> PathBuf {
    root.join(format!("round-{round}")).join(name)
}
