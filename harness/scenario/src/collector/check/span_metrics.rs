//! Metrics from spans (connector/spanmetricsconnector, contrib v0.161.0: config.go).

use super::{
    Checker, attributes,
    cursor::Cursor,
    flow::{is_connector, upstream},
    said,
};
use crate::{
    collector::{Pipeline, Rule, Severity},
    suggest,
};

pub(super) static AFTER_SAMPLING: Rule = Rule {
    id: "span-metrics-after-sampling",
    severity: Severity::Warning,
    summary: "Span metrics that only see what the tail sampler left.",
    scenario: Some("scenarios/spanmetrics-red.yaml"),
};
pub(super) static OLD_OPTION: Rule = Rule {
    id: "span-metrics-option",
    severity: Severity::Error,
    summary: "An option that the span metrics connector does not have.",
    scenario: Some("scenarios/spanmetrics-red.yaml"),
};
pub(super) static OLD_DIMENSION: Rule = Rule {
    id: "span-metrics-dimension",
    severity: Severity::Warning,
    summary: "A dimension that the API server's spans do not have.",
    scenario: Some("scenarios/spanmetrics-red.yaml"),
};
pub(super) static RESERVED_DIMENSION: Rule = Rule {
    id: "span-metrics-reserved-dimension",
    severity: Severity::Error,
    summary: "A dimension that span metrics have anyway.",
    scenario: None,
};

/// The types of the connector, today's and the old one.
pub(super) const KINDS: [&str; 2] = ["span_metrics", "spanmetrics"];

const OPTIONS: &[&str] = &[
    "dimensions",
    "calls_dimensions",
    "exclude_dimensions",
    "dimensions_cache_size",
    "resource_metrics_cache_size",
    "resource_metrics_key_attributes",
    "aggregation_temporality",
    "histogram",
    "metrics_flush_interval",
    "metrics_expiration",
    "series_expiration",
    "metric_timestamp_cache_size",
    "namespace",
    "exemplars",
    "events",
    "include_instrumentation_scope",
    "aggregation_cardinality_limit",
    "add_resource_attributes",
    "enable_metrics_sampling_method",
];

/// Dimensions that are there without being asked for (`validateDimensions`).
const RESERVED: [&str; 5] =
    ["service.name", "span.kind", "status.code", "span.name", "collector.instance.id"];

pub(super) fn check(checker: &mut Checker<'_>) {
    let connectors: Vec<Cursor<'_>> =
        KINDS.iter().flat_map(|kind| checker.components_of("connectors", kind)).collect();
    for connector in connectors {
        options(checker, &connector);
        reserved(checker, &connector);
        dimensions(checker, &connector);
    }
    for processor in checker.components_of("processors", "spanmetrics") {
        dimensions(checker, &processor);
    }
    let config = checker.config;
    for pipeline in config.pipelines() {
        after_sampling(checker, pipeline);
    }
}

fn options(checker: &mut Checker<'_>, connector: &Cursor<'_>) {
    for (key, value) in connector.entries().filter(|(key, _)| !OPTIONS.contains(key)) {
        let fix = match key {
            "latency_histogram_buckets" => "write `histogram: {explicit: {buckets: [...]}}`".to_owned(),
            "metrics_exporter" => {
                "leave it out: whoever has the connector among its receivers gets the metrics".to_owned()
            }
            key => suggest::help(key, OPTIONS),
        };
        let said = said(
            format!("span metrics have no option `{key}`"),
            "the Collector refuses keys that it does not know",
            fix,
        );
        checker.report(&OLD_OPTION, &value.path, value.key_span(), said);
    }
}

/// Every name of a dimension.
fn names<'c>(body: &Cursor<'c>) -> Vec<Cursor<'c>> {
    let lists = [&["dimensions"][..], &["calls_dimensions"], &["histogram", "dimensions"]];
    let lists = lists.iter().filter_map(|keys| body.at(keys));
    lists.flat_map(|list| list.items()).filter_map(|dimension| dimension.get("name")).collect()
}

fn reserved(checker: &mut Checker<'_>, connector: &Cursor<'_>) {
    for name in names(connector) {
        if let Some(text) = name.text().filter(|text| RESERVED.contains(text)) {
            let said = said(
                format!("`{text}` is a dimension without being asked for"),
                "the Collector refuses it as a duplicate",
                "leave it out",
            );
            checker.report(&RESERVED_DIMENSION, &name.path, name.span(), said);
        }
    }
}

/// `operation` and `latency` were names of the processor (contrib pull request 19471).
fn dimensions(checker: &mut Checker<'_>, body: &Cursor<'_>) {
    let names = names(body);
    let given = |name: &str| names.iter().any(|each| each.text() == Some(name));
    for name in &names {
        let Some(text) = name.text() else { continue };
        let fix = match text {
            "operation" => "leave it out: the name of the span is the dimension `span.name`".to_owned(),
            "latency" => "leave it out: how long spans take is the metric `duration`".to_owned(),
            _ => match attributes::today(text) {
                Some(today) if !given(today) => format!("write `name: {today}`"),
                _ => continue,
            },
        };
        let said = said(
            format!("the API server's spans have no `{text}`"),
            "a dimension that a span does not have is left out of its series, or is its default in all of them",
            fix,
        );
        checker.report(&OLD_DIMENSION, &name.path, name.span(), said);
    }
}

fn after_sampling(checker: &mut Checker<'_>, pipeline: &Pipeline) {
    let sampler = |pipeline: &Pipeline| {
        let mut processors = pipeline.processors().iter();
        processors.position(|each| each.id().kind() == "tail_sampling")
    };
    let exporter = pipeline
        .exporters()
        .iter()
        .find(|each| KINDS.contains(&each.id().kind()) && is_connector(checker.config, each.id()));
    let sampled_before = upstream(checker.config, pipeline).into_iter().any(|each| sampler(each).is_some());
    let place = match (exporter, sampler(pipeline)) {
        (Some(exporter), Some(_)) => Some(exporter),
        (Some(exporter), None) if sampled_before => Some(exporter),
        // The old form: a processor behind the sampler.
        (None, Some(sampler)) => {
            pipeline.processors()[sampler..].iter().find(|each| each.id().kind() == "spanmetrics")
        }
        _ => None,
    };
    let Some(place) = place else { return };
    let said = said(
        format!("`{}` counts what the tail sampler left", place.id()),
        "errors and slow requests are kept more often than others: rates, shares of errors and latencies are all \
         wrong, and nothing tells by how much",
        "give it a pipeline of its own with the same receivers and without `tail_sampling`",
    );
    let path = format!("service.pipelines.{}", pipeline.id());
    checker.report(&AFTER_SAMPLING, &path, place.span(), said);
}
