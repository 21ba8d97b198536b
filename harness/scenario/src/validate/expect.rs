//! Rules for expectations.

use super::{Findings, MAX_ENTRIES, Parts, bounds, limited, spans, window};
use crate::{
    model::{Expectation, Fault, Load, Percentiles, Recovery, RequestFilter, Resource},
    path::Path,
    suggest,
};

/// The verbs of requests, in the words of Kubernetes' RBAC and the ledger.
pub const VERBS: &[&str] = &[
    "create",
    "get",
    "list",
    "watch",
    "watchlist",
    "update",
    "patch",
    "apply",
    "delete",
    "deletecollection",
    "discovery",
];

pub(super) fn check(expectations: &[Expectation], parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    for (index, expectation) in limited(expectations, at, findings).iter().enumerate() {
        let at = at.index(index);
        match expectation {
            Expectation::Injected(injected) => {
                let at = at.key("injected");
                api_server_fault(&injected.fault, parts, &at, findings);
                let fine = injected.share.get() > 0.0;
                findings.require(fine, &at.key("share"), "0% of the injections are always within");
            }
            Expectation::Blame(blame) => {
                let at = at.key("blame");
                api_server_fault(&blame.fault, parts, &at, findings);
                bounds::ratio(&blame.share, &at.key("share"), findings);
            }
            Expectation::Spans(expected) => spans::check(expected, &at.key("spans"), findings),
            Expectation::Complete(complete) => {
                let at = at.key("complete");
                bounds::possible(&complete.missing, &at.key("missing"), findings);
                bounds::possible(&complete.duplicates, &at.key("duplicates"), findings);
                bounds::possible(&complete.orphans, &at.key("orphans"), findings);
                bounds::possible(&complete.unexpected, &at.key("unexpected"), findings);
            }
            Expectation::Latency(latency) => {
                let at = at.key("latency");
                filter(&latency.filter, parts.load, &at.key("where"), findings);
                percentiles(&latency.is, &at.key("is"), findings);
            }
            Expectation::Phases(phases) => {
                let at = at.key("phases");
                filter(&phases.filter, parts.load, &at.key("where"), findings);
                findings.require(!phases.phase.trim().is_empty(), &at.key("phase"), "must not be empty");
                if let Some(is) = &phases.is {
                    percentiles(is, &at.key("is"), findings);
                }
                if let Some(share) = &phases.share {
                    bounds::ratio(share, &at.key("share"), findings);
                }
                needs(phases.is.is_some() || phases.share.is_some(), &at, "`is` or `share`", findings);
            }
            Expectation::Requests(requests) => {
                let at = at.key("requests");
                filter(&requests.filter, parts.load, &at.key("where"), findings);
                if let Some(count) = &requests.count {
                    bounds::count(count, &at.key("count"), findings);
                }
                if let Some(share) = &requests.share {
                    bounds::ratio(share, &at.key("share"), findings);
                }
                needs(
                    requests.count.is_some() || requests.share.is_some(),
                    &at,
                    "`count` or `share`",
                    findings,
                );
            }
            Expectation::Recovery(expected) => recovery(expected, parts, &at.key("recovery"), findings),
        }
    }
}

fn needs(fine: bool, at: &Path, keys: &str, findings: &mut Findings) {
    if !fine {
        findings.add(at, "says nothing that must be true").help(format!("add {keys}"));
    }
}

/// The fault of a name; a finding if there is none.
fn named<'a>(name: &str, parts: &Parts<'a>, at: &Path, findings: &mut Findings) -> Option<&'a Fault> {
    let faults = parts.faults.filter(|faults| faults.len() <= MAX_ENTRIES)?;
    let found = faults.iter().find(|fault| fault.name() == name);
    if found.is_none() {
        let names: Vec<&str> = faults.iter().map(Fault::name).collect();
        let help =
            if names.is_empty() { "`spec.faults` is empty".to_owned() } else { suggest::help(name, &names) };
        let finding = findings.add(&at.key("fault"), format!("there is no fault `{name}`"));
        finding.help(help).rests_on(faults_at());
    }
    found
}

fn faults_at() -> Path {
    Path::root().key("spec.faults")
}

/// A fault whose injections the API server's own spans show.
fn api_server_fault(name: &str, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    if let Some(Fault::Sink(_)) = named(name, parts, at, findings) {
        findings
            .add(
                &at.key("fault"),
                format!("`{name}` is a fault of the sink, which no span of a request shows"),
            )
            .help("name a webhook or etcd fault, or use `recovery`");
    }
}

fn recovery(recovery: &Recovery, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    match named(&recovery.fault, parts, at, findings) {
        Some(Fault::Sink(fault)) if fault.during.is_none() => {
            let message = format!("`{}` lasts all the run, so the sink never comes back", fault.name);
            findings
                .add(&at.key("fault"), message)
                .help("give the fault `during: {from: ..., to: ...}`")
                .rests_on(faults_at());
        }
        Some(Fault::Webhook(_) | Fault::Etcd(_)) => {
            findings
                .add(&at.key("fault"), format!("`{}` is not a fault of the sink", recovery.fault))
                .help("recovery is about a sink that was away; name a `sink` fault");
        }
        Some(Fault::Sink(_)) | None => {}
    }
    if let Some(dark) = &recovery.dark {
        bounds::duration(dark, &at.key("dark"), findings);
    }
    if let Some(lost) = &recovery.lost {
        bounds::ratio(lost, &at.key("lost"), findings);
    }
    needs(recovery.dark.is_some() || recovery.lost.is_some(), at, "`dark` or `lost`", findings);
}

fn filter(filter: &RequestFilter, load: Option<&Load>, at: &Path, findings: &mut Findings) {
    if let Some(verb) = filter.verb.as_deref().filter(|verb| !VERBS.contains(verb)) {
        findings.add(&at.key("verb"), format!("there is no verb `{verb}`")).help(suggest::help(verb, VERBS));
    }
    if let Some(resource) = &filter.resource {
        let known = Resource::ALL.map(Resource::plural);
        let at = at.key("resource");
        if filter.verb.as_deref() == Some("discovery") {
            findings.add(&at, "discovery asks for no resource");
        } else if !known.contains(&resource.as_str()) {
            findings
                .add(&at, format!("load sends no requests for `{resource}`"))
                .help(suggest::help(resource, &known));
        }
    }
    if let Some(status) = &filter.status {
        bounds::status(status, &at.key("status"), findings);
    }
    if let Some(during) = filter.during {
        window(during, load, &at.key("during"), findings);
    }
}

/// Finds percentiles that say nothing.
pub(super) fn percentiles(percentiles: &Percentiles, at: &Path, findings: &mut Findings) {
    let Percentiles { min, p50, p90, p95, p99, max } = percentiles;
    let all = [("min", min), ("p50", p50), ("p90", p90), ("p95", p95), ("p99", p99), ("max", max)];
    let keys = all.map(|(key, _)| key);
    needs(
        all.iter().any(|(_, bound)| bound.is_some()),
        at,
        &format!("one of {}", suggest::list(&keys)),
        findings,
    );
    for (key, bound) in all {
        if let Some(bound) = bound {
            bounds::duration(bound, &at.key(key), findings);
        }
    }
}
