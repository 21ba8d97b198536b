//! `recovery`: how long the API server stays dark after its trace backend is back, and what was lost.
//!
//! The exporter's gRPC connection backs off while the backend is away, up to two minutes, and the batch
//! processor drops what does not fit its queue without counting it anywhere. Only the ledger can show both.

use spangate_scenario::{
    model::Recovery,
    units::{Duration, Ratio},
};

use super::{Check, Verdict, complete};
use crate::evidence::Case;

pub(super) fn judge(expect: &Recovery, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(format!("recovery after {}", expect.fault));
    let Some(outage) = case.facts.outages.iter().find(|outage| outage.fault == expect.fault) else {
        verdict.undecided(format!("the run ended before {} did", expect.fault));
        return verdict;
    };
    let away = Duration::from(outage.to.since(outage.from));
    verdict.check(Check::told("away for", away.to_string(), 1));
    if let Some(bound) = &expect.dark {
        if let Some(first) = outage.first_span {
            let dark = Duration::from(first.since(outage.to));
            let holds = bound.holds(&dark);
            verdict.check(Check::bound("dark for", dark.to_string(), bound.to_string(), 1, holds));
        } else {
            let waited = Duration::from(case.facts.load_end.since(outage.to));
            verdict.fail(format!("no span came back within {waited} of the sink's return"));
        }
    }
    if let Some(bound) = &expect.lost {
        let found = complete::account(case);
        let demanded = found.demanded;
        if demanded == 0 {
            verdict.undecided("no request had to be traced");
            return verdict;
        }
        let lost = Ratio::new_unchecked(found.missing.len() as f64 / demanded as f64);
        let holds = bound.holds(&lost);
        let observed = format!("{lost} ({} of {demanded})", found.missing.len());
        verdict.check(Check::bound("requests lost", observed, bound.to_string(), demanded, holds));
        verdict.point_at(found.missing);
    }
    verdict
}
