//! `load`: how well the load was sent, before anything is said of the server.

use spangate_load::{Outcome, RequestRecord};
use spangate_scenario::{model::LoadExpectation, units::Ratio};
use spangate_trace::stats;

use super::{Check, Verdict, latency};
use crate::{evidence::Case, text};

/// Confidence of intervals.
const CONFIDENCE: f64 = 0.95;

pub(super) fn judge(expect: &LoadExpectation, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new("load");
    let generator = &case.facts.generator;
    if let Some(bound) = &expect.achieved {
        if generator.planned == 0 {
            verdict.undecided("nothing was planned, so nothing can be achieved");
        } else {
            let achieved = Ratio::new_unchecked(generator.started as f64 / generator.planned as f64);
            let observed = format!("{achieved} ({} of {})", generator.started, generator.planned);
            let holds = bound.holds(&achieved);
            verdict.check(Check::bound(
                "achieved",
                observed,
                bound.to_string(),
                size(generator.planned),
                holds,
            ));
        }
    }
    if let Some(bounds) = &expect.start_lag {
        let firsts = case.requests.iter().filter(|it| it.step == 0 && !it.is_of_watcher());
        let firsts = firsts.filter(|it| it.outcome != Outcome::Shed);
        let mut lags: Vec<u64> = firsts.map(lag).collect();
        lags.sort_unstable();
        latency::percentiles(bounds, &lags, &mut verdict);
    }
    if let Some(bound) = &expect.shed {
        let shed = generator.shed;
        verdict.check(Check::bound(
            "shed",
            shed.to_string(),
            bound.to_string(),
            size(generator.planned),
            bound.holds(&shed),
        ));
    }
    if let Some(bound) = &expect.errors {
        errors(bound, case, &mut verdict);
    }
    if let Some(bound) = &expect.skipped {
        let skipped = generator.skipped.values().sum();
        let holds = bound.holds(&skipped);
        verdict.check(Check::bound("skipped", skipped.to_string(), bound.to_string(), size(skipped), holds));
        for (reason, count) in &generator.skipped {
            verdict.check(Check::told(format!("skipped: {reason}"), count.to_string(), size(*count)));
        }
    }
    verdict
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// From the intended start of an operation until its first request was handed to a connection, in nanoseconds.
fn lag(request: &RequestRecord) -> u64 {
    u64::try_from(request.started.since(request.intended).as_nanos()).unwrap_or(u64::MAX)
}

fn errors(bound: &spangate_scenario::units::Bound<Ratio>, case: &Case<'_>, verdict: &mut Verdict) {
    let sent = case.requests.iter().filter(|request| request.outcome != Outcome::Shed);
    let (mut n, mut failed) = (0_u64, Vec::new());
    for request in sent {
        n += 1;
        if request.outcome.is_failure() {
            failed.push(request);
        }
    }
    if n == 0 {
        verdict.undecided("no request was sent");
        return;
    }
    let count = failed.len() as u64;
    let share = Ratio::new_unchecked(count as f64 / n as f64);
    let interval = stats::wilson(count, n, CONFIDENCE);
    let holds = bound.holds(&share);
    let check =
        Check::bound("errors", format!("{share} ({count} of {n})"), bound.to_string(), size(n), holds);
    verdict.check(check.with_interval(format!(
        "{} to {} (95%)",
        text::percent(interval.low),
        text::percent(interval.high)
    )));
    verdict.point_at(failed.iter().filter_map(|request| Some(request.sent?.trace_id)));
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::Percentiles;

    use super::*;
    use crate::{
        evidence::Evidence,
        testing::Run,
        verdict::Status::{self, Fail, Inconclusive, Pass},
    };

    fn judged(expect: &LoadExpectation, falsify: impl FnOnce(&mut Evidence)) -> Status {
        let mut evidence = Run::of_creates(100).evidence();
        (evidence.facts.generator.planned, evidence.facts.generator.started) = (100, 100);
        falsify(&mut evidence);
        judge(expect, &Case::new(&evidence)).status
    }

    #[test]
    fn arrivals_that_did_not_start_are_seen() {
        let bound = |text: &str| Some(text.parse().unwrap());
        let achieved = LoadExpectation { achieved: bound(">= 99.5%"), ..LoadExpectation::default() };
        assert_eq!(judged(&achieved, |_| {}), Pass);
        assert_eq!(judged(&achieved, |evidence| evidence.facts.generator.started = 99), Fail);
        assert_eq!(judged(&achieved, |evidence| evidence.facts.generator.planned = 0), Inconclusive);
        let shed = LoadExpectation { shed: Some("0".parse().unwrap()), ..LoadExpectation::default() };
        assert_eq!(judged(&shed, |_| {}), Pass);
        assert_eq!(judged(&shed, |evidence| evidence.facts.generator.shed = 1), Fail);
    }

    #[test]
    fn a_late_start_is_seen() {
        let start_lag = Percentiles { p50: Some("< 5ms".parse().unwrap()), ..Percentiles::default() };
        let expect = LoadExpectation { start_lag: Some(start_lag), ..LoadExpectation::default() };
        assert_eq!(judged(&expect, |_| {}), Pass);
        let late = |evidence: &mut Evidence| {
            for request in &mut evidence.requests {
                request.started = request.intended + std::time::Duration::from_millis(6);
            }
        };
        assert_eq!(judged(&expect, late), Fail);
        assert_eq!(judged(&expect, |evidence| evidence.requests.clear()), Inconclusive);
    }

    #[test]
    fn errors_are_no_answer_or_an_unwilling_server() {
        let expect = LoadExpectation { errors: Some("< 1%".parse().unwrap()), ..LoadExpectation::default() };
        for (outcome, status) in [
            (Outcome::Status(404), Pass),
            (Outcome::Status(429), Fail),
            (Outcome::Status(503), Fail),
            (Outcome::Timeout, Fail),
            (Outcome::Error("reset".to_owned()), Fail),
        ] {
            assert_eq!(judged(&expect, |evidence| evidence.requests[0].outcome = outcome.clone()), status);
        }
        assert_eq!(judged(&expect, |evidence| evidence.requests.clear()), Inconclusive);
    }

    #[test]
    fn what_a_replay_left_out_is_counted() {
        let expect = LoadExpectation { skipped: Some("0".parse().unwrap()), ..LoadExpectation::default() };
        assert_eq!(judged(&expect, |_| {}), Pass);
        let skip = |evidence: &mut Evidence| {
            evidence.facts.generator.skipped.insert("subresource exec".to_owned(), 2);
        };
        assert_eq!(judged(&expect, skip), Fail);
    }
}
