//! What becomes of traces when nobody knows at which fraction of a second the ticks fall.
//!
//! A decision falls within one second: N to N + 1 seconds after the first span, or earlier by a root. What arrived
//! before that second is looked at, what arrives after it is late, and what arrives within it may be either. So there
//! are a few sets of spans that the decision may have looked at, each the one before and one arrival more; where all
//! of them come to the same, the ticks do not matter.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::{
    bounds::shard,
    config::SamplingStrategy,
    input::TraceView,
    replay::Arrival,
    tail::{Basis, TailSampler},
    votes::{Decision, Decisions},
};
use crate::{TraceId, UnixNanos};

/// What becomes of one trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foretold {
    /// The trace.
    pub id: TraceId,
    /// What may become of it: one decision unless `depends` says why not.
    pub decisions: Decisions,
    /// Between which times it is decided on, as long as it is decided on at a tick.
    pub decided: (UnixNanos, UnixNanos),
    /// Its arrivals by their places among all of them, in the order of time.
    pub arrivals: Vec<(usize, Presence)>,
    /// Whether late spans share its fate. If not, it may be forgotten, and they are decided on as if they were a trace
    /// of their own.
    pub remembered: bool,
    /// What the decision depends on.
    pub depends: Dependence,
}

/// Whether the decision has looked at an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It was there.
    InTime,
    /// It was there, or came too late.
    Uncertain,
    /// It came too late.
    Late,
}

/// What a decision depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// On what arrived and when, and on nothing else: it is exact.
    Arrivals,
    /// On when the ticks fall, too.
    Ticks,
    /// On sizes that are not known, held against `maximum_trace_size_bytes`.
    Sizes,
    /// On the clock and on what else was sampled ([`Basis::Clock`]).
    Clock,
    /// On whether it is pushed out of memory before it is decided on.
    Memory,
    /// On something that is not evaluated here ([`Basis::Unsupported`]).
    Unsupported,
}

/// What one trace is made of.
struct Story<'x, 'a> {
    sampler: &'x TailSampler,
    id: TraceId,
    /// With their places among all arrivals.
    arrivals: Vec<(usize, &'x Arrival<'a>)>,
}

// === impl TailSampler ===

impl TailSampler {
    /// What becomes of each trace of `arrivals`, by id, whenever the ticks fall.
    ///
    /// `slack` is how far the times of arrivals may be off, and ticks late. With `stop`, the Collector is shut down then;
    /// without, it runs until all is decided. With `block_on_overflow` a trace that finds memory full arrives later
    /// than it says, so that every trace which may is said to depend on memory.
    pub fn foretell(
        &self,
        arrivals: &[Arrival<'_>],
        slack: Duration,
        stop: Option<UnixNanos>,
    ) -> Vec<Foretold> {
        let mut stories: BTreeMap<TraceId, Story<'_, '_>> = BTreeMap::new();
        for (index, arrival) in arrivals.iter().enumerate() {
            let id = arrival.id;
            let story =
                stories.entry(id).or_insert_with(|| Story { sampler: self, id, arrivals: Vec::new() });
            story.arrivals.push((index, arrival));
        }
        for story in stories.values_mut() {
            story.arrivals.sort_by_key(|(index, arrival)| (arrival.at, *index));
        }
        let crowded = self.crowded(arrivals, slack);
        let remembering = self.remembering(stories.keys());
        let foretell = |story: Story<'_, '_>| {
            let remembered = remembering.contains(&shard(story.id, self.config().num_shards));
            let crowded = crowded.contains(&story.id) || (!remembered && self.forgets_early());
            story.foretell(slack, stop, crowded, remembered)
        };
        stories.into_values().map(foretell).collect()
    }

    /// Traces that may be pushed out of memory before they are decided on.
    ///
    /// The oldest goes first, so that takes `num_traces` others that arrive between its first span and its decision.
    fn crowded(&self, arrivals: &[Arrival<'_>], slack: Duration) -> HashSet<TraceId> {
        let window = Duration::from_secs(self.wait() + 1) + slack + slack;
        let room = self.per_shard(self.config().num_traces);
        let mut crowded = HashSet::new();
        for number in 0..self.config().num_shards.max(1) {
            let mut here: Vec<&Arrival<'_>> = arrivals
                .iter()
                .filter(|arrival| shard(arrival.id, self.config().num_shards) == number)
                .collect();
            here.sort_by_key(|arrival| arrival.at);
            // Traces that arrive within a window that begins with an arrival.
            let mut inside: HashMap<TraceId, usize> = HashMap::new();
            let mut end = 0;
            for (begin, arrival) in here.iter().enumerate() {
                while end < here.len() && here[end].at <= arrival.at + window {
                    *inside.entry(here[end].id).or_default() += 1;
                    end += 1;
                }
                if inside.len() as u64 > room {
                    crowded.extend(here[begin..end].iter().map(|arrival| arrival.id));
                }
                if let Some(count) = inside.get_mut(&arrival.id) {
                    *count -= 1;
                    if *count == 0 {
                        inside.remove(&arrival.id);
                    }
                }
            }
        }
        crowded
    }

    /// Whether a trace may have been forgotten before its tick, or never be let in, unless there is room for all: it may be
    /// decided on earlier, and full memory may block.
    fn forgets_early(&self) -> bool {
        let config = self.config();
        config.block_on_overflow
            || config.maximum_trace_size_bytes > 0
            || config.sampling_strategy == SamplingStrategy::SpanIngest
    }

    /// Shards that forget nothing: there is room for all of their traces, in memory and in each cache that is on.
    fn remembering<'i>(&self, ids: impl Iterator<Item = &'i TraceId>) -> HashSet<u32> {
        let mut traces: HashMap<u32, u64> = HashMap::new();
        for id in ids {
            *traces.entry(shard(*id, self.config().num_shards)).or_default() += 1;
        }
        let caches = self.config().decision_cache;
        let holds = |size: u64, traces: u64| size == 0 || self.per_shard(size) >= traces;
        let all = |traces: u64| {
            self.per_shard(self.config().num_traces) >= traces
                && holds(caches.sampled_cache_size, traces)
                && holds(caches.non_sampled_cache_size, traces)
        };
        traces.into_iter().filter_map(|(shard, traces)| all(traces).then_some(shard)).collect()
    }
}

// === impl Story ===

impl Story<'_, '_> {
    fn foretell(
        &self,
        slack: Duration,
        stop: Option<UnixNanos>,
        crowded: bool,
        remembered: bool,
    ) -> Foretold {
        let config = self.sampler.config();
        let due = self.due();
        let earliest = UnixNanos(due.0.saturating_sub(nanos(slack)));
        let latest = due + Duration::from_secs(1) + slack;
        let mut decided = (earliest, latest);
        let mut given_up = Decisions::NONE;
        if let Some(stop) = stop {
            // What `span-ingest` samples it has sampled before, and all else is as good as given up.
            let by_tick = config.sampling_strategy == SamplingStrategy::TraceComplete;
            if by_tick && config.drop_pending_traces_on_shutdown && stop <= latest + slack {
                given_up = Decision::NotSampled.into();
            }
            decided = (earliest.min(stop), latest.min(stop));
        }
        let presence = |arrival: &Arrival<'_>| {
            if arrival.at <= decided.0 {
                Presence::InTime
            } else if arrival.at > decided.1 {
                Presence::Late
            } else {
                Presence::Uncertain
            }
        };
        let arrivals: Vec<(usize, Presence)> =
            self.arrivals.iter().map(|(index, arrival)| (*index, presence(arrival))).collect();
        // The first one is there whatever the clocks say.
        let certain = arrivals.iter().filter(|(_, presence)| *presence == Presence::InTime).count().max(1);
        let possible = arrivals.iter().filter(|(_, presence)| *presence != Presence::Late).count().max(1);
        let (mut decisions, mut depends) = (given_up, Dependence::Arrivals);
        if stop.is_none_or(|stop| given_up == Decisions::NONE || stop + slack >= earliest) {
            let mut single = Decisions::NONE;
            for seen in certain..=possible {
                let (judged, why) = self.judge(seen);
                (single, depends) = (single.or(judged), depends.max(why));
            }
            decisions = decisions.or(single);
            if decisions.certain().is_none() {
                depends = depends.max(Dependence::Ticks);
            }
        }
        if crowded {
            let anything = Decisions::only(Decision::NotSampled).or(decisions);
            decisions = anything.with(Decision::Sampled).with(Decision::Dropped);
            depends = depends.max(Dependence::Memory);
        }
        if decisions.certain().is_some() {
            depends = Dependence::Arrivals;
        }
        // What is not sampled at an ingest is forgotten at its tick, cache or not.
        let kept = config.sampling_strategy == SamplingStrategy::TraceComplete
            || config.decision_cache.non_sampled_cache_size > 0
            || decisions.must_be(Decision::Sampled)
            || decisions.must_be(Decision::Dropped);
        Foretold { id: self.id, decisions, decided, arrivals, remembered: remembered && kept, depends }
    }

    /// The earliest time of the tick that decides: one second at most before it.
    fn due(&self) -> UnixNanos {
        let first = self.arrivals[0].1.at + Duration::from_secs(self.sampler.wait());
        let Some(wait) = self.sampler.wait_after_root() else { return first };
        // A root that is later than the decision cannot be waited for less long than that.
        let roots = self
            .arrivals
            .iter()
            .filter(|(_, arrival)| arrival.batch.spans.iter().any(|v| v.span.parent.is_none()));
        roots.map(|(_, root)| root.at + Duration::from_secs(wait)).min().map_or(first, |root| root.min(first))
    }

    /// What is decided once so many arrivals are there.
    fn judge(&self, seen: usize) -> (Decisions, Dependence) {
        let config = self.sampler.config();
        let seen = &self.arrivals[..seen];
        let mut maybe_too_large = Decisions::NONE;
        let mut depends = Dependence::Arrivals;
        let limit = config.maximum_trace_size_bytes;
        // `span-ingest` may have sampled it before it was too large, so that the limit is looked at there, each time.
        let by_batch = config.sampling_strategy == SamplingStrategy::SpanIngest;
        if limit > 0 && !by_batch {
            let known: u64 = seen.iter().filter_map(|(_, arrival)| arrival.batch.bytes).sum();
            if known > limit {
                return (Decision::NotSampled.into(), Dependence::Arrivals);
            }
            if seen.iter().any(|(_, arrival)| arrival.batch.bytes.is_none()) {
                (maybe_too_large, depends) = (Decision::NotSampled.into(), Dependence::Sizes);
            }
        }
        if by_batch {
            return self.judge_batches(seen.len());
        }
        let batches = seen.iter().map(|(_, arrival)| arrival.batch.clone()).collect();
        let judgement = self.sampler.judge(&TraceView::new(self.id, batches));
        let why = match judgement.basis {
            Basis::Trace => Dependence::Arrivals,
            Basis::Clock => Dependence::Clock,
            Basis::Unsupported => Dependence::Unsupported,
        };
        (judgement.decisions.or(maybe_too_large), depends.max(why))
    }

    /// What is decided at the first of so many arrivals that decides anything, under `span-ingest`.
    fn judge_batches(&self, seen: usize) -> (Decisions, Dependence) {
        let limit = self.sampler.config().maximum_trace_size_bytes;
        let (mut earlier, mut bytes) = (0_u64, 0_u64);
        let mut possible = Decisions::NONE;
        let mut depends = Dependence::Arrivals;
        for (_, arrival) in &self.arrivals[..seen] {
            if limit > 0 {
                let Some(more) = arrival.batch.bytes else {
                    let all = possible.with(Decision::Sampled).with(Decision::NotSampled);
                    return (all.with(Decision::Dropped), Dependence::Sizes.max(depends));
                };
                bytes += more;
                if bytes > limit {
                    return (possible.with(Decision::NotSampled), depends);
                }
            }
            let view = TraceView { id: self.id, batches: vec![arrival.batch.clone()], earlier };
            if let Some(decisions) = self.sampler.judge_batch(&view) {
                if decisions.certain().is_some() {
                    return (possible.or(decisions), depends);
                }
                possible = possible.or(decisions);
                depends = Dependence::Unsupported;
            }
            earlier += arrival.batch.spans.len() as u64;
        }
        (possible.with(Decision::NotSampled), depends)
    }
}

/// A duration in nanoseconds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
