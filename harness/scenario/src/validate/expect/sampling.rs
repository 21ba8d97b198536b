//! Rules for what is expected of the head sampler.

use super::{collector::needs_collector, load_at};
use crate::{
    model::{Cluster, Load, MixEntry, Roots, Sampling, TraceFlag, Until},
    path::Path,
    units::{Bound, Comparison, PerMillion},
    validate::{
        Findings, Parts,
        bounds::{self, Purpose},
    },
};

pub(super) fn check(expected: &Sampling, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    if expected.within.get() <= 0.0 {
        findings.add(&at.key("within"), "no number of traces tells a rate exactly").help("write `20%`");
    }
    if !(0.5..1.0).contains(&expected.confidence.get()) {
        findings
            .add(&at.key("confidence"), "must be at least 50% and less than 100%")
            .help("write `99.9999%`: one false alarm in a million");
    }
    if let Some(lost) = &expected.lost {
        let at = at.key("lost");
        bounds::ratio(lost, Purpose::Check, &at, findings);
        if !matches!(lost, Bound::One(Comparison::Less | Comparison::AtMost, _)) {
            findings
                .add(&at, "the part that is lost is an interval, which only an upper limit can hold")
                .help("write `< 5%`");
        }
    }
    let rate_at = at.key("samplingRatePerMillion");
    match expected.of {
        Roots::HonouredParents => {
            if expected.sampling_rate_per_million.is_some() {
                findings
                    .add(&rate_at, "the rate never decides on a trace whose parent is honoured")
                    .help("leave it out, or name `requestRoots`");
            }
        }
        Roots::AuthenticationRoots => {
            let of_cluster = parts.cluster.map(|cluster| cluster.tracing.sampling_rate_per_million);
            let rate = expected.sampling_rate_per_million.map(Some).or(of_cluster);
            if rate.is_some_and(|rate| rate.map_or(0, PerMillion::get) == 0) {
                findings
                    .add(&at.key("of"), "at a rate of 0 there are no such traces, and no ids to judge")
                    .help("name `requestRoots`, whose number is known")
                    .rests_on(Path::root().key("spec.cluster"));
            }
        }
        Roots::RequestRoots => {}
        Roots::Collector => needs_collector(parts, at, findings),
    }
    until(expected, parts, at, findings);
    if expected.lost.is_some() && expected.of != Roots::RequestRoots {
        let message = match expected.of {
            Roots::HonouredParents | Roots::Collector => "every lost trace is told, and none is allowed",
            Roots::RequestRoots | Roots::AuthenticationRoots => "nobody knows how many there were",
        };
        findings.add(&at.key("lost"), message).help("leave it out, or name `requestRoots`");
    }
    let follows_admin = parts.cluster.is_none_or(Cluster::follows_admin);
    if parts.load.is_some_and(|load| sends_none(expected.of, load, follows_admin)) {
        let (message, help) = match expected.of {
            Roots::HonouredParents => (
                "load sends no `traceparent` that the API server honours",
                "add an operation `as: admin` that sends one, or name `requestRoots`",
            ),
            Roots::RequestRoots | Roots::AuthenticationRoots | Roots::Collector => (
                "load sends only requests whose `traceparent` the API server honours",
                "add an operation `as: unprivileged` or with `traceparent: none`, or name `honouredParents`",
            ),
        };
        findings.add(&at.key("of"), message).help(help).rests_on(load_at());
    }
}

/// Finds an end that never comes early.
fn until(expected: &Sampling, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    if expected.until != Until::Decided {
        return;
    }
    let at = at.key("until");
    if expected.of != Roots::RequestRoots {
        findings
            .add(&at, "only a rate whose requests are counted is decided early")
            .help("leave it out, or name `requestRoots`");
        return;
    }
    let of_cluster = parts.cluster.map(|cluster| cluster.tracing.sampling_rate_per_million);
    let rate = expected.sampling_rate_per_million.map(Some).or(of_cluster);
    if rate.is_some_and(|rate| rate.map_or(0, PerMillion::get) == 0) {
        findings
            .add(&at, "at a rate of 0 nothing is kept, so the load never ends early")
            .help("leave it out")
            .rests_on(Path::root().key("spec.cluster"));
    }
}

/// Whether load certainly sends no request with such a root.
fn sends_none(of: Roots, load: &Load, follows_admin: bool) -> bool {
    if load.replay.is_some() || !load.watchers.is_empty() {
        return false;
    }
    let honoured = |entry: &MixEntry| {
        follows_admin && entry.traceparent != TraceFlag::None && load.honours_parent_of(&entry.identity)
    };
    let mut entries = load.entries();
    match of {
        Roots::HonouredParents => !entries.any(honoured),
        Roots::RequestRoots => entries.all(honoured),
        // The API server's own requests have some too.
        Roots::AuthenticationRoots | Roots::Collector => false,
    }
}
