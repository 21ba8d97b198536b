//! On kind, by the command: what is planned, and what a run leaves on the machine, however it ends.
//!
//! Where there is no Docker, or no image of a node, a test says so and does nothing; `SPANGATE_REQUIRE_KIND=1` makes that a
//! failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    SMOKE, alone,
    docker::{docker, node_image},
    output, root, spangate, text, with_scenario,
};

/// Settings that change by themselves, by the ends of their paths.
const VOLATILE: [&str; 6] = [
    "sys/fs",
    "sys/kernel/ns_last_pid",
    "sys/kernel/perf_event_max_sample_rate",
    "sys/kernel/pty/nr",
    "sys/kernel/random",
    "sys/net/netfilter/nf_conntrack_count",
];
/// How long a node may take to come.
const NODE: Duration = Duration::from_mins(1);
/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(10);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a run might leave on the machine.
struct Machine {
    containers: BTreeSet<String>,
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    settings: BTreeMap<PathBuf, String>,
}

// === impl Machine ===

impl Machine {
    fn look() -> Self {
        let names = |args: &[&str]| {
            docker(args).lines().filter(|name| !is_anothers(name)).map(str::to_owned).collect()
        };
        Self {
            containers: names(&["ps", "--all", "--format", "{{.Names}}"]),
            networks: names(&["network", "ls", "--format", "{{.Name}}"]),
            volumes: names(&["volume", "ls", "--format", "{{.Name}}"]),
            settings: settings(),
        }
    }

    /// Nothing came since, nothing went, and no setting is another one; those of a network come and go with it.
    fn assert_as(&self, before: &Self, when: &str) {
        let of = |it: &Self| (it.containers.clone(), it.networks.clone(), it.volumes.clone());
        assert_eq!(of(self), of(before), "{when}");
        for (path, value) in &self.settings {
            let was = before.settings.get(path);
            assert!(
                was.is_none_or(|was| was == value),
                "{when}: {} was {was:?} and is {value:?}",
                path.display()
            );
        }
    }
}

/// Whether a name is one of Spangate with the number of a process that runs: those that this test looks for have ended.
fn is_anothers(name: &str) -> bool {
    let number = name
        .strip_prefix("spangate-")
        .and_then(|rest| rest.split('-').find_map(|part| part.parse::<u32>().ok()));
    number.is_some_and(|number| Path::new("/proc").join(number.to_string()).exists())
}

/// All settings of the kernel that can be read.
fn settings() -> BTreeMap<PathBuf, String> {
    let (mut found, mut left) = (BTreeMap::new(), vec![PathBuf::from("/proc/sys")]);
    while let Some(path) = left.pop() {
        if VOLATILE.iter().any(|volatile| path.ends_with(volatile)) {
            continue;
        }
        if path.is_dir() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if let Ok(value) = fs::read_to_string(&path) {
            found.insert(path, value);
        }
    }
    found
}

/// The processes whose command line has this word, which is the name of a cluster.
fn processes(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(word)).collect()
}

fn assert_no_processes(cluster: &str) {
    let begun = Instant::now();
    while !processes(cluster).is_empty() {
        assert!(begun.elapsed() < GONE, "{:?}", processes(cluster));
        thread::sleep(LOOK_EVERY);
    }
}

/// The command that runs a scenario on kind, with its runs below `dir`.
fn run(scenario: &Path, dir: &Path) -> Command {
    let mut command = spangate();
    command.arg("run").arg(scenario).args(["--provider", "kind", "--out"]).arg(dir.join("runs"));
    command
}

/// Starts a run, and returns when its node is there: the process, and the name of the cluster.
fn with_node(scenario: &Path, dir: &Path) -> (Child, String) {
    let log = dir.join("log");
    let mut command = run(scenario, dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    // What follows is nobody else's.
    let run = format!("spangate-run-{}-1-", child.id());
    let of_node = |name: &str| name.strip_suffix("-control-plane").map(str::to_owned);
    let begun = Instant::now();
    loop {
        let names = docker(&["ps", "--format", "{{.Names}}"]);
        if let Some(cluster) = names.lines().filter(|name| name.starts_with(&run)).find_map(of_node) {
            return (child, cluster);
        }
        let said = || fs::read_to_string(&log).unwrap();
        assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < NODE, "no node came: {}", said());
        thread::sleep(LOOK_EVERY);
    }
}

/// What was said, without the breaks of its lines.
fn told(output: &Output) -> String {
    text(output).split_whitespace().filter(|word| *word != "\u{2502}").collect::<Vec<_>>().join(" ")
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Another name for an image, which goes with the value.
struct Tag(&'static str);

impl Tag {
    fn of(image: &str, tag: &'static str) -> Self {
        docker(&["tag", image, tag]);
        Self(tag)
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", self.0]).stdout(Stdio::null()).status();
    }
}

/// Scenario: a run on kind is killed while its cluster comes up, and what it left is pruned; another one is interrupted
/// there; a third fails when its cluster is up, since the image has another Kubernetes in it than its tag says.
/// Guarantees: after each of them containers, networks, volumes, processes and kernel settings are what they were, and no
/// key is left; the exit codes are 130 and 3, and the third says which version was found.
#[test]
fn the_machine_is_as_before_however_a_run_on_kind_ends() {
    let Some(image) = node_image("the_machine_is_as_before_however_a_run_on_kind_ends") else { return };
    let _alone = alone();
    let (dir, scenario) = with_scenario(SMOKE);
    let before = Machine::look();

    let (mut killed, cluster) = with_node(&scenario, dir.path());
    signal(&killed, "-KILL");
    killed.wait().unwrap();
    let left = docker(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(left.lines().any(|name| name == cluster), "nothing was left to prune: {left}");
    let pruned = output(spangate().args(["cluster", "prune"]));
    assert_eq!(pruned.status.code(), Some(0), "{}", text(&pruned));
    assert!(text(&pruned).contains(&format!("removed {cluster}\n")), "{}", text(&pruned));
    assert_no_processes(&cluster);
    Machine::look().assert_as(&before, "after SIGKILL and prune");

    let (mut interrupted, cluster) = with_node(&scenario, dir.path());
    signal(&interrupted, "-INT");
    assert_eq!(interrupted.wait().unwrap().code(), Some(130));
    assert_no_processes(&cluster);
    Machine::look().assert_as(&before, "after SIGINT");

    let wrong = Tag::of(&image.name, "spangate-test/node:v1.36.0");
    let cluster = format!("  cluster: {{kind: {{image: \"{}\"}}}}\n  load:", wrong.0);
    let (other, scenario) = with_scenario(&SMOKE.replacen("  load:", &cluster, 1));
    let failed = output(&mut run(&scenario, dir.path()));
    assert_eq!(failed.status.code(), Some(3), "{}", text(&failed));
    let wanted = format!("has Kubernetes {} in it, and 1.36.0 was expected", image.kubernetes);
    assert!(told(&failed).contains(&wanted), "{}", told(&failed));
    drop(other);
    Machine::look().assert_as(&before, "after a failure");
    // The last run has tidied up what the killed one could not.
    for run in fs::read_dir(dir.path().join("runs")).unwrap() {
        let keys = run.unwrap().path().join("control-plane");
        assert!(!keys.exists(), "{} is still there", keys.display());
    }
}

/// Scenario: a plan for kind, with a Kubernetes that kind configures by kubeadm's v1beta3.
/// Guarantees: the version is the one of the command line, also in the command that runs it, and the configs of kind and
/// of the pods are shown; a version that there is no image of is refused, and so is one beside an image.
#[test]
fn a_plan_for_kind_shows_the_version_that_was_asked_for() {
    let (_dir, scenario) = with_scenario(SMOKE);
    let plan =
        |more: &[&str]| output(spangate().arg("plan").arg(&scenario).args(["--provider", "kind"]).args(more));
    let shown = plan(&["--kubernetes", "1.34"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    for part in [
        "--provider kind --kubernetes 1.34",
        "kubernetes: \"1.34\"",
        "tracing-config-file: /etc/spangate/tracing.yaml",
        "# /etc/kubernetes/patches/kube-apiserver+strategic.yaml of the node",
    ] {
        assert!(text(&shown).contains(part), "{part}: {}", text(&shown));
    }
    let json =
        output(spangate().args(["--output", "json", "plan"]).arg(&scenario).args(["--provider", "kind"]));
    let view: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(view["kind"].as_str().unwrap().contains("kind.x-k8s.io/v1alpha4"), "{view:#}");
    for (version, says) in [("1.20", "there is no recipe"), ("one", "expected a version such as 1.37")] {
        let refused = plan(&["--kubernetes", version]);
        assert!(matches!(refused.status.code(), Some(2 | 3)), "{}", text(&refused));
        assert!(told(&refused).contains(says), "{says}: {}", told(&refused));
    }
    let image = "  cluster: {kind: {image: \"kindest/node:v1.36.0\"}}\n  load:";
    fs::write(&scenario, SMOKE.replacen("  load:", image, 1)).unwrap();
    let refused = plan(&["--kubernetes", "1.34"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(told(&refused).contains("which has its version"), "{}", told(&refused));
}

/// Scenario: the configs of kind that are shipped.
/// Guarantees: each can be completed, for the oldest and the newest Kubernetes that there is an image of.
#[test]
fn every_shipped_config_of_kind_can_be_completed() {
    let (_dir, scenario) = with_scenario(SMOKE);
    let text_of = fs::read_to_string(&scenario).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root().join("kind-configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let kind = format!("  cluster: {{kind: {{configFile: \"{}\"}}}}\n  load:", path.display());
        fs::write(&scenario, text_of.replacen("  load:", &kind, 1)).unwrap();
        for version in ["1.34", "1.37"] {
            let mut command = spangate();
            command.arg("plan").arg(&scenario).args(["--provider", "kind", "--kubernetes", version]);
            let planned = output(&mut command);
            assert_eq!(planned.status.code(), Some(0), "{}: {}", path.display(), text(&planned));
        }
        count += 1;
    }
    assert!(count >= 2, "there are only {count}");
}
