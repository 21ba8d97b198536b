//! `blame`: the fault explains the excess latency of the requests that it touched.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use spangate_scenario::{
    model::{Blame, Fault, WebhookType},
    units::Ratio,
};
use spangate_trace::{
    Phase, TraceId,
    blame::{self, Method, Observation},
    stats::{Bootstrap, Estimate},
};

use super::{Check, Verdict, phases};
use crate::{evidence::Case, text};

/// The least number of touched and of untouched requests that are compared.
const LEAST: usize = 5;

pub(super) fn judge(expect: &Blame, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(format!("blame {} for {} of the excess", expect.fault, expect.share));
    let faults = &case.scenario.spec.faults;
    let Some(number) = faults.iter().position(|fault| fault.name() == expect.fault) else {
        verdict.undecided(format!("the scenario has no fault {}", expect.fault));
        return verdict;
    };
    let Some(phase) = phase(&faults[number]) else {
        verdict
            .undecided(format!("{} acts outside of requests: no phase of theirs is its own", expect.fault));
        return verdict;
    };
    let observations = observations(case);
    let method = Method {
        least: LEAST,
        bootstrap: Bootstrap { resamples: 2_000, seed: case.scenario.spec.seed, confidence: 0.95 },
    };
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let found = match blame::blame(&observations, number, std::slice::from_ref(&phase), &method) {
        blame::Blame::Decided(found) => found,
        blame::Blame::Undecided(reason) => {
            verdict.undecided(reason.to_string());
            return verdict;
        }
    };
    let n = found.treated + found.controls;
    let percent = |estimate: Estimate| {
        format!("{} to {} (95%)", text::percent(estimate.low), text::percent(estimate.high))
    };
    let time = text::float;
    verdict.check(
        Check::told("mean excess of a touched request", time(found.excess.value), n).with_interval(format!(
            "{} to {} (95%)",
            time(found.excess.low),
            time(found.excess.high)
        )),
    );
    let accused = found.accused.to_string();
    verdict.check(Check::bound("accused", accused, phase.to_string(), n, found.accused == phase));
    let observed =
        format!("{} ({} touched, {} not)", text::percent(found.share.value), found.treated, found.controls);
    let holds = expect.share.holds(&Ratio::new_unchecked(found.share.value));
    verdict.check(
        Check::bound("share of the excess", observed, expect.share.to_string(), n, holds)
            .with_interval(percent(found.share)),
    );
    verdict.point_at(found.examples);
    verdict
}

/// The phase in which a fault shows.
fn phase(fault: &Fault) -> Option<Phase> {
    match fault {
        Fault::Webhook(fault) => Some(match fault.webhook_type {
            WebhookType::Mutating => Phase::mutating(&fault.name),
            WebhookType::Validating => Phase::validating(&fault.name),
        }),
        Fault::Etcd(fault) => Some(Phase::etcd(&fault.rpc)),
        Fault::Sink(_) | Fault::Collector(_) => None,
    }
}

/// Every traced request with the faults that touched it, by the number of the fault in the scenario.
fn observations<'c>(case: &'c Case<'_>) -> Vec<Observation<'c>> {
    let numbers: HashMap<&str, u32> =
        (0..).zip(&case.scenario.spec.faults).map(|(number, fault)| (fault.name(), number)).collect();
    let mut touched: HashMap<TraceId, BTreeSet<u32>> = HashMap::new();
    for injection in case.injections.iter().filter(|injection| injection.acted()) {
        if let (Some(parent), Some(number)) = (injection.parent, numbers.get(injection.fault.as_str())) {
            touched.entry(parent.trace_id).or_default().insert(*number);
        }
    }
    let mut operations: HashSet<Arc<str>> = HashSet::new();
    case.phases()
        .filter_map(|(request, times)| {
            let trace = request.sent?.trace_id;
            let faults = touched.get(&trace).map(|set| set.iter().copied().collect()).unwrap_or_default();
            let operation = phases::operation(request);
            let operation = operations.get(operation.as_str()).cloned().unwrap_or_else(|| {
                let operation: Arc<str> = operation.into();
                operations.insert(Arc::clone(&operation));
                operation
            });
            Some(Observation { operation, faults, phases: Cow::Borrowed(times), trace })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use spangate_scenario::units::Bound;

    use super::*;
    use crate::{
        testing::{Run, SLOW_ETCD, SLOW_WEBHOOK},
        verdict::Status,
    };

    fn verdict(fault: &str, run: Run) -> Verdict {
        let share = Bound::at_least(Ratio::new_unchecked(0.8));
        judge(&Blame { fault: fault.to_owned(), share }, &Case::new(&run.evidence()))
    }

    #[test]
    fn each_fault_is_blamed_for_its_own_excess() {
        for fault in [SLOW_WEBHOOK, SLOW_ETCD] {
            let verdict = verdict(fault, Run::of_creates(80));
            assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        }
    }

    #[test]
    fn a_ledger_that_names_the_wrong_fault_is_caught() {
        let verdict = verdict(SLOW_WEBHOOK, Run::of_creates(80).swapped_faults());
        assert_eq!(verdict.status, Status::Fail, "{verdict:#?}");
    }

    #[test]
    fn without_untouched_requests_nothing_is_decided() {
        let verdict = verdict(SLOW_WEBHOOK, Run::of_creates(80).only_touched_by(SLOW_WEBHOOK));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:#?}");
    }
}
