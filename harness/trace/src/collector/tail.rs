//! The `tail_sampling` processor: which traces it keeps once all of their spans are there.

use super::{
    config::{SamplingStrategy, TailSamplingConfig},
    input::TraceView,
    policy::{ConfigError, Place, Policy},
    votes::{Decision, Decisions, Vote, Votes},
};

/// The `tail_sampling` processor, ready to be asked.
#[derive(Debug, Clone)]
pub struct TailSampler {
    config: TailSamplingConfig,
    /// Those of type `drop` first, as upstream has them.
    policies: Vec<Named>,
    /// How many of them are of type `drop`.
    drops: usize,
}

/// A policy with its name.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    policy: Policy,
}

/// What is decided on a trace, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What may become of it. More than one thing only where `basis` is not [`Basis::Trace`].
    pub decisions: Decisions,
    /// What the policies said, in the order in which they were asked; those that are never asked are absent.
    pub votes: Vec<PolicyVotes>,
    /// The policy whose name is recorded (`tailsampling.policy`): the first that dropped or sampled. `None` when there
    /// is none, or none that is certain.
    pub recorded: Option<String>,
    /// What the decision follows from.
    pub basis: Basis,
}

/// What one policy said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVotes {
    /// Its name.
    pub policy: String,
    /// What it may say.
    pub votes: Votes,
}

/// What a decision follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// The spans alone: it is exact.
    Trace,
    /// The clock as well, and what else was sampled in the same second: it has bounds ([`TailSampler::passed`]).
    Clock,
    /// Something that is not evaluated here ([`TailSampler::unsupported`]).
    Unsupported,
}

/// Something that is not evaluated here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedPolicy {
    /// The name of the policy at the top.
    pub policy: String,
    /// What of it, in words.
    pub what: String,
}

/// What the order of policies has an effect on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderEffect {
    /// Which name is recorded when several sample a trace. Never on whether it is sampled.
    RecordedPolicy,
    /// On how much of a rate is left: a policy that is not asked takes none. It may change what is sampled.
    Rates,
}

// === impl TailSampler ===

impl TailSampler {
    /// The processor with this configuration (`processor.go`, `loadSamplingPolicies`; `config.go`, `Validate`).
    pub fn new(config: TailSamplingConfig) -> Result<Self, ConfigError> {
        if config.num_shards > 256 {
            return Err(ConfigError::Shards { shards: config.num_shards });
        }
        if config.tail_storage.is_some() {
            return Err(ConfigError::TailStorage);
        }
        let (mut drops, mut others): (Vec<Named>, Vec<Named>) = (Vec::new(), Vec::new());
        for (index, policy) in config.policies.iter().enumerate() {
            let name = policy.name.clone();
            if name.is_empty() {
                return Err(ConfigError::NoName { index });
            }
            if drops.iter().chain(&others).any(|other| other.name == name) {
                return Err(ConfigError::DuplicateName { name });
            }
            let policy = Policy::new(policy, Place::Top, config.num_shards)?;
            if config.sampling_strategy == SamplingStrategy::SpanIngest && policy.is_stateful() {
                return Err(ConfigError::Stateful { policy: name });
            }
            let list = if matches!(policy, Policy::Drop(_)) { &mut drops } else { &mut others };
            list.push(Named { name, policy });
        }
        let count = drops.len();
        drops.append(&mut others);
        Ok(Self { config, policies: drops, drops: count })
    }

    /// Its configuration.
    pub fn config(&self) -> &TailSamplingConfig {
        &self.config
    }

    /// What is decided on a trace once all of its spans are there (`processor.go`, `evaluateDropPolicies` and
    /// `makeDecision`).
    ///
    /// The policies of type `drop` are asked first, and the first that matches ends it. Of all others, one that
    /// samples is enough, and errors count for nothing. Sizes, times and caches have no part in it; for those
    /// see [`Self::replay`] and [`Self::foretell`].
    pub fn judge(&self, trace: &TraceView<'_>) -> Judgement {
        let mut decisions = Decisions::NONE;
        let mut asked = Vec::new();
        let mut recorded = Recorded::None;
        let mut basis = Basis::Trace;
        for (index, Named { name, policy }) in self.policies.iter().enumerate() {
            let votes = policy.votes(trace);
            asked.push(PolicyVotes { policy: name.clone(), votes });
            if votes.certain().is_none() {
                // Uncertain by the trace alone: it has something that a condition reads and that is not kept.
                basis = basis.max(match policy.basis() {
                    Basis::Trace => Basis::Unsupported,
                    other => other,
                });
            }
            if index < self.drops {
                recorded = recorded.next(name, votes, Vote::Dropped);
                if votes.may_be(Vote::Dropped) {
                    decisions = decisions.with(Decision::Dropped);
                }
                if votes.must_be(Vote::Dropped) {
                    return Judgement {
                        basis: basis.of(decisions),
                        decisions,
                        votes: asked,
                        recorded: recorded.name(),
                    };
                }
                continue;
            }
            recorded = recorded.next(name, votes, Vote::Sampled);
            if self.config.sample_on_first_match && votes.must_be(Vote::Sampled) {
                break;
            }
        }
        let sampling = || asked.iter().skip(self.drops).map(|asked| asked.votes);
        if sampling().any(|votes| votes.may_be(Vote::Sampled)) {
            decisions = decisions.with(Decision::Sampled);
        }
        if !sampling().any(|votes| votes.must_be(Vote::Sampled)) {
            decisions = decisions.with(Decision::NotSampled);
        }
        Judgement { basis: basis.of(decisions), decisions, votes: asked, recorded: recorded.name() }
    }

    /// What is decided when one batch arrives under `span-ingest` (`makeDecisionOnSpanIngest`): `None` is put off.
    ///
    /// Upstream never samples anything once there is a policy of type `drop`: it may still match.
    pub(super) fn judge_batch(&self, trace: &TraceView<'_>) -> Option<Decisions> {
        let (drops, others) = self.policies.split_at(self.drops);
        let mut possible = Decisions::NONE;
        for drop in drops {
            let votes = drop.policy.votes(trace);
            if votes.may_be(Vote::Dropped) {
                possible = possible.with(Decision::Dropped);
            }
            if votes.must_be(Vote::Dropped) {
                return Some(possible);
            }
        }
        if drops.is_empty() {
            for other in others {
                let votes = other.policy.votes(trace);
                if votes.may_be(Vote::Sampled) {
                    possible = possible.with(Decision::Sampled);
                }
                if votes.must_be(Vote::Sampled) {
                    return Some(possible);
                }
            }
        }
        (possible != Decisions::NONE).then_some(possible.with(Decision::NotSampled))
    }

    /// Whether every trace is decided on by its spans alone.
    pub fn is_exact(&self) -> bool {
        self.policies.iter().all(|named| named.policy.basis() == Basis::Trace)
    }

    /// What is not evaluated here.
    pub fn unsupported(&self) -> Vec<UnsupportedPolicy> {
        let of = |named: &Named| {
            let what = named.policy.unsupported()?.to_owned();
            Some(UnsupportedPolicy { policy: named.name.clone(), what })
        };
        self.policies.iter().filter_map(of).collect()
    }

    /// What the order of the policies in the file has an effect on. Empty: order does not matter at all.
    ///
    /// Whether a trace is sampled does not depend on it: all policies are asked, those of type `drop` first. Where one
    /// that matches ends the asking (`drop`, `sample_on_first_match`), those behind it take nothing from their rates.
    /// The order of spans matters to `latency` with an upper bound, and the order within a `composite` to that; neither
    /// is the order of policies.
    pub fn order_effects(&self) -> Vec<OrderEffect> {
        let (drops, others) = self.policies.split_at(self.drops);
        let clock = |policies: &[Named]| policies.iter().any(|named| named.policy.looks_at_the_clock());
        let recorded = drops.len() > 1 || others.len() > 1;
        let rates = (drops.len() > 1 && clock(drops))
            || (self.config.sample_on_first_match && others.len() > 1 && clock(others));
        let effects = [(recorded, OrderEffect::RecordedPolicy), (rates, OrderEffect::Rates)];
        effects.into_iter().filter_map(|(has, effect)| has.then_some(effect)).collect()
    }

    /// Whether the order of the policies in the file may change which traces are sampled.
    pub fn order_matters(&self) -> bool {
        self.order_effects().contains(&OrderEffect::Rates)
    }

    /// Whether the order in which spans arrive may change what is decided.
    pub(super) fn looks_at_the_order(&self) -> bool {
        self.policies.iter().any(|named| named.policy.looks_at_the_order())
    }

    /// How many policies are of type `drop`: they are asked first.
    pub(super) fn drops(&self) -> usize {
        self.drops
    }

    /// The policies at the top that are not of type `drop`.
    pub(super) fn sampling_policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().skip(self.drops).map(|named| &named.policy)
    }
}

// === impl Judgement ===

impl Judgement {
    /// What becomes of the trace, when that is certain.
    pub fn decision(&self) -> Option<Decision> {
        self.decisions.certain()
    }

    /// Whether the decision follows from the trace alone.
    pub fn is_exact(&self) -> bool {
        self.basis == Basis::Trace
    }
}

// === impl Basis ===

impl Basis {
    /// What is certain, whatever the uncertain policies say, is so by the trace.
    fn of(self, decisions: Decisions) -> Self {
        if decisions.certain().is_some() { Self::Trace } else { self }
    }
}

// === impl Policy ===

impl Policy {
    /// What its votes follow from.
    fn basis(&self) -> Basis {
        match self.unsupported() {
            Some(_) => Basis::Unsupported,
            None if self.looks_at_the_clock() => Basis::Clock,
            None => Basis::Trace,
        }
    }
}

/// The first policy that decided, as far as it is certain.
enum Recorded<'a> {
    None,
    Certain(&'a str),
    Uncertain,
}

// === impl Recorded ===

impl<'a> Recorded<'a> {
    fn next(self, name: &'a str, votes: Votes, deciding: Vote) -> Self {
        match self {
            Self::None if votes.must_be(deciding) => Self::Certain(name),
            Self::None if votes.may_be(deciding) => Self::Uncertain,
            decided => decided,
        }
    }

    fn name(self) -> Option<String> {
        match self {
            Self::Certain(name) => Some(name.to_owned()),
            Self::None | Self::Uncertain => None,
        }
    }
}
