//! The `tail_sampling` processor at work: arrivals, ticks, memory and caches, for ticks whose times are given.
//!
//! Read from `processor.go`, `sharded_processor.go`, `internal/idbatcher/id_batcher.go` and `cache/lru_cache.go` of
//! v0.161.0. What matters:
//!
//! - A trace that is first seen before tick k is decided on at tick k + N, N being the whole seconds of
//!   `decision_wait`, one at least: N to N + 1 seconds after its first span. A root moves it to the tick that is so
//!   many whole seconds of `decision_wait_after_root_received` further on, if that is earlier.
//! - A trace that is pushed out of memory stays in line for its tick. If it arrives again before, it is decided on at
//!   that old tick, with what came since.
//! - Decided traces stay in memory until they are pushed out, unless a cache remembers the decision.
//! - The caches know a trace by the last eight bytes of its id.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    bounds::shard,
    config::SamplingStrategy,
    input::{BatchView, TraceView},
    tail::TailSampler,
    votes::{Decision, Decisions},
};
use crate::{TraceId, UnixNanos};

/// Spans of one trace in one message, as they reach the Collector.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// When; where that is not known exactly, at the earliest.
    pub at: UnixNanos,
    /// When at the latest: as `at` where it is known exactly.
    pub by: UnixNanos,
    /// The trace.
    pub id: TraceId,
    /// Its spans.
    pub batch: BatchView<'a>,
}

/// What becomes of the spans of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They are forwarded.
    Forwarded {
        /// When.
        at: UnixNanos,
    },
    /// They never are.
    Withheld,
    /// The clock decides, or something that is not evaluated here.
    Uncertain,
}

/// What becomes of all arrivals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// One for each arrival.
    pub fates: Vec<Fate>,
    /// Whether that is for certain, but for what is [`Fate::Uncertain`]. It is not once a decision cache is full:
    /// what it forgets depends on the order within a tick, which is random upstream. Nor once an uncertain decision
    /// has changed what is in memory.
    pub exact: bool,
}

/// Why arrivals cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotReplay {
    /// `maximum_trace_size_bytes` is set, and the size of an arrival is not known.
    #[error("maximum_trace_size_bytes is set, but the size of arrival {arrival} is not known")]
    Size {
        /// Its place among the arrivals.
        arrival: usize,
    },
    /// `block_on_overflow` is set and memory is full: what waits, and for how long, is up to the receivers.
    #[error("memory is full at arrival {arrival}, and block_on_overflow makes it wait")]
    Blocked {
        /// Its place among the arrivals.
        arrival: usize,
    },
    /// The arrivals are not in the order of time.
    #[error("arrival {arrival} is earlier than the one before")]
    Order {
        /// Its place among the arrivals.
        arrival: usize,
    },
}

/// The processor between two events.
struct State<'s, 'a> {
    sampler: &'s TailSampler,
    arrivals: &'s [Arrival<'a>],
    fates: Vec<Fate>,
    exact: bool,
    shards: Vec<Shard>,
}

/// One of the loops, with its own memory.
struct Shard {
    traces: HashMap<TraceId, Entry>,
    /// Traces in memory by when they came, the oldest first.
    queue: BTreeMap<u64, TraceId>,
    /// Traces that ever came.
    came: u64,
    /// Who is decided on at which tick.
    due: BTreeMap<u64, BTreeSet<TraceId>>,
    ticks: u64,
    sampled: Cache,
    not_sampled: Cache,
}

/// A trace in memory.
#[derive(Default)]
struct Entry {
    /// Its arrivals that wait for the decision.
    waiting: Vec<usize>,
    spans: u64,
    bytes: u64,
    tick: u64,
    /// Its place in the queue.
    place: u64,
    decided: Option<Decisions>,
}

/// The most recently used keys, as far as there is room.
struct Cache {
    room: usize,
    /// When each key was used last.
    used: HashMap<u64, u64>,
    /// The keys by when they were used.
    keys: BTreeMap<u64, u64>,
    uses: u64,
}

// === impl TailSampler ===

impl TailSampler {
    /// What becomes of `arrivals`, in the order of time, with a tick at `first_tick` and each second after.
    ///
    /// Each arrives at the earliest time that it has, and one at the time of a tick comes before it. The replay ends with the shutdown at `stop`, or, without one,
    /// with the tick that decides the last trace. A real ticker starts with the process and its times are known from
    /// nothing else; [`Self::foretell`] does without.
    pub fn replay(
        &self,
        arrivals: &[Arrival<'_>],
        first_tick: UnixNanos,
        stop: Option<UnixNanos>,
    ) -> Result<Replay, CannotReplay> {
        let mut state = State::new(self, arrivals);
        let mut tick = first_tick;
        for (index, arrival) in arrivals.iter().enumerate() {
            if index > 0 && arrival.at < arrivals[index - 1].at {
                return Err(CannotReplay::Order { arrival: index });
            }
            while tick < arrival.at {
                state.tick(tick);
                tick = tick + Duration::from_secs(1);
            }
            state.arrive(index)?;
        }
        let pending = |state: &State<'_, '_>| state.shards.iter().any(|shard| !shard.due.is_empty());
        while pending(&state) && stop.is_none_or(|stop| tick < stop) {
            state.tick(tick);
            tick = tick + Duration::from_secs(1);
        }
        if let Some(stop) = stop
            && !self.config().drop_pending_traces_on_shutdown
        {
            while pending(&state) {
                state.tick(stop);
            }
        }
        Ok(Replay { fates: state.fates, exact: state.exact })
    }

    /// The ticks that a trace waits for: whole seconds of `decision_wait`, one at least.
    pub(super) fn wait(&self) -> u64 {
        self.config().decision_wait.as_secs().max(1)
    }

    /// The ticks that a trace waits for once a root is there; `None` when that is turned off.
    pub(super) fn wait_after_root(&self) -> Option<u64> {
        let wait = self.config().decision_wait_after_root_received;
        (!wait.is_zero()).then_some(wait.as_secs())
    }

    /// A number of traces as one shard has it: a part of it, and one at least, unless it is zero.
    pub(super) fn per_shard(&self, traces: u64) -> u64 {
        match u64::from(self.config().num_shards) {
            0 | 1 => traces,
            shards => (traces / shards).max(1),
        }
    }
}

// === impl State ===

impl<'s, 'a> State<'s, 'a> {
    fn new(sampler: &'s TailSampler, arrivals: &'s [Arrival<'a>]) -> Self {
        let caches = sampler.config().decision_cache;
        let room = |size: u64| if size == 0 { 0 } else { sampler.per_shard(size) };
        let shard = || Shard {
            traces: HashMap::new(),
            queue: BTreeMap::new(),
            came: 0,
            due: BTreeMap::new(),
            ticks: 0,
            sampled: Cache::new(room(caches.sampled_cache_size)),
            not_sampled: Cache::new(room(caches.non_sampled_cache_size)),
        };
        let shards = sampler.config().num_shards.max(1);
        Self {
            sampler,
            arrivals,
            // Whatever is never released is withheld.
            fates: vec![Fate::Withheld; arrivals.len()],
            exact: true,
            shards: (0..shards).map(|_| shard()).collect(),
        }
    }

    /// Where a trace is kept.
    fn shard(&mut self, id: TraceId) -> &mut Shard {
        let index = shard(id, self.sampler.config().num_shards);
        &mut self.shards[index as usize]
    }

    /// Spans arrive (`iter`, `processCachedTrace`, `processTrace`).
    fn arrive(&mut self, index: usize) -> Result<(), CannotReplay> {
        let (sampler, arrival) = (self.sampler, &self.arrivals[index]);
        let (id, config) = (arrival.id, sampler.config());
        let shard = self.shard(id);
        if shard.sampled.knows(id) {
            self.fates[index] = Fate::Forwarded { at: arrival.at };
            return Ok(());
        }
        if shard.not_sampled.knows(id) {
            return Ok(());
        }
        if !shard.traces.contains_key(&id) {
            if shard.traces.len() as u64 >= sampler.per_shard(config.num_traces) {
                if config.block_on_overflow {
                    return Err(CannotReplay::Blocked { arrival: index });
                }
                if let Some((_, oldest)) = shard.queue.pop_first() {
                    shard.traces.remove(&oldest);
                }
            }
            let tick = shard.ticks + sampler.wait();
            let place = shard.came;
            shard.came += 1;
            shard.queue.insert(place, id);
            shard.due.entry(tick).or_default().insert(id);
            shard.traces.insert(id, Entry { tick, place, ..Entry::default() });
        }
        let root = arrival.batch.spans.iter().any(|view| view.span.parent.is_none());
        let proposed = sampler.wait_after_root().filter(|_| root).map(|wait| shard.ticks + wait);
        let Some(entry) = shard.traces.get_mut(&id) else { return Ok(()) };
        entry.spans += arrival.batch.spans.len() as u64;
        if let Some(proposed) = proposed.filter(|proposed| *proposed < entry.tick) {
            remove(&mut shard.due, entry.tick, id);
            shard.due.entry(proposed).or_default().insert(id);
            entry.tick = proposed;
        }
        if let Some(decided) = entry.decided {
            self.late(index, decided);
            return Ok(());
        }
        if config.maximum_trace_size_bytes > 0 {
            entry.bytes += arrival.batch.bytes.ok_or(CannotReplay::Size { arrival: index })?;
            if entry.bytes > config.maximum_trace_size_bytes {
                remove(&mut shard.due, entry.tick, id);
                self.decide(id, Decision::NotSampled.into(), arrival.at);
                return Ok(());
            }
        }
        entry.waiting.push(index);
        if config.sampling_strategy == SamplingStrategy::SpanIngest {
            let earlier = entry.spans - arrival.batch.spans.len() as u64;
            let view = TraceView { id, batches: vec![arrival.batch.clone()], earlier };
            if let Some(decisions) = sampler.judge_batch(&view) {
                self.decide(id, decisions, arrival.at);
            }
        }
        Ok(())
    }

    /// Spans of a trace in memory that was decided on: they share its fate.
    fn late(&mut self, index: usize, decided: Decisions) {
        let arrival = &self.arrivals[index];
        match decided.certain() {
            Some(Decision::Sampled) => self.fates[index] = Fate::Forwarded { at: arrival.at },
            Some(Decision::NotSampled) => self.release(arrival.id, decided),
            // Upstream warns of an "unexpected sampling decision", and does nothing.
            Some(Decision::Dropped) => {}
            None => self.fates[index] = Fate::Uncertain,
        }
    }

    /// A tick in every shard (`samplingPolicyOnTick`). Within one, upstream has a random order.
    fn tick(&mut self, at: UnixNanos) {
        for index in 0..self.shards.len() {
            let shard = &mut self.shards[index];
            let due = shard.due.remove(&shard.ticks).unwrap_or_default();
            shard.ticks += 1;
            for id in due {
                self.due(id, at);
            }
        }
    }

    /// Decides on a trace whose tick has come, unless it is gone or decided.
    fn due(&mut self, id: TraceId, at: UnixNanos) {
        let (sampler, arrivals) = (self.sampler, self.arrivals);
        let shard = self.shard(id);
        let Some(entry) = shard.traces.get(&id).filter(|entry| entry.decided.is_none()) else { return };
        if sampler.config().sampling_strategy == SamplingStrategy::SpanIngest {
            self.decide(id, Decision::NotSampled.into(), at);
            self.shard(id).forget(id);
            return;
        }
        let batches = entry.waiting.iter().map(|index| arrivals[*index].batch.clone()).collect();
        let decisions = sampler.judge(&TraceView::new(id, batches)).decisions;
        self.decide(id, decisions, at);
    }

    /// Notes the decision on a trace, and what becomes of what waited for it.
    fn decide(&mut self, id: TraceId, decisions: Decisions, at: UnixNanos) {
        let Some(entry) = self.shard(id).traces.get_mut(&id) else { return };
        entry.decided = Some(decisions);
        let fate = match decisions.certain() {
            Some(Decision::Sampled) => Fate::Forwarded { at },
            Some(_) => Fate::Withheld,
            None => Fate::Uncertain,
        };
        for index in std::mem::take(&mut entry.waiting) {
            self.fates[index] = fate;
        }
        self.release(id, decisions);
    }

    /// Lets a trace out of memory if a cache remembers the decision.
    fn release(&mut self, id: TraceId, decisions: Decisions) {
        let shard = self.shard(id);
        let cache = match decisions.certain() {
            Some(Decision::Sampled) => &mut shard.sampled,
            Some(_) => &mut shard.not_sampled,
            None => {
                self.exact &= shard.sampled.room == 0 && shard.not_sampled.room == 0;
                return;
            }
        };
        let full = cache.put(id);
        if cache.knows(id) {
            shard.forget(id);
        }
        self.exact &= !full;
    }
}

/// Takes a trace out of the line of a tick.
fn remove(due: &mut BTreeMap<u64, BTreeSet<TraceId>>, tick: u64, id: TraceId) {
    if let Some(ids) = due.get_mut(&tick) {
        ids.remove(&id);
    }
}

// === impl Shard ===

impl Shard {
    /// Lets a trace out of memory.
    fn forget(&mut self, id: TraceId) {
        if let Some(entry) = self.traces.remove(&id) {
            self.queue.remove(&entry.place);
        }
    }
}

// === impl Cache ===

impl Cache {
    fn new(room: u64) -> Self {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Self { room, used: HashMap::new(), keys: BTreeMap::new(), uses: 0 }
    }

    /// Whether it remembers a trace, which is then the most recently used.
    fn knows(&mut self, id: TraceId) -> bool {
        let known = self.used.contains_key(&key(id));
        if known {
            self.use_now(key(id));
        }
        known
    }

    /// Remembers a trace; whether another had to go.
    fn put(&mut self, id: TraceId) -> bool {
        if self.room == 0 {
            return false;
        }
        self.use_now(key(id));
        let full = self.keys.len() > self.room;
        if full && let Some((_, oldest)) = self.keys.pop_first() {
            self.used.remove(&oldest);
        }
        full
    }

    /// Makes a key the most recently used.
    fn use_now(&mut self, key: u64) {
        if let Some(before) = self.used.insert(key, self.uses) {
            self.keys.remove(&before);
        }
        self.keys.insert(self.uses, key);
        self.uses += 1;
    }
}

/// What the caches know of an id.
fn key(id: TraceId) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|index| id.as_bytes()[8 + index]))
}
