//! Rules for a load of synthetic traces: there is no API server, and nothing that stands before or behind one.

use super::load_at;
use crate::{
    model::{Expectation, Fault, Load, Roots},
    path::Path,
    validate::{Findings, Parts, traffic::validate_traffic},
};

pub(super) fn check(load: &Load, at: &Path, findings: &mut Findings) {
    let Some(traffic) = &load.traces else { return };
    findings.0.extend(validate_traffic(traffic, &at.key("traces")));
    for (key, given) in [
        ("mix", !load.mix.is_empty()),
        ("watchers", !load.watchers.is_empty()),
        ("identities", !load.identities.is_empty()),
        ("abortOn", !load.abort_on.is_empty()),
    ] {
        if given {
            findings
                .add(&at.key(key), "is never used: traces are sent, and no requests")
                .help("leave it out")
                .rests_on(load_at());
        }
    }
}

/// Finds parts of a scenario that need the API server that is not there.
pub(in crate::validate) fn others(parts: &Parts<'_>, findings: &mut Findings) {
    if parts.load.is_none_or(|load| load.traces.is_none()) {
        return;
    }
    let spec = Path::root().key("spec");
    if parts.collector.is_absent() {
        findings
            .add(&load_at().key("traces"), "there is no Collector to send the traces to")
            .help("add `collector: {configFile: ...}` to `spec`")
            .rests_on(spec.key("collector"));
    }
    let no_server = "the load is traces, so there is no API server";
    for (index, fault) in parts.faults.unwrap_or_default().iter().enumerate() {
        if matches!(fault, Fault::Webhook(_) | Fault::Etcd(_)) {
            let at = spec.key("faults").index(index);
            findings.add(&at, no_server).help("leave the fault out").rests_on(load_at());
        }
    }
    for (index, expectation) in parts.expect.unwrap_or_default().iter().enumerate() {
        if !fits(expectation) {
            let at = spec.key("expect").index(index);
            findings.add(&at, no_server).help("leave the expectation out").rests_on(load_at());
        }
    }
}

/// Whether an expectation can be met without an API server.
fn fits(expectation: &Expectation) -> bool {
    match expectation {
        Expectation::Spans(spans) => spans.per_request.is_none(),
        Expectation::Sampling(sampling) => sampling.of == Roots::Collector,
        Expectation::Conserved(_)
        | Expectation::Kept(_)
        | Expectation::Recovery(_)
        | Expectation::Restarts(_)
        | Expectation::SpanMetrics(_) => true,
        Expectation::Overhead(overhead) => overhead.api_server.is_none(),
        Expectation::Fails(expectation) => fits(expectation),
        _ => false,
    }
}
