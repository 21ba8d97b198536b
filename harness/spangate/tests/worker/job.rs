//! A load from inside a cluster: the Indexed Job of workers, on a real kind cluster.
//!
//! Where there is no Docker, or no image of a node, it says so and does nothing; `SPANGATE_REQUIRE_KIND=1` makes that a
//! failure.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use jiff::Timestamp;
use spangate_load::{RequestRecord, Schedule};
use spangate_trace::UnixNanos;

use crate::{
    JOB,
    docker::{docker, node_image},
    plane::{ControlPlane, output, spangate, text},
};

/// The load of the Job, less than that of the manifest.
const SCENARIO: &str = include_str!("job.yaml");
/// What is run on the cluster besides.
const HOOKED: &str = include_str!("../existing/hooked.yaml");
const IMAGE: &str = "spangate/worker:test";
const WORKERS: u32 = 3;
/// Time from the manifest to the load: the pods have to come up, on a machine that does other things too.
const LEAD: Duration = Duration::from_secs(45);

/// Runs a program to its end, with this on its standard input, and gives what it printed.
fn done(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let written = writing.join().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {written:?}: {}", text(&output));
    output.stdout
}

/// An image with this program and what it is linked with; it goes with the value.
struct Image;

impl Image {
    fn build(dir: &Path) -> Self {
        let root = dir.join("image");
        fs::create_dir_all(root.join("tmp")).unwrap();
        let program = env!("CARGO_BIN_EXE_spangate");
        // Without what only debuggers read, which is nearly all of it.
        done("strip", &["-o", &root.join("spangate").display().to_string(), program], b"");
        let linked = String::from_utf8(done("ldd", &[program], b"")).unwrap();
        let libraries = linked.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
        for library in libraries {
            let to = root.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
        let archive = done("tar", &["-C", &root.display().to_string(), "-c", "."], b"");
        done("docker", &["import", "--change", "ENTRYPOINT [\"/spangate\"]", "-", IMAGE], &archive);
        Self
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", IMAGE]).stdout(Stdio::null()).status();
    }
}

/// The manifest as it says to be filled in: for one node, whose directory takes the place of the claim.
fn manifest(start: Timestamp) -> String {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join(JOB));
    let text = text.unwrap();
    let (before, rest) = text.split_once("  scenario.yaml: |\n").unwrap();
    let rest = &rest[rest.find("\n---\n").unwrap()..];
    let scenario = SCENARIO.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
    let text = format!("{before}  scenario.yaml: |\n{scenario}{rest}");
    let documents = text.split("\n---\n").filter(|document| !document.contains("PersistentVolumeClaim"));
    let text = documents.collect::<Vec<_>>().join("\n---\n");
    let mut filled = text;
    for (from, to) in [
        ("2030-01-31T12:00:00Z", start.to_string().as_str()),
        ("registry.example/spangate:latest", IMAGE),
        (
            "persistentVolumeClaim:\n            claimName: spangate-results",
            "hostPath: {path: /results, type: DirectoryOrCreate}",
        ),
        ("cpu: \"2\"", "cpu: 50m"),
    ] {
        assert!(filled.contains(from), "{from}: {filled}");
        filled = filled.replace(from, to);
    }
    filled
}

/// Runs a scenario with a webhook on the cluster that is kept, and looks whether it left anything.
fn run_again(plane: &ControlPlane, name: &str, node: &str) {
    let objects = || {
        let kinds = "namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,\
                     validatingwebhookconfigurations";
        let kubectl = ["exec", node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"];
        docker(&[&kubectl[..], &["get", kinds, "--output=name"]].concat())
    };
    let before = objects();
    let scenario = plane.state.path().join("hooked.yaml");
    fs::write(&scenario, HOOKED).unwrap();
    let mut command = spangate();
    command.env("XDG_STATE_HOME", plane.state.path()).arg("run").arg(&scenario).args(["--reuse", name]);
    let ran = output(command.arg("--out").arg(plane.state.path().join("runs")));
    // Inconclusive, if this machine had too much else to do to send on time.
    assert!(
        matches!(ran.status.code(), Some(0 | 4)) && text(&ran).contains("PASS complete"),
        "{}",
        text(&ran)
    );
    assert_eq!(objects(), before);
}

/// Scenario: a cluster of kind is kept, and a scenario with a webhook is run on it. Then the Indexed Job of the manifest
/// runs three workers in pods of it; their results are collected from the node and joined.
/// Guarantees: the run passes and leaves nothing there. Every arrival that the schedule foretells is there once, at its
/// time, with its trace, by the worker whose part it is, and succeeded.
#[test]
fn an_indexed_job_sends_every_arrival_once() {
    if node_image("an_indexed_job_sends_every_arrival_once").is_none() {
        return;
    }
    let name = format!("job-{}", std::process::id());
    let plane = ControlPlane::named(&name, &["--provider", "kind"]);
    let node = format!("spangate-{name}-control-plane");
    run_again(&plane, &name, &node);
    let dir = tempfile::tempdir().unwrap();
    let _image = Image::build(dir.path());
    let archive = done("docker", &["save", IMAGE], b"");
    done("docker", &["exec", "-i", &node, "ctr", "--namespace=k8s.io", "images", "import", "-"], &archive);

    let kubectl = ["exec", "-i", &node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"];
    let on_node = |args: &[&str], input: &str| done("docker", &[&kubectl, args].concat(), input.as_bytes());
    let start = Timestamp::from_second((Timestamp::now() + LEAD).as_second()).unwrap();
    on_node(&["apply", "-f", "-"], &manifest(start));
    let wait =
        ["wait", "--namespace=spangate", "--for=condition=Complete", "--timeout=240s", "job/spangate-load"];
    let mut waiting = Command::new("docker");
    let waited = output(waiting.args(kubectl).args(wait));
    if !waited.status.success() {
        let said =
            on_node(&["--namespace=spangate", "logs", "--selector=job-name=spangate-load", "--prefix"], "");
        let pods = on_node(&["--namespace=spangate", "describe", "pods"], "");
        panic!("{}{}{}", text(&waited), String::from_utf8_lossy(&said), String::from_utf8_lossy(&pods));
    }
    let results = dir.path().join("results");
    done("docker", &["cp", &format!("{node}:/results"), &results.display().to_string()], b"");
    drop(plane);

    let parts: Vec<PathBuf> = (0..WORKERS).map(|worker| results.join(worker.to_string())).collect();
    let merged = dir.path().join("merged");
    let joined = output(spangate().arg("merge").args(&parts).arg("--out").arg(&merged));
    // Inconclusive, if this machine had too much else to do to send on time.
    assert!(matches!(joined.status.code(), Some(0 | 4)), "{}", text(&joined));
    let requests = |directory: &Path| -> Vec<RequestRecord> {
        let lines = fs::read_to_string(directory.join("requests.jsonl")).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let scenario = spangate_scenario::parse("the Job", SCENARIO).unwrap();
    let schedule = Schedule::new(&scenario.spec.load, scenario.spec.seed);
    let begin = UnixNanos(u64::try_from(start.as_nanosecond()).unwrap());
    let sent = requests(&merged);
    assert_eq!(sent.len() as u64, schedule.planned());
    for (request, arrival) in sent.iter().zip(schedule.arrivals()) {
        assert_eq!((request.arrival, request.intended), (arrival.number, begin + arrival.at));
        let (trace, span) = schedule.ids(request.arrival, request.step);
        assert_eq!(request.sent.map(|sent| (sent.trace_id, sent.span_id)), Some((trace, span)));
        assert!(matches!(request.outcome, spangate_load::Outcome::Status(200..300)), "{request:?}");
    }
    for (worker, part) in (0..).zip(&parts) {
        let of: BTreeSet<u64> =
            requests(part).iter().map(|request| request.arrival % u64::from(WORKERS)).collect();
        assert_eq!(of, BTreeSet::from([worker]));
    }
}
