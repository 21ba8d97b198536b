//! A Collector, and webhooks, in pods of a real kind cluster.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

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
    harness::{passes, plan_of, root, run_plan, run_scenario},
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

/// Scenario: a Collector as a `DaemonSet` in a cluster that has a worker too.
/// Guarantees: it has one pod, on the node of the API server, whose spans it is sent there, and all of them come through.
#[test]
fn a_daemon_set_runs_beside_the_api_server_only() {
    if docker("a_daemon_set_runs_beside_the_api_server_only").is_none() {
        return;
    }
    let seen = Seen::default();
    let (report, directory) = std::thread::scope(|scope| {
        scope.spawn(|| seen.watch());
        let ran = run_plan(plan_of(TWO_NODES));
        seen.over.store(true, Ordering::Relaxed);
        ran.unwrap_or_else(|text| panic!("it could not be run: {text}"))
    });
    let style = summary::Style { verbose: true, ..summary::Style::default() };
    let text = summary::summary(&report, directory.path(), style);
    assert_eq!(report.status, Status::Pass, "{text}");
    let pods = seen.pods.into_inner().unwrap();
    // Of the test before it, whose cluster may be there still, and of pods that have no node yet, nothing counts.
    let cluster = pods.iter().find_map(|pod| pod.strip_suffix("-worker")?.rsplit(' ').next());
    let cluster = cluster.unwrap_or_else(|| panic!("no pod is on a worker: {pods:?}"));
    let ours = |pod: &&String| pod.starts_with("otelcol") && pod.contains(cluster);
    let collectors: Vec<&String> = pods.iter().filter(ours).collect();
    assert!(matches!(collectors.as_slice(), [one] if one.ends_with("-control-plane")), "{pods:?}");
}

const TWO_NODES: &str = "
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {name: kind-two-nodes}
spec:
  seed: 5
  cluster:
    provider: kind
    kind: {configFile: kind-configs/control-plane-and-worker.yaml}
  collector:
    kind: DaemonSet
    config: |
      receivers:
        otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}
      exporters:
        otlp_grpc: {endpoint: 'traces.example.com:4317'}
      service:
        pipelines:
          traces: {receivers: [otlp], exporters: [otlp_grpc]}
  load:
    arrivals: {rate: 20/s, for: 5s}
    mix:
      - create: {resource: configmaps}
      - list: {resource: configmaps}
  expect:
    - complete: {}
    - conserved: {}
    - kept: {}
";

/// The pods of the cluster of this process that were seen, each with its node, while a run goes on.
#[derive(Default)]
struct Seen {
    pods: Mutex<BTreeSet<String>>,
    over: AtomicBool,
}

// === impl Seen ===

impl Seen {
    fn watch(&self) {
        while !self.over.load(Ordering::Relaxed) {
            // There is no cluster at first, and none in the end.
            for line in pods().unwrap_or_default().lines() {
                self.pods.lock().unwrap().insert(line.to_owned());
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

/// The pods of a cluster that this process has made, in lines of name and node.
fn pods() -> Option<String> {
    let docker = |args: &[&str]| {
        let output =
            Command::new("docker").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let names = docker(&["ps", "--format", "{{.Names}}"])?;
    let ours = format!("spangate-run-{}-", std::process::id());
    let node = names.lines().find(|name| name.starts_with(&ours) && name.ends_with("-control-plane"))?;
    let kubectl = ["exec", node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "pods"];
    let columns = "--output=custom-columns=NAME:.metadata.name,NODE:.spec.nodeName";
    docker(&[&kubectl[..], &["--all-namespaces", "--no-headers", columns]].concat())
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
