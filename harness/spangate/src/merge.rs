//! Joins what the workers of one load left into what one worker would have left.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
};

use serde_json::Value;
use spangate_load::{
    Shard, Summary,
    merge::{LedgersError, ShardsError, check_shards, merge_ledgers, merge_summaries, merge_watch_ledgers},
};

use crate::{
    error::CommandError,
    run::directory::{DirectoryError, RunDirectory},
    worker::WorkerPlan,
};

/// What was joined.
#[derive(Debug)]
pub struct Merged {
    /// What the load came to.
    pub summary: Summary,
    /// Lines of the request ledger.
    pub requests: u64,
    /// Parts that were not there.
    pub missing: Vec<Shard>,
}

/// What a worker left.
struct Part {
    directory: RunDirectory,
    plan: WorkerPlan,
}

/// Joins what is in `directories` in `out`; `partial` lets parts be missing.
pub fn merge(directories: &[PathBuf], out: &Path, partial: bool) -> Result<Merged, CommandError> {
    let parts = directories.iter().map(|path| Part::open(path)).collect::<Result<Vec<_>, _>>()?;
    let missing = check(&parts, partial)?;
    let summaries = parts
        .iter()
        .map(|part| part.directory.read_json(RunDirectory::SUMMARY))
        .collect::<Result<Vec<Summary>, _>>()
        .map_err(|error| {
            CommandError::usage("a worker left no summary")
                .because(error)
                .help("it has not ended, or was killed; leave it out with --partial")
        })?;
    let summary = merge_summaries(summaries).ok_or_else(|| wrong(ShardsError::None, &parts))?;

    let unusable = |error| CommandError::environment("the joined load cannot be written").because(error);
    let to = RunDirectory::at(out).map_err(unusable)?;
    let join = |name, merge: fn(_, &mut _) -> _| join(&parts, &to, name, merge);
    let requests = join(RunDirectory::REQUESTS, merge_ledgers)?;
    join(RunDirectory::EVENTS, merge_watch_ledgers)?;
    let first = &parts[0];
    let scenario = first.directory.read(RunDirectory::SCENARIO).map_err(unreadable)?;
    to.write(RunDirectory::SCENARIO, &scenario).map_err(unusable)?;
    to.write_json(RunDirectory::SUMMARY, &summary).map_err(unusable)?;
    let plan = WorkerPlan { shard: Shard::WHOLE, missing: missing.clone(), ..first.plan.clone() };
    to.write_json(RunDirectory::PLAN, &plan).map_err(unusable)?;
    Ok(Merged { summary, requests, missing })
}

fn unreadable(error: DirectoryError) -> CommandError {
    CommandError::usage("a worker left nothing that can be read").because(error)
}

type Ledger = BufReader<File>;

/// Joins the ledgers called `name`; gives their lines.
fn join(
    parts: &[Part],
    to: &RunDirectory,
    name: &str,
    merge: fn(Vec<Ledger>, &mut BufWriter<File>) -> Result<u64, LedgersError>,
) -> Result<u64, CommandError> {
    let mut ledgers = Vec::new();
    for part in parts {
        let path = part.directory.file(name);
        let file = File::open(&path).map_err(|error| {
            CommandError::usage(format!("cannot read the ledger {}", path.display())).because(error)
        })?;
        ledgers.push(BufReader::new(file));
    }
    let file = to
        .open_new(name)
        .map_err(|error| CommandError::environment("the joined ledger cannot be written").because(error))?;
    merge(ledgers, &mut BufWriter::new(file)).map_err(|error| {
        let named = |ledger: usize| parts[ledger].directory.file(name).display().to_string();
        let message = match &error {
            LedgersError::Read { ledger, .. } | LedgersError::Line { ledger, .. } => {
                format!("the ledger {} cannot be joined", named(*ledger))
            }
            LedgersError::Twice { first, second, .. } => {
                format!("the ledgers {} and {} cannot be joined", named(*first), named(*second))
            }
            _ => return CommandError::environment("the joined ledger cannot be written").because(error),
        };
        CommandError::usage(message).because(error)
    })
}

/// Checks that the parts belong together; gives those that are missing.
fn check(parts: &[Part], partial: bool) -> Result<Vec<Shard>, CommandError> {
    if let Some((first, others)) = parts.split_first() {
        for other in others {
            first.belongs_to(other)?;
        }
    }
    let shards: Vec<_> = parts.iter().map(|part| part.plan.shard).collect();
    match check_shards(&shards) {
        Ok(()) => Ok(Vec::new()),
        Err(ShardsError::Missing { missing, .. }) if partial => Ok(missing),
        Err(error) => Err(wrong(error, parts)),
    }
}

fn wrong(error: ShardsError, parts: &[Part]) -> CommandError {
    let help = if let ShardsError::Missing { .. } = error {
        "give their directories too, or go without them with --partial".to_owned()
    } else {
        let given = parts.iter().map(|part| format!("{} in {}", part.plan.shard, part.path().display()));
        format!("given were {}", given.collect::<Vec<_>>().join(", "))
    };
    CommandError::usage("these are not all parts of one load").because(error).help(help)
}

// === impl Part ===

impl Part {
    fn open(path: &Path) -> Result<Self, CommandError> {
        let directory = RunDirectory::existing(path);
        let plan = directory.read_json(RunDirectory::PLAN).map_err(|error| {
            unreadable(error).help("give the directories that `spangate worker --out` was given")
        })?;
        Ok(Self { directory, plan })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// An error unless both are of the same load.
    fn belongs_to(&self, other: &Self) -> Result<(), CommandError> {
        let (a, b) = (&self.plan, &other.plan);
        let seed = |plan: &WorkerPlan| plan.scenario["spec"]["seed"].clone();
        let name = |plan: &WorkerPlan| plan.scenario["metadata"]["name"].clone();
        let what = if name(a) != name(b) {
            format!("scenarios: {} and {}", name(a), name(b))
        } else if seed(a) != seed(b) {
            format!("seeds: {} and {}", seed(a), seed(b))
        } else if let Some(place) = difference(&a.scenario, &b.scenario) {
            format!("scenarios: they differ at {place}")
        } else if a.load != b.load {
            "loads: their schedules are not the same; did they replay different records, or were they sent by \
             different versions?"
                .to_owned()
        } else if a.start != b.start {
            format!("times: they began at {} and {}", a.start, b.start)
        } else {
            return Ok(());
        };
        let (a, b) = (self.path().display(), other.path().display());
        Err(CommandError::usage(format!("{a} and {b} are of different {what}")))
    }
}

/// Where two values differ first, as a path of keys; nowhere if they are the same.
fn difference(a: &Value, b: &Value) -> Option<String> {
    let deeper = |key: &dyn std::fmt::Display, a, b| difference(a, b).map(|rest| format!("/{key}{rest}"));
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys());
            let null = &Value::Null;
            keys.into_iter()
                .find_map(|key| deeper(key, a.get(key).unwrap_or(null), b.get(key).unwrap_or(null)))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            (0_usize..).zip(a.iter().zip(b)).find_map(|(index, (a, b))| deeper(&index, a, b))
        }
        _ => (a != b).then(String::new),
    }
}

#[cfg(test)]
mod tests;
