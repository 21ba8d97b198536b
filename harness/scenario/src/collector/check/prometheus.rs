//! The Prometheus exporter behind span metrics (exporter/prometheusexporter, contrib v0.161.0: factory.go,
//! accumulator.go).

use std::time::Duration;

use super::{
    Checker,
    cursor::{Cursor, shown},
    said, span_metrics,
};
use crate::collector::{Id, Pipeline, Reference, Rule, Severity};

pub(super) static EXPIRATION: Rule = Rule {
    id: "prometheus-expiration",
    severity: Severity::Warning,
    summary: "A Prometheus exporter that forgets span metrics before they come again.",
    scenario: Some("scenarios/spanmetrics-red.yaml"),
};

/// `metric_expiration` of factory.go.
const EXPIRES: Duration = Duration::from_mins(5);

/// `metrics_flush_interval` of the connector's factory.go.
const FLUSHES: Duration = Duration::from_mins(1);

pub(super) fn check(checker: &mut Checker<'_>) {
    let config = checker.config;
    for pipeline in config.pipelines() {
        let flushes = body(checker, "connectors", pipeline.receivers(), &span_metrics::KINDS);
        let exporter = body(checker, "exporters", pipeline.exporters(), &["prometheus"]);
        if let (Some(connector), Some(exporter)) = (flushes, exporter) {
            expiration(checker, pipeline, &connector, &exporter);
        }
    }
}

/// The first component of these types that is mentioned.
fn body<'c>(
    checker: &Checker<'c>,
    section: &str,
    mentions: &[Reference],
    kinds: &[&str],
) -> Option<Cursor<'c>> {
    let id = mentions.iter().map(Reference::id).find(|id| kinds.contains(&id.kind()))?;
    checker.root().get(section)?.entries().find_map(|(key, body)| {
        let same = Id::parse(key).as_ref() == Ok(id);
        same.then_some(body)
    })
}

fn expiration(checker: &mut Checker<'_>, pipeline: &Pipeline, connector: &Cursor<'_>, exporter: &Cursor<'_>) {
    let given = |body: &Cursor<'_>, key: &str, default| match body.get(key) {
        Some(given) => given.duration(),
        None => Some(default),
    };
    let expires = given(exporter, "metric_expiration", EXPIRES);
    let flushes = given(connector, "metrics_flush_interval", FLUSHES);
    let (Some(expires), Some(flushes)) = (expires, flushes) else { return };
    if expires > flushes {
        return;
    }
    let place = exporter.get("metric_expiration").unwrap_or_else(|| exporter.clone());
    let said = said(
        format!("series are forgotten after {} and come every {}", shown(expires), shown(flushes)),
        format!(
            "in the pipeline `{}` the exporter drops what was not updated within `metric_expiration`: between two \
             flushes of the span metrics a scrape finds nothing",
            pipeline.id()
        ),
        format!("write `metric_expiration: {}`, or let the connector flush more often", shown(flushes * 5)),
    );
    checker.report(&EXPIRATION, &place.path, place.span(), said);
}
