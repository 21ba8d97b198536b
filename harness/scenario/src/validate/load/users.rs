//! Rules for the closed loop.

use std::collections::HashSet;

use super::{load_at, within};
use crate::{
    model::{Load, MixEntry, Resource, Session, Users},
    path::Path,
    validate::{Findings, MAX_ENTRIES, faults, limited, names},
};

/// Users of a run; each is a task with a state of its own.
const MAX_USERS: u32 = 100_000;

pub(super) fn check(users: &Users, load: &Load, at: &Path, findings: &mut Findings) {
    within(users.count, 1, MAX_USERS, &at.key("count"), findings);
    findings.require(!users.duration.is_zero(), &at.key("for"), "must be longer than 0s");
    let hatch_at = at.key("hatchRate");
    let (rate, length) = (users.hatch_rate.get(), users.duration);
    findings.require(rate > 0.0, &hatch_at, "must be greater than 0");
    let all = f64::from(users.count) / rate;
    if rate > 0.0 && !length.is_zero() && all >= length.as_secs_f64() {
        let (count, rate) = (users.count, users.hatch_rate);
        let all = all.ceil();
        findings
            .add(
                &hatch_at,
                format!("{count} users at {rate} are all there after {all}s, and load ends after {length}"),
            )
            .help("let them come faster, or make `for` longer");
    }
    if let Some(pause) = &users.think_time {
        faults::delay(pause, &at.key("thinkTime"), findings);
    }
    sessions(&users.sessions, &at.key("sessions"), findings);
    // A mix beside sessions, or of another source, is no mix of users.
    if users.sessions.is_empty() && load.sources() == ["users"] {
        drawn(&load.mix, &load_at().key("mix"), findings);
    }
}

/// Finds entries of the users' mix that delete. Nobody knows beforehand how often users come to one, so nothing is
/// made for them.
fn drawn(mix: &[MixEntry], list: &Path, findings: &mut Findings) {
    for (index, entry) in mix.iter().take(MAX_ENTRIES).enumerate() {
        for (key, given) in
            [("delete", entry.delete.is_some()), ("deleteCollection", entry.delete_collection.is_some())]
        {
            if given {
                findings
                    .add(&list.index(index).key(key), "users who draw from a mix have nothing to delete")
                    .help("use `postDelete`, or give users a session in which `create` comes before `delete`")
                    .rests_on(load_at().key("users"));
            }
        }
    }
}

fn sessions(sessions: &[Session], list: &Path, findings: &mut Findings) {
    if !sessions.is_empty() && sessions.iter().all(|session| session.weight.0 == 0) {
        findings.add(list, "no session is ever chosen: all weights are 0");
    }
    let mut seen = HashSet::new();
    for (index, session) in limited(sessions, list, findings).iter().enumerate() {
        let at = list.index(index);
        let name = &session.name;
        names::dns_label(name, &at.key("name"), findings);
        if !seen.insert(name) {
            findings.add(&at.key("name"), format!("another session is called `{name}` too"));
        }
        if let Some(pause) = &session.think_time {
            faults::delay(pause, &at.key("thinkTime"), findings);
        }
        deletes(&session.steps, &at.key("steps"), findings);
    }
}

/// Finds steps that delete what no step before them has made, or what another has deleted already.
fn deletes(steps: &[MixEntry], list: &Path, findings: &mut Findings) {
    let mut made: Vec<Resource> = Vec::new();
    for (index, step) in steps.iter().take(MAX_ENTRIES).enumerate() {
        let at = list.index(index);
        made.extend([&step.create, &step.apply].into_iter().flatten().map(|made| made.resource));
        if let Some(delete) = &step.delete {
            let plural = delete.resource.plural();
            if let Some(place) = made.iter().position(|resource| *resource == delete.resource) {
                made.swap_remove(place);
            } else {
                findings
                    .add(&at.key("delete"), format!("the session has no {plural} to delete here"))
                    .help(format!("put a `create` or an `apply` of {plural} before each `delete`"))
                    .rests_on(list.clone());
            }
        }
        if step.delete_collection.is_some() {
            findings
                .add(&at.key("deleteCollection"), "users have no collections to delete")
                .help("delete what the session made, one `delete` for each, or send the load by `arrivals`");
        }
    }
}
