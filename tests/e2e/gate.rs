//! The gate on real Collectors: it stays green when only a comment changes, and turns red when one error trace in a
//! thousand is lost.

#![expect(clippy::print_stdout, reason = "what cargo shows of a test that fails")]

use std::sync::Arc;

use spangate::{
    collector::Configuration,
    event::Events,
    exit::Exit,
    gate::{self, GateOptions, GatePlan, GateReport, Order, summary::summary},
    report::summary::Style,
    run::directory::RunDirectory,
    verdict::Status,
};
use spangate_scenario::{
    gate::{GateRules, parse_traffic},
    model,
};
use tokio_util::sync::CancellationToken;

use crate::harness::{alone, root};

/// Errors, what takes longer than a second, and 10% of the rest.
const BASE: &str = "\
# Keeps what matters.
receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}}
processors:
  tail_sampling:
    decision_wait: 2s
    num_traces: 50000
    policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
      - {name: slow, type: latency, latency: {threshold_ms: 1000}}
      - {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 10}}
  # The sampler makes each trace an export of its own, and a queue has room for 1,000.
  batch:
exporters: {otlp: {endpoint: tempo:4317, tls: {insecure: true}}}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [tail_sampling, batch], exporters: [otlp]}
";

/// So many of what must be kept that few rounds are enough.
const TRAFFIC: &str = "\
rate: 2000/s
shape: poisson
traces: 6000
classes:
  - {name: errors, share: 40%, error: true}
  - {name: slow, share: 10%, duration: {uniform: {min: 1.2s, max: 1.8s}}}
  - {name: normal, share: 40%}
  - {name: late, share: 10%, late: {share: 50%, by: 1.5s}}
";

fn gate(head: &str, rounds: u32) -> GateReport {
    let read = |text: &str| Configuration::parse("collector.yaml", text.to_owned(), None).unwrap();
    let traffic = parse_traffic("traffic.yaml", TRAFFIC).unwrap();
    let order = Order {
        base: read(BASE),
        head: read(head),
        rules: GateRules::default_for(&traffic.classes),
        traffic,
        rounds,
        version: model::Collector::DEFAULT_VERSION.to_owned(),
        binary: None,
    };
    let plan = Arc::new(GatePlan::new(order).unwrap());
    let out = root().join(RunDirectory::ROOT);
    let options = GateOptions { out, repeat: "cargo test --test e2e gate".to_owned() };
    let (events, _stream) = Events::channel();
    let (report, _) = alone(Box::pin(gate::run(plan, &options, events, CancellationToken::new()))).unwrap();
    println!("{}{}", summary(&report, Style::default()), report.directory);
    report
}

/// Scenario: the new configuration has another comment.
/// Guarantees: green, with all errors kept by both, as both configurations say.
#[test]
fn a_comment_is_green() {
    let report = gate(
        &BASE.replace("# Keeps what matters.", "# Keeps errors, slow requests and a tenth of the rest."),
        3,
    );
    assert_eq!((report.status, report.exit()), (Status::Pass, Exit::Pass), "{:#?}", report.verdicts);
    let errors = &report.classes[0];
    assert_eq!((errors.only_base, errors.only_head), (0, 0), "{errors:#?}");
    assert_eq!((errors.base, errors.head.expected), (errors.head, errors.traces), "{errors:#?}");
}

/// Scenario: the new configuration keeps 99.9% of the error traces.
/// Guarantees: red, by the rule on errors alone, with traces that only the old one kept; the losses are those that the
/// configuration asks for.
#[test]
fn one_error_in_a_thousand_is_red() {
    let all = "type: status_code, status_code: {status_codes: [ERROR]}";
    let nearly = format!(
        "type: and, and: {{and_sub_policy: [{{name: error, {all}}}, \
         {{name: nearly-all, type: probabilistic, probabilistic: {{sampling_percentage: 99.9}}}}]}}"
    );
    // Two rounds tell a loss; only a cost would take more.
    let report = gate(&BASE.replace(all, &nearly), 2);
    assert_eq!((report.status, report.exit()), (Status::Fail, Exit::Regression), "{:#?}", report.verdicts);
    let red = report.verdicts.iter().filter(|verdict| verdict.status == Status::Fail);
    let red: Vec<&str> = red.map(|verdict| verdict.expectation.as_str()).collect();
    assert_eq!(red, ["kept errors = 100%"]);
    let errors = &report.classes[0];
    assert!(errors.only_base > 0 && errors.only_base < errors.traces / 200, "{errors:#?}");
    assert_eq!((errors.only_head, errors.head.kept), (0, errors.head.expected), "{errors:#?}");
    assert!(!errors.lost.is_empty(), "{errors:#?}");
}
