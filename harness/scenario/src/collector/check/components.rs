//! Components that are gone, that go by another name today, or that this project's Collector was built without.

use super::{Checker, said};
use crate::{
    collector::{Component, Rule, Section, Severity},
    suggest,
};

pub(super) static REMOVED: Rule = Rule {
    id: "component-removed",
    severity: Severity::Error,
    summary: "A component that today's Collector no longer has.",
    scenario: None,
};
pub(super) static NOT_AN_EXPORTER: Rule = Rule {
    id: "connector-as-exporter",
    severity: Severity::Error,
    summary: "The span metrics connector, defined as an exporter.",
    scenario: Some("scenarios/spanmetrics-red.yaml"),
};
pub(super) static RENAMED: Rule = Rule {
    id: "component-renamed",
    severity: Severity::Note,
    summary: "A component under an old name that still works.",
    scenario: None,
};
pub(super) static UNKNOWN: Rule = Rule {
    id: "component-unknown",
    severity: Severity::Note,
    summary: "A component that Spangate's own Collector was built without.",
    scenario: None,
};

/// A component that is gone.
struct Gone {
    section: Section,
    kind: &'static str,
    /// Since when, and where that is said.
    since: &'static str,
    fix: &'static str,
}

const GONE: &[Gone] = &[
    Gone {
        section: Section::Exporters,
        kind: "jaeger",
        since: "removed in v0.85.0 (contrib pull request 26546): Jaeger takes OTLP itself",
        fix: "write `otlp_grpc/jaeger: {endpoint: \"jaeger:4317\", tls: {insecure: true}}`",
    },
    Gone {
        section: Section::Exporters,
        kind: "jaeger_thrift",
        since: "removed in v0.85.0 (contrib pull request 26546): Jaeger takes OTLP itself",
        fix: "write `otlp_http/jaeger: {endpoint: \"http://jaeger:4318\"}`",
    },
    Gone {
        section: Section::Exporters,
        kind: "logging",
        since: "removed in v0.111.0 (core issue 11037)",
        fix: "write `debug: {verbosity: detailed}`; `loglevel` is gone with it",
    },
    Gone {
        section: Section::Exporters,
        kind: "opencensus",
        since: "removed in v0.134.0 (contrib pull request 42239)",
        fix: "write `otlp_grpc: {endpoint: ...}`",
    },
    Gone {
        section: Section::Receivers,
        kind: "opencensus",
        since: "removed in v0.134.0 (contrib pull request 42239)",
        fix: "write `otlp: {protocols: {grpc: {endpoint: \"127.0.0.1:4317\"}}}`",
    },
    Gone {
        section: Section::Processors,
        kind: "spanmetrics",
        since: "removed in 2024 (contrib pull request 31508); a connector does the same, without a receiver \
                that nobody calls",
        fix: "define `connectors: {span_metrics: {...}}`, and name it among the exporters of the traces \
              pipeline and the receivers of the metrics pipeline; `latency_histogram_buckets` is \
              `histogram: {explicit: {buckets: [...]}}` there, and `metrics_exporter` is not needed",
    },
    Gone {
        section: Section::Processors,
        kind: "queued_retry",
        since: "removed from core: exporters have queues of their own",
        fix: "write `sending_queue` and `retry_on_failure` into the exporter",
    },
    Gone {
        section: Section::Extensions,
        kind: "memory_ballast",
        since: "removed in v0.109.0 (core issue 10671)",
        fix: "leave it out, and set the environment variable GOMEMLIMIT to 80% of the memory limit",
    },
];

/// Old names that still load (`deprecated_type` in each metadata.yaml; core pull requests 14403 and 14397,
/// contrib pull request 48705), with a warning in the Collector's log (service/internal/builders/builders.go).
const RENAMES: &[(Section, &str, &str)] = &[
    (Section::Exporters, "otlp", "otlp_grpc"),
    (Section::Exporters, "otlphttp", "otlp_http"),
    (Section::Exporters, "prometheusremotewrite", "prometheus_remote_write"),
    (Section::Connectors, "spanmetrics", "span_metrics"),
];

/// What this project's Collector is built with.
const BUILT: &[(Section, &[&str])] = &[
    (Section::Receivers, &["otlp"]),
    (Section::Processors, &["batch", "memory_limiter", "tail_sampling", "probabilistic_sampler"]),
    (
        Section::Exporters,
        &["otlp", "otlp_grpc", "otlphttp", "otlp_http", "debug", "nop", "prometheus", "file"],
    ),
    (Section::Connectors, &["span_metrics", "spanmetrics"]),
    (Section::Extensions, &[]),
];

pub(super) fn check(checker: &mut Checker<'_>) {
    for component in checker.config.components() {
        let (section, id) = (component.section(), component.id());
        let path = format!("{section}.{id}");
        if let Some(gone) = GONE.iter().find(|gone| gone.section == section && gone.kind == id.kind()) {
            let message = format!("the {} `{}` no longer exists", section.singular(), gone.kind);
            checker.report(&REMOVED, &path, component.span(), said(message, gone.since, gone.fix));
        } else if let Some((_, _, today)) =
            RENAMES.iter().find(|(part, old, _)| *part == section && *old == id.kind())
        {
            let said = said(
                format!("the {} `{}` is called `{today}` today", section.singular(), id.kind()),
                "the old name still works; the Collector warns of it when it starts",
                format!("write `{}`, here and in the pipelines", id.with_kind(today)),
            );
            checker.report(&RENAMED, &path, component.span(), said);
        } else if section == Section::Exporters && ["spanmetrics", "span_metrics"].contains(&id.kind()) {
            let said = said(
                "span metrics are a connector and not an exporter",
                "the Collector has no exporter of this type and does not start",
                "move it to `connectors`, and name it among the receivers of the metrics pipeline too",
            );
            checker.report(&NOT_AN_EXPORTER, &path, component.span(), said);
        } else {
            built(checker, component);
        }
    }
}

fn built(checker: &mut Checker<'_>, component: &Component) {
    let (section, id) = (component.section(), component.id());
    let known = BUILT.iter().find(|(part, _)| *part == section).map_or(&[][..], |(_, kinds)| *kinds);
    if known.contains(&id.kind()) {
        return;
    }
    let fix = match suggest::nearest(id.kind(), known.iter().copied()) {
        Some(near) => {
            format!("did you mean `{near}`? If not, it takes another build of the Collector to run it")
        }
        None => "run it with a Collector that has it, or leave it out of the test".to_owned(),
    };
    let said = said(
        format!("the {} `{}` is not in Spangate's build of the Collector", section.singular(), id.kind()),
        "other builds may well have it: nothing is said about what it does",
        fix,
    );
    checker.report(&UNKNOWN, &format!("{section}.{id}"), component.span(), said);
}
