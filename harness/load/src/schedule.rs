//! When each operation starts and what it is, fixed before the run.
//!
//! The schedule is a pure function of the load and a seed. Nothing that the server does can move an
//! arrival: that is what makes the load open, and what keeps slow answers from hiding in fewer requests.

use std::{sync::Arc, time::Duration};

use rand_chacha::rand_core::Rng;
use serde::Serialize;
use spangate_scenario::model::Load;
use spangate_trace::{SpanId, TraceId};

use self::part::Part;
pub use self::shard::{ParseShardError, Shard};
use crate::seed::{Purpose, fnv1a, generator, ids, pick_u32};

mod part;
mod profile;
mod shard;

/// All arrivals of a run, in the order of their times.
///
/// It holds what arrivals are drawn from, not the arrivals: a clone costs nothing, and a million arrivals need no
/// more memory than one.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The seed that everything was drawn from.
    pub seed: u64,
    /// How long arrivals go on.
    pub duration: Duration,
    source: Source,
    /// How many arrivals all shards have together.
    total: u64,
    shard: Shard,
}

/// Where the times of arrivals come from.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    /// From the rates of stages.
    Stages(Arc<[Part]>),
    /// From a list.
    Listed(Arc<[Duration]>),
}

/// One operation to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrival {
    /// Its number, from zero.
    pub number: u64,
    /// When it starts, from the start of the load.
    pub at: Duration,
    /// Index of its stage.
    pub stage: u32,
    /// Index of its mix entry, in the order of [`Load::entries`].
    pub entry: usize,
    /// Random bits that choose the object; see [`Arrival::choose`].
    pub choice: u64,
}

// === impl Schedule ===

impl Schedule {
    /// The schedule of `load`.
    ///
    /// Evenly spaced arrivals of a stage come where the integral of its rate reaches 0, 1, 2 and so on; those of a
    /// Poisson process where it reaches the sums of independent exponential gaps, which is exact for any rate.
    ///
    /// Mix entries without an operation are never chosen. A rate of zero, or a mix in which nothing can be
    /// chosen, gives no arrivals, and so does a load of users or of a replay.
    pub fn new(load: &Load, seed: u64) -> Self {
        let parts = Part::all(load);
        let total = parts.iter().map(|part| part.planned(seed)).sum();
        let duration = load.length().unwrap_or_default().get();
        Self { seed, duration, source: Source::Stages(parts), total, shard: Shard::WHOLE }
    }

    /// Arrivals at given times from the start of the load, which must not fall; all of the first mix entry.
    pub fn listed(times: Arc<[Duration]>, seed: u64) -> Self {
        let (total, duration) = (times.len() as u64, times.last().copied().unwrap_or_default());
        Self { seed, duration, source: Source::Listed(times), total, shard: Shard::WHOLE }
    }

    /// No arrivals in `duration`: for a load that is not made of arrivals.
    pub fn empty(seed: u64, duration: Duration) -> Self {
        Self { duration, ..Self::listed(Arc::default(), seed) }
    }

    /// What one of several workers does of it. Numbers, times and ids are those of the whole.
    #[must_use]
    pub fn shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// What all workers do together.
    #[must_use]
    pub fn whole(&self) -> Self {
        self.clone().shard(Shard::WHOLE)
    }

    /// Which part of the whole it is.
    pub fn part(&self) -> Shard {
        self.shard
    }

    /// Trace and span id of request `step` of arrival `number`.
    ///
    /// Every request has a trace of its own, also within one arrival, as kubectl's requests have.
    pub fn ids(&self, number: u64, step: u32) -> (TraceId, SpanId) {
        ids(self.seed, Purpose::Ids, number, step)
    }

    /// The arrivals, in the order of their times.
    pub fn arrivals(&self) -> impl Iterator<Item = Arrival> + Send + use<> {
        let (seed, shard) = (self.seed, self.shard);
        let drawn: Box<dyn Iterator<Item = Arrival> + Send> = match &self.source {
            Source::Stages(parts) => {
                let parts = Arc::clone(parts);
                let draws = (0..parts.len()).flat_map(move |index| parts[index].draw(seed));
                Box::new((0..).zip(draws).map(|(number, arrival)| Arrival { number, ..arrival }))
            }
            Source::Listed(times) => {
                let (times, mut choices) = (Arc::clone(times), generator(seed, Purpose::Choices));
                let arrivals = (0..times.len()).map(move |index| Arrival {
                    number: index as u64,
                    at: times[index],
                    stage: 0,
                    entry: 0,
                    choice: choices.next_u64(),
                });
                Box::new(arrivals)
            }
        };
        drawn.filter(move |arrival| shard.holds(arrival.number))
    }

    /// How many arrivals there are.
    pub fn planned(&self) -> u64 {
        self.shard.share(self.total)
    }

    /// How many arrivals come before `at`: of a list exactly, of stages on average.
    pub fn planned_until(&self, at: Duration) -> f64 {
        let all = match &self.source {
            Source::Stages(parts) => parts.iter().map(|part| part.until(at)).sum(),
            Source::Listed(times) => times.partition_point(|time| *time < at) as f64,
        };
        all / f64::from(self.shard.of())
    }

    /// Arrivals per second, on average.
    pub fn rate(&self) -> f64 {
        if self.duration.is_zero() { 0.0 } else { self.planned() as f64 / self.duration.as_secs_f64() }
    }

    /// Arrivals per second that are aimed at when the load has gone on for `at`; those of a list on average.
    pub fn rate_at(&self, at: Duration) -> f64 {
        match &self.source {
            Source::Stages(parts) => {
                let part = parts.iter().find(|part| part.ends_after(at));
                part.map_or(0.0, |part| part.rate_at(at)) / f64::from(self.shard.of())
            }
            Source::Listed(_) => self.rate(),
        }
    }

    /// A hash over what is sent and when: every arrival and its first trace id. It is equal for equal loads and
    /// seeds, on every platform.
    pub fn fingerprint(&self) -> u64 {
        fnv1a(self.arrivals().flat_map(|arrival| {
            let (trace, span) = self.ids(arrival.number, 0);
            let mut bytes = [0; 64];
            bytes[..8].copy_from_slice(&arrival.number.to_le_bytes());
            bytes[8..24].copy_from_slice(&arrival.at.as_nanos().to_le_bytes());
            bytes[24..32].copy_from_slice(&(arrival.entry as u64).to_le_bytes());
            bytes[32..40].copy_from_slice(&arrival.choice.to_le_bytes());
            bytes[40..56].copy_from_slice(trace.as_bytes());
            bytes[56..].copy_from_slice(span.as_bytes());
            bytes
        }))
    }
}

// === impl Arrival ===

impl Arrival {
    /// One of `count` objects; the first when there is none.
    pub fn choose(&self, count: u32) -> u32 {
        pick_u32(self.choice, count)
    }
}

#[cfg(test)]
mod tests;
