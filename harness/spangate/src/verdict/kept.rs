//! `kept`: some of the traces that the Collector was given had to reach the sink, or had not to.

use std::collections::{HashMap, HashSet};

use spangate_scenario::{model::Kept, units::Ratio};
use spangate_trace::{TraceId, select::select, stats::clopper_pearson};

use super::{Check, Status, Verdict};
use crate::{collector::given::Given, evidence::Case, selector, text};

/// Confidence of the interval that is told beside a share.
const CONFIDENCE: f64 = 0.95;

pub(super) fn judge(expect: &Kept, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(describe(expect));
    let Some(given) = Given::of(case) else {
        verdict.undecided("the run had no Collector");
        return verdict;
    };
    let traces = match chosen(expect, &given, case) {
        Ok(traces) => traces,
        Err(why) => {
            verdict.undecided(why);
            return verdict;
        }
    };
    if traces.is_empty() {
        verdict.undecided("the Collector was given no such trace");
        return verdict;
    }
    let n = traces.len();
    let (kept, lost): (Vec<TraceId>, Vec<TraceId>) =
        traces.into_iter().partition(|trace| given.arrived(*trace) > 0);
    let share = kept.len() as f64 / n as f64;
    let holds = expect.share.holds(&Ratio::new_unchecked(share));
    let observed = format!("{} ({} of {n})", text::percent(share), kept.len());
    let check = Check::bound("kept", observed, expect.share.to_string(), n, holds);
    let interval = clopper_pearson(kept.len() as u64, n as u64, CONFIDENCE);
    let interval = format!("{} to {} (95%)", text::percent(interval.low), text::percent(interval.high));
    verdict.check(check.with_interval(interval));
    if !holds {
        // Those that are on the wrong side of the bound, as far as one can tell.
        let all_wanted = expect.share.holds(&Ratio::one());
        verdict.point_at(if all_wanted { lost } else { kept.clone() });
    }
    if expect.whole && !kept.is_empty() {
        let torn: Vec<TraceId> =
            kept.iter().copied().filter(|trace| given.arrived(*trace) < given.sent(*trace)).collect();
        let observed = torn.len().to_string();
        verdict.check(Check::bound(
            "kept without some of their spans",
            observed,
            "= 0",
            kept.len(),
            torn.is_empty(),
        ));
        verdict.point_at(torn);
    }
    if verdict.status == Status::Pass {
        verdict.examples.clear();
    }
    verdict
}

/// The traces that the expectation is about, of which the Collector has every span.
fn chosen(expect: &Kept, given: &Given<'_>, case: &Case<'_>) -> Result<Vec<TraceId>, String> {
    let having = match &expect.selector {
        None => None,
        Some(from) => {
            let selector =
                selector::compile(from).map_err(|error| format!("the selector cannot be used: {error}"))?;
            let rows = select(given.index, &selector, &case.context);
            Some(rows.into_iter().map(|row| given.capture.rows()[row].trace_id).collect::<HashSet<_>>())
        }
    };
    let classes: HashMap<TraceId, &str> = match &expect.class {
        None => HashMap::new(),
        Some(_) => case.traces.iter().map(|trace| (trace.trace_id, &*trace.class)).collect(),
    };
    let fits = |trace: &TraceId| {
        having.as_ref().is_none_or(|having| having.contains(trace))
            && expect.class.as_deref().is_none_or(|class| classes.get(trace) == Some(&class))
            && expect.slower_than.is_none_or(|limit| given.duration(*trace) > limit.get())
    };
    Ok(given.whole().filter(fits).collect())
}

fn describe(expect: &Kept) -> String {
    let mut parts = Vec::new();
    if let Some(selector) = &expect.selector {
        parts.push(format!("with a span {}", selector::describe(selector)));
    }
    if let Some(limit) = expect.slower_than {
        parts.push(format!("slower than {limit}"));
    }
    if let Some(class) = &expect.class {
        parts.push(format!("of the class {class}"));
    }
    let which = if parts.is_empty() { String::new() } else { format!(" {}", parts.join(", ")) };
    format!("kept {} of the traces{which}", expect.share)
}
