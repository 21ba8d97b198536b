//! `restarts`: how often the Collector's container ended by itself, why, for how long nobody took spans, and what was lost.
//!
//! The kubelet tells why and when a container ended, less what is below a second: the end came within a second after the
//! time that is told. Whether spans were taken is known at the tap: whoever sends them is dark from the end of the container
//! until an export is accepted again. One that was accepted within that second may have been before the end, so it does not
//! count. So times from an end may be too long by a second, or by the time between two exports, and are never too short.

use std::collections::HashSet;

use spangate_scenario::{
    model::Restarts,
    units::{Bound, Duration, Ratio},
};
use spangate_sink::PassageOutcome;
use spangate_trace::UnixNanos;

use super::{Check, Verdict, complete, conserved};
use crate::{
    collector::facts::Crash,
    evidence::{Case, Passed},
};

/// What kubelets leave out of the time of an end at most.
const UNTOLD: std::time::Duration = std::time::Duration::from_secs(1);

pub(super) fn judge(expect: &Restarts, case: &Case<'_>) -> Verdict {
    let of = expect.reason.as_ref().map(|reason| format!(" for {reason}")).unwrap_or_default();
    let mut verdict = Verdict::new(format!("restarts of the Collector{of}"));
    let (Some(passed), Some(facts)) = (&case.passed, &case.facts.collector) else {
        verdict.undecided("the run had no Collector");
        return verdict;
    };
    let wanted = |crash: &&Crash| expect.reason.is_none() || crash.reason == expect.reason;
    let (ends, others): (Vec<&Crash>, Vec<&Crash>) = facts.crashes.iter().partition(wanted);
    let n = facts.crashes.len();
    let count = ends.len() as u64;
    let holds = expect.count.holds(&count);
    verdict.check(Check::bound(format!("ended{of}"), count.to_string(), expect.count.to_string(), n, holds));
    if expect.reason.is_some() {
        let observed = match others.first() {
            Some(other) => format!("{} ({})", others.len(), other.status),
            None => "0".to_owned(),
        };
        verdict.check(Check::bound("ended for another reason", observed, "= 0", n, others.is_empty()));
    }
    let back = |crash: &Crash, _| crash.back;
    longest(&mut verdict, "away for", &facts.crashes, expect.away.as_ref(), back);
    let lit = |_: &Crash, at| first_taken(passed, at);
    longest(&mut verdict, "dark for", &facts.crashes, expect.dark.as_ref(), lit);
    lost(&mut verdict, expect, passed, case);
    // What the API server dropped while nobody took spans, no ledger but that of the requests shows.
    let account = complete::account(case);
    if account.demanded > 0 {
        let observed = format!("{} of {}", account.missing.len(), account.demanded);
        verdict.checks.push(Check::told("requests of which no trace was sent", observed, account.demanded));
    }
    verdict
}

/// The longest time from an end to what `until` gives; a failure where that never came, and undecided where nobody told
/// when an end was.
fn longest(
    verdict: &mut Verdict,
    what: &str,
    crashes: &[Crash],
    bound: Option<&Bound<Duration>>,
    until: impl Fn(&Crash, UnixNanos) -> Option<UnixNanos>,
) {
    let known = crashes.iter().filter_map(|crash| Some((crash, crash.at?)));
    let times: Option<Vec<_>> = known.map(|(crash, at)| Some(until(crash, at)?.since(at))).collect();
    let Some(times) = times else {
        if bound.is_some() {
            verdict.fail(format!("{what}: to the end of the run"));
        } else {
            verdict.checks.push(Check::told(what, "to the end of the run", crashes.len()));
        }
        return;
    };
    if times.len() < crashes.len() {
        if bound.is_some() {
            verdict.undecided(format!("{what}: nobody told when an end was"));
        } else {
            verdict.checks.push(Check::told(what, "unknown", crashes.len()));
        }
        return;
    }
    let Some(longest) = times.iter().max().map(|time| Duration::from(*time)) else { return };
    match bound {
        Some(bound) => {
            let holds = bound.holds(&longest);
            verdict.check(Check::bound(what, longest.to_string(), bound.to_string(), times.len(), holds));
        }
        None => verdict.checks.push(Check::told(what, longest.to_string(), times.len())),
    }
}

/// When an export was accepted that was certainly sent after the end, which came within a second from `end` on.
fn first_taken(passed: &Passed, end: UnixNanos) -> Option<UnixNanos> {
    let over = end + UNTOLD;
    let taken = passed
        .passages
        .iter()
        .filter(|passage| passage.sent >= over && matches!(passage.outcome, PassageOutcome::Accepted { .. }));
    taken.map(|passage| passage.answered).min()
}

/// Spans that were sent to the Collector and never reached the sink.
fn lost(verdict: &mut Verdict, expect: &Restarts, passed: &Passed, case: &Case<'_>) {
    if conserved::plain_paths(&passed.configuration.config).is_none_or(|paths| paths == 0) {
        if expect.lost.is_some() {
            verdict.undecided("what was lost is not told from what the Collector dropped by decision");
        }
        return;
    }
    // What was not taken is sent again, and is the same span.
    let given: HashSet<_> = case.capture.rows().iter().map(|row| (row.trace_id, row.span_id)).collect();
    let kept: HashSet<_> = passed.kept.rows().iter().map(|row| (row.trace_id, row.span_id)).collect();
    let missing = given.difference(&kept).count();
    if given.is_empty() {
        verdict.undecided("the Collector was sent no span");
        return;
    }
    let share = Ratio::new_unchecked(missing as f64 / given.len() as f64);
    let percent = crate::text::percent(missing as f64 / given.len() as f64);
    let observed = format!("{percent} ({missing} of {})", given.len());
    match &expect.lost {
        Some(bound) => {
            let holds = bound.holds(&share);
            verdict.check(Check::bound("spans lost", observed, bound.to_string(), given.len(), holds));
        }
        None => verdict.checks.push(Check::told("spans lost", observed, given.len())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{testing::collected::Collected, verdict::Status};

    const SECOND: u64 = 1_000_000_000;

    /// Ten exports, a second apart, and a Collector that was killed after the fourth, which took the fourth with it. The
    /// kubelet tells a time that is just before that export.
    fn killed(reason: &str, back: Option<u64>) -> Collected {
        let plain = "traces: {receivers: [otlp], exporters: [otlp]}";
        let mut run = Collected::new("", plain, 10).keeping(|number| number != 3).stretched(1000);
        let (status, reason) = (format!("{reason} (exit code 137)"), Some(reason.to_owned()));
        let (at, back) = (Some(UnixNanos(3 * SECOND - 1)), back.map(|seconds| UnixNanos(seconds * SECOND)));
        run.facts.crashes.push(Crash { at, status, reason, back, log: String::new() });
        run
    }

    fn judged(run: Collected, mut expect: Value) -> Verdict {
        expect["reason"] = "OOMKilled".into();
        run.judged(json!({"restarts": expect}))
    }

    #[test]
    fn a_restart_is_told_with_what_it_cost() {
        let expect = json!({"count": 1, "away": "< 3s", "dark": "< 1500ms", "lost": "<= 10%"});
        let verdict = judged(killed("OOMKilled", Some(5)), expect);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let told = verdict.checks.iter().find(|check| check.what == "spans lost").unwrap();
        assert_eq!((told.observed.as_str(), told.n), ("10.0% (2 of 20)", 20));
    }

    /// Scenario: each part of the truth is falsified on its own.
    /// Guarantees: the verdict is red every time.
    #[test]
    fn what_is_not_so_is_red() {
        let met = || killed("OOMKilled", Some(5));
        let mut dark = met();
        dark.refuse_from(4);
        let plain = "traces: {receivers: [otlp], exporters: [otlp]}";
        for (what, run, expect) in [
            ("it never ended", Collected::new("", plain, 10), json!({})),
            ("for another reason", killed("Error", Some(5)), json!({"count": ">= 0", "lost": "<= 10%"})),
            ("too often", met(), json!({"count": "= 2"})),
            ("away for too long", met(), json!({"away": "< 1s"})),
            ("it never came back", killed("OOMKilled", None), json!({"away": "< 1h"})),
            // The export in the second of the end was taken, and does not count.
            ("dark for too long", met(), json!({"dark": "< 1s"})),
            ("dark to the end", dark, json!({"dark": "< 1h"})),
            ("more is lost", met().keeping(|number| number > 4), json!({"lost": "<= 10%"})),
        ] {
            let verdict = judged(run, expect);
            assert_eq!(verdict.status, Status::Fail, "{what}: {verdict:?}");
        }
    }

    /// Scenario: nobody told when the container ended.
    /// Guarantees: times from the end are not decided, and not green; all else is told.
    #[test]
    fn times_from_an_unknown_end_are_not_decided() {
        let untold = || {
            let mut run = killed("OOMKilled", Some(5));
            run.facts.crashes[0].at = None;
            run
        };
        for expect in [json!({"away": "< 1h"}), json!({"dark": "< 1h"})] {
            assert_eq!(judged(untold(), expect).status, Status::Inconclusive);
        }
        let verdict = judged(untold(), json!({"count": 1, "lost": "<= 10%"}));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    }

    /// Scenario: a sampler drops by decision.
    /// Guarantees: what was lost is not decided, and not green.
    #[test]
    fn what_a_sampler_drops_is_not_said_to_be_lost() {
        let sampler = "processors: {tail_sampling: {policies: [{name: p, type: always_sample}]}}";
        let pipeline = "traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp]}";
        let run = Collected::new(sampler, pipeline, 10);
        let verdict = run.judged(json!({"restarts": {"count": 0, "lost": "<= 10%"}}));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }
}
