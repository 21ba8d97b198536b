//! Sends the load: in an open loop every arrival starts at its time, whatever became of those before it; in a
//! closed one, users wait for every answer.
//!
//! The load has a thread for itself (`thread`): what starts arrivals, what carries them out and the connections
//! run there. Everything that happens is noted in one `journal`, so an arrival is accounted for exactly once:
//! started, shed, or not started because the run was cancelled or given up.

mod abort;
mod admin;
mod definition;
mod dispatch;
mod ends;
mod error;
mod exchange;
mod gauge;
mod hands;
mod journal;
mod monitor;
mod population;
mod rights;
mod senders;
mod source;
mod summary;
mod thread;
pub(crate) mod timer;
mod users;
mod watchdog;
mod worker;

use std::sync::Arc;

pub use abort::Aborted;
pub use error::EngineError;
pub(crate) use exchange::{audit_id, head};
pub use gauge::Gauge;
pub(crate) use senders::Headers;
pub(crate) use source::Task;
use spangate_scenario::model::Load;
use spangate_trace::{Clock, UnixNanos};
pub use summary::Summary;
#[cfg(test)]
pub(crate) use summary::{Note, Tally};
pub use thread::THREAD;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
pub use users::keep_ctrl_c;
pub use watchdog::GeneratorLoad;

use self::{
    journal::Journal,
    monitor::{Findings, Monitor},
    population::Owned,
    senders::Senders,
    source::{Source, SourceKind},
    thread::LoadThread,
    timer::Timer,
    worker::Worker,
};
use crate::{
    ClientIdentity, Endpoint, Preparation, Replay, RequestRecord, Schedule, Setting, WatchRecord, Watching,
    watchers,
};

/// What the engine needs to know.
#[derive(Debug)]
pub struct EngineConfig {
    /// The API server.
    pub endpoint: Endpoint,
    /// Certificates that the server's may be signed by, in PEM.
    pub ca_pem: String,
    /// A user in `system:masters`; it prepares and cleans up as well.
    pub admin: ClientIdentity,
    /// A user without a privileged group; gets rights in the namespaces if the load uses it.
    pub unprivileged: ClientIdentity,
    /// What to send.
    pub load: Load,
    /// When to send it.
    pub schedule: Schedule,
    /// What to send again, if the load is a replay; the schedule is its own ([`Replay::schedule`]).
    pub replay: Option<Replay>,
    /// The time line of the run.
    pub clock: Clock,
    /// Where everything that happens is told.
    pub events: UnboundedSender<LoadEvent>,
    /// Value of the label that marks the run's objects: at most 63 letters, digits, `-`, `_` and `.`.
    pub run_label: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadEvent {
    /// One more object is ready for the load.
    Prepared {
        /// Objects that are ready.
        done: usize,
        /// Objects that are to be made.
        total: usize,
    },
    /// A request is over: a line of the request ledger.
    Request(Box<RequestRecord>),
    /// A watcher received an event: a line of the watch ledger.
    Watched(Box<WatchRecord>),
}

/// Sends the load of a scenario.
#[derive(Debug)]
pub struct Engine {
    site: Arc<Site>,
    preparation: Preparation,
    owned: Owned,
    thread: LoadThread,
}

/// What all parts of the engine share.
#[derive(Debug)]
struct Site {
    senders: Senders,
    load: Load,
    schedule: Schedule,
    source: Source,
    setting: Setting,
    clock: Clock,
    events: UnboundedSender<LoadEvent>,
    gauge: Arc<Gauge>,
}

// === impl Engine ===

impl Engine {
    /// Reads the certificates and works out what the load needs; opens no connection yet.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let senders = Senders::new(&config)?;
        let EngineConfig { load, schedule, replay, clock, events, run_label, .. } = config;
        // Of all workers: one of them prepares for the others.
        let mut preparation = Preparation::new(&load, &schedule.whole());
        if let Some(replay) = &replay {
            replay.prepare(&load, &mut preparation);
        }
        let site = Site {
            senders,
            source: Source::new(&load, &schedule, replay)?,
            setting: Setting::new(&load, run_label, schedule.seed),
            load,
            schedule,
            clock,
            events,
            gauge: Arc::default(),
        };
        let thread = LoadThread::start().map_err(EngineError::Thread)?;
        Ok(Self { site: Arc::new(site), preparation, owned: Owned::default(), thread })
    }

    /// What the load needs before it starts.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// What tells at any time how the load stands.
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.site.gauge)
    }

    /// Makes the namespaces, the definition of custom resources, the senders with their rights, and the objects
    /// that the load needs, and opens the connections.
    ///
    /// A namespace that is there already is used and kept, if it is not of an earlier run; what one left there
    /// is removed first. Its requests carry an unsampled `traceparent`, so that they leave no spans in the capture.
    pub async fn prepare(&self) -> Result<(), EngineError> {
        self.connect().await?;
        population::prepare(&self.site, &self.preparation, &self.owned).await
    }

    /// Opens the connections to what another worker of the load has prepared, and asks for tokens of the service
    /// accounts that it has made.
    pub async fn join(&self) -> Result<(), EngineError> {
        self.connect().await?;
        rights::tokens(&self.site, &self.preparation).await
    }

    /// Opens the connections on the thread of the load, where they stay.
    async fn connect(&self) -> Result<(), EngineError> {
        let (site, identities) = (Arc::clone(&self.site), self.preparation.identities.clone());
        let connect = async move {
            site.senders.admin().connect().await?;
            for identity in &identities {
                site.senders.connect(identity).await?;
            }
            Ok(())
        };
        self.thread.run(connect).await
    }

    /// Starts the load's watchers; they are established when this returns, and go on until they are stopped
    /// or `cancel` is cancelled. Their connections are their own.
    pub async fn watch(&self, cancel: &CancellationToken) -> Result<Watching, EngineError> {
        let site = &self.site;
        let watched = watchers::Site {
            load: &site.load,
            schedule: &site.schedule,
            clock: site.clock,
            events: &site.events,
        };
        watchers::start(&watched, |identity, number| site.senders.apart(identity, number), cancel).await
    }

    /// Sends the load; arrivals count from `start`.
    ///
    /// Returns when the last request is over. When `cancel` is, nothing more starts, and requests under way
    /// are given up and recorded as such.
    pub async fn run(&self, start: UnixNanos, cancel: CancellationToken) -> Summary {
        // Ends what was started also when this future is dropped.
        let cancel = cancel.child_token();
        let _guard = cancel.clone().drop_guard();
        let site = Arc::clone(&self.site);
        let sampled = !site.load.abort_on.is_empty();
        let (batches, records) = unbounded_channel();
        let journal = Arc::new(Journal::new(start, batches, sampled));
        let telling = tokio::spawn(journal::tell(records, site.events.clone()));
        let load = carry_out(site, Arc::clone(&journal), self.thread.timer(), start, cancel);
        let findings = self.thread.run(load).await;
        let summary = journal.close().summary(&self.site.schedule).found(findings);
        if let Err(error) = telling.await {
            std::panic::resume_unwind(error.into_panic());
        }
        self.site.source.complete(summary)
    }

    /// Removes everything that [`Engine::prepare`] and the load made.
    ///
    /// Tries every part, and gives the first error. Without a controller manager the namespace stays
    /// `Terminating`.
    pub async fn cleanup(&self) -> Result<(), EngineError> {
        population::cleanup(&self.site, &self.preparation, &self.owned).await
    }
}

/// Sends the load and looks after it, on the thread that this runs on.
async fn carry_out(
    site: Arc<Site>,
    journal: Arc<Journal>,
    timer: Arc<Timer>,
    start: UnixNanos,
    cancel: CancellationToken,
) -> Findings {
    // Nothing starts after a halt; what is under way goes on until it is cancelled.
    let (halt, over) = (cancel.child_token(), CancellationToken::new());
    let monitor =
        Monitor { site: Arc::clone(&site), journal: Arc::clone(&journal), start, halt: halt.clone() };
    let monitor = tokio::spawn(monitor.run(over.clone()));
    let worker = Worker::new(Arc::clone(&site), journal, cancel);
    match site.source.kind() {
        SourceKind::Users(script) => {
            users::run(Arc::clone(&site), Arc::clone(script), worker, start, halt).await;
        }
        SourceKind::Mix | SourceKind::Replay(_) => {
            dispatch::dispatch(Arc::new(worker), &timer, start, halt).await;
        }
    }
    over.cancel();
    match monitor.await {
        Ok(findings) => findings,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
