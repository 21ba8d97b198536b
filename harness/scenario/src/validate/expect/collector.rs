//! Rules for what is expected of the Collector.

use crate::{
    model::{Conserved, Kept, Load, Provider, Restarts, SpanMetrics, SpanMetricsFrom, Stored},
    path::Path,
    suggest,
    units::Comparison,
    validate::{
        Findings, Parts,
        backends::backends_at,
        bounds::{self, Purpose},
        collector::collector_at,
        spans,
    },
};

use super::load_at;

pub(super) fn conserved(expected: &Conserved, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    needs_collector(parts, at, findings);
    for (key, share) in [("refused", &expected.refused), ("failed", &expected.failed)] {
        bounds::possible_share(share, &at.key(key), findings);
    }
    bounds::possible(&expected.dropped_too_early, &at.key("droppedTooEarly"), findings);
}

pub(super) fn kept(expected: &Kept, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    needs_collector(parts, at, findings);
    if let Some(where_) = &expected.selector {
        spans::selector(where_, &at.key("where"), findings);
    }
    findings.require(
        expected.slower_than.is_none_or(|time| !time.is_zero()),
        &at.key("slowerThan"),
        "every trace is slower than 0s",
    );
    bounds::ratio(&expected.share, Purpose::Check, &at.key("share"), findings);
    if let Some(class) = &expected.class
        && let Some(load) = parts.load
    {
        self::class(class, load, &at.key("class"), findings);
    }
}

pub(super) fn span_metrics(expected: &SpanMetrics, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    needs_collector(parts, at, findings);
    let there = parts.backends.is_none_or(|backends| backends.prometheus.is_some());
    if expected.from == SpanMetricsFrom::Prometheus && !there {
        findings
            .add(&at.key("from"), "the scenario has no Prometheus")
            .help("add `backends: {prometheus: {}}` to `spec`")
            .rests_on(backends_at());
    }
}

pub(super) fn stored(expected: &Stored, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    if parts.backends.is_some_and(|backends| backends.jaeger.is_none()) {
        findings
            .add(at, "the scenario has no Jaeger")
            .help("add `backends: {jaeger: {}}` to `spec`")
            .rests_on(backends_at());
    }
    bounds::possible(&expected.missing, &at.key("missing"), findings);
    bounds::possible(&expected.torn, &at.key("torn"), findings);
}

pub(super) fn restarts(expected: &Restarts, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    needs_collector(parts, at, findings);
    if parts.cluster.is_some_and(|cluster| cluster.provider != Provider::Kind) {
        findings
            .add(at, "a Collector that ends by itself is started again on kind only, by the kubelet")
            .help("take the provider `kind`, or leave the expectation out")
            .rests_on(Path::root().key("spec.cluster.provider"));
    }
    findings.require(
        expected.reason.as_ref().is_none_or(|reason| !reason.trim().is_empty()),
        &at.key("reason"),
        "must not be empty",
    );
    bounds::count(&expected.count, &at.key("count"), findings);
    for (key, time) in [("away", &expected.away), ("dark", &expected.dark)] {
        if let Some(time) = time {
            bounds::duration(time, Comparison::Less, Purpose::Check, &at.key(key), findings);
        }
    }
    if let Some(lost) = &expected.lost {
        bounds::possible_share(lost, &at.key("lost"), findings);
    }
}

/// Finds an expectation of a Collector where there is none.
pub(in crate::validate) fn needs_collector(parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    if parts.collector.is_absent() {
        findings
            .add(at, "the scenario has no Collector")
            .help("add `collector: {configFile: ...}` to `spec`")
            .rests_on(collector_at());
    }
}

fn class(class: &str, load: &Load, at: &Path, findings: &mut Findings) {
    let known: Vec<&str> =
        load.traces.iter().flat_map(|traces| &traces.classes).map(|class| class.name.as_str()).collect();
    if known.is_empty() {
        findings
            .add(at, "only the traces of `load.traces` have classes")
            .help("leave it out")
            .rests_on(load_at());
    } else if !known.contains(&class) {
        findings
            .add(at, format!("no class of traces is called `{class}`"))
            .help(suggest::help(class, &known))
            .rests_on(load_at());
    }
}
