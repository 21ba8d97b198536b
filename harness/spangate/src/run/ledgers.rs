//! Where the ledgers come together: what the load and the injectors note becomes events of the run, lines of
//! the recorder, and the lists that the judges read.

use spangate_inject::Injection;
use spangate_load::{LoadEvent, RequestRecord, WatchRecord};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{directory::RunDirectory, recorder::Recorder};
use crate::{
    error::CommandError,
    event::{Event, Events, Reporter},
};

/// The ledgers, growing.
pub(super) struct Ledgers {
    /// Where the load notes.
    pub(super) load: mpsc::UnboundedSender<LoadEvent>,
    /// Where the injectors note.
    pub(super) injections: mpsc::UnboundedSender<Injection>,
    ask: mpsc::UnboundedSender<oneshot::Sender<Vec<RequestRecord>>>,
    task: JoinHandle<Fold>,
}

/// The ledgers of a run that is over.
pub(super) struct Noted {
    pub(super) requests: Vec<RequestRecord>,
    pub(super) injections: Vec<Injection>,
    pub(super) watched: Vec<WatchRecord>,
}

/// What has been noted so far.
struct Fold {
    events: Events,
    recorder: Recorder,
    noted: Noted,
}

// === impl Ledgers ===

impl Ledgers {
    /// Opens the ledgers in the directory of the run.
    pub(super) fn open(directory: &RunDirectory, events: Events) -> Result<Self, CommandError> {
        let recorder = Recorder::create(directory)
            .map_err(|error| CommandError::environment("the ledgers cannot be written").because(error))?;
        let (load, from_load) = mpsc::unbounded_channel();
        let (injections, from_injectors) = mpsc::unbounded_channel();
        let (ask, asked) = mpsc::unbounded_channel();
        let noted = Noted { requests: Vec::new(), injections: Vec::new(), watched: Vec::new() };
        let fold = Fold { events, recorder, noted };
        let task = tokio::spawn(fold.take(from_load, from_injectors, asked));
        Ok(Self { load, injections, ask, task })
    }

    /// Every request that was noted before this call.
    pub(super) async fn requests_so_far(&self) -> Vec<RequestRecord> {
        let (answer, answered) = oneshot::channel();
        // The task ends only after this is dropped.
        let _ = self.ask.send(answer);
        answered.await.unwrap_or_default()
    }

    /// Waits until everybody who notes has gone, and gives the ledgers.
    pub(super) async fn close(self) -> Result<Noted, CommandError> {
        let Self { load, injections, ask, task } = self;
        drop((load, injections, ask));
        let fold = task.await.map_err(|panic| CommandError::bug("a ledger broke off").because(panic))?;
        fold.recorder.finish().map_err(|error| {
            CommandError::environment("a ledger could not be written, so the run proves nothing")
                .because(error)
                .help("is the disk full?")
        })?;
        Ok(fold.noted)
    }
}

// === impl Fold ===

impl Fold {
    async fn take(
        mut self,
        mut load: mpsc::UnboundedReceiver<LoadEvent>,
        mut injections: mpsc::UnboundedReceiver<Injection>,
        mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Vec<RequestRecord>>>,
    ) -> Self {
        loop {
            tokio::select! {
                Some(event) = load.recv() => self.load(event),
                Some(injection) = injections.recv() => self.injection(injection),
                Some(answer) = asked.recv() => {
                    while let Ok(event) = load.try_recv() {
                        self.load(event);
                    }
                    let _ = answer.send(self.noted.requests.clone());
                }
                else => return self,
            }
        }
    }

    fn load(&mut self, event: LoadEvent) {
        let event = match event {
            LoadEvent::Prepared { done, total } => {
                Event::Progress { what: "objects made".to_owned(), done: Some((done as u64, total as u64)) }
            }
            LoadEvent::Request(request) => {
                self.noted.requests.push(RequestRecord::clone(&request));
                Event::Request(request)
            }
            LoadEvent::Watched(watched) => {
                self.noted.watched.push(WatchRecord::clone(&watched));
                Event::Watched(watched)
            }
        };
        self.pass(event);
    }

    fn injection(&mut self, injection: Injection) {
        self.noted.injections.push(injection.clone());
        self.pass(Event::Injection(Box::new(injection)));
    }

    fn pass(&mut self, event: Event) {
        self.recorder.event(&event);
        self.events.send(event);
    }
}
