//! `spans`: how many spans a selector picks, how long they take, and what must be true of each.

use spangate_scenario::model::Spans;
use spangate_trace::{TraceId, select::select};

use super::{Check, Expected, Status, Verdict, cel, expected, latency};
use crate::{evidence::Case, selector};

pub(super) fn judge(expect: &Spans, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(format!("spans {}", selector::describe(&expect.selector)));
    let selector = match selector::compile(&expect.selector) {
        Ok(selector) => selector,
        Err(error) => {
            verdict.undecided(format!("the selector cannot be used: {error}"));
            return verdict;
        }
    };
    let rows = select(&case.index, &selector, &case.context);
    let n = rows.len();
    let capture = &case.capture;
    if let Some(bound) = &expect.count {
        let holds = bound.holds(&(n as u64));
        verdict.check(Check::bound("count", n.to_string(), bound.to_string(), n, holds));
    }
    if let Some(bound) = &expect.per_request {
        per_request(bound, &rows, case, &mut verdict);
    }
    if let Some(bounds) = &expect.duration {
        let rows = rows.iter().map(|row| &capture.rows()[*row]);
        let mut sorted: Vec<u64> =
            rows.map(|row| u64::try_from(row.end.since(row.start).as_nanos()).unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        latency::percentiles(bounds, &sorted, &mut verdict);
    }
    if (!expect.attributes.is_empty() || expect.cel.is_some()) && n == 0 {
        verdict.undecided("no span was picked, so nothing can be said of every one of them");
    }
    for (key, wanted) in &expect.attributes {
        let test = match selector::attribute(wanted) {
            Ok(test) => test,
            Err(error) => {
                verdict.undecided(format!("the attribute {key} cannot be compared: {error}"));
                continue;
            }
        };
        each(&format!("attribute {key}"), &rows, case, &mut verdict, |row| {
            Ok(test.holds(capture.attribute(row, key).as_ref()))
        });
    }
    if let Some(source) = &expect.cel {
        match cel::Expression::compile(source) {
            Ok(expression) => each(source, &rows, case, &mut verdict, |row| {
                let self_time = case.index.self_time(row);
                expression.holds(&capture.span(row), self_time)
            }),
            Err(error) => verdict.undecided(format!("the CEL expression cannot be used: {error}")),
        }
    }
    if verdict.status != Status::Pass {
        verdict.point_at(rows.iter().map(|row| capture.rows()[*row].trace_id));
    }
    verdict
}

/// How many picked spans stand in the trace of each request that was to be traced.
fn per_request(
    bound: &spangate_scenario::units::Bound<u64>,
    rows: &[usize],
    case: &Case<'_>,
    verdict: &mut Verdict,
) {
    let traces: Vec<TraceId> = case
        .requests
        .iter()
        .filter_map(|request| match expected(request, &case.scenario.spec) {
            Expected::Child(sent) => Some(sent.trace_id),
            _ => None,
        })
        .collect();
    if traces.is_empty() {
        verdict.undecided("no request of the ledger had to be traced");
        return;
    }
    let mut counts = std::collections::HashMap::<TraceId, u64>::new();
    for row in rows {
        *counts.entry(case.capture.rows()[*row].trace_id).or_default() += 1;
    }
    let outside: Vec<_> =
        traces.iter().filter(|t| !bound.holds(&counts.get(t).copied().unwrap_or(0))).collect();
    let inside = traces.len() - outside.len();
    let observed = format!("{inside} of {} requests", traces.len());
    verdict.check(Check::bound(
        format!("requests with {bound} of them"),
        observed,
        "all".to_owned(),
        traces.len(),
        outside.is_empty(),
    ));
    verdict.point_at(outside.into_iter().copied());
}

/// Something that must be true of every picked span.
fn each(
    what: &str,
    rows: &[usize],
    case: &Case<'_>,
    verdict: &mut Verdict,
    holds: impl Fn(usize) -> Result<bool, String>,
) {
    let mut inside = 0;
    for row in rows {
        match holds(*row) {
            Ok(true) => inside += 1,
            Ok(false) => verdict.example(case.capture.rows()[*row].trace_id),
            Err(error) => {
                verdict.undecided(format!("{what}: {error}"));
                return;
            }
        }
    }
    let n = rows.len();
    verdict.check(Check::bound(what, format!("true of {inside} of {n}"), "all", n, inside == n));
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::{AttributeMatch, SpanSelector, TextMatch};

    use super::*;
    use crate::testing::{Run, SLOW_WEBHOOK};

    fn webhook_calls() -> Spans {
        Spans {
            selector: SpanSelector {
                name: Some(TextMatch::Equals("Call mutating webhook".to_owned())),
                ..SpanSelector::default()
            },
            count: None,
            per_request: None,
            duration: None,
            attributes: std::collections::BTreeMap::new(),
            cel: None,
        }
    }

    fn status(expect: &Spans, run: Run) -> Status {
        judge(expect, &Case::new(&run.evidence())).status
    }

    #[test]
    fn spans_are_counted() {
        let expect = Spans { count: Some("20".parse().unwrap()), ..webhook_calls() };
        assert_eq!(status(&expect, Run::of_creates(40)), Status::Pass);
        let run = Run::of_creates(40).without_span(4, "Call mutating webhook");
        assert_eq!(status(&expect, run), Status::Fail);
    }

    #[test]
    fn spans_are_counted_for_each_request() {
        let mut expect = Spans { per_request: Some("1".parse().unwrap()), ..webhook_calls() };
        expect.selector.name = Some(TextMatch::Equals("audit".to_owned()));
        assert_eq!(status(&expect, Run::of_creates(40)), Status::Pass);
        assert_eq!(status(&expect, Run::of_creates(40).without_span(4, "audit")), Status::Fail);
    }

    #[test]
    fn a_renamed_attribute_turns_every_kind_of_test_red() {
        let by_attribute = Spans {
            attributes: [("webhook".to_owned(), AttributeMatch::Exists(true))].into(),
            ..webhook_calls()
        };
        let by_cel = Spans {
            cel: Some(format!("span.attributes['webhook'].startsWith('{SLOW_WEBHOOK}')")),
            ..webhook_calls()
        };
        for (expect, red) in [(by_attribute, Status::Fail), (by_cel, Status::Inconclusive)] {
            assert_eq!(status(&expect, Run::of_creates(40)), Status::Pass, "{expect:?}");
            let renamed = Run::of_creates(40).edited(4, "Call mutating webhook", |span| {
                span.attributes.remove("webhook");
            });
            assert_eq!(status(&expect, renamed), red, "{expect:?}");
        }
    }

    #[test]
    fn nothing_can_be_said_of_no_span() {
        let mut expect = Spans { cel: Some("span.name != ''".to_owned()), ..webhook_calls() };
        expect.selector.name = Some(TextMatch::Equals("no such span".to_owned()));
        assert_eq!(status(&expect, Run::of_creates(40)), Status::Inconclusive);
    }
}
