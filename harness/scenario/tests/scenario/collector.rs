//! Collector configurations: what is found in those of the tutorials, and each rule by itself.

use std::{fs, path::PathBuf};

use miette::{Diagnostic, NarratableReportHandler};
use spangate_scenario::collector::{self, CheckOptions, Config, Finding, Report, Severity};

mod rules;

const TODAY: [&str; 3] = ["head-10-percent", "tail-errors-slow-1-percent", "spanmetrics"];

fn fixture(name: &str) -> Config {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/collector");
    let text = fs::read_to_string(directory.join(name)).expect("the fixture is there");
    collector::parse(name, &text).expect("the fixture can be read")
}

fn found(config: &Config) -> Vec<Finding> {
    collector::check(config, &CheckOptions::default())
}

#[track_caller]
fn shown(name: &str) {
    let config = fixture(&format!("{name}.old.yaml"));
    let report = Report::new(&config, found(&config));
    let mut text = String::new();
    let handler = NarratableReportHandler::new().with_context_lines(0);
    let report: &dyn Diagnostic = &report;
    handler.render_report(&mut text, report).expect("writing to text does not fail");
    insta::assert_snapshot!(format!("collector_{name}"), text);
}

#[test]
fn an_old_head_sampler() {
    shown("head-10-percent");
}

#[test]
fn an_old_tail_sampler() {
    shown("tail-errors-slow-1-percent");
}

#[test]
fn old_span_metrics() {
    shown("spanmetrics");
}

#[test]
fn nothing_is_wrong_with_todays_forms() {
    for name in TODAY {
        assert_eq!(found(&fixture(&format!("{name}.yaml"))), [], "{name}");
    }
}

#[test]
fn a_report_counts_what_it_has() {
    let config = fixture("head-10-percent.old.yaml");
    let mut findings = found(&config);
    assert_eq!(Report::new(&config, Vec::new()).to_string(), "head-10-percent.old.yaml: nothing found");
    findings.retain(|finding| finding.severity == Severity::Error);
    findings.truncate(1);
    let report = Report::new(&config, findings.clone());
    assert_eq!(report.to_string(), "head-10-percent.old.yaml: 1 error");
    let json = serde_json::to_value(&findings).expect("a finding is JSON");
    assert_eq!(json[0]["severity"], "error");
    assert!(json[0]["line"].as_u64().is_some_and(|line| line > 1), "{json}");
}
