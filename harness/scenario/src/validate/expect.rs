//! Rules for expectations.

use super::{
    Findings, MAX_ENTRIES, Parts,
    bounds::{self, Purpose},
    limited,
    load::{identity, load_at},
    spans, window,
};
use crate::{
    model::{Blame, Expectation, Fault, Load, MixEntry, Percentiles, Recovery, RequestFilter, Resource},
    path::Path,
    suggest,
    units::{Comparison, Ratio},
};

mod collector;
mod load;
mod overhead;
mod sampling;

pub(super) use self::collector::needs_collector;

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
        one(expectation, parts, &at.index(index), findings);
    }
}

fn one(expectation: &Expectation, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    match expectation {
        Expectation::Injected(injected) => {
            let at = at.key("injected");
            api_server_fault(&injected.fault, parts, &at, findings);
            let fine = injected.share.get() > 0.0;
            findings.require(fine, &at.key("share"), "0% of the injections are always within");
        }
        Expectation::Blame(blame) => {
            self::blame(blame, parts, &at.key("blame"), findings);
        }
        Expectation::Spans(expected) => spans::check(expected, &at.key("spans"), findings),
        Expectation::Complete(complete) => {
            let at = at.key("complete");
            bounds::possible(&complete.missing, &at.key("missing"), findings);
            bounds::possible(&complete.duplicates, &at.key("duplicates"), findings);
            bounds::possible(&complete.orphans, &at.key("orphans"), findings);
            bounds::possible(&complete.unexpected, &at.key("unexpected"), findings);
        }
        Expectation::Sampling(expected) => {
            sampling::check(expected, parts, &at.key("sampling"), findings);
        }
        Expectation::Conserved(expected) => {
            collector::conserved(expected, parts, &at.key("conserved"), findings);
        }
        Expectation::Kept(expected) => collector::kept(expected, parts, &at.key("kept"), findings),
        Expectation::SpanMetrics(expected) => {
            collector::span_metrics(expected, parts, &at.key("spanMetrics"), findings);
        }
        Expectation::Stored(expected) => collector::stored(expected, parts, &at.key("stored"), findings),
        Expectation::Restarts(expected) => {
            collector::restarts(expected, parts, &at.key("restarts"), findings);
        }
        Expectation::Latency(latency) => {
            let at = at.key("latency");
            filter(&latency.filter, parts.load, &at.key("where"), findings);
            percentiles(&latency.is, Purpose::Check, &at.key("is"), findings);
        }
        Expectation::Phases(phases) => {
            let at = at.key("phases");
            filter(&phases.filter, parts.load, &at.key("where"), findings);
            findings.require(!phases.phase.trim().is_empty(), &at.key("phase"), "must not be empty");
            if let Some(is) = &phases.is {
                percentiles(is, Purpose::Check, &at.key("is"), findings);
            }
            if let Some(share) = &phases.share {
                bounds::ratio(share, Purpose::Check, &at.key("share"), findings);
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
                bounds::ratio(share, Purpose::Check, &at.key("share"), findings);
            }
            needs(requests.count.is_some() || requests.share.is_some(), &at, "`count` or `share`", findings);
        }
        Expectation::Recovery(expected) => recovery(expected, parts, &at.key("recovery"), findings),
        Expectation::Load(expected) => load::check(expected, parts.load, &at.key("load"), findings),
        Expectation::Watchers(expected) => {
            load::watchers(expected, parts.load, &at.key("watchers"), findings);
        }
        Expectation::Overhead(expected) => overhead::check(expected, parts, &at.key("overhead"), findings),
        Expectation::Fails(expected) => match &**expected {
            Expectation::Fails(_) => {
                findings.add(&at.key("fails"), "what fails to fail is met").help("leave both out");
            }
            expected => one(expected, parts, &at.key("fails"), findings),
        },
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

/// Where the faults are.
fn faults_at() -> Path {
    Path::root().key("spec.faults")
}

/// A fault whose injections the API server's own spans show.
fn api_server_fault<'a>(
    name: &str,
    parts: &Parts<'a>,
    at: &Path,
    findings: &mut Findings,
) -> Option<&'a Fault> {
    let fault = named(name, parts, at, findings);
    if let Some(Fault::Sink(_) | Fault::Collector(_)) = fault {
        findings
            .add(
                &at.key("fault"),
                format!("`{name}` is a fault behind the API server, which no span of a request shows"),
            )
            .help("name a webhook or etcd fault, or use `recovery`");
    }
    fault
}

fn blame(blame: &Blame, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    bounds::ratio(&blame.share, Purpose::Check, &at.key("share"), findings);
    let fault = api_server_fault(&blame.fault, parts, at, findings);
    if fault.is_some_and(|fault| spares_none(fault, parts.load)) {
        findings
            .add(
                &at.key("fault"),
                format!("`{}` spares no request of a kind, so there is none to compare with", blame.fault),
            )
            .help("let the fault spare some: `share: 50%`, or `during`")
            .rests_on(faults_at())
            .rests_on(load_at());
    }
}

/// Whether a fault certainly touches all of those requests that have operation and resource in common with
/// one that it touches.
fn spares_none(fault: &Fault, load: Option<&Load>) -> bool {
    let always = |share: Ratio| share >= Ratio::one() && fault.during().is_none();
    match fault {
        // Conditions may choose by name or label.
        Fault::Webhook(webhook) => always(webhook.share) && webhook.match_conditions.is_empty(),
        Fault::Etcd(etcd) => {
            // A longer prefix may choose by the name of the object: `/registry/<resource>/<namespace>/<name>`.
            let names_objects =
                |prefix: &String| prefix.split('/').filter(|part| !part.is_empty()).count() > 3;
            always(etcd.share)
                && !etcd.key_prefix.as_ref().is_some_and(names_objects)
                && match etcd.rpc.as_str() {
                    "KV/Txn" => true,
                    // Other reads and patches ask etcd at one time and the watch cache at another.
                    "KV/Range" => load.is_some_and(knows_its_reads),
                    _ => false,
                }
        }
        Fault::Sink(_) | Fault::Collector(_) => false,
    }
}

/// Whether each request of load is like those of its kind in whether it reads from etcd.
fn knows_its_reads(load: &Load) -> bool {
    load.replay.is_none() && load.watchers.is_empty() && load.entries().all(always_reads_etcd_or_never)
}

/// Whether all requests of an entry are alike in whether they read from etcd.
fn always_reads_etcd_or_never(entry: &MixEntry) -> bool {
    match entry.operations().as_slice() {
        ["get"] => entry.get.as_ref().is_some_and(|get| get.resource_version.is_none()),
        ["create"] => true,
        _ => false,
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
        Some(Fault::Webhook(_) | Fault::Etcd(_) | Fault::Collector(_)) => {
            findings
                .add(&at.key("fault"), format!("`{}` is not a fault of the sink", recovery.fault))
                .help("recovery is about a sink that was away; name a `sink` fault");
        }
        Some(Fault::Sink(_)) | None => {}
    }
    if let Some(dark) = &recovery.dark {
        bounds::duration(dark, Comparison::Less, Purpose::Check, &at.key("dark"), findings);
    }
    if let Some(lost) = &recovery.lost {
        bounds::ratio(lost, Purpose::Check, &at.key("lost"), findings);
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
    if let Some((sender, load)) = filter.identity.as_ref().zip(load) {
        identity(sender, load, &at.key("as"), findings);
    }
    if let Some((stage, load)) = filter.stage.as_ref().zip(load) {
        self::stage(stage, load, &at.key("stage"), findings);
    }
    if let Some(during) = filter.during {
        window(during, load, &at.key("during"), findings);
    }
}

/// Finds a part of the load that it does not have.
fn stage(name: &str, load: &Load, at: &Path, findings: &mut Findings) {
    let labels = load.stage_labels();
    let known: Vec<&str> = labels.iter().map(String::as_str).collect();
    if !known.contains(&name) {
        findings
            .add(at, format!("no stage and no session is called `{name}`"))
            .help(suggest::help(name, &known))
            .rests_on(load_at());
    }
}

/// Finds percentiles that say nothing.
pub(super) fn percentiles(percentiles: &Percentiles, purpose: Purpose, at: &Path, findings: &mut Findings) {
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
            let meant = match purpose {
                Purpose::Check if key == "min" => Comparison::AtLeast,
                Purpose::Check => Comparison::Less,
                Purpose::End => Comparison::Greater,
            };
            bounds::duration(bound, meant, purpose, &at.key(key), findings);
        }
    }
}
