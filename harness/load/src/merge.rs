//! Joins what the workers of one load left into what one worker would have left.
//!
//! The parts of a schedule share no arrival, and histograms add up without loss, so nothing is estimated. What has
//! to be checked is that the parts belong together and are all there.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Seek, Write},
};

use serde::{Deserialize, de::DeserializeOwned};
use spangate_trace::UnixNanos;

use crate::{Shard, Summary};

/// Parts that cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardsError {
    /// There is nothing to join.
    #[error("there are no parts")]
    None,
    /// The parts are of different splits.
    #[error("part {first} is of a load for {}, part {other} of one for {}", workers(first.of()), workers(other.of()))]
    Number {
        /// A part.
        first: Shard,
        /// One that is of another number.
        other: Shard,
    },
    /// A part is there more than once.
    #[error("part {0} is there twice")]
    Twice(Shard),
    /// Parts are missing.
    #[error("of {} {} missing: {}", workers(*of), if missing.len() == 1 { "one is" } else { "some are" }, list(missing))]
    Missing {
        /// How many there are to be.
        of: u32,
        /// Those that are not.
        missing: Vec<Shard>,
    },
}

/// A ledger that cannot be joined with others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgersError {
    /// A ledger cannot be read.
    #[error("cannot read ledger {ledger}")]
    Read {
        /// Its number, from zero.
        ledger: usize,
        /// Why.
        source: io::Error,
    },
    /// A line is no record.
    #[error("line {line} of ledger {ledger} is no whole record")]
    Line {
        /// The number of the ledger, from zero.
        ledger: usize,
        /// The number of the line, from one.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// Two lines are of the same request.
    #[error("request {step} of arrival {arrival} is in ledger {first} and in ledger {second}")]
    Twice {
        /// The arrival.
        arrival: u64,
        /// The request within it.
        step: u32,
        /// The number of a ledger, from zero.
        first: usize,
        /// That of the other, or the same.
        second: usize,
    },
    /// The joined ledger cannot be written.
    #[error("cannot write the joined ledger")]
    Write(#[source] io::Error),
}

/// Where a line stands. Their order is that of the joined ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    key: (UnixNanos, u64, u32),
    ledger: usize,
    offset: u64,
}

/// A ledger that is read line by line.
struct Ledger<L> {
    number: usize,
    lines: L,
    position: u64,
}

/// What the order needs of a [`RequestRecord`](crate::RequestRecord).
#[derive(Deserialize)]
struct RequestKey {
    intended: UnixNanos,
    arrival: u64,
    step: u32,
}

/// What the order needs of a [`WatchRecord`](crate::WatchRecord).
#[derive(Deserialize)]
struct EventKey {
    at: UnixNanos,
    index: u32,
    step: u32,
}

impl From<RequestKey> for (UnixNanos, u64, u32) {
    fn from(key: RequestKey) -> Self {
        (key.intended, key.arrival, key.step)
    }
}

impl From<EventKey> for (UnixNanos, u64, u32) {
    fn from(key: EventKey) -> Self {
        (key.at, key.index.into(), key.step)
    }
}

fn workers(of: u32) -> String {
    if of == 1 { "one worker".to_owned() } else { format!("{of} workers") }
}

fn list(shards: &[Shard]) -> String {
    shards.iter().map(Shard::to_string).collect::<Vec<_>>().join(", ")
}

/// Checks that `shards` are every part of one load, each once.
///
/// A part that is missing is the last thing that is complained of, so that who can do without it knows that all
/// else is in order.
pub fn check_shards(shards: &[Shard]) -> Result<(), ShardsError> {
    let first = *shards.first().ok_or(ShardsError::None)?;
    if let Some(other) = shards.iter().find(|other| other.of() != first.of()) {
        return Err(ShardsError::Number { first, other: *other });
    }
    let mut counts: BTreeMap<Shard, u32> = BTreeMap::new();
    for shard in shards {
        *counts.entry(*shard).or_default() += 1;
    }
    if let Some((shard, _)) = counts.iter().find(|(_, count)| **count > 1) {
        return Err(ShardsError::Twice(*shard));
    }
    let missing: Vec<_> = Shard::all(first.of()).filter(|shard| !counts.contains_key(shard)).collect();
    if missing.is_empty() { Ok(()) } else { Err(ShardsError::Missing { of: first.of(), missing }) }
}

/// The sum of the summaries; `None` without any.
pub fn merge_summaries(summaries: impl IntoIterator<Item = Summary>) -> Option<Summary> {
    summaries.into_iter().reduce(|mut sum, summary| {
        sum.merge(&summary);
        sum
    })
}

/// Writes the lines of request ledgers to `out`, ordered by intended start, arrival and step; gives their number.
///
/// Lines are copied as they are. What is held in memory is where they stand (40 bytes a line), not what they say.
pub fn merge_ledgers<L: BufRead + Seek>(
    ledgers: impl IntoIterator<Item = L>,
    out: &mut impl Write,
) -> Result<u64, LedgersError> {
    let (places, ledgers) = index::<L, RequestKey>(ledgers)?;
    // A request that two workers have sent was to start at the same time in both, at least the first of its arrival.
    let twice = places.windows(2).find(|pair| pair[0].key == pair[1].key);
    if let Some([first, second]) = twice {
        let (_, arrival, step) = first.key;
        return Err(LedgersError::Twice { arrival, step, first: first.ledger, second: second.ledger });
    }
    copy(&places, ledgers, out)
}

/// Writes the lines of watch ledgers to `out`, ordered by the time of receipt; gives their number.
pub fn merge_watch_ledgers<L: BufRead + Seek>(
    ledgers: impl IntoIterator<Item = L>,
    out: &mut impl Write,
) -> Result<u64, LedgersError> {
    let (places, ledgers) = index::<L, EventKey>(ledgers)?;
    copy(&places, ledgers, out)
}

/// The lines of all ledgers, in order.
fn index<L: BufRead + Seek, K: DeserializeOwned + Into<(UnixNanos, u64, u32)>>(
    ledgers: impl IntoIterator<Item = L>,
) -> Result<(Vec<Place>, Vec<Ledger<L>>), LedgersError> {
    let mut places = Vec::new();
    let mut indexed = Vec::new();
    for (number, lines) in ledgers.into_iter().enumerate() {
        let mut ledger = Ledger { number, lines, position: 0 };
        ledger.index::<K>(&mut places)?;
        indexed.push(ledger);
    }
    places.sort_unstable();
    Ok((places, indexed))
}

fn copy<L: BufRead + Seek>(
    places: &[Place],
    mut ledgers: Vec<Ledger<L>>,
    out: &mut impl Write,
) -> Result<u64, LedgersError> {
    let mut line = Vec::new();
    for place in places {
        ledgers[place.ledger].line(place.offset, &mut line)?;
        out.write_all(&line).map_err(LedgersError::Write)?;
    }
    out.flush().map_err(LedgersError::Write)?;
    Ok(places.len() as u64)
}

// === impl Ledger ===

impl<L: BufRead + Seek> Ledger<L> {
    /// Adds the place of every line.
    fn index<K: DeserializeOwned + Into<(UnixNanos, u64, u32)>>(
        &mut self,
        places: &mut Vec<Place>,
    ) -> Result<(), LedgersError> {
        let mut text = Vec::new();
        for line in 1.. {
            let offset = self.position;
            self.line(offset, &mut text)?;
            if text.is_empty() {
                break;
            }
            let key: K = serde_json::from_slice(&text).map_err(|source| LedgersError::Line {
                ledger: self.number,
                line,
                source,
            })?;
            places.push(Place { key: key.into(), ledger: self.number, offset });
        }
        Ok(())
    }

    /// Reads the line at `offset`; nothing at the end.
    fn line(&mut self, offset: u64, line: &mut Vec<u8>) -> Result<(), LedgersError> {
        line.clear();
        // Lines are nearly in order already, so that most are in the buffer of the reader.
        let way = offset.cast_signed() - self.position.cast_signed();
        let read = self.lines.seek_relative(way).and_then(|()| self.lines.read_until(b'\n', line));
        self.position =
            offset + read.map_err(|source| LedgersError::Read { ledger: self.number, source })? as u64;
        if line.last().is_some_and(|last| *last != b'\n') {
            line.push(b'\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
