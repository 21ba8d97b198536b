//! Rules for giving a load up.

use super::{load_at, planned};
use crate::{
    model::{AbortRule, Load},
    path::Path,
    validate::{
        Findings,
        bounds::{self, Purpose},
        expect, limited,
    },
};

pub(super) fn check(load: &Load, list: &Path, findings: &mut Findings) {
    for (index, rule) in limited(&load.abort_on, list, findings).iter().enumerate() {
        self::rule(rule, load, &list.index(index), findings);
    }
}

fn rule(rule: &AbortRule, load: &Load, at: &Path, findings: &mut Findings) {
    let AbortRule { errors, latency, achieved, over, grace } = rule;
    if errors.is_none() && latency.is_none() && achieved.is_none() {
        findings.add(at, "never ends the load").help("add one of `errors`, `latency`, `achieved`");
    }
    if let Some(errors) = errors {
        bounds::ratio(errors, Purpose::End, &at.key("errors"), findings);
    }
    if let Some(latency) = latency {
        expect::percentiles(latency, Purpose::End, &at.key("latency"), findings);
    }
    if let Some(achieved) = achieved {
        let at = at.key("achieved");
        bounds::ratio(achieved, Purpose::End, &at, findings);
        planned(load, &at, findings);
    }
    findings.require(!over.is_zero(), &at.key("over"), "must be longer than 0s");
    if let Some(length) = load.length().filter(|length| grace >= length && !length.is_zero()) {
        findings
            .add(&at.key("grace"), format!("the rule never counts: load ends after {length}"))
            .help("make the grace shorter")
            .rests_on(load_at());
    }
}
