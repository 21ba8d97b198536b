//! `injected`: every injection is found again as a span of the right length.
//!
//! The API server passes its CLIENT span along with each webhook call and each etcd RPC, so an entry of the
//! fault ledger names the very span that must show it: `HTTP POST` below `Call mutating webhook`, or
//! `etcdserverpb.KV/Txn`. The span runs from just before the request left the API server until just after
//! the answer was there, so it must be as long as the injector had the call in its hands, and a little more.
//!
//! A machine that stalls between the two makes the span longer, and no ledger of ours a liar. Where stalls that
//! were seen just then account for all that is too much, the injection is set aside, and counted
//! (docs/adr/0008).

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use spangate_inject::Target;
use spangate_scenario::model::{Fault, Injected, WebhookType};
use spangate_trace::{Kind, SpanId, TraceContext, TraceId, UnixNanos, contract, stats};

use super::{Check, Verdict};
use crate::{evidence::Case, text};

/// Share of the injections that may be set aside; with more of them too little is left to judge.
const MOST_SET_ASIDE: f64 = 0.2;

pub(super) fn judge(expect: &Injected, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(format!("injected {} within {}", expect.fault, expect.within));
    let Some(fault) = case.scenario.spec.faults.iter().find(|fault| fault.name() == expect.fault) else {
        verdict.undecided(format!("the scenario has no fault {}", expect.fault));
        return verdict;
    };
    let calls = Calls::of(&expect.fault, case);
    if !calls.by_span.values().any(|call| call.acted) {
        verdict.undecided(format!("{} did nothing to any call under a sampled trace", expect.fault));
        return verdict;
    }
    let shape = Shape::of(fault);
    let mut missing = Vec::new();
    let mut misplaced = Vec::new();
    let mut differences = Vec::new();
    for (parent, call) in &calls.by_span {
        let Some(index) = case.index.by_span(parent.0, parent.1) else {
            missing.push(parent.0);
            continue;
        };
        if let Err(why) = shape.check(index, case) {
            misplaced.push((parent.0, why));
            continue;
        }
        if !call.acted {
            continue;
        }
        let row = &case.capture.rows()[index];
        let shown = row.end.signed_since(row.start);
        differences.push(Difference {
            nanos: shown - call.answered.signed_since(call.received),
            stalled: case.facts.stalled(row.start, call.received)
                + case.facts.stalled(call.answered, row.end),
            trace: parent.0,
        });
    }
    let n = calls.by_span.len();
    let found = format!("{} of {n}", n - missing.len());
    verdict.check(Check::bound("found again", found, format!("{n}"), n, missing.is_empty()));
    verdict.point_at(missing);
    if !misplaced.is_empty() {
        let (trace, why) = &misplaced[0];
        verdict.fail(format!("{} of {n} are not where they must be: {why}", misplaced.len()));
        verdict.example(*trace);
    }
    let extra = shape.extra(&calls, case);
    if let Some(first) = extra.first() {
        verdict.fail(format!("{} spans show calls that never reached {}", extra.len(), expect.fault));
        verdict.example(*first);
    }
    if calls.untraced > 0 {
        verdict.check(Check::told(
            "calls without a sampled trace",
            calls.untraced.to_string(),
            calls.untraced,
        ));
    }
    judge_differences(expect, differences, &mut verdict);
    verdict
}

/// Judges the lengths of the spans, those that stalls explain set aside.
fn judge_differences(expect: &Injected, mut differences: Vec<Difference>, verdict: &mut Verdict) {
    let all = differences.len();
    if all == 0 {
        return;
    }
    differences.sort_unstable_by_key(Difference::size);
    let within = expect.within.get();
    let (explained, judged): (Vec<_>, Vec<_>) =
        differences.iter().partition(|difference| difference.is_explained(within));
    let n = judged.len();
    if !explained.is_empty() {
        let text = format!("{} of {all}", explained.len());
        verdict.check(Check::told("set aside: the machine stalled just then", text, all));
        if explained.len() as f64 > MOST_SET_ASIDE * all as f64 {
            verdict.undecided(format!(
                "the machine stalled in {} of {all} injections, more than {}: run it on a quieter machine",
                explained.len(),
                text::percent(MOST_SET_ASIDE),
            ));
        }
    }
    if n > 0 {
        let inside = judged.partition_point(|difference| difference.size() <= within);
        let share = inside as f64 / n as f64;
        let interval = stats::wilson(inside as u64, n as u64, 0.95);
        let check = Check::bound(
            format!("share with a difference of at most {}", expect.within),
            format!("{} ({inside} of {n})", text::percent(share)),
            format!(">= {}", expect.share),
            n,
            share >= expect.share.get(),
        );
        verdict.check(check.with_interval(format!(
            "{} to {} (95%)",
            text::percent(interval.low),
            text::percent(interval.high)
        )));
    }
    let sizes: Vec<Duration> = differences.iter().map(Difference::size).collect();
    for (what, quantile) in [("p50 of the difference", 0.5), ("p99 of the difference", 0.99)] {
        if let Some(value) = stats::quantile(&sizes, quantile) {
            verdict.check(Check::told(what, text::duration(*value), all));
        }
    }
    if let Some(worst) = differences.last() {
        verdict.check(Check::told("largest difference", text::signed(worst.nanos), all));
    }
    if let Some(worst) = judged.last().filter(|worst| worst.size() > within) {
        verdict.example(worst.trace);
    }
}

/// How far a span and the ledger are apart.
struct Difference {
    /// By how much the span is longer than what was held.
    nanos: i64,
    /// How much of the span before and after what was held fell into stalls.
    stalled: Duration,
    trace: TraceId,
}

// === impl Difference ===

impl Difference {
    fn size(&self) -> Duration {
        Duration::from_nanos(self.nanos.unsigned_abs())
    }

    /// Whether the span is too long, and stalls are the whole reason. They never make a span shorter than what
    /// was held.
    fn is_explained(&self, within: Duration) -> bool {
        self.nanos > 0 && self.size() > within && self.stalled >= self.size().saturating_sub(within)
    }
}

/// The calls of one fault, by the CLIENT span that they came with.
struct Calls {
    by_span: BTreeMap<(TraceId, SpanId), Call>,
    untraced: usize,
}

/// The time that the injector had a call in its hands. A call that the API server's HTTP client sent twice
/// under one span (after a broken connection) counts from the first to the last.
struct Call {
    received: UnixNanos,
    answered: UnixNanos,
    /// Whether the fault did something to it; calls that it let through must be found again too.
    acted: bool,
}

impl Calls {
    fn of(fault: &str, case: &Case<'_>) -> Self {
        let mut calls = Self { by_span: BTreeMap::new(), untraced: 0 };
        for injection in case.injections.iter().filter(|it| it.fault == fault) {
            let Some(TraceContext { trace_id, span_id, sampled: true }) = injection.parent else {
                calls.untraced += 1;
                continue;
            };
            calls
                .by_span
                .entry((trace_id, span_id))
                .and_modify(|call| {
                    call.received = call.received.min(injection.received);
                    call.answered = call.answered.max(injection.answered);
                    call.acted |= injection.acted();
                })
                .or_insert(Call {
                    received: injection.received,
                    answered: injection.answered,
                    acted: injection.acted(),
                });
        }
        calls
    }
}

/// What the span of a fault's call must look like.
enum Shape<'a> {
    Webhook { name: &'a str, parent: &'static str },
    Etcd { span: String },
    Sink,
}

impl<'a> Shape<'a> {
    fn of(fault: &'a Fault) -> Self {
        match fault {
            Fault::Webhook(fault) => Self::Webhook {
                name: &fault.name,
                parent: match fault.webhook_type {
                    WebhookType::Mutating => contract::MUTATING_WEBHOOK,
                    WebhookType::Validating => contract::VALIDATING_WEBHOOK,
                },
            },
            Fault::Etcd(fault) => Self::Etcd { span: format!("{}{}", contract::ETCD_PREFIX, fault.rpc) },
            Fault::Sink(_) | Fault::Collector(_) => Self::Sink,
        }
    }

    /// Whether the span of a call is of the right kind and stands in the right place.
    fn check(&self, index: usize, case: &Case<'_>) -> Result<(), String> {
        let capture = &case.capture;
        let row = &capture.rows()[index];
        let name = capture.names().get(row.name);
        if row.kind != Kind::Client {
            return Err(format!("the span that the call came with is {name:?} and not a CLIENT span"));
        }
        match self {
            Self::Webhook { name, parent } => {
                let above = case.index.by_span(row.trace_id, row.parent);
                let found =
                    above.map_or("missing", |index| &**capture.names().get(capture.rows()[index].name));
                if found != *parent {
                    return Err(format!("the parent of the call's span is {found:?}, expected {parent:?}"));
                }
                let webhook = above.and_then(|index| capture.text(index, contract::WEBHOOK_ATTRIBUTE));
                let wanted = contract::webhook_name(name);
                if webhook.as_ref() != Some(&wanted) {
                    return Err(format!("{parent:?} names the webhook {webhook:?}, expected {wanted:?}"));
                }
            }
            Self::Etcd { span } => {
                if **name != **span {
                    return Err(format!("the span that the RPC came with is {name:?}, expected {span:?}"));
                }
            }
            Self::Sink => return Err("exports of spans are not traced themselves".to_owned()),
        }
        Ok(())
    }

    /// Traces with a span of this webhook of which the ledger knows no call. Only webhooks can be told so:
    /// RPCs that no rule touches pass the etcd proxy without a note.
    fn extra(&self, calls: &Calls, case: &Case<'_>) -> Vec<TraceId> {
        let Self::Webhook { name, parent } = self else { return Vec::new() };
        let capture = &case.capture;
        let Some(parent) = capture.names().find(parent) else { return Vec::new() };
        let wanted = contract::webhook_name(name);
        // Calls that were let through, or came before load, reached the webhook too.
        let noted: HashSet<(TraceId, SpanId)> = case
            .injections
            .iter()
            .filter(|it| matches!(it.target, Target::Webhook { .. }))
            .filter_map(|it| it.parent.map(|parent| (parent.trace_id, parent.span_id)))
            .chain(calls.by_span.keys().copied())
            .collect();
        let rows = capture.rows();
        let above: HashSet<(TraceId, SpanId)> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.name == parent && row.start >= case.facts.load_start)
            .filter(|(index, _)| capture.text(*index, contract::WEBHOOK_ATTRIBUTE).as_ref() == Some(&wanted))
            .map(|(_, row)| (row.trace_id, row.span_id))
            .collect();
        rows.iter()
            .filter(|row| row.kind == Kind::Client && above.contains(&(row.trace_id, row.parent)))
            .filter(|row| !noted.contains(&(row.trace_id, row.span_id)))
            .map(|row| row.trace_id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::units::{Duration, Ratio};
    use spangate_trace::Value;

    use super::*;
    use crate::{
        testing::{Run, SLOW_ETCD, SLOW_WEBHOOK},
        verdict::Status,
    };

    fn verdict(fault: &str, run: Run) -> Verdict {
        let expect = Injected {
            fault: fault.to_owned(),
            within: Duration::from_millis(2),
            share: Ratio::new_unchecked(0.99),
        };
        judge(&expect, &Case::new(&run.evidence()))
    }

    #[test]
    fn what_was_held_is_found_again() {
        for fault in [SLOW_WEBHOOK, SLOW_ETCD] {
            let verdict = verdict(fault, Run::of_creates(40));
            assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        }
    }

    #[test]
    fn a_ledger_that_says_five_milliseconds_too_much_is_caught() {
        for fault in [SLOW_WEBHOOK, SLOW_ETCD] {
            let verdict = verdict(fault, Run::of_creates(40).lying_by(fault, 5_000_000));
            assert_eq!(verdict.status, Status::Fail, "{verdict:#?}");
        }
    }

    #[test]
    fn a_lost_span_is_missing() {
        let verdict = verdict(SLOW_WEBHOOK, Run::of_creates(40).without_span(4, "HTTP POST"));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.checks[0].observed, "19 of 20", "{verdict:#?}");
        assert_eq!(verdict.examples, [Run::trace(4)]);
    }

    #[test]
    fn a_span_under_the_wrong_parent_is_caught() {
        let verdict = verdict(SLOW_WEBHOOK, Run::of_creates(40).reparented_under(4, "HTTP POST", "Create"));
        assert_eq!(verdict.status, Status::Fail);
        assert!(verdict.reasons[0].contains("the parent of the call's span is \"Create\""), "{verdict:#?}");
    }

    #[test]
    fn a_renamed_attribute_is_caught() {
        let run = Run::of_creates(40).edited(4, "Call mutating webhook", |span| {
            let value = span.attributes.remove("webhook").unwrap_or(Value::Bool(false));
            span.attributes.insert("admission.webhook.name".to_owned(), value);
        });
        assert_eq!(verdict(SLOW_WEBHOOK, run).status, Status::Fail);
    }

    #[test]
    fn a_call_that_the_ledger_does_not_know_is_extra() {
        let verdict = verdict(SLOW_WEBHOOK, Run::of_creates(40).without_injection(SLOW_WEBHOOK, 4));
        assert_eq!(verdict.status, Status::Fail);
        assert!(verdict.reasons[0].contains("never reached"), "{verdict:#?}");
    }

    #[test]
    fn a_fault_that_never_acted_decides_nothing() {
        assert_eq!(verdict(SLOW_WEBHOOK, Run::of_creates(0)).status, Status::Inconclusive);
    }

    const MS: u64 = 1_000_000;

    /// A call of the slow webhook took 6 ms longer than what was held, and 0.5 ms that it always takes.
    fn with_a_late_answer() -> Run {
        Run::of_creates(40).stretched(4, "HTTP POST", 6 * MS)
    }

    #[test]
    fn what_a_stall_explains_is_set_aside_and_told() {
        let verdict = verdict(SLOW_WEBHOOK, with_a_late_answer().stalled(4, "HTTP POST", 5 * MS, 5 * MS));
        assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        let told = verdict.checks.iter().find(|check| check.what.starts_with("set aside")).unwrap();
        assert_eq!((told.observed.as_str(), told.n), ("1 of 20", 20));
        let share = verdict.checks.iter().find(|check| check.what.starts_with("share")).unwrap();
        assert_eq!(share.n, 19, "{verdict:#?}");
        let worst = verdict.checks.iter().find(|check| check.what.starts_with("largest")).unwrap();
        assert_eq!((worst.observed.as_str(), worst.n), ("6.50ms", 20));
    }

    #[test]
    fn a_stall_that_does_not_explain_it_excuses_nothing() {
        let cases = [
            ("none", with_a_late_answer()),
            ("too short", with_a_late_answer().stalled(4, "HTTP POST", 5 * MS, 4 * MS)),
            ("after the span", with_a_late_answer().stalled(4, "HTTP POST", 0, 50 * MS)),
            ("while it was held", with_a_late_answer().stalled(4, "HTTP POST", 100 * MS, 90 * MS)),
            ("of another call", with_a_late_answer().stalled(30, "HTTP POST", 5 * MS, 5 * MS)),
            (
                "that may be the run's own",
                with_a_late_answer().stalled(4, "HTTP POST", 5 * MS, 5 * MS).without_realtime(),
            ),
        ];
        for (stall, run) in cases {
            let verdict = verdict(SLOW_WEBHOOK, run);
            assert_eq!(verdict.status, Status::Fail, "a stall {stall}: {verdict:#?}");
        }
    }

    #[test]
    fn a_ledger_that_lies_is_never_excused() {
        let stalled = |run: Run| run.stalled(0, "HTTP POST", 1_000 * MS, 10_000 * MS);
        for fault in [SLOW_WEBHOOK, SLOW_ETCD] {
            let verdict = verdict(fault, stalled(Run::of_creates(40)).lying_by(fault, 5 * MS));
            assert_eq!(verdict.status, Status::Fail, "{verdict:#?}");
        }
        // Held for longer than it says, each time: stalls account for it, but not for so many.
        let held_longer =
            (0..40).step_by(2).fold(Run::of_creates(40), |run, i| run.stretched(i, "HTTP POST", 5 * MS));
        let verdict = verdict(SLOW_WEBHOOK, stalled(held_longer));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:#?}");
        assert!(verdict.reasons[0].contains("20 of 20"), "{verdict:#?}");
    }
}
