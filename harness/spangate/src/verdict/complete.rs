//! `complete`: every request that had to be traced is there, whole, and no other.

use std::collections::HashMap;

use spangate_load::{Outcome, Verb};
use spangate_scenario::model::Complete;
use spangate_trace::{SpanId, TraceId, contract};

use super::{Check, Expected, Verdict, expected};
use crate::evidence::Case;

pub(super) fn judge(expect: &Complete, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new("complete");
    let found = account(case);
    if found.demanded + found.forbidden == 0 {
        verdict.undecided(
            "nothing follows from any request of the ledger: none had to be traced or must not be",
        );
        return verdict;
    }
    for (what, bound, traces, n) in [
        ("missing", &expect.missing, &found.missing, found.demanded),
        ("duplicates", &expect.duplicates, &found.duplicates, found.demanded),
        ("orphans", &expect.orphans, &found.orphans, found.spans),
        ("unexpected", &expect.unexpected, &found.unexpected, found.forbidden),
    ] {
        let count = traces.len() as u64;
        let holds = bound.holds(&count);
        verdict.check(Check::bound(what, count.to_string(), bound.to_string(), n, holds));
        if !holds {
            verdict.point_at(traces.iter().copied());
        }
    }
    if found.undetermined > 0 {
        verdict.check(Check::told(
            "not demanded: the ratio decides or the request broke off",
            found.undetermined.to_string(),
            case.requests.len(),
        ));
    }
    verdict
}

/// What became of the requests of the ledger.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Requests whose SERVER span had to be there.
    pub(super) demanded: usize,
    /// Requests whose SERVER span must not be there.
    pub(super) forbidden: usize,
    /// Requests of which neither is known.
    pub(super) undetermined: usize,
    /// Spans in traces of ours.
    pub(super) spans: usize,
    /// A trace for each request without its SERVER span.
    pub(super) missing: Vec<TraceId>,
    /// A trace for each request with more than one.
    pub(super) duplicates: Vec<TraceId>,
    /// A trace for each span without its parent.
    pub(super) orphans: Vec<TraceId>,
    /// A trace for each SERVER span that must not be there.
    pub(super) unexpected: Vec<TraceId>,
}

/// Holds the request ledger against the capture.
pub(super) fn account(case: &Case<'_>) -> Account {
    let mut account = Account::default();
    let servers = Servers::of(case);
    let mut ours: HashMap<TraceId, Option<SpanId>> = HashMap::new();
    for request in &case.requests {
        let expected = expected(request, &case.scenario.spec);
        let found = match (expected, request.sent) {
            (Expected::Root, _) | (_, None) => {
                servers.audited.get(request.audit_id.as_deref().unwrap_or_default())
            }
            (Expected::Child(sent), _) => servers.children.get(&(sent.trace_id, sent.span_id)),
            (_, Some(sent)) => servers
                .linked
                .get(&(sent.trace_id, sent.span_id))
                .or_else(|| servers.children.get(&(sent.trace_id, sent.span_id))),
        };
        let found = found.map_or(&[][..], Vec::as_slice);
        let trace = request.sent.map(|sent| sent.trace_id).or(found.first().copied());
        let trace = trace.unwrap_or(TraceId::INVALID);
        match expected {
            Expected::Nothing => {
                account.forbidden += 1;
                account.unexpected.extend(found);
            }
            Expected::Undetermined => account.undetermined += 1,
            Expected::Child(_) | Expected::LinkedRoot(_) | Expected::Root => {
                account.demanded += 1;
                match found {
                    [] => account.missing.push(trace),
                    [one] => {
                        let parent = match expected {
                            Expected::Child(sent) => Some(sent.span_id),
                            _ => None,
                        };
                        let broken_off = matches!(request.verb, Verb::Watch | Verb::WatchList)
                            && !matches!(request.outcome, Outcome::Status(_));
                        if !broken_off {
                            ours.insert(*one, parent);
                        }
                    }
                    _ => account.duplicates.push(trace),
                }
            }
        }
    }
    for (trace_id, sent) in ours {
        let Some(trace) = case.index.by_trace(trace_id) else { continue };
        account.spans += trace.rows().len();
        let orphans = trace.orphans().filter(|row| Some(case.capture.rows()[*row].parent) != sent);
        account.orphans.extend(orphans.map(|_| trace_id));
    }
    account.orphans.sort_unstable();
    account
}

/// The API server's SERVER spans, by what ties them to a request; the values are their traces.
#[derive(Default)]
struct Servers {
    children: HashMap<(TraceId, SpanId), Vec<TraceId>>,
    linked: HashMap<(TraceId, SpanId), Vec<TraceId>>,
    audited: HashMap<String, Vec<TraceId>>,
}

impl Servers {
    fn of(case: &Case<'_>) -> Self {
        let mut servers = Self::default();
        let capture = &case.capture;
        for index in contract::server_spans(capture) {
            let row = &capture.rows()[index];
            if row.parent.is_valid() && case.context.traces.contains(&row.trace_id) {
                servers.children.entry((row.trace_id, row.parent)).or_default().push(row.trace_id);
                continue;
            }
            let span = capture.span(index);
            for link in &span.links {
                servers.linked.entry((link.trace_id, link.span_id)).or_default().push(row.trace_id);
            }
            if let Some(audit_id) = span.text(contract::AUDIT_ID) {
                servers.audited.entry(audit_id.to_owned()).or_default().push(row.trace_id);
            }
        }
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::Run, verdict::Status};

    fn verdict(run: Run) -> Verdict {
        judge(&Complete::default(), &Case::new(&run.evidence()))
    }

    #[test]
    fn a_whole_run_passes() {
        assert_eq!(verdict(Run::of_creates(20)).status, Status::Pass);
    }

    #[test]
    fn a_lost_server_span_is_missing() {
        let verdict = verdict(Run::of_creates(20).without_span(3, "POST"));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.checks[0].observed, "1");
        assert_eq!(verdict.examples, [Run::trace(3)]);
    }

    #[test]
    fn a_lost_filter_span_orphans_its_child() {
        let verdict = verdict(Run::of_creates(20).without_span(3, "audit"));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.reasons, ["orphans is 1, expected = 0"]);
    }

    #[test]
    fn a_span_under_another_parent_is_not_the_requests_own() {
        let verdict = verdict(Run::of_creates(20).reparented(3, "POST", SpanId::new([0xee; 8])));
        assert_eq!(verdict.checks[0].observed, "1", "{verdict:?}");
        assert_eq!(verdict.status, Status::Fail);
    }

    #[test]
    fn a_second_server_span_is_a_duplicate() {
        let verdict = verdict(Run::of_creates(20).duplicated(3, "POST"));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.checks[1].observed, "1");
    }

    #[test]
    fn a_trace_of_an_unsampled_request_is_unexpected() {
        let verdict = verdict(Run::of_creates(20).unsampled(3));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.checks[3].observed, "1");
    }

    #[test]
    fn a_run_without_requests_decides_nothing() {
        assert_eq!(verdict(Run::of_creates(0)).status, Status::Inconclusive);
    }
}
