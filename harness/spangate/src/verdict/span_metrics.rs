//! `spanMetrics`: the metrics that the Collector makes of spans say what the spans say that it was given.
//!
//! The connector counts spans by service, name, kind and status and by further dimensions, and adds up their durations
//! (contrib's `connector/spanmetricsconnector@v0.161.0/connector.go`); a `prometheus` exporter serves that. The same is
//! counted here over the ledger of spans, and each series must be equal.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;
use spangate_scenario::{
    collector::{Config, Section},
    model::{SpanMetrics, SpanMetricsFrom},
};
use spangate_trace::{Kind, Row, Status, TraceId, Value};

use super::{Check, Verdict};
use crate::{
    collector::{
        facts::Series,
        given::{Fate, Given},
    },
    evidence::Case,
};

/// The type of the connector today, and the one before.
const TYPES: [&str; 2] = ["span_metrics", "spanmetrics"];

/// What of the connector's configuration changes its figures.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connector {
    namespace: Option<String>,
    dimensions: Vec<Dimension>,
    exclude_dimensions: Vec<String>,
    histogram: HistogramConfig,
}

#[derive(Debug, Deserialize)]
struct Dimension {
    name: String,
    #[serde(default)]
    default: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HistogramConfig {
    disable: bool,
    unit: Option<String>,
}

/// The figures of one combination of labels.
#[derive(Debug, Clone, PartialEq, Default)]
struct Figures {
    calls: f64,
    /// The sum of durations, in the connector's unit.
    sum: f64,
    /// Spans with a duration of at most each limit that is served, cumulative.
    buckets: BTreeMap<String, f64>,
}

type Labels = BTreeMap<String, String>;

pub(super) fn judge(expect: &SpanMetrics, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(match expect.from {
        SpanMetricsFrom::Exporter => "span metrics",
        SpanMetricsFrom::Prometheus => "span metrics in Prometheus",
    });
    let (Some(given), Some(passed), Some(facts)) = (Given::of(case), &case.passed, &case.facts.collector)
    else {
        verdict.undecided("the run had no Collector");
        return verdict;
    };
    let connector = match connector(expect, &passed.configuration.config) {
        Ok(connector) => connector,
        Err(why) => {
            verdict.undecided(why);
            return verdict;
        }
    };
    let (series, nothing) = match expect.from {
        SpanMetricsFrom::Exporter => {
            (&facts.prometheus, "no `prometheus` exporter of the Collector served anything")
        }
        SpanMetricsFrom::Prometheus => (&facts.stored, "Prometheus has nothing of the Collector's exporter"),
    };
    if series.is_empty() {
        verdict.undecided(nothing);
        return verdict;
    }
    if !facts.outages.is_empty() || !facts.crashes.is_empty() {
        verdict.undecided("the Collector ended in between, and its metrics began anew");
        return verdict;
    }
    let rows = case.capture.rows();
    let unknown = (0..rows.len()).filter(|row| given.fate(*row) == Fate::Unknown).count();
    if unknown > 0 {
        verdict.undecided(format!("nobody knows of {unknown} spans whether the Collector has them"));
        return verdict;
    }
    let served = connector.served(series);
    let limits: BTreeSet<String> =
        served.values().flat_map(|figures| figures.buckets.keys().cloned()).collect();
    let mut counted: BTreeMap<Labels, Figures> = BTreeMap::new();
    let mut examples: BTreeMap<Labels, TraceId> = BTreeMap::new();
    let taken = (0..rows.len()).filter(|row| matches!(given.fate(*row), Fate::Taken(..)));
    for row in taken {
        let labels = connector.labels(row, case);
        examples.entry(labels.clone()).or_insert(rows[row].trace_id);
        let figures = counted.entry(labels).or_default();
        connector.count(&rows[row], &limits, figures);
    }
    compare(expect, &connector, &counted, &served, &examples, &mut verdict);
    verdict
}

fn compare(
    expect: &SpanMetrics,
    connector: &Connector,
    counted: &BTreeMap<Labels, Figures>,
    served: &BTreeMap<Labels, Figures>,
    examples: &BTreeMap<Labels, TraceId>,
    verdict: &mut Verdict,
) {
    let nothing = Figures::default();
    let keys = || counted.keys().chain(served.keys().filter(|labels| !counted.contains_key(*labels)));
    let pairs =
        || keys().map(|key| (key, counted.get(key).unwrap_or(&nothing), served.get(key).unwrap_or(&nothing)));
    let n = counted.values().map(|figures| figures.calls).sum::<f64>();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of spans")]
    let n = n as usize;
    let mut check = |what: &str, differs: &dyn Fn(&Figures, &Figures) -> bool| {
        let wrong: Vec<_> = pairs().filter(|(_, counted, served)| differs(counted, served)).collect();
        let observed = format!("{} of {} series", wrong.len(), keys().count());
        verdict.check(Check::bound(
            format!("{what} other than those of the spans"),
            observed,
            "= 0",
            n,
            wrong.is_empty(),
        ));
        for (labels, counted, served) in wrong.iter().take(Verdict::EXAMPLES) {
            verdict.reasons.push(format!("{labels:?}: served {served:?}, counted {counted:?}"));
            verdict.point_at(examples.get(*labels).copied());
        }
    };
    check("calls", &|counted, served| off(counted.calls, served.calls, 0.0));
    if !connector.histogram.disable {
        check("sums of durations", &|counted, served| off(counted.sum, served.sum, expect.within.get()));
        check("buckets", &|counted, served| counted.buckets != served.buckets);
    }
}

fn off(counted: f64, served: f64, within: f64) -> bool {
    (counted - served).abs() > within * counted.abs()
}

/// The connector that the expectation is about.
fn connector(expect: &SpanMetrics, config: &Config) -> Result<Connector, String> {
    let ids: Vec<String> = TYPES
        .iter()
        .flat_map(|kind| config.of_type(Section::Connectors, kind))
        .map(|component| component.id().to_string())
        .collect();
    let id = match (&expect.connector, ids.as_slice()) {
        (Some(id), ids) if ids.contains(id) => id.clone(),
        (Some(id), _) => {
            return Err(format!("the Collector has no connector `{id}` that makes metrics of spans"));
        }
        (None, [id]) => id.clone(),
        (None, []) => return Err("the Collector has no connector that makes metrics of spans".to_owned()),
        (None, _) => return Err("the Collector has several such connectors: name one".to_owned()),
    };
    match config.get(Section::Connectors, &id) {
        Some(Ok(connector)) => Ok(connector),
        Some(Err(error)) => Err(format!("the configuration of {id} cannot be read: {error}")),
        // Nothing is written below it.
        None => Ok(Connector::default()),
    }
}

/// A name as Prometheus takes it: anything but letters, digits and `_` becomes `_`.
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

// === impl Connector ===

impl Connector {
    /// The dimensions that every span has.
    const OWN: [&str; 4] = ["service.name", "span.name", "span.kind", "status.code"];

    fn is_excluded(&self, dimension: &str) -> bool {
        self.exclude_dimensions.iter().any(|excluded| excluded == dimension)
    }

    /// The labels that tell series apart here; others (the instance, scopes) are added up.
    fn keys(&self) -> impl Iterator<Item = &str> {
        let own = Self::OWN.into_iter().filter(|dimension| !self.is_excluded(dimension));
        own.chain(self.dimensions.iter().map(|dimension| dimension.name.as_str()))
    }

    /// What is served, by the labels that count.
    fn served(&self, series: &[Series]) -> BTreeMap<Labels, Figures> {
        let namespace = sanitized(self.namespace.as_deref().unwrap_or("traces.span.metrics"));
        let keys: Vec<String> = self.keys().map(sanitized).collect();
        let mut served: BTreeMap<Labels, Figures> = BTreeMap::new();
        for one in series {
            // The exporter may put a namespace of its own before it.
            let Some(place) = one.name.find(&namespace) else { continue };
            let name = one.name[place + namespace.len()..].trim_start_matches('_');
            let value =
                |key: &String| Some((key.clone(), one.labels.get(key).filter(|it| !it.is_empty())?.clone()));
            let labels: Labels = keys.iter().filter_map(value).collect();
            let figures = || served.entry(labels);
            if name == "calls_total" || name == "calls" {
                figures().or_default().calls += one.value;
            } else if name.starts_with("duration") && name.ends_with("_sum") {
                figures().or_default().sum += one.value;
            } else if name.starts_with("duration") && name.ends_with("_bucket") {
                let limit = one.labels.get("le").cloned().unwrap_or_default();
                *figures().or_default().buckets.entry(limit).or_default() += one.value;
            }
        }
        served
    }

    fn labels(&self, row: usize, case: &Case<'_>) -> Labels {
        let (capture, names) = (&case.capture, case.capture.names());
        let span = &capture.rows()[row];
        let own = Self::OWN.into_iter().filter(|dimension| !self.is_excluded(dimension)).map(|dimension| {
            let value = match dimension {
                "service.name" => names.get(span.service).to_string(),
                "span.name" => names.get(span.name).to_string(),
                "span.kind" => kind(span.kind).to_owned(),
                _ => status(span.status).to_owned(),
            };
            (sanitized(dimension), value)
        });
        let further = self.dimensions.iter().filter_map(|dimension| {
            let value = capture.attribute(row, &dimension.name).map(|value| text(&value));
            let value = value.or_else(|| dimension.default.clone()).filter(|value| !value.is_empty())?;
            Some((sanitized(&dimension.name), value))
        });
        own.chain(further).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "as the connector does")]
    fn count(&self, span: &Row, limits: &BTreeSet<String>, figures: &mut Figures) {
        let unit = match self.histogram.unit.as_deref() {
            Some("s") => Duration::from_secs(1),
            _ => Duration::from_millis(1),
        };
        let duration = span.end.since(span.start).as_nanos() as f64 / unit.as_nanos() as f64;
        figures.calls += 1.0;
        figures.sum += duration;
        for limit in limits {
            let holds = limit == "+Inf" || limit.parse::<f64>().is_ok_and(|limit| duration <= limit);
            // Also where none is within it: the series is there, and says 0.
            *figures.buckets.entry(limit.clone()).or_insert(0.0) += if holds { 1.0 } else { 0.0 };
        }
    }
}

/// As `traceutil.SpanKindStr` of the Collector writes it.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified => "SPAN_KIND_UNSPECIFIED",
        Kind::Internal => "SPAN_KIND_INTERNAL",
        Kind::Server => "SPAN_KIND_SERVER",
        Kind::Client => "SPAN_KIND_CLIENT",
        Kind::Producer => "SPAN_KIND_PRODUCER",
        Kind::Consumer => "SPAN_KIND_CONSUMER",
    }
}

/// As `traceutil.StatusCodeStr` of the Collector writes it.
fn status(status: Status) -> &'static str {
    match status {
        Status::Unset => "STATUS_CODE_UNSET",
        Status::Ok => "STATUS_CODE_OK",
        Status::Error => "STATUS_CODE_ERROR",
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) | Value::Other(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Array(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        testing::collected::Collected,
        verdict::{Status as Judged, Verdict},
    };

    const CONNECTOR: &str = "connectors: {span_metrics: {}}";
    const PIPELINES: &str = "traces: {receivers: [otlp], exporters: [otlp, span_metrics]}, \
                             metrics: {receivers: [span_metrics], exporters: [prometheus]}";

    /// Ten traces, with a span of each of two names that lasts a millisecond; and what is served of them.
    fn run(name: &str, limit: &str, value: f64) -> Collected {
        let mut run = Collected::new(CONNECTOR, PIPELINES, 10);
        for span in ["GET", "audit"] {
            let labels = |further: &[(&str, &str)]| {
                let own = [
                    ("service_name", "apiserver"),
                    ("span_name", span),
                    ("span_kind", "SPAN_KIND_INTERNAL"),
                    ("status_code", "STATUS_CODE_UNSET"),
                ];
                own.iter()
                    .chain(further)
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect()
            };
            let mut serve = |what: &str, further: &[(&str, &str)], value: f64| {
                let name = format!("traces_span_metrics_{what}");
                run.facts.prometheus.push(Series { name, labels: labels(further), value });
            };
            let limits = [("0.5", 0.0), ("1", 10.0), ("+Inf", 10.0)];
            serve("calls_total", &[], if name == "calls" { value } else { 10.0 });
            serve("duration_milliseconds_sum", &[], if name == "sum" { value } else { 10.0 });
            for (le, count) in limits {
                let count = if (name, limit) == ("bucket", le) { value } else { count };
                serve("duration_milliseconds_bucket", &[("le", le)], count);
            }
        }
        run
    }

    fn judged(run: Collected) -> Verdict {
        run.judged(json!({"spanMetrics": {}}))
    }

    /// Scenario: two series, each with the same buckets; and one figure after the other that is wrong in both.
    /// Guarantees: the truth is green, and each lie is red.
    #[test]
    fn every_figure_of_every_series_is_compared() {
        let verdict = judged(run("", "", 0.0));
        assert_eq!(verdict.status, Judged::Pass, "{verdict:#?}");
        for (name, limit) in
            [("calls", ""), ("sum", ""), ("bucket", "0.5"), ("bucket", "1"), ("bucket", "+Inf")]
        {
            assert_eq!(judged(run(name, limit, 9.0)).status, Judged::Fail, "{name} {limit}");
        }
    }

    /// Scenario: the exporter serves the truth, and Prometheus has it, nothing, or one wrong figure.
    /// Guarantees: what Prometheus has is judged, and not what the exporter serves.
    #[test]
    fn what_prometheus_has_is_judged_by_itself() {
        let judged = |change: fn(&mut Vec<Series>)| {
            let mut run = run("", "", 0.0);
            run.facts.stored = run.facts.prometheus.clone();
            change(&mut run.facts.stored);
            run.judged(json!({"spanMetrics": {"from": "prometheus"}})).status
        };
        assert_eq!(judged(|_| {}), Judged::Pass);
        assert_eq!(judged(Vec::clear), Judged::Inconclusive);
        assert_eq!(judged(|stored| stored[0].value = 9.0), Judged::Fail);
        assert_eq!(judged(|stored| drop(stored.pop())), Judged::Fail);
    }

    #[test]
    fn metrics_that_began_anew_decide_nothing() {
        assert_eq!(judged(run("calls", "", 3.0).away()).status, Judged::Inconclusive);
    }
}
