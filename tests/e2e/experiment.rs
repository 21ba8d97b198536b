//! Experiments on real processes: each arm is what it says, and what it costs is seen.

#![expect(clippy::print_stdout, reason = "what cargo shows of a test that fails")]

use std::path::PathBuf;

use spangate::{
    bench::experiment::{self, ExperimentOptions, ExperimentReport, Task, api_server, collector},
    event::Events,
    overhead::Metric,
    run::directory::RunDirectory,
};
use spangate_scenario::{Experiment, experiment::parse, model::ApiServer};
use tokio_util::sync::CancellationToken;

use crate::harness::{alone, root};

/// Every request is traced, or none is; the backend of the last arm refuses.
const ARMS: &str = "
apiVersion: spangate/v1alpha1
kind: Experiment
metadata: {name: arms}
spec:
  reference: \"off\"
  rounds: 1
  atOnce: true
  retries: 3
  warmUp: 2s
  quiet: {below: 50%, within: 20s, idle: 1s}
  load:
    arrivals: {rate: 50/s, for: 6s}
    mix: [{as: unprivileged, traceparent: none, get: {resource: configmaps}}]
  arms:
    - {name: \"off\", tracing: {enabled: false}}
    - {name: none, tracing: {samplingRatePerMillion: 0}}
    - {name: all, tracing: {samplingRatePerMillion: 1000000}}
    - {name: refused, tracing: {samplingRatePerMillion: 1000000}, sink: {refuse: {status: UNAVAILABLE}}}
";

/// A Collector that sends on what it gets, and one that drops it.
const COLLECTORS: &str = "
apiVersion: spangate/v1alpha1
kind: Experiment
metadata: {name: collectors}
spec:
  reference: nop
  rounds: 1
  retries: 3
  warmUp: 1s
  quiet: {idle: 500ms}
  load: {traces: {rate: 100/s, for: 3s, classes: [{name: all, share: 100%, templates: [get]}]}}
  arms:
    - name: nop
      collector:
        config: |
          receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}}
          exporters: {nop: }
          service: {pipelines: {traces: {receivers: [otlp], exporters: [nop]}}}
    - name: batch
      batch: 100
      collector:
        config: |
          receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}}
          processors: {batch: {timeout: 200ms}}
          exporters: {otlp_grpc: {endpoint: \"x:4317\"}}
          service: {pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [otlp_grpc]}}}
";

fn options() -> ExperimentOptions {
    ExperimentOptions {
        out: root().join(RunDirectory::ROOT),
        resume: None,
        base: PathBuf::new(),
        repeat: "cargo test experiment".to_owned(),
    }
}

fn figure(report: &ExperimentReport, arm: &str, metric: Metric) -> Option<f64> {
    let mut units = report.measured.units.iter().filter(|unit| unit.arm == arm && unit.excluded.is_none());
    units.next()?.figures.get(&metric).copied()
}

fn shown(report: &ExperimentReport) {
    println!("{}{}", report.text(), report.directory);
}

/// Scenario: four arms at the same time, once each.
/// Guarantees: spans come of the arm that traces everything and takes them, and of no other; each has its figures.
#[test]
fn each_arm_is_what_it_says() {
    let experiment: Experiment = parse("arms", ARMS).unwrap();
    let (events, _told) = Events::channel();
    let (options, cancel) = (options(), CancellationToken::new());
    let measure = async |tasks: &[Task<'_>]| api_server::measure(tasks, &events, &cancel).await;
    let (report, directory) =
        alone(Box::pin(experiment::run(Some(experiment), &options, &cancel, measure, &events))).unwrap();
    shown(&report);
    let spans = |arm| figure(&report, arm, Metric::SpansPerRequest).expect("the arm was measured");
    assert!(spans("all") > 5.0, "{}", spans("all"));
    assert!([spans("off"), spans("none"), spans("refused")].iter().all(|spans| *spans < 0.5));
    for arm in ["off", "none", "all", "refused"] {
        let cpu = figure(&report, arm, Metric::CpuPerRequest).unwrap();
        assert!((1e-5..0.1).contains(&cpu), "{arm}: {cpu}");
    }
    let page = std::fs::read_to_string(directory.file(experiment::report::PAGE)).unwrap();
    assert!(page.contains("<svg class=\"plot\""), "{page}");
}

/// Scenario: two rounds of two arms at the same time, one of which has a flag that no API server knows.
/// Guarantees: the other one does not wait for it: their round does not count, and the next one goes on without it.
#[test]
fn an_arm_that_does_not_start_keeps_no_other_waiting() {
    let mut experiment: Experiment = parse("arms", ARMS).unwrap();
    let spec = &mut experiment.spec;
    (spec.rounds, spec.retries) = (2, 0);
    spec.arms.truncate(2);
    let broken = ApiServer {
        extra_args: [("no-such-flag".to_owned(), "1".to_owned())].into(),
        ..ApiServer::default()
    };
    spec.arms[1].api_server = Some(broken);
    let (events, _told) = Events::channel();
    let (options, cancel) = (options(), CancellationToken::new());
    let measure = async |tasks: &[Task<'_>]| api_server::measure(tasks, &events, &cancel).await;
    let (report, _) =
        alone(Box::pin(experiment::run(Some(experiment), &options, &cancel, measure, &events))).unwrap();
    let units: Vec<(&str, u32, Option<&str>)> = report
        .measured
        .units
        .iter()
        .map(|unit| (unit.arm.as_str(), unit.round, unit.excluded.as_deref()))
        .collect();
    let beside = units.iter().find(|(arm, round, _)| (*arm, *round) == ("off", 1)).unwrap().2;
    assert_eq!(beside, Some("none, at the same time, does not"), "{units:?}");
    let second: Vec<&str> = units.iter().filter(|(_, round, _)| *round == 2).map(|(arm, ..)| *arm).collect();
    assert_eq!(second, ["off"], "{units:?}");
    assert!(report.warnings[0].starts_with("none is given up"), "{:?}", report.warnings);
}

/// Scenario: a Collector that sends on, and one that does not, each sent 300 traces of nine spans.
/// Guarantees: all spans come through the first, none is lost, and it costs more than the other.
#[test]
fn collectors_are_compared() {
    let experiment: Experiment = parse("collectors", COLLECTORS).unwrap();
    let (events, _told) = Events::channel();
    let (options, cancel) = (options(), CancellationToken::new());
    let measure = async |tasks: &[Task<'_>]| vec![collector::measure(tasks[0], &events, &cancel).await];
    let (report, _) =
        alone(Box::pin(experiment::run(Some(experiment), &options, &cancel, measure, &events))).unwrap();
    shown(&report);
    let of = |arm, metric| figure(&report, arm, metric);
    assert_eq!((of("batch", Metric::Loss), of("nop", Metric::Loss)), (Some(0.0), None));
    assert!(of("batch", Metric::LagP50).is_some_and(|lag| lag > 0.0), "{report:#?}");
    let cpu = [of("nop", Metric::CollectorCpuPerSpan), of("batch", Metric::CollectorCpuPerSpan)];
    assert!(cpu[1] > cpu[0] && cpu[0] > Some(0.0), "{cpu:?}");
    let testbed = &report.testbed[1].figures;
    assert!(testbed.sent >= 2_400 && testbed.received == testbed.sent, "{testbed:?}");
}
