//! `spangate collector check` beside a real Collector: what the Collector refuses is found, and where it is.

use std::fs;

use spangate::collector::asked::Asked;
use spangate_cluster::{Assets, AssetsEnv, Component, Wanted};
use spangate_scenario::{
    collector::{self, CheckOptions, Severity},
    model,
};

use crate::harness::root;

/// The Collector of the scenarios, built if it is not there.
fn asked() -> Asked {
    let spec = model::Collector::DEFAULT_VERSION.parse().unwrap();
    let wanted = Wanted { component: Component::Otelcol, spec, path: None };
    let found = Assets::new(AssetsEnv::from_process()).ensure(&wanted, &()).unwrap();
    Asked::locate(Some(found.path)).unwrap().expect("it was just found")
}

/// Places with errors, of rules and of the Collector, as line and path.
fn errors(asked: &Asked, name: &str, text: &str) -> Vec<(usize, String, &'static str)> {
    let config = collector::parse(name, text).unwrap();
    let mut findings = collector::check(&config, &CheckOptions::default());
    findings.extend(asked.refused(&config, &findings).unwrap());
    let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| (finding.line, finding.path, finding.rule)).collect()
}

const GOOD: &str = "\
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}
processors:
  tail_sampling:
    decision_wait: 10s
    num_traces: 100
    policies:
      - {name: a, type: probabilistic, probabilistic: {sampling_percentage: 10}}
exporters:
  otlp_grpc: {endpoint: 127.0.0.1:4319}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp_grpc]}
";

/// Scenario: a good configuration is broken in one place after the other.
/// Guarantees: each is found at its line, and none when nothing is broken.
#[test]
fn what_a_collector_refuses_is_found_at_its_place() {
    let asked = asked();
    assert_eq!(errors(&asked, "c.yaml", GOOD), []);
    for (good, bad, line, path) in [
        ("endpoint: 127.0.0.1:4317", "endpiont: 127.0.0.1:4317", 2, "receivers.otlp.protocols.grpc.endpiont"),
        ("decision_wait: 10s", "decision_wait: two", 5, "processors.tail_sampling.decision_wait"),
        ("num_traces: 100", "num_traces: many", 6, "processors.tail_sampling.num_traces"),
        (
            "sampling_percentage",
            "sampling_percentge",
            8,
            "processors.tail_sampling.policies[0].probabilistic.sampling_percentge",
        ),
        ("{endpoint: 127.0.0.1:4319}", "{}", 10, "exporters.otlp_grpc"),
    ] {
        let found = errors(&asked, "c.yaml", &GOOD.replace(good, bad));
        assert_eq!(found, [(line, path.to_owned(), "collector-refuses")], "{bad}");
    }
}

/// Scenario: the fixtures, which are the forms of today and of old.
/// Guarantees: a Collector takes those of today, and has nothing against those of old that the rules do not know.
#[test]
fn the_rules_know_what_the_fixtures_are_refused_for() {
    let asked = asked();
    for entry in fs::read_dir(root().join("fixtures/collector")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let errors = errors(&asked, &name, &fs::read_to_string(&path).unwrap());
        assert_eq!(!errors.is_empty(), name.split('.').any(|part| part == "old"), "{name}: {errors:?}");
        let by_collector = errors.iter().filter(|(.., rule)| *rule == "collector-refuses");
        assert_eq!(by_collector.count(), 0, "{name}: {errors:?}");
    }
}
