//! The open loop: every arrival starts at its time, whatever became of those before it.
//!
//! One thread does nothing but wait for the next arrival and start it, since the timers of the async runtime
//! are a millisecond coarse. What each arrival does runs on the runtime. Everything that happens flows as
//! notes into one fold, so an arrival is accounted for exactly once: started, shed, or not started because
//! the run was cancelled.

mod admin;
mod dispatch;
mod error;
mod exchange;
mod summary;
mod worker;

use std::sync::{Arc, atomic::AtomicBool, mpsc};

pub use error::EngineError;
use spangate_scenario::model::{Identity, Load};
use spangate_trace::{Clock, UnixNanos};
pub use summary::{StartLag, Summary};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use self::{
    summary::{Note, Tally},
    worker::Worker,
};
use crate::{
    Client, ClientConfig, ClientError, ClientIdentity, Endpoint, Preparation, RequestRecord, Schedule,
    Setting,
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
    /// A user without a privileged group; gets rights in the namespace if the mix uses it.
    pub unprivileged: ClientIdentity,
    /// What to send.
    pub load: Load,
    /// When to send it.
    pub schedule: Schedule,
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
}

/// Sends the load of a scenario.
#[derive(Debug)]
pub struct Engine {
    site: Arc<Site>,
    preparation: Preparation,
    /// Whether the namespace was made here, and is to be removed here.
    owns_namespace: AtomicBool,
}

/// What all parts of the engine share.
#[derive(Debug)]
struct Site {
    admin: Client,
    unprivileged: Client,
    unprivileged_user: String,
    load: Load,
    schedule: Schedule,
    setting: Setting,
    clock: Clock,
    events: UnboundedSender<LoadEvent>,
}

// === impl Engine ===

impl Engine {
    /// Reads the certificates and works out what the load needs; opens no connection yet.
    pub fn new(config: EngineConfig) -> Result<Self, ClientError> {
        let EngineConfig { endpoint, ca_pem, admin, unprivileged, load, schedule, clock, events, run_label } =
            config;
        let unprivileged_user = unprivileged.user.clone();
        let client = |identity| {
            let (endpoint, ca_pem) = (endpoint.clone(), ca_pem.clone());
            Client::new(&ClientConfig { endpoint, ca_pem, identity, connections: load.client.connections })
        };
        let site = Site {
            admin: client(admin)?,
            unprivileged: client(unprivileged)?,
            unprivileged_user,
            setting: Setting::new(&load, run_label, schedule.seed),
            load,
            schedule,
            clock,
            events,
        };
        let preparation = Preparation::new(&site.load, &site.schedule);
        Ok(Self { site: Arc::new(site), preparation, owns_namespace: AtomicBool::new(false) })
    }

    /// What the load needs before it starts.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// Opens the connections, and makes the namespace, the rights and the objects that the load needs.
    ///
    /// A namespace that is there already is used and kept; what an earlier run left in it is removed first.
    /// Its requests carry an unsampled `traceparent`, so that they leave no spans in the capture.
    pub async fn prepare(&self) -> Result<(), EngineError> {
        self.site.admin.connect().await?;
        if self.preparation.unprivileged {
            self.site.unprivileged.connect().await?;
        }
        admin::prepare(&self.site, &self.preparation, &self.owns_namespace).await
    }

    /// Sends the load; arrivals count from `start`.
    ///
    /// Returns when the last request is over. When `cancel` is, nothing more starts, and requests under way
    /// are given up and recorded as such.
    pub async fn run(&self, start: UnixNanos, cancel: CancellationToken) -> Summary {
        // Ends what was started also when this future is dropped.
        let cancel = cancel.child_token();
        let _guard = cancel.clone().drop_guard();
        let (notes, inbox) = unbounded_channel();
        let (running, stop) = mpsc::channel();
        let worker = Worker::new(Arc::clone(&self.site), notes, cancel.clone());
        let dispatcher = tokio::task::spawn_blocking(move || dispatch::dispatch(&worker, start, &stop));
        tokio::spawn(async move {
            cancel.cancelled().await;
            drop(running);
        });
        let tally = collect(inbox, &self.site.events).await;
        if let Err(error) = dispatcher.await {
            std::panic::resume_unwind(error.into_panic());
        }
        tally.summary(&self.site.schedule)
    }

    /// Removes everything that [`Engine::prepare`] and the load made.
    ///
    /// Tries every part, and gives the first error. Without a controller manager the namespace stays
    /// `Terminating`.
    pub async fn cleanup(&self) -> Result<(), EngineError> {
        admin::cleanup(&self.site, &self.preparation, &self.owns_namespace).await
    }
}

/// Folds notes and tells of requests, until nobody can send any more.
async fn collect(mut inbox: UnboundedReceiver<Note>, events: &UnboundedSender<LoadEvent>) -> Tally {
    let mut tally = Tally::default();
    while let Some(note) = inbox.recv().await {
        tally.add(&note);
        if let Note::Request(record) = note {
            // A caller who has gone away does not stop the load.
            let _ = events.send(LoadEvent::Request(record));
        }
    }
    tally
}

// === impl Site ===

impl Site {
    fn client(&self, identity: &Identity) -> &Client {
        if identity.as_str() == Identity::UNPRIVILEGED { &self.unprivileged } else { &self.admin }
    }
}
