//! Rules for what is expected of the load itself, and of its watchers.

use super::{needs, percentiles};
use crate::{
    model::{Load, LoadExpectation, Watchers, WatchersExpectation},
    path::Path,
    suggest,
    validate::{
        Findings,
        bounds::{self, Purpose},
        load::{load_at, planned},
    },
};

pub(super) fn check(expected: &LoadExpectation, load: Option<&Load>, at: &Path, findings: &mut Findings) {
    let LoadExpectation { achieved, start_lag, shed, errors, skipped } = expected;
    let says =
        achieved.is_some() || start_lag.is_some() || shed.is_some() || errors.is_some() || skipped.is_some();
    needs(says, at, "one of `achieved`, `startLag`, `shed`, `errors`, `skipped`", findings);
    if let Some(achieved) = achieved {
        bounds::ratio(achieved, Purpose::Check, &at.key("achieved"), findings);
    }
    if let Some(start_lag) = start_lag {
        percentiles(start_lag, Purpose::Check, &at.key("startLag"), findings);
    }
    if let Some(shed) = shed {
        bounds::count(shed, &at.key("shed"), findings);
    }
    for (key, given) in [("achieved", achieved.is_some()), ("shed", shed.is_some())] {
        if let Some(load) = load.filter(|_| given) {
            planned(load, &at.key(key), findings);
        }
    }
    if let Some(errors) = errors {
        bounds::ratio(errors, Purpose::Check, &at.key("errors"), findings);
    }
    if let Some(skipped) = skipped {
        bounds::count(skipped, &at.key("skipped"), findings);
        if load.is_some_and(|load| load.replay.is_none()) {
            findings
                .add(&at.key("skipped"), "only what a replay cannot send is skipped, and load is no replay")
                .help("leave it out")
                .rests_on(load_at());
        }
    }
}

pub(super) fn watchers(
    expected: &WatchersExpectation,
    load: Option<&Load>,
    at: &Path,
    findings: &mut Findings,
) {
    let WatchersExpectation { name, lag, missed, reopened } = expected;
    let says = lag.is_some() || missed.is_some() || reopened.is_some();
    needs(says, at, "one of `lag`, `missed`, `reopened`", findings);
    if let Some(load) = load {
        exist(name.as_deref(), load, at, findings);
    }
    if let Some(lag) = lag {
        percentiles(lag, Purpose::Check, &at.key("lag"), findings);
    }
    for (key, bound) in [("missed", missed), ("reopened", reopened)] {
        if let Some(bound) = bound {
            bounds::count(bound, &at.key(key), findings);
        }
    }
}

/// Finds watchers that load does not have.
fn exist(name: Option<&str>, load: &Load, at: &Path, findings: &mut Findings) {
    let known: Vec<&str> = load.watchers.iter().map(Watchers::label).collect();
    let list = load_at().key("watchers");
    if known.is_empty() {
        findings.add(at, "load has no watchers").help("add some to `load.watchers`").rests_on(list);
    } else if let Some(name) = name.filter(|name| !known.contains(name)) {
        findings
            .add(&at.key("name"), format!("no watchers are called `{name}`"))
            .help(suggest::help(name, &known))
            .rests_on(list);
    }
}
