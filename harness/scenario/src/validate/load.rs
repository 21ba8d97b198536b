//! Rules for load.

use super::{Findings, names};
use crate::{
    model::{Identity, Load, Replay},
    path::Path,
    suggest,
};

mod abort;
mod arrivals;
mod entries;
mod identities;
mod population;
mod traces;
mod users;
mod watchers;

pub(super) use traces::others as without_api_server;

/// Where load is. What rests on several parts of it rests on all of it.
pub(super) fn load_at() -> Path {
    Path::root().key("spec.load")
}

pub(super) fn check(load: &Load, at: &Path, findings: &mut Findings) {
    exactly_one(&load.sources(), Load::SOURCES, "source of operations", "keep one of them", at, findings);
    if let Some(arrivals) = &load.arrivals {
        arrivals::check(arrivals, &at.key("arrivals"), findings);
    }
    if let Some(users) = &load.users {
        users::check(users, load, &at.key("users"), findings);
    }
    if let Some(replay) = &load.replay {
        self::replay(replay, &at.key("replay"), findings);
    }
    entries::check(load, at, findings);
    traces::check(load, at, findings);
    watchers::check(load, &at.key("watchers"), findings);
    identities::check(&load.identities, &at.key("identities"), findings);
    namespace(load, &at.key("namespace"), findings);
    population::count(load.objects, &at.key("objects"), findings);
    population::check(&load.prepare, &at.key("prepare"), findings);
    findings.require(load.client.connections >= 1, &at.key("client.connections"), "must be at least 1");
    findings.require(load.client.streams >= 1, &at.key("client.streams"), "must be at least 1");
    findings.require(load.max_in_flight >= 1, &at.key("maxInFlight"), "must be at least 1");
    findings.require(!load.timeout.is_zero(), &at.key("timeout"), "must be longer than 0s");
    abort::check(load, &at.key("abortOn"), findings);
}

/// Finds a mapping with none of the keys of which it has exactly one, or with several of them. `given` are those
/// that it has.
pub(super) fn exactly_one(
    given: &[&str],
    known: &[&str],
    what: &str,
    advice: &str,
    at: &Path,
    findings: &mut Findings,
) {
    match given {
        [_] => {}
        [] => {
            let help = format!("give it one of {}", suggest::list(known));
            findings.add(at, format!("has no {what}")).help(help);
        }
        several => {
            findings.add(at, format!("has more than one {what}: {}", suggest::list(several))).help(advice);
        }
    }
}

/// Finds a number that is not from the first to the second.
fn within(number: u32, least: u32, most: u32, at: &Path, findings: &mut Findings) {
    let message = format!("must be {least} to {most}, got {number}");
    findings.require((least..=most).contains(&number), at, message);
}

/// Finds a sender that load does not know.
pub(super) fn identity(identity: &Identity, load: &Load, at: &Path, findings: &mut Findings) {
    let own = load.identities.iter().map(|spec| spec.name.as_str());
    let known: Vec<&str> = [Identity::ADMIN, Identity::UNPRIVILEGED].into_iter().chain(own).collect();
    if !known.contains(&identity.as_str()) {
        findings
            .add(at, format!("there is no identity `{identity}`"))
            .help(suggest::help(identity.as_str(), &known))
            .rests_on(load_at().key("identities"));
    }
}

/// Finds the closed loop where what was planned is to be counted.
pub(super) fn planned(load: &Load, at: &Path, findings: &mut Findings) {
    if load.users.is_some() {
        findings
            .add(at, "users wait for every answer, so nothing of what they do is planned")
            .help("leave it out, or send the load by `arrivals`")
            .rests_on(load_at());
    }
}

fn replay(replay: &Replay, at: &Path, findings: &mut Findings) {
    exactly_one(&replay.records(), Replay::RECORDS, "record to replay", "keep one of them", at, findings);
    for (key, path) in [("audit", &replay.audit), ("ledger", &replay.ledger)] {
        let empty = path.as_ref().is_some_and(|path| path.as_os_str().is_empty());
        findings.require(!empty, &at.key(key), "must not be empty");
    }
    let fine = replay.speed.is_finite() && replay.speed > 0.0;
    findings.require(fine, &at.key("speed"), "must be greater than 0");
    let is_empty = replay.duration.is_some_and(|duration| duration.is_zero());
    findings.require(!is_empty, &at.key("for"), "must be longer than 0s");
}

fn namespace(load: &Load, at: &Path, findings: &mut Findings) {
    let name = &load.namespace;
    names::dns_label(name, at, findings);
    if name == "default" || name.starts_with("kube-") {
        findings
            .add(at, format!("`{name}` belongs to the cluster, and the namespace is removed after the run"))
            .help("leave it out, or choose a name of your own");
    }
    let last = format!("{name}-{}", load.prepare.namespaces);
    if load.prepare.namespaces > 1 && names::is_dns_label(name) && !names::is_dns_label(&last) {
        findings
            .add(at, format!("the last of the namespaces would be called `{last}`, which is too long"))
            .help("choose a shorter name")
            .rests_on(load_at().key("prepare"));
    }
}
