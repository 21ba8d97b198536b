//! What the policies say of a trace.
//!
//! Read from `internal/sampling/*.go` of the `tail_sampling` processor v0.161.0, with its feature gates as they are by
//! default: `usetracestate` is off, so that `probabilistic` hashes and limiters count in the order of decisions.

use super::{
    super::{
        config::PolicyConfig,
        hash,
        input::TraceView,
        tracestate,
        votes::{Vote, Votes},
    },
    ConfigError, Place, Policy, allocation, divided,
};

/// `composite`: the first policy within that matches decides, as long as its spans of this second are within its
/// part.
#[derive(Debug, Clone)]
pub(in super::super) struct Composite {
    policies: Vec<Policy>,
    /// Spans a second of each policy: its own part, and never more than the total.
    limits: Vec<u64>,
}

// === impl Composite ===

impl Composite {
    /// The policy with these settings.
    pub(super) fn new(config: &PolicyConfig, shards: u32) -> Result<Self, ConfigError> {
        let subs = &config.composite.composite_sub_policy;
        let total = divided(config.composite.max_total_spans_per_second, shards);
        let limit = |sub: &PolicyConfig| {
            let own = allocation(&config.composite.rate_allocation, &sub.name, total, subs.len());
            own.min(total).max(0).unsigned_abs()
        };
        let policies = subs.iter().map(|sub| Policy::new(sub, Place::Composite, shards));
        Ok(Self { policies: policies.collect::<Result<_, _>>()?, limits: subs.iter().map(limit).collect() })
    }

    /// The policies within.
    pub(super) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Spans that it may sample in one second of the wall clock.
    ///
    /// `max_total_spans_per_second` is held against the count of each policy alone (`composite.go`, `Evaluate`), so
    /// that several together may exceed it.
    pub(in super::super) fn per_second(&self) -> u64 {
        self.limits.iter().fold(0, |sum, limit| sum.saturating_add(*limit))
    }

    /// What it says. Once a policy within has matched, those behind it are not asked, also where the limit is
    /// exhausted.
    fn votes(&self, trace: &TraceView<'_>) -> Votes {
        let mut votes = Votes::NONE;
        for (policy, limit) in self.policies.iter().zip(&self.limits) {
            let said = policy.votes(trace);
            if said.may_be(Vote::Error) {
                votes = votes.with(Vote::Error);
            }
            if said.may_be(Vote::Sampled) {
                let fits = trace.span_count() <= *limit;
                votes = votes.or(if fits { Votes::EITHER } else { Vote::NotSampled.into() });
            }
            if !said.may_be(Vote::NotSampled) {
                return votes;
            }
        }
        votes.with(Vote::NotSampled)
    }
}

// === impl Policy ===

impl Policy {
    /// What it says of a trace: one vote, unless the clock has a say or something is not known.
    pub(in super::super) fn votes(&self, trace: &TraceView<'_>) -> Votes {
        match self {
            Self::AlwaysSample => Vote::Sampled.into(),
            Self::Latency { above, to } => Votes::sampled_if(latency(trace, *above, *to)),
            Self::Numeric(numeric) => numeric.vote(trace),
            Self::Probabilistic { salt, threshold } => {
                let hash = hash::fnv1a_64(&[salt.as_bytes(), trace.id.as_bytes()]);
                Votes::sampled_if(hash <= *threshold)
            }
            Self::StatusCode(codes) => {
                Votes::sampled_if(trace.spans().any(|view| codes.contains(&view.span.status)))
            }
            Self::Text(text) => text.vote(trace),
            Self::Boolean(boolean) => boolean.vote(trace),
            Self::RateLimiting(bucket) => limited(Some(trace.span_count()), bucket.burst),
            Self::BytesLimiting(bucket) => limited(trace.message_bytes(), bucket.burst),
            Self::SpanCount { min, max } => {
                let count = i64::try_from(trace.span_count()).unwrap_or(i64::MAX);
                Votes::sampled_if(count >= *min && (*max == 0 || count <= *max))
            }
            Self::TraceState { key, values } => Votes::sampled_if(trace.spans().any(|view| {
                tracestate::member(view.trace_state, key)
                    .is_some_and(|value| values.iter().any(|wanted| wanted == value))
            })),
            Self::TraceFlags => Votes::sampled_if(trace.spans().any(|view| view.flags & 1 == 1)),
            Self::Ottl(filter) => filter.vote(trace),
            Self::And(policies) => all(policies, trace, Vote::Sampled),
            Self::Drop(policies) => all(policies, trace, Vote::Dropped),
            Self::Not(policy) => policy.votes(trace).iter().fold(Votes::NONE, |votes, vote| {
                votes.with(match vote {
                    Vote::Sampled => Vote::NotSampled,
                    Vote::NotSampled => Vote::Sampled,
                    other => other,
                })
            }),
            Self::Composite(composite) => composite.votes(trace),
            Self::Unsupported(_) => Votes::ANY,
        }
    }
}

/// What a token bucket says: nothing that costs more than it holds ever passes, and nothing is free to pass in all
/// cases but what costs nothing.
fn limited(cost: Option<u64>, burst: u64) -> Votes {
    match cost {
        Some(cost) if cost > burst => Vote::NotSampled.into(),
        Some(0) => Vote::Sampled.into(),
        _ => Votes::EITHER,
    }
}

/// `yes` when all of them sample; the first that does not, or fails, decides otherwise (`and.go`, `drop.go`).
fn all(policies: &[Policy], trace: &TraceView<'_>, yes: Vote) -> Votes {
    let mut votes = Votes::NONE;
    for policy in policies {
        let said = policy.votes(trace);
        for vote in said.iter().filter(|vote| *vote != Vote::Sampled) {
            votes = votes.with(vote);
        }
        if !said.may_be(Vote::Sampled) {
            return votes;
        }
    }
    votes.with(yes)
}

/// Whether the trace is within the bounds after some span (`latency.go`).
///
/// Span by span, the time from the first start to the last end so far is held against the bounds, and the first hit
/// decides. Without an upper bound that is the whole trace; with one, a trace that is too long is sampled all the same
/// when its first spans happen to lie within. A time of zero counts as not yet seen.
fn latency(trace: &TraceView<'_>, above: i64, to: i64) -> bool {
    let (mut first, mut last) = (0_u64, 0_u64);
    trace.spans().any(|view| {
        let (start, end) = (view.span.start.0, view.span.end.0);
        if first == 0 || start < first {
            first = start;
        }
        if last == 0 || end > last {
            last = end;
        }
        // Go's times are signed, and durations cut off towards zero.
        let nanos = i128::from(last.cast_signed()) - i128::from(first.cast_signed());
        let nanos = nanos.clamp(i64::MIN.into(), i64::MAX.into());
        let millis = nanos / 1_000_000;
        millis > above.into() && (to == 0 || millis <= to.into())
    })
}
