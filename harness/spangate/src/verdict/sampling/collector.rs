//! `sampling` of the Collector: what reached the sink is what its configuration keeps of what it was given.
//!
//! Every trace that the Collector was given is decided on again. Where the decision is a function of the trace, the two
//! must agree, span by span. Where the clock has a say, their number must lie within what the configuration allows.

use std::collections::BTreeMap;

use spangate_scenario::model::Sampling;
use spangate_trace::{
    TraceId,
    collector::OrderEffect,
    stats::{Binomial, clopper_pearson},
};

use super::{Check, Status, Verdict, interval, percent};
use crate::{
    collector::{
        foretold::{Account, Foretold},
        given::Given,
        oracle::{Oracle, Why},
    },
    evidence::Case,
};

pub(super) fn judge(expect: &Sampling, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new("sampling of collector");
    let (Some(given), Some(passed)) = (Given::of(case), &case.passed) else {
        verdict.undecided("the run had no Collector");
        return verdict;
    };
    if let Some(rate) = expect.sampling_rate_per_million {
        by_count(expect, f64::from(rate.get()) / 1e6, &given, &mut verdict);
        return verdict;
    }
    let oracle = match Oracle::new(&passed.configuration.config) {
        Ok(oracle) => oracle,
        Err(why) => {
            verdict.undecided(why.to_string());
            return verdict;
        }
    };
    if case
        .facts
        .collector
        .as_ref()
        .is_some_and(|facts| !facts.outages.is_empty() || !facts.crashes.is_empty())
    {
        verdict
            .undecided("the Collector ended in between, so what it kept is no function of what it was given");
        return verdict;
    }
    let foretold = Foretold::of(&oracle, &given);
    if foretold.given == 0 {
        verdict.undecided("the Collector was given no span");
    } else {
        compare(&foretold, &mut verdict);
    }
    let exporters = case.facts.collector.iter().flat_map(|facts| facts.telemetry.exporters.values());
    let failed: u64 = exporters.map(|exporter| exporter.send_failed + exporter.enqueue_failed).sum();
    if failed > 0 && verdict.status == Status::Fail {
        verdict.reasons.push(format!(
            "{failed} spans failed to be sent on, whatever the samplers decided: see `conserved`"
        ));
    }
    verdict
}

/// Holds what came of the traces against what is foretold.
fn compare(forecast: &Foretold, verdict: &mut Verdict) {
    let traces = &forecast.traces;
    let kept = traces.iter().filter(|trace| trace.kept).count();
    let foretold = traces.iter().filter(|trace| trace.open.is_none()).count();
    let mut open: BTreeMap<Why, usize> = BTreeMap::new();
    traces.iter().filter_map(|trace| trace.open).for_each(|why| *open.entry(why).or_default() += 1);
    let all = |wrong: fn(&Account) -> bool| -> Vec<TraceId> {
        traces.iter().filter(|trace| wrong(trace)).map(|trace| trace.trace).collect()
    };
    let n = forecast.given;
    verdict.check(Check::told("traces kept", format!("{kept} of {n}"), n));
    verdict.check(Check::told("traces whose fate is a function of them", foretold.to_string(), n));
    for (what, wrong) in [
        ("kept, and had to be dropped", all(|trace| trace.wrongly_kept)),
        ("dropped, and had to be kept", all(|trace| trace.wrongly_dropped)),
    ] {
        let holds = wrong.is_empty();
        verdict.check(Check::bound(what, wrong.len().to_string(), "= 0", foretold, holds));
        verdict.point_at(wrong);
    }
    for (why, count) in &open {
        verdict.check(Check::told(format!("undecidable beforehand: {}", why.as_str()), count.to_string(), n));
    }
    let order = if forecast.order.contains(&OrderEffect::Rates) {
        "yes: a policy that is not asked takes nothing of its rate"
    } else if forecast.order.contains(&OrderEffect::RecordedPolicy) {
        "only for which policy is recorded"
    } else {
        "no"
    };
    verdict.check(Check::told("the order of the policies matters", order, n));
    if let Some(passed) = &forecast.passed {
        let (fewest, most) = (*passed.traces.start(), *passed.traces.end());
        let holds = passed.traces.contains(&(kept as u64));
        let bound = format!("{fewest}..{most}");
        verdict.check(Check::bound(
            "traces kept where the clock has a say",
            kept.to_string(),
            bound,
            n,
            holds,
        ));
        if foretold == 0 && fewest == 0 && most >= n as u64 {
            verdict.undecided("the configuration allows any number of traces to be kept");
        }
    } else if foretold == 0 {
        verdict.undecided("of no trace the fate is a function of the trace alone");
    }
    if forecast.unknown > 0 {
        let unknown = forecast.unknown.to_string();
        verdict.check(Check::told("traces of which the Collector may lack spans", unknown, n));
    }
}

/// The part of the traces that was kept must fit a rate.
fn by_count(expect: &Sampling, rate: f64, given: &Given<'_>, verdict: &mut Verdict) {
    verdict.expectation = format!("sampling of collector at {}", percent(rate));
    let traces: Vec<TraceId> = given.whole().collect();
    let n = traces.len();
    let kept: Vec<TraceId> = traces.into_iter().filter(|trace| given.arrived(*trace) > 0).collect();
    let alpha = 1.0 - expect.confidence.get();
    let accepted = Binomial::new(n as u64, rate).acceptance(alpha);
    let holds = accepted.contains(&(kept.len() as u64));
    let ratio = clopper_pearson(kept.len() as u64, n as u64, 1.0 - alpha);
    let observed = format!("{} ({} of {n})", percent(ratio.value), kept.len());
    let bound = format!("{} ({}..{})", percent(rate), accepted.start(), accepted.end());
    let check = Check::bound("rate by count", observed, bound, n, holds);
    verdict.check(check.with_interval(interval(&ratio, 1.0 - alpha)));
    let width = (ratio.high - ratio.low) / 2.0;
    if width > expect.within.get() * rate {
        verdict.undecided(format!(
            "{n} traces do not tell the rate within {}: it may be {}",
            expect.within,
            interval(&ratio, 1.0 - alpha)
        ));
    }
    if !holds {
        verdict.point_at(kept);
    }
}

// === impl Why ===

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "it depends on which of two exports came first",
            Self::Ticks => "it depends on when the Collector's ticks fall",
            Self::Memory => "it depends on what is still in memory",
            Self::Clock => "it depends on how much else there was at the time",
            Self::Unsupported => "a condition is not evaluated here",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{testing::collected::Collected, verdict::Status};

    const RATE: &str = "tail_sampling: {decision_wait: 1s, policies: [{name: r, type: rate_limiting, rate_limiting: \
                        {spans_per_second: 5, burst_capacity: 20}}]}";
    /// It keeps traces whose last seven bytes are great enough, of which there are none here.
    const FIFTH: &str = "probabilistic_sampler: {sampling_percentage: 20, mode: proportional}";
    const NONE: fn(u32) -> bool = |_| false;

    fn judged(processors: &str, pipelines: &str, keeps: impl Fn(u32) -> bool) -> Verdict {
        let run = Collected::new(&format!("processors: {{{processors}}}"), pipelines, 100);
        run.keeping(keeps).judged(json!({"sampling": {"of": "collector"}}))
    }

    /// Scenario: a second pipeline keeps everything, but its receiver is not the one that spans are sent to.
    /// Guarantees: what the first one keeps is right, and all of it would be wrong.
    #[test]
    fn a_pipeline_that_is_given_nothing_keeps_nothing() {
        let pipelines = "traces: {receivers: [otlp], processors: [probabilistic_sampler], exporters: [otlp]}, \
                         traces/other: {receivers: [otlp/other], exporters: [otlp]}";
        let none = "probabilistic_sampler: {sampling_percentage: 0}";
        assert_eq!(judged(none, pipelines, NONE).status, Status::Pass);
        assert_eq!(judged(none, pipelines, |_| true).status, Status::Fail);
    }

    /// Scenario: a rate has a say in one of two pipelines, or before another sampler.
    /// Guarantees: it bounds what it lets through itself, and not what all of them do.
    #[test]
    fn a_rate_bounds_only_what_nothing_else_has_a_say_in() {
        let alone = "traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp]}";
        // Between 10 traces, what the bucket holds, and 10 more for the time.
        assert_eq!(judged(RATE, alone, |number| number < 12).status, Status::Pass);
        assert_eq!(judged(RATE, alone, |number| number < 40).status, Status::Fail);
        assert_eq!(judged(RATE, alone, |number| number < 2).status, Status::Fail);

        let both = format!("{RATE}, {FIFTH}");
        let two = format!(
            "{alone}, traces/2: {{receivers: [otlp], processors: [probabilistic_sampler], exporters: [otlp]}}"
        );
        assert_ne!(judged(&both, &two, |number| number < 40).status, Status::Fail);
        let chain = "traces: {receivers: [otlp], processors: [tail_sampling, probabilistic_sampler], exporters: [otlp]}";
        assert_ne!(judged(&both, chain, NONE).status, Status::Fail);
    }

    /// Scenario: sizes have a say, and nobody knows them.
    /// Guarantees: any number may be kept, and that is no pass.
    #[test]
    fn a_bound_that_anything_meets_decides_nothing() {
        let bytes = "tail_sampling: {decision_wait: 1s, policies: [{name: b, type: bytes_limiting, bytes_limiting: \
                     {bytes_per_second: 1000}}]}";
        let pipeline = "traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp]}";
        assert_eq!(judged(bytes, pipeline, |number| number < 12).status, Status::Inconclusive);
    }
}
