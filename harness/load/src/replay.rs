//! Requests that were once sent, sent again.
//!
//! A Kubernetes audit log or the request ledger of an earlier run says what was asked and when. Its objects are
//! not here: each read or change goes to a prepared object instead, always the same one for the same object, and
//! what a record made is what later records delete. What cannot be sent again is counted by the reason.
//!
//! Reading is line by line, and a record keeps some tens of bytes; the rest is a pure function of what was read.

mod audit;
mod broken;
mod ledger;
mod lines;
mod mapping;
mod place;
mod sending;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use spangate_scenario::{
    model::{Load, Resource, Scope},
    units,
};
use thiserror::Error;

pub use self::broken::BrokenLines;
use self::{
    broken::Broken,
    lines::Lines,
    mapping::{Ask, Collector, Mapped, Named, Replayed, Tables},
};
use crate::{Arrival, Preparation, Schedule};

/// The requests of a record, at the times at which they are sent again.
#[derive(Debug, Clone)]
pub struct Replay {
    path: Arc<Path>,
    times: Arc<[Duration]>,
    /// By the number of the arrival.
    requests: Arc<[Replayed]>,
    tables: Arc<Tables>,
    skipped: BTreeMap<String, u64>,
    broken: Vec<BrokenLines>,
}

/// A record that cannot be replayed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The load has no `replay`, or one without a record.
    #[error("the load has no record to replay; give `replay` an `audit` or a `ledger`")]
    NoRecord,
    /// The file cannot be opened or read.
    #[error("cannot read the record {path}; a relative path is one from the scenario's file")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing in the file can be sent again.
    #[error("nothing in {path} can be replayed: {}", Reasons(skipped))]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What there was in place of it.
        skipped: BTreeMap<String, u64>,
    },
}

/// What was skipped, for a message.
struct Reasons<'a>(&'a BTreeMap<String, u64>);

// === impl Replay ===

impl Replay {
    /// Reads the record of `load`; a relative path is one from `base`.
    pub fn read(load: &Load, base: &Path) -> Result<Self, ReplayError> {
        let replay = load.replay.as_ref().ok_or(ReplayError::NoRecord)?;
        let path = replay.audit.as_ref().or(replay.ledger.as_ref()).ok_or(ReplayError::NoRecord)?;
        let path = base.join(path);
        match File::open(&path) {
            Ok(file) => Self::of(load, &path, BufReader::new(file)),
            Err(source) => Err(ReplayError::Io { path, source }),
        }
    }

    /// What `load` makes of `record`, which lies at `path`.
    pub fn of(load: &Load, path: &Path, record: impl BufRead) -> Result<Self, ReplayError> {
        let replay = load.replay.as_ref().ok_or(ReplayError::NoRecord)?;
        let add = if replay.audit.is_some() { audit::add } else { ledger::add };
        let mut collector = Collector::new(&load.identities);
        let mut broken = Broken::default();
        let mut lines = Lines::new(record);
        let failed = |source| ReplayError::Io { path: path.to_owned(), source };
        while let Some((number, line)) = lines.next().map_err(failed)? {
            if let Err(why) = line.and_then(|line| add(line, &mut collector)) {
                collector.broken();
                broken.add(number, why);
            }
        }
        let Mapped { times, requests, tables, skipped } =
            collector.finish(replay.speed, replay.duration.map(units::Duration::get));
        if requests.is_empty() {
            return Err(ReplayError::Nothing { path: path.to_owned(), skipped });
        }
        Ok(Self {
            path: path.into(),
            times: times.into(),
            requests: requests.into(),
            tables: Arc::new(tables),
            skipped,
            broken: broken.lines(),
        })
    }

    /// Where the record lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The schedule of the requests: arrival `n` is request `n`.
    pub fn schedule(&self, seed: u64) -> Schedule {
        Schedule::listed(Arc::clone(&self.times), seed)
    }

    /// Records that are not sent again, by the reason.
    pub fn skipped(&self) -> &BTreeMap<String, u64> {
        &self.skipped
    }

    /// The lines that say nothing, by the reason. They are counted in [`Replay::skipped`] too.
    pub fn broken_lines(&self) -> &[BrokenLines] {
        &self.broken
    }

    /// Adds to `preparation` what the requests need: pools of what they read or change, an object for each that
    /// deletes one which no earlier request made, a collection for each that deletes one, and their senders.
    pub fn prepare(&self, load: &Load, preparation: &mut Preparation) {
        for (request, arrival) in self.requests.iter().zip(self.schedule(0).arrivals()) {
            let arrival = Arrival { choice: request.choice, ..arrival };
            let mut scope = Scope::Namespace;
            match request.ask {
                Ask::Get { resource, .. } | Ask::Put { resource, .. } | Ask::Patch { resource, .. } => {
                    preparation.add_pool(load, resource, None);
                }
                Ask::List(query) | Ask::Watch { query, .. } => {
                    let query = self.tables.query(query);
                    preparation.add_pool(load, query.resource, None);
                    scope = query.scope;
                }
                Ask::Delete { resource } if request.named == Named::Victim(arrival.number) => {
                    preparation.add_victim(resource, &arrival);
                }
                Ask::DeleteCollection(resource) => preparation.add_collection(load, resource, &arrival),
                Ask::Create { resource: Resource::Widgets, .. }
                | Ask::Apply { resource: Resource::Widgets, .. } => {
                    preparation.custom_resources = true;
                }
                Ask::Create { .. } | Ask::Apply { .. } | Ask::Delete { .. } | Ask::Discovery(_) => {}
            }
            preparation.add_sender(self.tables.sender(request.sender), scope);
        }
    }
}

// === impl Reasons ===

impl std::fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it is empty");
        }
        for (number, (reason, count)) in self.0.iter().enumerate() {
            write!(f, "{}{reason} ({count})", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
