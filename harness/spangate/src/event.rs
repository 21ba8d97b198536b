//! The one stream of a run: everything that happens, in order. The recorder, the terminal and the evidence are
//! folds over it.

use std::time::Duration;

use spangate_inject::Injection;
use spangate_load::{RequestRecord, WatchRecord};
use tokio::sync::mpsc;

use crate::report::Report;

/// Something that happened in a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The run does something else from here on.
    Step(Step),
    /// A step that takes long has something to say.
    Progress {
        /// What is being done, in a few words.
        what: String,
        /// How much of it is done, when that is known.
        done: Option<(u64, u64)>,
    },
    /// Something that the user should know.
    Note(String),
    /// Load is about to start.
    LoadStarted {
        /// Operations in the schedule.
        planned: u64,
        /// Length of the schedule.
        duration: Duration,
    },
    /// A request is over.
    Request(Box<RequestRecord>),
    /// A watcher received an event.
    Watched(Box<WatchRecord>),
    /// A call that reached an injector is over.
    Injection(Box<Injection>),
    /// How the load stands.
    UnderWay {
        /// Operations that were started and are not over.
        in_flight: u64,
        /// Operations so far that were started too late ([`Gauge::late`](spangate_load::Gauge::late)).
        late: u64,
    },
    /// The sink holds this many spans.
    Spans(u64),
    /// Of the traces that must arrive, so many are there.
    Waiting {
        /// Traces that are there.
        present: u64,
        /// Traces that must arrive.
        demanded: u64,
    },
    /// The run is over.
    Finished(Box<Report>),
}

/// What a run does, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the labels say it")]
pub enum Step {
    Binaries,
    Collector,
    Backends,
    ControlPlane,
    KindCluster,
    Tracing,
    Prepare,
    Faults,
    Load,
    Spans,
    Traces,
    Drain,
    Ask,
    Judge,
    Clean,
}

/// Where events go in.
#[derive(Debug, Clone)]
pub struct Events(mpsc::UnboundedSender<Event>);

/// Takes every event of a run, in order.
pub trait Reporter: Send {
    /// Takes one event.
    fn event(&mut self, event: &Event);
}

// === impl Step ===

impl Step {
    /// What is being done, for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Binaries => "looking up binaries",
            Self::Collector => "starting the Collector",
            Self::Backends => "starting backends",
            Self::ControlPlane => "starting etcd and kube-apiserver",
            Self::KindCluster => "starting a kind cluster",
            Self::Tracing => "waiting for the first span",
            Self::Prepare => "preparing objects",
            Self::Faults => "arming faults",
            Self::Load => "sending load",
            Self::Spans => "waiting for spans",
            Self::Traces => "sending traces",
            Self::Drain => "waiting for the Collector",
            Self::Ask => "asking Jaeger",
            Self::Judge => "judging",
            Self::Clean => "cleaning up",
        }
    }
}

// === impl Events ===

impl Events {
    /// A stream and its end.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Adds an event. Once nobody listens any more, events are for nobody.
    pub fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }

    /// The run does something else from here on.
    pub fn step(&self, step: Step) {
        self.send(Event::Step(step));
    }
}
