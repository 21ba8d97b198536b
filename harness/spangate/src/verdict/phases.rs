//! `phases`: where the API server spent the time of a request.

use std::collections::{BTreeMap, BTreeSet};

use spangate_load::RequestRecord;
use spangate_scenario::{
    model::{self, RequestFilter},
    units::Ratio,
};
use spangate_trace::{Phase, PhaseSummary, PhaseTimes, phases::summary::summarise};

use super::{Check, Status, Verdict, latency};
use crate::{
    evidence::{Case, Evidence},
    text,
};

pub(super) fn judge(expect: &model::Phases, case: &Case<'_>) -> Verdict {
    let mut verdict =
        Verdict::new(format!("phase {} of requests {}", expect.phase, text::filter(&expect.filter)));
    let phase = match expect.phase.parse::<Phase>() {
        Ok(phase) => phase,
        Err(error) => {
            verdict.undecided(error.to_string());
            return verdict;
        }
    };
    let traced: Vec<_> = case.phases().filter(|(r, _)| case.matches(&expect.filter, r)).collect();
    if traced.is_empty() {
        verdict.undecided("no request of this kind was traced");
        return verdict;
    }
    if !traced.iter().any(|(_, times)| times.by_phase.iter().any(|(seen, _)| *seen == phase)) {
        let seen: BTreeSet<String> = traced
            .iter()
            .flat_map(|(_, times)| &times.by_phase)
            .map(|(phase, _)| phase.to_string())
            .collect();
        let seen: Vec<String> = seen.into_iter().collect();
        verdict.undecided(format!("no request had the phase {phase}; their phases are {}", seen.join(", ")));
        return verdict;
    }
    let own = |times: &PhaseTimes| u64::try_from(times.get(&phase).as_nanos()).unwrap_or(u64::MAX);
    if let Some(bounds) = &expect.is {
        let mut sorted: Vec<u64> = traced.iter().map(|(_, times)| own(times)).collect();
        sorted.sort_unstable();
        latency::percentiles(bounds, &sorted, &mut verdict);
    }
    if let Some(bound) = &expect.share {
        let part: u64 = traced.iter().map(|(_, times)| own(times)).sum();
        let whole: u128 = traced.iter().map(|(_, times)| times.total.as_nanos()).sum();
        let share = Ratio::new_unchecked(part as f64 / (whole as f64).max(1.0));
        verdict.check(Check::bound(
            "share of the requests' time",
            text::percent(share.get()),
            bound.to_string(),
            traced.len(),
            bound.holds(&share),
        ));
    }
    if verdict.status != Status::Pass {
        let mut traced = traced;
        traced.sort_by_key(|(_, times)| std::cmp::Reverse(own(times)));
        verdict.point_at(traced.iter().filter_map(|(request, _)| case.trace_of(request)));
    }
    verdict
}

/// A row of the table that `spangate phases` prints.
pub struct Table {
    /// Verb and resource.
    pub operation: String,
    /// Traced requests.
    pub n: usize,
    /// Its phases, the longest first.
    pub phases: Vec<PhaseSummary>,
}

/// Phases by operation.
pub fn table(evidence: &Evidence, filter: &RequestFilter) -> Vec<Table> {
    let case = &Case::new(evidence);
    let mut operations: BTreeMap<String, Vec<&PhaseTimes>> = BTreeMap::new();
    for (request, times) in case.phases().filter(|(r, _)| case.matches(filter, r)) {
        operations.entry(operation(request)).or_default().push(times);
    }
    operations
        .into_iter()
        .map(|(operation, times)| {
            let mut summary = summarise(times.iter().copied());
            summary.sort_by_key(|phase| std::cmp::Reverse(phase.mean));
            Table { operation, n: times.len(), phases: summary }
        })
        .collect()
}

/// What makes two requests comparable: verb, resource and subresource.
pub(super) fn operation(request: &RequestRecord) -> String {
    match &request.subresource {
        Some(subresource) => format!("{} {}/{subresource}", request.verb, request.resource),
        None => format!("{} {}", request.verb, request.resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, SLOW_WEBHOOK};

    fn share(bound: &str) -> model::Phases {
        model::Phases {
            filter: RequestFilter::default(),
            phase: format!("mutating {SLOW_WEBHOOK}"),
            is: None,
            share: Some(bound.parse().unwrap()),
        }
    }

    #[test]
    fn the_slow_webhook_has_its_share() {
        let evidence = Run::of_creates(40).evidence();
        assert_eq!(judge(&share(">= 20%"), &Case::new(&evidence)).status, Status::Pass);
        assert_eq!(judge(&share("< 20%"), &Case::new(&evidence)).status, Status::Fail);
    }

    #[test]
    fn a_phase_that_no_request_had_decides_nothing() {
        let expect = model::Phases { phase: "etcd KV/Rang".to_owned(), ..share("< 50%") };
        let verdict = judge(&expect, &Case::new(&Run::of_creates(40).evidence()));
        assert_eq!(verdict.status, Status::Inconclusive);
        assert!(verdict.reasons[0].contains("etcd KV/Txn"), "{verdict:?}");
    }

    /// Scenario: the phases that editors propose for a scenario are held against those that spans are given.
    /// Guarantees: each proposal is a phase, and no phase that is a word alone is left out.
    #[test]
    fn editors_propose_the_phases_that_there_are() {
        let schema = spangate_scenario::schema::scenario_schema();
        let examples = schema.pointer("/$defs/Phases/properties/phase/examples").unwrap();
        let proposed: Vec<Phase> = serde_json::from_value(examples.clone()).unwrap();
        for plain in Phase::PLAIN {
            assert!(proposed.contains(&plain), "{plain} is not proposed");
        }
    }

    #[test]
    fn without_traces_nothing_is_decided() {
        assert_eq!(
            judge(&share(">= 0"), &Case::new(&Run::of_creates(0).evidence())).status,
            Status::Inconclusive
        );
    }
}
