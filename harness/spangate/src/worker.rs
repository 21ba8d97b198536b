//! One of several workers that share a load: it sends its part to an API server that is there already.
//!
//! Workers do not talk to each other. What each of them does follows from the scenario, the seed and its number,
//! and all of them begin at a time that was agreed beforehand. What they leave is joined by [`merge`](crate::merge).
//! Faults and expectations of the scenario mean nothing here: they need the control plane of a run.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use spangate_load::{ClientIdentity, Engine, EngineConfig, EngineError, Schedule, Shard, Summary, Watching};
use spangate_scenario::model::{Identity, Load};
use spangate_trace::{Clock, UnixNanos};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    access::{Access, CredentialFiles, Reach},
    start::StartAt,
};
use crate::{
    error::CommandError,
    event::{Event, Events, Step},
    plan::{LoadView, Plan},
    run::{
        directory::{DirectoryError, RunDirectory},
        telling::Telling,
    },
};

mod access;
mod ledger;
mod start;

/// Time between two tries to join what another worker prepares.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How long what was asked for as the preparation broke off may take to be there: the API server goes on with a write for a
/// moment when nobody waits for it any more.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// What a worker is to do.
#[derive(Debug)]
pub struct Order {
    /// Which part of the load it sends.
    pub shard: Shard,
    /// The API server.
    pub access: Access,
    /// When the load begins.
    pub start: StartAt,
    /// Directory for what it leaves.
    pub out: PathBuf,
    /// Whether the first worker makes what the load needs.
    pub prepare: bool,
    /// Whether the first worker removes everything when the load is over.
    pub cleanup: bool,
}

/// What a worker was to do, as it is saved beside what it did ([`RunDirectory::PLAN`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPlan {
    /// The scenario, with every default in its place.
    pub scenario: Value,
    /// The part of the load.
    pub shard: Shard,
    /// Parts that are missing, where others were joined without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Shard>,
    /// When the load began.
    pub start: UnixNanos,
    /// The whole load, of all workers.
    pub load: LoadView,
}

/// A worker that is set up.
struct Worker<'w> {
    engine: Engine,
    clock: Clock,
    shard: Shard,
    schedule: Schedule,
    load: Load,
    order: &'w Order,
    events: &'w Events,
    cancel: &'w CancellationToken,
}

/// Sends the part of the load, and gives what it came to.
pub async fn work(
    plan: Plan,
    order: &Order,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Summary, CommandError> {
    let shard = order.shard;
    let clock = Clock::new();
    let start = order.start.resolve(&clock, shard)?;
    let load = part_of(&plan.scenario.spec.load, shard)?;
    let uses_unprivileged = plan.preparation.identities.contains(&Identity::unprivileged());
    let unprivileged = match &order.access.unprivileged {
        Some(identity) => identity.clone(),
        None if uses_unprivileged => return Err(no_unprivileged()),
        None => ClientIdentity::none(),
    };
    let directory = RunDirectory::at(&order.out).map_err(unusable)?;
    directory.write(RunDirectory::SCENARIO, &plan.text).map_err(unusable)?;
    directory.write_json(RunDirectory::PLAN, &saved(&plan, shard, start)?).map_err(unusable)?;

    let spec = &plan.scenario.spec;
    if !spec.faults.is_empty() || !spec.expect.is_empty() {
        events.send(Event::Note(
            "faults and expectations are for `spangate run`: a worker sends only".to_owned(),
        ));
    }
    let (sender, inbox) = mpsc::unbounded_channel();
    let schedule = plan.schedule.clone().shard(shard);
    let engine = Engine::new(EngineConfig {
        endpoint: order.access.endpoint.clone(),
        ca_pem: order.access.ca_pem.clone(),
        admin: order.access.admin.clone(),
        unprivileged,
        load: load.clone(),
        schedule: schedule.clone(),
        replay: plan.replay,
        clock,
        events: sender,
        run_label: plan.scenario.metadata.name.clone(),
    })
    .map_err(|error| CommandError::environment("the load cannot be set up").because(error))?;
    // A ledger that cannot be written ends the load: what is not written down was sent for nothing.
    let broken = cancel.child_token();
    let ledgers = ledger::write(&directory, inbox, events.clone(), broken.clone()).map_err(unusable)?;
    let worker = Worker { engine, clock, shard, schedule, load, order, events, cancel: &broken };
    let outcome = worker.send(start).await;
    // The ledgers end when nobody notes any more.
    drop(worker);
    let written = ledgers.await.map_err(|panic| CommandError::bug("a ledger broke off").because(panic))?;
    // Also what a broken load came to is kept.
    if let Ok((summary, _)) = &outcome {
        directory.write_json(RunDirectory::SUMMARY, summary).map_err(unusable)?;
    }
    written.map_err(|error| {
        CommandError::environment("a ledger could not be written, so the load proves nothing")
            .because(error)
            .help("is the disk full?")
    })?;
    if cancel.is_cancelled() {
        return Err(CommandError::interrupted());
    }
    let (summary, cleaned) = outcome?;
    cleaned?;
    Ok(summary)
}

fn unusable(error: DirectoryError) -> CommandError {
    CommandError::environment("the directory of the worker cannot be used").because(error)
}

fn no_unprivileged() -> CommandError {
    CommandError::usage("the scenario sends as `unprivileged`, and nobody says who that is here")
        .help("name a context of the kubeconfig with --unprivileged-context")
}

/// The load with the share of `shard` in what all workers have together.
fn part_of(load: &Load, shard: Shard) -> Result<Load, CommandError> {
    let Load { max_in_flight, .. } = *load;
    let of = shard.of();
    if max_in_flight < of {
        return Err(CommandError::usage(format!("{of} workers cannot share maxInFlight {max_in_flight}"))
            .help("let fewer workers send the load, or raise maxInFlight"));
    }
    let most = u32::try_from(shard.share(max_in_flight.into())).expect("a share is no more than the whole");
    Ok(Load { max_in_flight: most, ..load.clone() })
}

fn saved(plan: &Plan, shard: Shard, start: UnixNanos) -> Result<WorkerPlan, CommandError> {
    let scenario = serde_json::to_value(&plan.scenario)
        .map_err(|error| CommandError::bug("the scenario cannot be written as JSON").because(error))?;
    Ok(WorkerPlan { scenario, shard, missing: Vec::new(), start, load: plan.load_view() })
}

// === impl Worker ===

impl Worker<'_> {
    /// Gets ready, sends, and cleans up; gives what the load came to, and how the cleaning up ended. Where nothing came of the
    /// load, what was made for it is removed too.
    async fn send(&self, start: UnixNanos) -> Result<(Summary, Result<(), CommandError>), CommandError> {
        let error = match self.send_part(start).await {
            Ok(summary) => return Ok((summary, self.clean(start).await)),
            Err(error) => error,
        };
        if self.order.prepare && self.order.cleanup && self.is_first() {
            if !self.cancel.is_cancelled() {
                // The others may be sending until the end of the load, which is waited for.
                self.events.send(Event::Note(error.chain()));
            }
            sleep(UNDER_WAY).await;
            if let Err(left) = self.clean(start).await {
                self.events.send(Event::Note(left.chain()));
            }
        }
        Err(error)
    }

    /// Gets ready and sends.
    async fn send_part(&self, start: UnixNanos) -> Result<Summary, CommandError> {
        self.events.step(Step::Prepare);
        let watching = tokio::select! {
            ready = self.ready(start) => ready?,
            () = self.cancel.cancelled() => return Err(CommandError::interrupted()),
        };
        let now = self.clock.now();
        if now >= start {
            return Err(CommandError::environment(format!(
                "the preparation ended {:.1} s after the load was to begin",
                now.since(start).as_secs_f64()
            ))
            .help("agree on a later --start-at"));
        }
        self.events.step(Step::Load);
        let Schedule { duration, .. } = self.schedule;
        self.events.send(Event::LoadStarted { planned: self.schedule.planned(), duration });
        let gauging = Telling::of_load(self.events.clone(), self.engine.gauge());
        let mut summary = self.engine.run(start, self.cancel.clone()).await;
        drop(gauging);
        summary.watched = watching.stop().await;
        Ok(summary)
    }

    /// Makes what the load needs, or joins what the first worker makes; starts the watchers.
    async fn ready(&self, start: UnixNanos) -> Result<Watching, CommandError> {
        let failed = |error| CommandError::environment("the load cannot be prepared").because(error);
        if self.order.prepare && self.is_first() {
            self.engine.prepare().await.map_err(failed)?;
            return self.engine.watch(self.cancel).await.map_err(failed);
        }
        loop {
            match self.join().await {
                // Before the start, the first worker may not have come so far.
                Err(_) if self.clock.now() + RETRY_EVERY < start => sleep(RETRY_EVERY).await,
                joined => return joined.map_err(failed),
            }
        }
    }

    async fn join(&self) -> Result<Watching, EngineError> {
        self.engine.join().await?;
        self.engine.watch(self.cancel).await
    }

    /// Removes what the load needed, once no worker can be sending any more.
    async fn clean(&self, start: UnixNanos) -> Result<(), CommandError> {
        if !self.order.cleanup || !self.is_first() {
            return Ok(());
        }
        self.events.step(Step::Clean);
        if self.shard != Shard::WHOLE {
            let end = start + self.schedule.duration + self.load.timeout.get();
            tokio::select! {
                () = sleep_until(Instant::from_std(self.clock.instant(end))) => {}
                () = self.cancel.cancelled() => {}
            }
        }
        self.engine
            .cleanup()
            .await
            .map_err(|error| CommandError::environment("the load cannot be cleaned up").because(error))
    }

    fn is_first(&self) -> bool {
        self.shard.index() == 0
    }
}
