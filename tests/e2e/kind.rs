//! On a real kind cluster. Where there is no Docker, or no image of a node and nothing to build one with, these tests say so
//! and do nothing; `SPANGATE_REQUIRE_KIND=1` makes that a failure.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use spangate::{
    evidence::Evidence,
    plan::Plan,
    report::{Report, summary},
    run::directory::RunDirectory,
    saved,
    verdict::{self, Status},
};
use spangate_cluster::{
    Assets, AssetsEnv, Docker, KindNetwork, NodeImage, PlayProcess, docker::Owner, kind::Standing,
};
use spangate_scenario::model::{Cluster, Provider};
use spangate_trace::{Capture, Span};

use crate::{
    harness::{alone, root, run_plan},
    skipped::{runs, skipped},
};

mod identity;
mod versions;

/// The shipped scenarios that need kind, and have a test here.
pub(crate) const SCENARIOS: [&str; 1] = ["kind-deployment"];

/// Settings of the whole machine that a node, or the network of one, might change; kubelet, kube-proxy and kind itself
/// all write some.
const SETTINGS: [&str; 9] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Docker with what a node takes, or a loud word on what is missing.
pub(crate) fn docker(test: &str) -> Option<Docker> {
    match docker_with_image() {
        Ok(docker) => {
            runs(test);
            Some(docker)
        }
        Err(why) => {
            skipped(test, "SPANGATE_REQUIRE_KIND", &why);
            None
        }
    }
}

/// Docker, where the image of a node is there or can be built.
fn docker_with_image() -> Result<Docker, String> {
    let path = std::env::var_os("PATH");
    let docker = Docker::find(path.as_deref()).map_err(|error| error.to_string())?;
    let image = NodeImage::wanted(Cluster::DEFAULT_KUBERNETES.parse().unwrap()).unwrap();
    if image.is_at_hand(&docker) {
        return Ok(docker);
    }
    // Whose this process is: its effective user.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    match lacking(is_root, path.as_deref(), Path::new("/usr/sbin")) {
        None => Ok(docker),
        Some(lacking) => Err(format!("Docker has no image {}, and to build one {lacking}", image.name)),
    }
}

/// What it lacks to build the image of a node; debootstrap may also lie in the system's directory.
fn lacking(is_root: bool, path: Option<&OsStr>, system: &Path) -> Option<&'static str> {
    let on_path: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).collect();
    let found = |program: &str| on_path.iter().any(|directory| directory.join(program).is_file());
    if !is_root {
        return Some("takes root");
    }
    if !found("debootstrap") && !system.join("debootstrap").is_file() {
        return Some("takes debootstrap");
    }
    (!found("go")).then_some("takes Go on PATH")
}

#[test]
fn a_node_image_is_built_where_all_is_there() {
    let (path, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lacks = |is_root| lacking(is_root, Some(path.path().as_os_str()), system.path());
    assert_eq!(lacks(true), Some("takes debootstrap"));
    fs::write(system.path().join("debootstrap"), "").unwrap();
    assert_eq!(lacks(true), Some("takes Go on PATH"));
    fs::write(path.path().join("go"), "").unwrap();
    assert_eq!((lacks(true), lacks(false)), (None, Some("takes root")));
    fs::rename(system.path().join("debootstrap"), path.path().join("debootstrap")).unwrap();
    assert_eq!(lacks(true), None);
}

fn settings() -> BTreeMap<&'static str, String> {
    let read = |name| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    SETTINGS.into_iter().map(|name| (name, read(name))).collect()
}

fn standing(docker: &Docker) -> Vec<Standing> {
    Standing::list(docker).unwrap()
}

/// The clusters that this process has made and not removed.
fn of_this_process(docker: &Docker) -> Vec<Standing> {
    let this = |standing: &Standing| {
        let process = standing.owner.as_ref().and_then(|owner| owner.process.as_ref());
        process.is_some_and(|process| process.pid == std::process::id())
    };
    standing(docker).into_iter().filter(this).collect()
}

/// Runs a shipped scenario on kind: all of its expectations are met.
fn passes_on_kind(scenario: &str) -> (Report, RunDirectory) {
    let path = root().join("scenarios").join(format!("{scenario}.yaml"));
    let mut loaded = spangate_scenario::read(path).unwrap();
    loaded.scenario.spec.cluster.provider = Provider::Kind;
    let plan = Plan::new(loaded, None).unwrap();
    let (report, directory) = run_plan(plan).unwrap_or_else(|text| panic!("it could not be run: {text}"));
    let style = summary::Style { verbose: true, ..summary::Style::default() };
    let text = summary::summary(&report, directory.path(), style);
    assert_eq!(report.status, Status::Pass, "{text}");
    (report, directory)
}

/// Scenario: a scenario that says nothing of kind, with a slow webhook and a slow etcd, is run there.
/// Guarantees: all of its expectations are met; afterwards Docker has nothing of it any more, no key is left, and the
/// settings of the machine are what they were.
#[test]
fn a_scenario_of_local_processes_passes_on_kind() {
    let Some(docker) = docker("a_scenario_of_local_processes_passes_on_kind") else { return };
    let before = settings();
    let (report, directory) = passes_on_kind("quickstart");
    let names: Vec<&str> = report.components.iter().map(|component| component.name.as_str()).collect();
    assert_eq!(names, ["kind", "node image"]);
    for log in ["kube-apiserver.log", "etcd.log", "kind.log", "node.log"] {
        assert!(directory.file("logs").join(log).exists(), "{log} was not kept");
    }
    assert!(!directory.file("control-plane").exists(), "the keys are still there");
    assert_eq!(of_this_process(&docker), []);
    assert_eq!(settings(), before);
}

/// Scenario: kubectl makes deployments on kind, with kubelet and container runtime traced; then the saved run is judged
/// again without links, without the spans of the container runtime, and with a span of the kubelet in a create's trace.
/// Guarantees: all expectations are met by the truth, and each of the three falsehoods turns its own red.
#[test]
fn kind_deployment() {
    if docker("kind_deployment").is_none() {
        return;
    }
    let (_, directory) = passes_on_kind("kind-deployment");
    let truth = saved::read(&directory, None).unwrap();
    let failed = |change: fn(&mut Vec<Span>)| -> Vec<String> {
        let mut spans: Vec<Span> =
            (0..truth.capture.rows().len()).map(|row| truth.capture.span(row)).collect();
        change(&mut spans);
        let Evidence { scenario, requests, injections, facts, .. } = &truth;
        let capture = Capture::from_spans(spans);
        let evidence =
            Evidence::new(scenario.clone(), requests.clone(), injections.clone(), capture, facts.clone());
        let red = verdict::judge(&evidence).into_iter().filter(|verdict| verdict.status == Status::Fail);
        red.map(|verdict| verdict.expectation).collect()
    };
    assert_eq!(failed(|_| {}), Vec::<String>::new());
    let without_links = failed(|spans| spans.iter_mut().for_each(|span| span.links.clear()));
    assert_eq!(without_links.len(), 2, "{without_links:?}");
    assert!(without_links.iter().all(|text| text.contains("service: apiserver")), "{without_links:?}");
    let without_runtime = failed(|spans| spans.retain(|span| &*span.service != "containerd"));
    assert!(matches!(without_runtime.as_slice(), [one] if one.contains("containerd")), "{without_runtime:?}");
    let joined = failed(|spans| {
        // That of the load: kubeadm makes one too, as a root.
        let made = |span: &&Span| span.parent.is_some() && span.name.ends_with("/deployments");
        let create = spans.iter().find(|span| made(span) && span.name.starts_with("POST"));
        let (trace, parent) = create.map(|span| (span.trace_id, span.span_id)).unwrap();
        let sync = spans.iter_mut().rfind(|span| &*span.name == "syncPod").unwrap();
        (sync.trace_id, sync.parent) = (trace, Some(parent));
    });
    assert!(joined.iter().any(|text| text.contains("service: kubelet, ours: true")), "{joined:?}");
}

/// Scenario: a network and a node of it are there whose maker has ended; beside it one that is kept.
/// Guarantees: both are found, only the first is abandoned, and removing it leaves the other alone.
#[test]
fn what_a_killed_run_left_is_found_and_removed() {
    const TEST: &str = "what_a_killed_run_left_is_found_and_removed";
    let Some(docker) = docker(TEST) else { return };
    alone(async {
        let image = NodeImage::wanted(Cluster::DEFAULT_KUBERNETES.parse().unwrap()).unwrap();
        image.ensure(&docker, &Assets::new(AssetsEnv::from_process()), &()).unwrap();
        let this = PlayProcess::this().unwrap();
        let gone = PlayProcess { start_time: this.start_time + 1, ..this };
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str, process| {
            let owner = Owner { process, ..Owner::kept(directory.path().join(name)) };
            let name = format!("test-{name}-{}", std::process::id());
            KindNetwork::create(&docker, &name, &owner, None).unwrap()
        };
        let (killed, kept) = (make("killed", Some(gone)), make("kept", None));
        let cluster = killed.name().to_owned();
        // Its maker is gone, and so is the guard that would remove it.
        std::mem::forget(killed);
        let started = std::process::Command::new("docker")
            .args(["create", "--network", &cluster, "--label", &format!("io.x-k8s.kind.cluster={cluster}")])
            .args(["--name", &format!("{cluster}-control-plane"), "--entrypoint=/bin/true", &image.name])
            .output()
            .unwrap();
        assert!(started.status.success(), "{started:?}");

        let all = standing(&docker);
        let find = |name: &str| all.iter().find(|standing| standing.name == name).unwrap();
        let abandoned = find(&cluster);
        assert!(abandoned.is_abandoned() && !abandoned.running, "{abandoned:?}");
        assert_eq!(abandoned.nodes, [format!("{cluster}-control-plane")]);
        assert!(find(kept.name()).is_kept() && !find(kept.name()).is_abandoned());

        abandoned.remove(&docker).unwrap();
        let left = standing(&docker);
        assert!(left.iter().all(|standing| standing.name != cluster), "{left:?}");
        assert!(left.iter().any(|standing| standing.name == kept.name()), "{left:?}");
        let name = kept.name().to_owned();
        kept.remove().unwrap();
        assert!(standing(&docker).iter().all(|standing| standing.name != name));
    });
}
