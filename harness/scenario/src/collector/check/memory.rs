//! Memory limiters that a Collector refuses (internal/memorylimiter/config.go, core v0.161.0).

use super::{Checker, cursor::Cursor, said};
use crate::collector::{Rule, Severity};

pub(super) static INVALID: Rule = Rule {
    id: "memory-limiter-invalid",
    severity: Severity::Error,
    summary: "A memory limiter without an interval or a limit, or with a spike as large as the limit.",
    scenario: Some("scenarios/collector-memory-limit.yaml"),
};

pub(super) fn check(checker: &mut Checker<'_>) {
    for limiter in checker.components_of("processors", "memory_limiter") {
        interval(checker, &limiter);
        limit(checker, &limiter);
        if let Some(ballast) = limiter.get("ballast_size_mib") {
            let said = said(
                "`ballast_size_mib` is gone",
                "the Collector refuses keys that it does not know",
                "leave it out, and set the environment variable GOMEMLIMIT",
            );
            checker.report(&INVALID, &ballast.path, ballast.key_span(), said);
        }
    }
}

fn interval(checker: &mut Checker<'_>, limiter: &Cursor<'_>) {
    let given = limiter.get("check_interval");
    let zero = given.as_ref().is_none_or(|given| given.duration().is_some_and(|given| given.is_zero()));
    if zero {
        let place = given.as_ref().unwrap_or(limiter);
        let said = said(
            "the memory limiter has no `check_interval`",
            "the default is 0, which the Collector refuses",
            "write `check_interval: 1s`",
        );
        checker.report(&INVALID, &place.path, place.span(), said);
    }
}

fn limit(checker: &mut Checker<'_>, limiter: &Cursor<'_>) {
    let pairs = [("limit_mib", "spike_limit_mib"), ("limit_percentage", "spike_limit_percentage")];
    if pairs.iter().all(|(limit, _)| limiter.get(limit).is_none()) {
        let said = said(
            "the memory limiter has no limit",
            "the Collector refuses it",
            "write `limit_percentage: 80` and `spike_limit_percentage: 20`, or `limit_mib` and `spike_limit_mib`",
        );
        checker.report(&INVALID, &limiter.path, limiter.key_span(), said);
    }
    for (limit, spike) in pairs {
        let (Some(most), Some(given)) = (limiter.get(limit), limiter.get(spike)) else { continue };
        if let (Some(most), Some(number)) = (most.number(), given.number())
            && number >= most
            && most > 0.0
        {
            let said = said(
                format!("`{spike}` is not smaller than `{limit}`"),
                "data is refused from the limit less the spike on, which would be from nothing on: the Collector \
                 refuses it",
                format!("write a fifth of `{limit}`: `{spike}: {}`", most / 5.0),
            );
            checker.report(&INVALID, &given.path, given.span(), said);
        }
    }
}
