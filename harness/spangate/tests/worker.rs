//! A load that several workers share, with real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/docker.rs"]
mod docker;
#[path = "worker/job.rs"]
mod job;
#[path = "support/plane.rs"]
mod plane;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use plane::{ControlPlane, output, spangate, text};
use spangate_load::{RequestRecord, Schedule, Summary, watchers};
use spangate_trace::UnixNanos;

const SPREAD: &str = include_str!("worker/spread.yaml");
/// The manifest, from the root of the repository.
const JOB: &str = "fixtures/load-job.yaml";
/// Time from the start of the workers to the start of the load, on a machine that does other things too.
const LEAD: Duration = Duration::from_secs(25);

/// A directory with a scenario in it.
fn with_scenario() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenario.yaml");
    fs::write(&path, SPREAD).unwrap();
    (dir, path)
}

/// Starts a worker.
fn worker(scenario: &Path, plane: &ControlPlane, shard: &str, start: &str, out: &Path) -> Child {
    spangate()
        .arg("worker")
        .arg(scenario)
        .args(["--shard", "auto/3", "--start-at", start, "--prepare", "--cleanup"])
        .env("JOB_COMPLETION_INDEX", shard)
        .args(["--unprivileged-context", "spangate-user", "--kubeconfig"])
        .arg(&plane.kubeconfig)
        .arg("--out")
        .arg(out)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Scenario: three workers send a load of several stages, senders and watchers to a real control plane; the first
/// prepares and cleans up. What they left is joined.
/// Guarantees: every planned arrival is there exactly once, at its time and with its trace, and succeeded; the joined
/// summary is that of the whole schedule.
#[test]
fn three_workers_send_every_arrival_once() {
    let plane = ControlPlane::up(&[]);
    let (dir, scenario) = with_scenario();
    let start = Timestamp::now() + LEAD;
    let outs = ["0", "1", "2"].map(|shard| dir.path().join(shard));
    let workers: Vec<Child> = ["0", "1", "2"]
        .iter()
        .zip(&outs)
        .map(|(shard, out)| worker(&scenario, &plane, shard, &start.to_string(), out))
        .collect();
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }

    let merged = dir.path().join("merged");
    let output = output(spangate().arg("merge").args(&outs).arg("--out").arg(&merged));
    // Inconclusive, if this machine had too much else to do to send on time.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", text(&output));
    let lines = fs::read_to_string(merged.join("requests.jsonl")).unwrap();
    let requests: Vec<RequestRecord> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(requests.is_sorted_by_key(|request| (request.intended, request.arrival, request.step)));
    let (of_watchers, of_load): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.is_of_watcher());

    let load = spangate_scenario::read(&scenario).unwrap().scenario.spec.load;
    let schedule = Schedule::new(&load, 11);
    let begin = UnixNanos(u64::try_from(start.as_nanosecond()).unwrap());
    let first: Vec<_> = of_load.iter().filter(|request| request.step == 0).collect();
    assert_eq!(first.len() as u64, schedule.planned());
    for (request, arrival) in first.iter().zip(schedule.arrivals()) {
        assert_eq!((request.arrival, request.intended), (arrival.number, begin + arrival.at));
        assert_eq!((request.entry, request.stage), (arrival.entry, arrival.stage));
    }
    for request in &of_load {
        let (trace, span) = schedule.ids(request.arrival, request.step);
        let sent = request.sent.unwrap();
        assert_eq!((sent.trace_id, sent.span_id), (trace, span));
        assert!(!request.outcome.is_failure(), "{request:?}");
        assert!(matches!(request.outcome, spangate_load::Outcome::Status(200..300)), "{request:?}");
    }
    let senders: BTreeSet<&str> = of_load.iter().map(|request| request.identity.as_str()).collect();
    assert_eq!(senders, BTreeSet::from(["admin", "robot", "unprivileged"]));
    let watching: BTreeSet<_> =
        of_watchers.iter().map(|request| watchers::index_of(request.arrival)).collect();
    assert_eq!(watching, BTreeSet::from([Some(0), Some(1), Some(2)]));

    let summary = fs::read_to_string(merged.join("summary.json")).unwrap();
    let summary: Summary = serde_json::from_str(&summary).unwrap();
    let planned = schedule.planned();
    assert_eq!(
        (summary.planned, summary.started, summary.shed, summary.not_started),
        (planned, planned, 0, 0)
    );
    assert_eq!(summary.requests, of_load.len() as u64);
    assert_eq!(summary.start_lag.count(), planned);
    assert_eq!(summary.latencies.total(|_| true).count(), of_load.len() as u64);
    let ended: u64 = summary.timeline.iter().map(|(_, slot)| slot.ended).sum();
    assert_eq!(ended, of_load.len() as u64);
    let received = fs::read_to_string(merged.join("events.jsonl")).unwrap().lines().count() as u64;
    assert_eq!(received, summary.watched.values().flat_map(|events| events.values()).sum::<u64>());

    // What is left out, or given twice, is named.
    let bad = |directories: &[&PathBuf]| {
        let mut command = spangate();
        command.arg("merge").args(directories).arg("--out").arg(dir.path().join("bad"));
        let output = self::output(&mut command);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        text(&output)
    };
    assert!(bad(&[&outs[0], &outs[2]]).contains("1/3"));
    assert!(bad(&[&outs[0], &outs[1], &outs[2], &outs[1]]).contains("part 1/3 is there twice"));
    assert!(bad(&[&outs[0], &dir.path().join("nothing")]).contains("nothing"));
}

/// Scenario: a worker that prepares and cleans up is not ready when the load is to begin; another one is interrupted while it
/// prepares.
/// Guarantees: exit codes 3 and 130, and nothing that they made is left but a namespace that is going.
#[tokio::test]
async fn a_worker_that_breaks_off_cleans_up() {
    let plane = ControlPlane::up(&[]);
    let client = plane.client().await;
    let left = async |resource: &str| {
        let path = format!("/api/v1/{resource}?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dspangate");
        let list: serde_json::Value =
            client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
        list["items"].as_array().unwrap().clone()
    };
    let (dir, scenario) = with_scenario();
    for (name, count, start, code) in [("late", 10_000, "+1s", 3), ("interrupted", 100_000, "+10m", 130)] {
        let populous = format!(
            "  load:\n    namespace: {name}\n    prepare: {{objects: [{{resource: configmaps, count: {count}}}]}}"
        );
        fs::write(&scenario, SPREAD.replacen("  load:", &populous, 1)).unwrap();
        let worker = spangate()
            .arg("worker")
            .arg(&scenario)
            .args(["--start-at", start, "--prepare", "--cleanup"])
            .env_remove("JOB_COMPLETION_INDEX")
            .args(["--unprivileged-context", "spangate-user", "--kubeconfig"])
            .arg(&plane.kubeconfig)
            .arg("--out")
            .arg(dir.path().join(name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while left("configmaps").await.is_empty() {
            assert!(begun.elapsed() < LEAD, "{name}: nothing was made");
        }
        if code == 130 {
            let interrupt = Command::new("kill").args(["-INT", &worker.id().to_string()]).status();
            assert!(interrupt.unwrap().success());
        }
        let output = worker.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output));
        assert_eq!(left("configmaps").await.len(), 0, "{name}");
        let namespaces = left("namespaces").await;
        let going = |namespace: &serde_json::Value| namespace["metadata"]["deletionTimestamp"].is_string();
        assert!(namespaces.iter().all(going), "{name}: {namespaces:?}");
    }
}

/// Scenario: the manifest of the Indexed Job is given to a real API server as a dry run that forgives nothing, and
/// its scenario to `validate`.
/// Guarantees: every field of it is known and valid.
#[tokio::test]
async fn the_manifest_of_the_job_is_accepted() {
    let plane = ControlPlane::up(&[]);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join(JOB);
    let manifest = fs::read_to_string(manifest).unwrap();
    let client = plane.client().await;
    let mut kinds = Vec::new();
    for document in manifest.split("\n---\n") {
        let kind = document.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap();
        let path = match kind {
            "Namespace" => "/api/v1/namespaces",
            "ConfigMap" => "/api/v1/namespaces/spangate/configmaps",
            "ServiceAccount" => "/api/v1/namespaces/spangate/serviceaccounts",
            "PersistentVolumeClaim" => "/api/v1/namespaces/spangate/persistentvolumeclaims",
            "ClusterRoleBinding" => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "Job" => "/apis/batch/v1/namespaces/spangate/jobs",
            other => panic!("{other} has no path here"),
        };
        // The namespace is needed for the others.
        let dry = if kind == "Namespace" { "" } else { "&dryRun=All" };
        let request = http::Request::post(format!("{path}?fieldValidation=Strict{dry}"))
            .header("content-type", "application/yaml")
            .body(document.as_bytes().to_vec())
            .unwrap();
        let made: serde_json::Value =
            client.request(request).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        if kind == "ConfigMap" {
            scenario_is_valid(made["data"]["scenario.yaml"].as_str().unwrap());
        }
        kinds.push(kind.to_owned());
    }
    assert_eq!(kinds.last().map(String::as_str), Some("Job"), "{kinds:?}");
}

fn scenario_is_valid(scenario: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenario.yaml");
    fs::write(&path, scenario).unwrap();
    let output = output(spangate().arg("validate").arg(&path));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// Scenario: command lines that no worker can follow.
/// Guarantees: exit code 2, what is wrong, and no file is left.
#[test]
fn a_worker_that_cannot_begin_says_why() {
    let (dir, scenario) = with_scenario();
    let kubeconfig = dir.path().join("kubeconfig");
    fs::write(
        &kubeconfig,
        r#"{"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1",
                "certificate-authority-data": "UEVN"}}],
            "users": [{"name": "u", "user": {"token": "t"}}]}"#,
    )
    .unwrap();
    let out = dir.path().join("out");
    for (args, message) in [
        (&["--shard", "0/2", "--start-at", "2020-01-01T00:00:00Z"][..], "was to begin"),
        (&["--shard", "0/2", "--start-at", "+5s"], "must agree on a time"),
        (&["--shard", "2/2", "--start-at", "+5s"], "index below the number"),
        (&["--shard", "auto/2", "--start-at", "+5s"], "JOB_COMPLETION_INDEX"),
        (
            &["--shard", "0/200", "--start-at", "2100-01-01T00:00:00Z"],
            "200 workers cannot share maxInFlight 100",
        ),
        (&["--start-at", "+5s"], "--unprivileged-context"),
        (&["--start-at", "+5s", "--context", "b"], "has no context"),
        (&["--start-at", "+5s", "--endpoint", "https://x"], "cannot be used with"),
    ] {
        let mut command = spangate();
        command.env_remove("JOB_COMPLETION_INDEX").arg("worker").arg(&scenario);
        command.arg("--kubeconfig").arg(&kubeconfig).arg("--out").arg(&out).args(args);
        let output = output(&mut command);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        // Messages are broken into lines.
        let told = text(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(message), "{args:?}: {told}");
        assert!(!out.exists(), "{args:?}");
    }
}
