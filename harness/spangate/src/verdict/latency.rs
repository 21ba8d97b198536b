//! `latency`: percentiles of response time, from the intended start.

use spangate_load::{Outcome, RequestRecord};
use spangate_scenario::{
    model::{Latency, Percentiles},
    units::{Bound, Comparison, Duration},
};
use spangate_trace::stats;

use super::{Check, Verdict};
use crate::{evidence::Case, text};

/// The generator may be late by this much without its lateness deciding anything.
const TOLERATED_LAG_US: u64 = 1_000;

pub(super) fn judge(expect: &Latency, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(format!("latency of requests {}", text::filter(&expect.filter)));
    let mut times: Vec<(u64, &RequestRecord)> = case
        .select(&expect.filter)
        // A watcher's watch takes as long as it is held open, which is no response time.
        .filter(|request| !request.is_of_watcher())
        .filter(|request| matches!(request.outcome, Outcome::Status(_) | Outcome::Timeout))
        .map(|request| (nanos(request), request))
        .collect();
    times.sort_unstable_by_key(|(time, _)| *time);
    let sorted: Vec<u64> = times.iter().map(|(time, _)| *time).collect();
    percentiles(&expect.is, &sorted, &mut verdict);
    if let Some(reason) = fell_behind(&expect.is, case) {
        verdict.undecided(reason);
    }
    if verdict.status != super::Status::Pass {
        let slowest = times.iter().rev();
        verdict.point_at(slowest.filter_map(|(_, request)| Some(request.sent?.trace_id)));
    }
    verdict
}

fn nanos(request: &RequestRecord) -> u64 {
    u64::try_from(request.ended.since(request.intended).as_nanos()).unwrap_or(u64::MAX)
}

/// Response times contain the generator's own lateness; where that is not small against the bound, they say
/// more about the generator than about the server.
fn fell_behind(bounds: &Percentiles, case: &Case<'_>) -> Option<String> {
    let generator = &case.facts.generator;
    if generator.shed > 0 {
        return Some(format!(
            "{} of {} operations were shed: what was measured is not what was planned (raise maxInFlight)",
            generator.shed, generator.planned
        ));
    }
    let tightest = each(bounds).map(|percentile| limit(percentile.bound)).min()?;
    let tolerated = u64::try_from(tightest.as_micros() / 10).unwrap_or(u64::MAX).max(TOLERATED_LAG_US);
    (generator.start_lag_p99_us > tolerated).then(|| {
        format!(
            "the generator fell behind: p99 of its start lag is {}us, at most {tolerated}us would leave the \
             measurement to the server",
            generator.start_lag_p99_us
        )
    })
}

fn limit(bound: &Bound<Duration>) -> Duration {
    match bound {
        Bound::One(_, limit) | Bound::Within(_, limit) => *limit,
    }
}

/// One percentile that is bounded.
struct Percentile<'a> {
    name: &'static str,
    quantile: f64,
    /// Observations that it takes to have one beyond it.
    least: usize,
    bound: &'a Bound<Duration>,
}

fn each(bounds: &Percentiles) -> impl Iterator<Item = Percentile<'_>> {
    [
        ("min", 0.0, 1, &bounds.min),
        ("p50", 0.5, 2, &bounds.p50),
        ("p90", 0.9, 10, &bounds.p90),
        ("p95", 0.95, 20, &bounds.p95),
        ("p99", 0.99, 100, &bounds.p99),
        ("max", 1.0, 1, &bounds.max),
    ]
    .into_iter()
    .filter_map(|(name, quantile, least, bound)| {
        Some(Percentile { name, quantile, least, bound: bound.as_ref()? })
    })
}

/// Compares percentiles of sorted nanoseconds with their bounds. A percentile of fewer observations than it
/// takes to have one beyond it is not decided.
pub(super) fn percentiles(bounds: &Percentiles, sorted: &[u64], verdict: &mut Verdict) {
    let n = sorted.len();
    if n == 0 {
        verdict.undecided("nothing was observed");
        return;
    }
    for Percentile { name, quantile, least, bound } in each(bounds) {
        let Some(value) = stats::quantile(sorted, quantile) else { continue };
        let value = std::time::Duration::from_nanos(*value);
        let holds = bound.holds(&Duration::from(value));
        let mut check = Check::bound(name, text::duration(value), bound.to_string(), n, holds || n < least);
        let mut refuted = false;
        // The smallest and the largest are what they are; only percentiles between them are estimates.
        if quantile > 0.0 && quantile < 1.0 {
            let interval = stats::quantile_interval(sorted, quantile, 0.95);
            let end = |end: Option<u64>| end.map_or_else(|| "?".to_owned(), text::nanos);
            check = check.with_interval(format!("{} to {} (95%)", end(interval.low), end(interval.high)));
            // Too few for an estimate may be enough to refute: if even the lower end is too long, it is.
            let upper = matches!(bound, Bound::One(Comparison::Less | Comparison::AtMost, _));
            let low = interval.low.map(|low| Duration::from(std::time::Duration::from_nanos(low)));
            refuted = upper && low.is_some_and(|low| !bound.holds(&low));
            check.holds &= !refuted;
        }
        verdict.check(check);
        if n < least && !refuted {
            verdict.undecided(format!("{name} needs at least {least} observations, there are {n}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::RequestFilter;

    use super::*;
    use crate::{testing::Run, verdict::Status};

    fn p50(bound: &str) -> Latency {
        let is = Percentiles { p50: Some(bound.parse().unwrap()), ..Percentiles::default() };
        Latency { filter: RequestFilter::default(), is }
    }

    #[test]
    fn a_bound_is_held_against_the_intended_start() {
        assert_eq!(judge(&p50("< 1s"), &Case::new(&Run::of_creates(40).evidence())).status, Status::Pass);
        assert_eq!(judge(&p50("< 1ms"), &Case::new(&Run::of_creates(40).evidence())).status, Status::Fail);
    }

    #[test]
    fn a_percentile_of_too_few_observations_is_not_decided() {
        let is = Percentiles { p99: Some("< 1s".parse().unwrap()), ..Percentiles::default() };
        let expect = Latency { filter: RequestFilter::default(), is };
        assert_eq!(judge(&expect, &Case::new(&Run::of_creates(40).evidence())).status, Status::Inconclusive);
        assert_eq!(judge(&expect, &Case::new(&Run::of_creates(100).evidence())).status, Status::Pass);
    }

    #[test]
    fn too_few_observations_can_still_refute() {
        let is = Percentiles { p99: Some("< 1ms".parse().unwrap()), ..Percentiles::default() };
        let expect = Latency { filter: RequestFilter::default(), is };
        assert_eq!(judge(&expect, &Case::new(&Run::of_creates(40).evidence())).status, Status::Fail);
    }

    #[test]
    fn a_generator_that_fell_behind_decides_nothing() {
        let mut evidence = Run::of_creates(40).evidence();
        evidence.facts.generator.start_lag_p99_us = 200_000;
        assert_eq!(judge(&p50("< 1s"), &Case::new(&evidence)).status, Status::Inconclusive);
        evidence.facts.generator.start_lag_p99_us = 0;
        evidence.facts.generator.shed = 1;
        assert_eq!(judge(&p50("< 1s"), &Case::new(&evidence)).status, Status::Inconclusive);
    }
}
