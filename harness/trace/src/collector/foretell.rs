//! What becomes of traces when nobody knows at which fraction of a second the ticks fall.
//!
//! A decision falls within one second: N to N + 1 seconds after the first span, or earlier by a root. What arrived
//! before that second is looked at, what arrives after it is late, and what arrives within it may be either. And of two
//! arrivals that overlap nobody knows which was first. So there are a few sequences of arrivals that the decision may
//! have looked at; where all of them come to the same, neither ticks nor order matter.

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

/// Sequences of arrivals that are looked at for one trace; where there are more, anything may come of it.
const MOST_HISTORIES: usize = 1_000;

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
    /// On which of two arrivals was first, whose times overlap.
    Order,
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
    /// `slack` is how late ticks may be, and how far the times of arrivals may be off beyond what they say. With `stop`, the Collector is shut down then;
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
        let unknown = arrivals.iter().map(|arrival| arrival.by.since(arrival.at)).max().unwrap_or_default();
        let window = Duration::from_secs(self.wait() + 1) + 2 * (slack + unknown);
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
        let (due, at_last) = self.due();
        let earliest = UnixNanos(due.0.saturating_sub(nanos(slack)));
        let latest = at_last + Duration::from_secs(1) + slack;
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
            if arrival.by <= decided.0 {
                Presence::InTime
            } else if arrival.at > decided.1 {
                Presence::Late
            } else {
                Presence::Uncertain
            }
        };
        let arrivals: Vec<(usize, Presence)> =
            self.arrivals.iter().map(|(index, arrival)| (*index, presence(arrival))).collect();
        let (mut decisions, mut depends) = (given_up, Dependence::Arrivals);
        if stop.is_none_or(|stop| given_up == Decisions::NONE || stop + slack >= earliest) {
            let presence: Vec<Presence> = arrivals.iter().map(|(_, presence)| *presence).collect();
            let histories = self.histories(&presence);
            let mut single = Decisions::NONE;
            for seen in histories.iter().flatten() {
                let (judged, why) = self.judge(seen);
                (single, depends) = (single.or(judged), depends.max(why));
            }
            if histories.is_none() {
                single =
                    Decisions::only(Decision::Sampled).with(Decision::NotSampled).with(Decision::Dropped);
            }
            decisions = decisions.or(single);
            if decisions.certain().is_none() {
                let by_order = given_up == Decisions::NONE && !presence.contains(&Presence::Uncertain);
                depends = depends.max(if by_order { Dependence::Order } else { Dependence::Ticks });
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

    /// Between which times the tick that decides is due: it comes within a second after that.
    fn due(&self) -> (UnixNanos, UnixNanos) {
        let within = |arrivals: &mut dyn Iterator<Item = &Arrival<'_>>, wait: u64| {
            let wait = Duration::from_secs(wait);
            let both = arrivals.map(|arrival| (arrival.at + wait, arrival.by + wait));
            both.reduce(|first, other| (first.0.min(other.0), first.1.min(other.1)))
        };
        let arrivals = || self.arrivals.iter().map(|(_, arrival)| *arrival);
        let first = within(&mut arrivals(), self.sampler.wait()).unwrap_or_default();
        let Some(wait) = self.sampler.wait_after_root() else { return first };
        // A root that is later than the decision cannot be waited for less long than that.
        let has_root = |arrival: &&Arrival<'_>| arrival.batch.spans.iter().any(|v| v.span.parent.is_none());
        within(&mut arrivals().filter(has_root), wait)
            .map_or(first, |root| (root.0.min(first.0), root.1.min(first.1)))
    }

    /// The sequences of arrivals that the decision may have looked at, by their places in the story; nothing where there
    /// are too many.
    fn histories(&self, presence: &[Presence]) -> Option<Vec<Vec<usize>>> {
        let in_time = |place: &usize| presence[*place] == Presence::InTime;
        let places = || 0..self.arrivals.len();
        // The first one is there whatever the clocks say.
        let open: Vec<usize> =
            places().filter(|place| presence[*place] != Presence::Late || *place == 0).collect();
        let mut found = Vec::new();
        let mut seen: HashSet<Vec<usize>> = HashSet::new();
        let mut next = vec![if self.is_ordered() { Vec::new() } else { places().filter(in_time).collect() }];
        while let Some(history) = next.pop() {
            if seen.len() > MOST_HISTORIES {
                return None;
            }
            // Where order does not matter, one sequence of each set is enough.
            let mut key = history.clone();
            if !self.is_ordered() {
                key.sort_unstable();
            }
            if !seen.insert(key) {
                continue;
            }
            let missing: Vec<usize> = open.iter().copied().filter(|place| !history.contains(place)).collect();
            let may_follow = |place: &usize| !missing.iter().any(|other| self.precedes(*other, *place));
            next.extend(missing.iter().copied().filter(may_follow).map(|place| {
                let mut longer = history.clone();
                longer.push(place);
                longer
            }));
            if !history.is_empty() && !missing.iter().any(in_time) {
                found.push(if self.is_ordered() { history } else { sorted(history) });
            }
        }
        Some(found)
    }

    /// Whether one arrival came before another for certain.
    fn precedes(&self, one: usize, other: usize) -> bool {
        let (first, then) = (self.arrivals[one].1, self.arrivals[other].1);
        one < other && (first.by <= then.at || (first.at, first.by) == (then.at, then.by))
    }

    /// Whether the order of arrivals has a say.
    fn is_ordered(&self) -> bool {
        self.sampler.config().sampling_strategy == SamplingStrategy::SpanIngest
            || self.sampler.looks_at_the_order()
    }

    /// What is decided once these arrivals are there, in this order.
    fn judge(&self, seen: &[usize]) -> (Decisions, Dependence) {
        let config = self.sampler.config();
        let seen: Vec<&Arrival<'_>> = seen.iter().map(|place| self.arrivals[*place].1).collect();
        let mut maybe_too_large = Decisions::NONE;
        let mut depends = Dependence::Arrivals;
        let limit = config.maximum_trace_size_bytes;
        // `span-ingest` may have sampled it before it was too large, so that the limit is looked at there, each time.
        let by_batch = config.sampling_strategy == SamplingStrategy::SpanIngest;
        if limit > 0 && !by_batch {
            let known: u64 = seen.iter().filter_map(|arrival| arrival.batch.bytes).sum();
            if known > limit {
                return (Decision::NotSampled.into(), Dependence::Arrivals);
            }
            if seen.iter().any(|arrival| arrival.batch.bytes.is_none()) {
                (maybe_too_large, depends) = (Decision::NotSampled.into(), Dependence::Sizes);
            }
        }
        if by_batch {
            return self.judge_batches(&seen);
        }
        let batches = seen.iter().map(|arrival| arrival.batch.clone()).collect();
        let judgement = self.sampler.judge(&TraceView::new(self.id, batches));
        let why = match judgement.basis {
            Basis::Trace => Dependence::Arrivals,
            Basis::Clock => Dependence::Clock,
            Basis::Unsupported => Dependence::Unsupported,
        };
        (judgement.decisions.or(maybe_too_large), depends.max(why))
    }

    /// What is decided at the first of so many arrivals that decides anything, under `span-ingest`.
    fn judge_batches(&self, seen: &[&Arrival<'_>]) -> (Decisions, Dependence) {
        let limit = self.sampler.config().maximum_trace_size_bytes;
        let (mut earlier, mut bytes) = (0_u64, 0_u64);
        let mut possible = Decisions::NONE;
        let mut depends = Dependence::Arrivals;
        for arrival in seen {
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

fn sorted(mut places: Vec<usize>) -> Vec<usize> {
    places.sort_unstable();
    places
}

/// A duration in nanoseconds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
