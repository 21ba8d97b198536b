//! Where arrivals come from, and what each of them does.

use std::{sync::Arc, time::Duration};

use spangate_scenario::{
    delay::DelayError,
    model::{Identity, Load, MixEntry, TraceFlag},
};

use super::users::Script;
use crate::{Arrival, Kind, Operation, Replay, Schedule, Setting, Summary};

/// What arrivals do, whatever they come from.
#[derive(Debug)]
pub(super) struct Source {
    /// As [`Load::entries`] has them.
    entries: Vec<MixEntry>,
    kind: SourceKind,
}

/// Where arrivals come from.
#[derive(Debug)]
pub(super) enum SourceKind {
    /// A schedule; what an arrival does is drawn from a mix.
    Mix,
    /// Users, who do what their script says.
    Users(Arc<Script>),
    /// A record; arrival `n` does what its request `n` did.
    Replay(Replay),
}

/// What an arrival does, and for whom.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) traceparent: TraceFlag,
    /// How long it takes by intent, beside what the server needs: watches are held open.
    pub(crate) hold: Duration,
    pub(crate) operation: Operation,
}

// === impl Source ===

impl Source {
    /// The source of `load`.
    pub(super) fn new(load: &Load, schedule: &Schedule, replay: Option<Replay>) -> Result<Self, DelayError> {
        let kind = match (replay, &load.users) {
            (Some(replay), _) => SourceKind::Replay(replay),
            (None, Some(users)) => SourceKind::Users(Arc::new(Script::new(load, users, schedule)?)),
            (None, None) => SourceKind::Mix,
        };
        Ok(Self { entries: load.entries().cloned().collect(), kind })
    }

    /// Where arrivals come from.
    pub(super) fn kind(&self) -> &SourceKind {
        &self.kind
    }

    /// What only the source knows of a run that came to `summary`.
    pub(super) fn complete(&self, summary: Summary) -> Summary {
        match &self.kind {
            SourceKind::Mix => summary,
            // Nobody plans what users do: they do as much as they are let.
            SourceKind::Users(_) => Summary { planned: summary.started, ..summary },
            SourceKind::Replay(replay) => Summary { skipped: replay.skipped().clone(), ..summary },
        }
    }

    /// What `arrival` does; nothing when its entry has no operation.
    pub(super) fn task(&self, arrival: &Arrival, setting: &Setting) -> Option<Task<'_>> {
        if let SourceKind::Replay(replay) = &self.kind {
            return replay.task(arrival, setting);
        }
        let entry = self.entries.get(arrival.entry)?;
        let kind = Kind::of(entry)?;
        let made = match &self.kind {
            SourceKind::Users(script) => script.deletion(kind, arrival, setting),
            SourceKind::Mix | SourceKind::Replay(_) => None,
        };
        Some(Task {
            identity: &entry.identity,
            traceparent: entry.traceparent,
            hold: kind.hold(),
            operation: made.unwrap_or_else(|| Operation::new(kind, arrival, setting)),
        })
    }
}
