//! `requests`: how many requests were answered how.

use spangate_scenario::{
    model::{RequestFilter, Requests},
    units::Ratio,
};

use super::{Check, Verdict};
use crate::{evidence::Case, text};

pub(super) fn judge(expect: &Requests, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(format!("requests {}", text::filter(&expect.filter)));
    let n = case.select(&expect.filter).count();
    if let Some(bound) = &expect.count {
        let holds = bound.holds(&(n as u64));
        verdict.check(Check::bound("count", n.to_string(), bound.to_string(), n, holds));
    }
    if let Some(bound) = &expect.share {
        let whole = RequestFilter { status: None, ..expect.filter.clone() };
        let of = case.select(&whole).count();
        if of == 0 {
            verdict.undecided("no request of the ledger is of this kind");
            return verdict;
        }
        let share = Ratio::new_unchecked(n as f64 / of as f64);
        verdict.check(Check::bound("share", share.to_string(), bound.to_string(), of, bound.holds(&share)));
    }
    if verdict.status != super::Status::Pass {
        verdict.point_at(case.select(&expect.filter).filter_map(|request| Some(request.sent?.trace_id)));
    }
    verdict
}
