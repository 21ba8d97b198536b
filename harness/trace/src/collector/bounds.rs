//! How much may pass where the clock has a say.
//!
//! A token bucket that is full at first lets through at most what it holds and what flows in; and as long as something
//! is refused, at least what it holds, less one trace. A `composite` counts by the seconds of the wall clock.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use super::{
    input::TraceView,
    policy::{Bucket, Policy},
    tail::{Judgement, PolicyVotes, TailSampler},
    votes::{Decision, Vote},
};
use crate::TraceId;

/// How much may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Traces that may be sampled: fewest and most.
    pub traces: RangeInclusive<u64>,
    /// Spans of these: fewest and most.
    pub spans: RangeInclusive<u64>,
}

/// A trace that is decided on, and what is known of it.
struct Weighed<'a> {
    trace: &'a TraceView<'a>,
    judgement: Judgement,
}

// === impl TailSampler ===

impl TailSampler {
    /// How much of these traces may pass when all are decided on within `over`, from the first decision to the last.
    ///
    /// They must be all traces that the processor decided on since it started, each complete; decisions come together
    /// at ticks, so that `over` counts between ticks and not between arrivals. Where neither clock nor
    /// [`Self::unsupported`] has a say, fewest and most are one. The fewest takes into account `rate_limiting` and
    /// `bytes_limiting` at the top; of those within others, and of `composite`, nothing is promised.
    pub fn passed<'a>(&self, traces: &'a [TraceView<'a>], over: Duration) -> Passed {
        let weigh = |trace: &'a TraceView<'a>| Weighed { trace, judgement: self.judge(trace) };
        let weighed: Vec<Weighed<'a>> = traces.iter().map(weigh).collect();
        let certain = weighed.iter().filter(|weighed| weighed.must_be_sampled());
        let (traces, spans) =
            certain.fold((0, 0), |(traces, spans), weighed| (traces + 1, spans + weighed.spans()));
        let (most_traces, most_spans) = self.most(&weighed, over);
        let (fewest_traces, fewest_spans) = self.fewest(&weighed);
        Passed {
            traces: traces.max(fewest_traces)..=traces + most_traces,
            spans: spans.max(fewest_spans)..=spans + most_spans,
        }
    }

    /// Traces and spans that may pass beyond those that certainly do.
    fn most(&self, weighed: &[Weighed<'_>], over: Duration) -> (u64, u64) {
        let (mut most_traces, mut most_spans) = (0, 0);
        // Each shard has limits of its own.
        for (_, open) in self.by_shard(weighed.iter().filter(|weighed| weighed.is_open())) {
            let spans = |open: &[&Weighed<'_>]| open.iter().map(|weighed| weighed.spans()).sum::<u64>();
            let costs_spans = |weighed: &Weighed<'_>| Some(weighed.spans());
            let mut traces = 0_u64;
            let mut weight = 0_u64;
            for (index, policy) in self.sampling_policies().enumerate() {
                let offered: Vec<&Weighed<'_>> =
                    open.iter().copied().filter(|weighed| weighed.may_sample(self, index)).collect();
                let whole = (offered.len() as u64, spans(&offered));
                let cut = match limit(policy, over) {
                    Some(Limit::Spans(limit)) => packed(&offered, limit, costs_spans),
                    Some(Limit::Bytes(limit)) => {
                        packed(&offered, limit, |weighed| weighed.trace.message_bytes())
                    }
                    None => whole,
                };
                traces = traces.saturating_add(cut.0);
                weight = weight.saturating_add(cut.1.min(whole.1));
            }
            most_traces += traces.min(open.len() as u64);
            most_spans += weight.min(spans(&open));
        }
        (most_traces, most_spans)
    }

    /// Traces and spans that pass at least, by the policy that promises most.
    fn fewest(&self, weighed: &[Weighed<'_>]) -> (u64, u64) {
        let mut best = (0, 0);
        for (index, policy) in self.sampling_policies().enumerate() {
            let bucket = match policy {
                Policy::RateLimiting(bucket) | Policy::BytesLimiting(bucket) => *bucket,
                _ => continue,
            };
            let bytes = matches!(policy, Policy::BytesLimiting(_));
            let mut sums = (0, 0);
            for (_, offered) in self.by_shard(weighed.iter().filter(|weighed| weighed.is_asked(self, index)))
            {
                let costs: Option<Vec<(u64, u64)>> = offered
                    .iter()
                    .map(|weighed| {
                        let spans = weighed.spans();
                        Some((if bytes { weighed.trace.message_bytes()? } else { spans }, spans))
                    })
                    .collect();
                let (traces, spans) = costs.map_or((0, 0), |costs| promised(bucket, costs));
                sums = (sums.0 + traces, sums.1 + spans);
            }
            best = (best.0.max(sums.0), best.1.max(sums.1));
        }
        best
    }

    /// Traces by the shard that decides on them.
    fn by_shard<'w, 'a: 'w>(
        &self,
        weighed: impl Iterator<Item = &'w Weighed<'a>>,
    ) -> BTreeMap<u32, Vec<&'w Weighed<'a>>> {
        let mut shards: BTreeMap<u32, Vec<&Weighed<'a>>> = BTreeMap::new();
        for weighed in weighed {
            let shard = shard(weighed.trace.id, self.config().num_shards);
            shards.entry(shard).or_default().push(weighed);
        }
        shards
    }
}

// === impl Weighed ===

impl Weighed<'_> {
    fn spans(&self) -> u64 {
        self.trace.span_count()
    }

    fn must_be_sampled(&self) -> bool {
        self.judgement.decisions.must_be(Decision::Sampled)
    }

    /// Whether it may be sampled and may be not.
    fn is_open(&self) -> bool {
        self.judgement.decisions.may_be(Decision::Sampled) && !self.must_be_sampled()
    }

    /// Whether the policy with this index, of those that are not of type `drop`, may sample it.
    fn may_sample(&self, sampler: &TailSampler, index: usize) -> bool {
        let votes = self.judgement.votes.get(sampler.drops() + index);
        votes.is_some_and(|asked| asked.votes.may_be(Vote::Sampled))
    }

    /// Whether that policy is asked about it in any case.
    fn is_asked(&self, sampler: &TailSampler, index: usize) -> bool {
        let before = &self.judgement.votes[..self.judgement.votes.len().min(sampler.drops() + index)];
        let spared = |(at, vote): (usize, &PolicyVotes)| {
            if at < sampler.drops() {
                vote.votes.may_be(Vote::Dropped)
            } else {
                sampler.config().sample_on_first_match && vote.votes.may_be(Vote::Sampled)
            }
        };
        self.may_sample(sampler, index) && !before.iter().enumerate().any(spared)
    }
}

/// What a policy lets through in a time.
enum Limit {
    Spans(u64),
    Bytes(u64),
}

/// The limit of a policy, over a time; `None` when it has none that is known.
fn limit(policy: &Policy, over: Duration) -> Option<Limit> {
    match policy {
        Policy::RateLimiting(bucket) => Some(Limit::Spans(bucket.most(over))),
        Policy::BytesLimiting(bucket) => Some(Limit::Bytes(bucket.most(over))),
        Policy::Composite(composite) => {
            // A time of this length touches one second more than it has, whole or begun.
            let seconds = over.as_secs() + u64::from(over.subsec_nanos() > 0) + 1;
            Some(Limit::Spans(composite.per_second().saturating_mul(seconds)))
        }
        // What all of them must sample is within the narrowest limit.
        Policy::And(policies) => policies.iter().find_map(|policy| limit(policy, over)),
        _ => None,
    }
}

// === impl Bucket ===

impl Bucket {
    /// Tokens that may be taken in a time, from full.
    fn most(self, over: Duration) -> u64 {
        let flown = u128::from(self.per_second) * over.as_nanos() / 1_000_000_000;
        // One more for a fraction of a token that was left.
        self.burst.saturating_add(u64::try_from(flown).unwrap_or(u64::MAX)).saturating_add(1)
    }
}

/// How many of these traces fit in `limit`, and how many spans that may be at most.
///
/// The count is of the cheapest first. The spans are all of them, unless they are what is limited.
fn packed<'a>(
    offered: &[&Weighed<'a>],
    limit: u64,
    cost: impl Fn(&Weighed<'a>) -> Option<u64>,
) -> (u64, u64) {
    let all: u64 = offered.iter().map(|weighed| weighed.spans()).sum();
    let Some(mut costs) = offered.iter().map(|weighed| cost(weighed)).collect::<Option<Vec<u64>>>() else {
        return (offered.len() as u64, all);
    };
    costs.sort_unstable();
    let mut left = limit;
    let mut fit = 0;
    for cost in costs {
        let Some(rest) = left.checked_sub(cost) else { break };
        left = rest;
        fit += 1;
    }
    let spans_are_limited = offered.iter().all(|weighed| cost(weighed) == Some(weighed.spans()));
    let mut spans: Vec<u64> = offered.iter().map(|weighed| weighed.spans()).collect();
    spans.sort_unstable_by(|a, b| b.cmp(a));
    // No more traces than fit can be sampled, so no more spans than those of the longest.
    let longest: u64 = spans.iter().take(usize::try_from(fit).unwrap_or(usize::MAX)).sum();
    (fit, if spans_are_limited { longest.min(limit) } else { longest })
}

/// Traces and spans that a bucket lets through at least, of offers of (cost, spans).
///
/// Either nothing is refused, or the first that is finds fewer tokens than it costs: then everything but that was
/// taken from a full bucket.
fn promised(bucket: Bucket, mut offers: Vec<(u64, u64)>) -> (u64, u64) {
    offers.retain(|(cost, _)| *cost <= bucket.burst);
    let total: u64 = offers.iter().map(|(cost, _)| cost).sum();
    let dearest = offers.iter().map(|(cost, _)| *cost).max().unwrap_or(0);
    // More than the capacity less the dearest is gone, so this much at least.
    let taken = (bucket.burst - dearest.min(bucket.burst)).saturating_add(1).min(total);
    if taken == total {
        return (offers.len() as u64, offers.iter().map(|(_, spans)| spans).sum());
    }
    // The fewest traces whose costs come to that are the dearest.
    offers.sort_unstable_by_key(|(cost, _)| std::cmp::Reverse(*cost));
    let (mut sum, mut traces) = (0_u64, 0_u64);
    for (cost, _) in &offers {
        if sum >= taken {
            break;
        }
        sum += cost;
        traces += 1;
    }
    let same = offers.iter().all(|(cost, spans)| cost == spans);
    let spans = if same {
        taken
    } else {
        let mut spans: Vec<u64> = offers.iter().map(|(_, spans)| *spans).collect();
        spans.sort_unstable();
        spans.iter().take(usize::try_from(traces).unwrap_or(usize::MAX)).sum()
    };
    (traces, spans)
}

/// The shard that a trace belongs to (`sharded_processor.go`, `traceIDToShard`).
pub(super) fn shard(id: TraceId, shards: u32) -> u32 {
    let half = |from: usize| u64::from_le_bytes(std::array::from_fn(|index| id.as_bytes()[from + index]));
    let mut hash = half(0) ^ half(8);
    hash ^= hash >> 30;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 27;
    hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    u32::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Span, testing::span, testing::trace_id};

    /// Scenario: a bucket of the real kind, replayed on offers of several sizes and distances. Guarantees: what passes
    /// lies within the bounds.
    #[test]
    fn a_token_bucket_stays_within_the_bounds() {
        let mut random = crate::stats::SplitMix64::new(5);
        for _ in 0..200 {
            let (rate, burst) = (1 + random.below(20) as u64, 1 + random.below(40) as u64);
            let sampler = TailSampler::new(
                serde_json::from_value(
                    serde_json::json!({"policies": [{"name": "r", "type": "rate_limiting",
                    "rate_limiting": {"spans_per_second": rate, "burst_capacity": burst}}]}),
                )
                .unwrap(),
            )
            .unwrap();
            let spans: Vec<(TraceId, Vec<Span>)> = (0..60)
                .map(|index| {
                    let id = trace_id(index);
                    (
                        id,
                        (0..=random.below(8) as u64)
                            .map(|span_id| span(id, span_id, None, "", 0, 1))
                            .collect(),
                    )
                })
                .collect();
            let traces: Vec<_> = spans.iter().map(|(id, spans)| TraceView::of_spans(*id, spans)).collect();
            // golang.org/x/time/rate: tokens flow in up to the capacity, and a cost is taken if it is there.
            let (mut tokens, mut seconds, mut passed) = (burst as f64, 0_u64, (0, 0));
            for trace in &traces {
                if random.below(10) == 0 {
                    seconds += 1;
                    tokens = (tokens + rate as f64).min(burst as f64);
                }
                let cost = trace.span_count();
                if tokens >= cost as f64 {
                    tokens -= cost as f64;
                    passed = (passed.0 + 1, passed.1 + cost);
                }
            }
            let bounds = sampler.passed(&traces, Duration::from_secs(seconds));
            assert!(
                bounds.traces.contains(&passed.0) && bounds.spans.contains(&passed.1),
                "{bounds:?} {passed:?}"
            );
            // And they are worth having: much less than everything, when little flows in.
            let all: u64 = traces.iter().map(TraceView::span_count).sum();
            assert!(*bounds.spans.end() <= (burst + rate * seconds + 1).min(all));
        }
    }

    #[test]
    fn the_total_of_a_composite_is_not_its_limit() {
        let sampler = TailSampler::new(
            serde_json::from_str(
                r#"{"policies": [{"name": "c", "type": "composite", "composite": {"max_total_spans_per_second": 10,
                "composite_sub_policy": [{"name": "a", "type": "status_code", "status_code": {"status_codes": ["OK"]}},
                {"name": "b", "type": "always_sample"}],
                "rate_allocation": [{"policy": "a", "percent": 100}, {"policy": "b", "percent": 100}]}}]}"#,
            )
            .unwrap(),
        )
        .unwrap();
        let spans: Vec<Span> = (0..50).map(|index| span(trace_id(index), 1, None, "", 0, 1)).collect();
        let traces: Vec<_> =
            spans.iter().map(|span| TraceView::of_spans(span.trace_id, std::slice::from_ref(span))).collect();
        assert_eq!(sampler.passed(&traces, Duration::ZERO).spans, 0..=20);
        assert_eq!(sampler.passed(&traces, Duration::from_secs(1)).spans, 0..=40);
    }
}
