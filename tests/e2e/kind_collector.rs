//! A Collector, and webhooks, in pods of a real kind cluster.

use spangate::{
    evidence::Evidence,
    plan::Plan,
    report::summary,
    run::directory::RunDirectory,
    saved,
    verdict::{self, Status, Verdict},
};
use spangate_scenario::model::{Expectation, Provider, Workload};

use crate::{
    harness::{passes, root, run_plan, run_scenario},
    kind::docker,
};

/// The shipped scenarios with pods, each of which has a test here.
pub(crate) const SCENARIOS: [&str; 2] = ["kind-collector-oom", "kind-webhook-service"];

/// Scenario: a Collector with a limit of 64 MiB is sent more than it can hold.
/// Guarantees: it is killed and comes back, and the verdicts say what was lost and for how long the server was dark; when
/// the truth is falsified, they are red.
#[test]
fn a_collector_that_is_killed_comes_back_and_its_loss_is_told() {
    if docker("a_collector_that_is_killed_comes_back_and_its_loss_is_told").is_none() {
        return;
    }
    passes(SCENARIOS[0]);
    let (report, directory) = run_scenario(SCENARIOS[0]);
    let facts = report.facts.collector.as_ref().unwrap();
    let crash = &facts.crashes[0];
    assert_eq!(crash.reason.as_deref(), Some("OOMKilled"), "{crash:?}");
    assert!(crash.status.contains("137") && crash.back > crash.at, "{crash:?}");
    assert!(directory.file("logs").join("otelcol.log").exists());

    let judged = |falsify: fn(&mut Evidence)| {
        let mut evidence = saved::read(&directory, None).unwrap();
        falsify(&mut evidence);
        verdict::judge(&evidence)
    };
    let restarts = |verdicts: &[Verdict]| verdicts[0].status;
    assert_eq!(restarts(&judged(|_| {})), Status::Pass);
    let never = judged(|evidence| evidence.facts.collector.as_mut().unwrap().crashes.clear());
    assert_eq!(restarts(&never), Status::Fail);
    let otherwise = judged(|evidence| {
        evidence.facts.collector.as_mut().unwrap().crashes[0].reason = Some("Error".to_owned());
    });
    assert_eq!(restarts(&otherwise), Status::Fail);
    let for_good = judged(|evidence| evidence.facts.collector.as_mut().unwrap().crashes[0].back = None);
    assert_eq!(restarts(&for_good), Status::Fail);
    let dark = judged(|evidence| evidence.passed.as_mut().unwrap().passages.truncate(1));
    assert_eq!(restarts(&dark), Status::Fail);
}

/// Scenario: a webhook is reached through a Service and a pod.
/// Guarantees: every delay is found again, and blamed.
#[test]
fn a_webhook_behind_a_service_is_found_again() {
    if docker("a_webhook_behind_a_service_is_found_again").is_some() {
        passes(SCENARIOS[1]);
    }
}

/// Scenario: a scenario of local processes restarts its Collector, which on kind is a Deployment behind a Service.
/// Guarantees: all of its expectations are met there.
#[test]
fn a_restart_of_the_collector_passes_on_kind() {
    if docker("a_restart_of_the_collector_passes_on_kind").is_none() {
        return;
    }
    let mut loaded = spangate_scenario::read(root().join("scenarios/collector-restart.yaml")).unwrap();
    let spec = &mut loaded.scenario.spec;
    spec.cluster.provider = Provider::Kind;
    spec.collector.as_mut().unwrap().kind = Some(Workload::Deployment);
    let Expectation::Conserved(conserved) = &mut spec.expect[0] else { panic!("{:?}", spec.expect) };
    // A pod takes some seconds more to go and to come than a process does.
    conserved.refused = "0%..70%".parse().unwrap();
    let plan = Plan::new(loaded, None).unwrap();
    let (report, directory) = run_plan(plan).unwrap_or_else(|text| panic!("it could not be run: {text}"));
    let style = summary::Style { verbose: true, ..summary::Style::default() };
    let text = summary::summary(&report, directory.path(), style);
    assert_eq!(report.status, Status::Pass, "{text}");
    let outage = &report.facts.collector.as_ref().unwrap().outages[0];
    assert!(outage.from < outage.ended && outage.ended < outage.to, "{outage:?}");
    assert!(directory.file(RunDirectory::PASSAGES).exists());
}
