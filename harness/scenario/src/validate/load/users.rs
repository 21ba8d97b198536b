//! Rules for the closed loop.

use std::collections::HashSet;

use super::within;
use crate::{
    model::{Session, Users},
    path::Path,
    validate::{Findings, faults, limited, names},
};

/// Users of a run; each is a task with a state of its own.
const MAX_USERS: u32 = 100_000;

pub(super) fn check(users: &Users, at: &Path, findings: &mut Findings) {
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
    }
}
