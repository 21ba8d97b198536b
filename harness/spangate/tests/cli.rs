//! The command as a user meets it: exit codes, messages, and what is left when it is ended.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use spangate_load::Summary;

#[path = "cli/ci.rs"]
mod ci;
#[path = "support/docker.rs"]
mod docker;
#[path = "cli/kind.rs"]
mod kind;
#[path = "cli/play.rs"]
mod play;

/// Tests that start a control plane go one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const SMOKE: &str = include_str!("cli/smoke.yaml");
const MISTAKES: &str = include_str!("cli/mistakes.yaml");
const REPLAY: &str = include_str!("cli/replay.yaml");

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spangate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_spangate"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A directory of the test's own with a scenario in it.
fn with_scenario(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenario.yaml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn help_names_every_exit_code() {
    let output = output(spangate().arg("--help"));
    assert_eq!(output.status.code(), Some(0));
    for code in
        ["0 pass", "1 an", "2 usage", "3 the", "4 inconclusive", "5 regression", "70 a bug", "130 int"]
    {
        assert!(text(&output).contains(code), "{code}");
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for args in [&["frobnicate"][..], &["run"], &["run", "no-such-file.yaml"], &["show"], &["schema", "no"]] {
        let output = output(spangate().args(args));
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
    }
}

/// Scenario: a file with five mistakes of different kinds is validated.
/// Guarantees: all of them are told at once, each with its place, and nothing is started.
#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let (_dir, path) = with_scenario(MISTAKES);
    let output = output(spangate().args(["validate", "--output", "json"]).arg(&path));
    assert_eq!(output.status.code(), Some(2));
    let files: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines: Vec<u64> = files[0]["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [3, 9, 11, 14, 17], "{files:#}");
    assert!(text(&output).contains("did you mean"), "{files:#}");
}

/// Scenario: a valid scenario and a file with mistakes are validated from standard input.
/// Guarantees: they are judged as files are, and messages say where they came from.
#[test]
fn standard_input_is_validated_too() {
    for (scenario, code, says) in [(SMOKE, 0, "standard input: valid"), (MISTAKES, 2, "standard input:3:")] {
        let mut child = spangate()
            .args(["validate", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(scenario.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
}

/// Scenario: the Collector's configuration is a file that is no YAML, has no receiver for what is sent, or lacks what an
/// expectation reads.
/// Guarantees: validate and plan refuse the scenario, and name file and line.
#[test]
fn the_collectors_file_is_a_part_of_the_scenario() {
    let scenario = "apiVersion: spangate/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec:\n  collector: {configFile: \
                    c.yaml}\n  load: {traces: {rate: 1/s, for: 1s, classes: [{name: n, share: 100%}]}}\n  expect: \
                    [{spanMetrics: {}}]\n";
    let (dir, path) = with_scenario(scenario);
    let rest = "exporters: {otlp_grpc: {endpoint: a:1}}\nservice: {pipelines: {traces: {receivers: [otlp], exporters: \
                [otlp_grpc]}}}\n";
    for (receivers, says) in [
        ("receivers: {otlp: {protocols: {grpc: }}\n", "c.yaml:2:"),
        ("receivers: {otlp: {protocols: {http: }}}\n", "there is no OTLP/gRPC receiver"),
        ("receivers: {otlp: {protocols: {grpc: }}}\n", "without the connector `span_metrics`"),
    ] {
        fs::write(dir.path().join("c.yaml"), format!("{receivers}{rest}")).unwrap();
        for command in ["validate", "plan"] {
            let told = output(spangate().arg(command).arg(&path));
            assert_eq!(told.status.code(), Some(2), "{}", text(&told));
            assert!(text(&told).contains(says), "{}", text(&told));
        }
    }
}

/// Scenario: schemas and reference are generated again.
/// Guarantees: the committed files are what the code says.
#[test]
fn generated_files_are_fresh() {
    for (of, file) in [
        ("scenario", "schemas/scenario.schema.json"),
        ("experiment", "schemas/experiment.schema.json"),
        ("gate-rules", "schemas/gate-rules.schema.json"),
        ("overhead-rules", "schemas/overhead-rules.schema.json"),
        ("report", "schemas/report.schema.json"),
        ("reference", "docs/scenario-reference.md"),
    ] {
        let output = output(spangate().args(["schema", of]));
        let committed = fs::read(root().join(file)).unwrap();
        assert!(output.stdout == committed, "{file} is stale: run `just schemas`");
    }
}

/// Scenario: the scenario that the README shows is read.
/// Guarantees: it is valid, so that copying it works.
#[test]
fn the_scenario_of_the_readme_is_valid() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let (_dir, path) = with_scenario(yaml);
    let output = output(spangate().arg("validate").arg(&path));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// A directory with a scenario in `scenarios/` that replays `records/audit.jsonl`: the recorded log, and before it a
/// line that was cut off and one that is no JSON.
fn with_record() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (scenarios, records) = (dir.path().join("scenarios"), dir.path().join("records"));
    fs::create_dir(&scenarios).unwrap();
    fs::create_dir(&records).unwrap();
    let recorded = fs::read_to_string(root().join("fixtures/audit.jsonl")).unwrap();
    fs::write(records.join("audit.jsonl"), format!("{}\nnot json\n{recorded}", &recorded[..40])).unwrap();
    let path = scenarios.join("replay.yaml");
    fs::write(&path, REPLAY).unwrap();
    (dir, path)
}

/// Scenario: a replay of a log with two broken lines is validated and planned; then the log is gone.
/// Guarantees: the lines are told on standard error with their numbers and reasons, unless it is to be quiet; the
/// scenario itself is valid, also without the log.
#[test]
fn broken_lines_of_a_record_are_told() {
    let (dir, path) = with_record();
    let run = |args: &[&str]| output(spangate().args(args).arg(&path));
    for command in ["validate", "plan"] {
        let told = run(&[command]);
        assert_eq!(told.status.code(), Some(0), "{}", text(&told));
        let stderr = String::from_utf8_lossy(&told.stderr);
        assert!(stderr.starts_with("warning: 2 lines of "), "{stderr}");
        let reasons = "audit.jsonl are broken and cannot be replayed: EOF while parsing a string (line 1), \
                       expected ident (line 2)\n";
        assert!(stderr.ends_with(reasons), "{stderr}");
        assert_eq!(run(&[command, "--quiet"]).stderr, b"");
    }
    let json = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let told = json(&run(&["validate", "--output", "json"]));
    assert_eq!((told[0]["warnings"].as_array().unwrap().len(), &told[0]["valid"]), (1, &json!(true)));
    fs::remove_dir_all(dir.path().join("records")).unwrap();
    let told = json(&run(&["validate", "--output", "json"]));
    assert_eq!(told[0]["valid"], true);
    assert!(told[0]["warnings"][0].as_str().unwrap().contains("cannot read the record"), "{told:#}");
    assert_eq!(run(&["plan"]).status.code(), Some(2));
}

/// Scenario: a log whose path is relative to the scenario is replayed; then log and scenario are gone, and the run is
/// repeated from another directory by the script that it left.
/// Guarantees: the second run sends the same, the first tells of broken lines and latencies, and both leave what the
/// load came to.
#[test]
fn a_replay_is_repeated_from_anywhere() {
    let _alone = alone();
    let (dir, path) = with_record();
    let out = tempfile::tempdir().unwrap();
    let first = output(spangate().args(["run", "--verbose", "--out"]).arg(out.path()).arg(&path));
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    let stdout = String::from_utf8_lossy(&first.stdout);
    assert!(stdout.contains("\nwarning: 2 lines of ") && stdout.contains("service p50"), "{stdout}");
    assert!(String::from_utf8_lossy(&first.stderr).starts_with("warning: 2 lines of "), "{}", text(&first));

    drop(dir);
    let elsewhere = tempfile::tempdir().unwrap();
    let script = glob_one(out.path(), "repeat.sh");
    let again = output(Command::new(&script).arg("--quiet").current_dir(elsewhere.path()));
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    let first = script.parent().unwrap().to_owned();
    let mut beside = fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().path());
    let again = beside.find(|run| *run != first).expect("the second run is beside the first");
    let [first, again] = [first, again].map(|run| {
        let read = |name: &str| fs::read(run.join(name)).unwrap();
        let summary: Summary = serde_json::from_slice(&read("summary.json")).unwrap();
        let plan: Value = serde_json::from_slice(&read("plan.json")).unwrap();
        assert!(summary.started > 0 && summary.started == summary.planned, "{summary:?}");
        assert_eq!(summary.skipped["broken line"], 2);
        (summary.planned, plan["load"]["fingerprint"].clone())
    });
    assert_eq!(first, again);
}

/// Scenario: another record is named for a load that is no replay.
/// Guarantees: that is a usage error, and nothing is started.
#[test]
fn only_a_replay_has_a_record() {
    let (dir, path) = with_scenario(SMOKE);
    let output = output(spangate().args(["run", "--record", "x.jsonl", "--out"]).arg(dir.path()).arg(&path));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("--record is for loads that are replays"), "{}", text(&output));
}

/// Scenario: kube-apiserver is a program that ends at once.
/// Guarantees: exit code 3, and a message that says which program and why.
#[test]
fn a_control_plane_that_cannot_be_had_is_exit_code_3() {
    let _alone = alone();
    let (dir, path) = with_scenario(SMOKE);
    let mut command = spangate();
    command.args(["run", "--kube-apiserver", "/bin/false", "--out"]).arg(dir.path()).arg(&path);
    let output = output(&mut command);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("kube-apiserver"), "{}", text(&output));
}

/// Scenario: a kind cluster is asked for where no docker is on PATH, and where its engine does not answer.
/// Guarantees: exit code 3, and what to do about it, in a run as well as for a cluster for play; and before a Collector is
/// built, which could not be here.
#[test]
fn no_docker_is_exit_code_3_and_says_what_to_do() {
    let (dir, path) = with_scenario(SMOKE);
    let docker = dir.path().join("docker");
    for (script, wanted) in
        [(None, "docker is not on PATH: install Docker"), (Some("exit 1"), "systemctl start")]
    {
        if let Some(script) = script {
            fs::write(&docker, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let run = [OsStr::new("run"), "--out".as_ref(), dir.path().as_os_str(), path.as_os_str()];
        let collector = root().join("scenarios/collector-restart.yaml");
        let with_collector =
            [OsStr::new("run"), "--out".as_ref(), dir.path().as_os_str(), collector.as_os_str()];
        for args in [&run[..], &with_collector[..], &["cluster".as_ref(), "up".as_ref()]] {
            let mut command = spangate();
            command.env("PATH", dir.path()).env("XDG_STATE_HOME", dir.path());
            command.env("XDG_CACHE_HOME", dir.path());
            command.env_remove("SPANGATE_ASSETS").env_remove("KUBEBUILDER_ASSETS");
            let output = output(command.args(args).args(["--provider", "kind"]));
            assert_eq!(output.status.code(), Some(3), "{}", text(&output));
            let said = text(&output).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(wanted), "{said}");
        }
    }
}

/// Scenario: a scenario that names its own version of etcd is to run on kind.
/// Guarantees: it is refused before anything is started, with the place of the version.
#[test]
fn what_kind_cannot_do_is_refused_before_the_run() {
    let own_etcd = SMOKE.replace("spec:\n", "spec:\n  cluster: {etcd: {version: \"3.6\"}}\n");
    let (_dir, path) = with_scenario(&own_etcd);
    for command in ["run", "plan"] {
        let output = output(spangate().args([command, "--provider", "kind"]).arg(&path));
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains("spec.cluster.etcd.version: on kind"), "{}", text(&output));
    }
}

/// Scenario: kube-apiserver is a program that ends at once, then a file is no scenario; JSON is asked for.
/// Guarantees: each run is an object of the same form, alone or in a list, and names its directory if it has one.
#[test]
fn a_run_that_could_not_start_is_in_the_json_too() {
    let _alone = alone();
    let (dir, path) = with_scenario(SMOKE);
    let run = |files: &[&Path]| {
        let mut command = spangate();
        command.args(["run", "--output", "json", "--kube-apiserver", "/bin/false", "--out"]);
        let output = output(command.arg(dir.path()).args(files));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), json)
    };
    let (code, one) = run(&[&path]);
    assert_eq!((code, &one["kind"], &one["status"]), (Some(3), &json!("BrokenRun"), &json!("error")));
    assert_eq!(one["scenario"], "smoke");
    assert!(one["error"].as_str().unwrap().contains("kube-apiserver"), "{one:#}");
    assert!(Path::new(one["directory"].as_str().unwrap()).join("logs").is_dir(), "{one:#}");

    let (code, two) = run(&[&path, &path]);
    assert_eq!((code, &two["kind"]), (Some(3), &json!("ReportList")));
    let items = two["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{two:#}");
    assert_ne!(items[0]["directory"], items[1]["directory"]);

    let (code, missing) = run(&[Path::new("no-such-file.yaml")]);
    assert_eq!((code, &missing["status"]), (Some(2), &json!("error")));
    assert_eq!((&missing["scenario"], &missing["directory"]), (&json!("no-such-file.yaml"), &Value::Null));
}

/// Scenario: the plan of an experiment, with options of experiments and with one of scenarios; the plan of a scenario with one of
/// experiments.
/// Guarantees: it shows every round, how long it takes and what would show, as text and as JSON, and starts nothing; options that
/// would have no effect are refused.
#[test]
fn an_experiment_is_planned() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/overhead.yaml");
    let plan = |options: &[&str]| output(spangate().arg("plan").arg(&file).args(options));
    let shown = plan(&["--rounds", "6"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    for part in ["5 arms, 6 rounds, 30 units", "in the budget of 18m", "6 rounds show", "100-percent"] {
        assert!(text(&shown).contains(part), "{part}: {}", text(&shown));
    }
    let json = plan(&["--output", "json", "--arm", "0", "--rounds", "20", "--spread", "3%"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json["rounds"].as_array().unwrap().len(), json["arms"].as_array().unwrap().len()), (20, 1));
    assert!(json["arms"][0]["shows"].as_object().unwrap().values().all(Value::is_string), "{json:#}");
    for wrong in [&["--provider", "kind"][..], &["--arm", "none"], &["--spread", "3%", "--measured", "x"]] {
        assert_eq!(plan(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let (_dir, scenario) = with_scenario(SMOKE);
    let refused = output(spangate().arg("plan").arg(&scenario).args(["--spread", "3%"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("--spread is for experiments"), "{}", text(&refused));
}

/// Scenario: the harness is ended by SIGKILL in the middle of a run, then the same scenario is run again.
/// Guarantees: etcd and kube-apiserver end with it, its directory says that it did not finish, and the next run
/// passes and removes the keys that were left.
#[test]
fn kill_9_leaves_no_process_and_the_next_run_passes() {
    let _alone = alone();
    let (dir, path) = with_scenario(SMOKE);
    let (mut run, children) = run_until_load(dir.path(), &path);
    run.kill().unwrap();
    run.wait().unwrap();
    all_end(&children);
    let killed = glob_one(dir.path(), "requests.jsonl").parent().unwrap().to_owned();
    assert!(killed.join("control-plane/pki").is_dir(), "a killed run cannot tidy up");
    let check = output(spangate().args(["check", "--from"]).arg(&killed));
    assert!(text(&check).contains("did not finish"), "{}", text(&check));
    let next = output(spangate().args(["run", "--out"]).arg(dir.path()).arg(&path));
    assert_eq!(next.status.code(), Some(0), "{}", text(&next));
    assert!(!killed.join("control-plane").exists(), "keys are left");
    assert!(killed.join("logs/kube-apiserver.log").exists(), "logs are kept");
}

/// Scenario: Ctrl-C in the middle of a run.
/// Guarantees: exit code 130, both processes end, and the ledgers keep what was sent.
#[test]
fn ctrl_c_ends_everything_and_keeps_the_ledgers() {
    let _alone = alone();
    let (dir, path) = with_scenario(SMOKE);
    let (mut run, children) = run_until_load(dir.path(), &path);
    let ledger = glob_one(dir.path(), "requests.jsonl");
    eventually("a request is in the ledger", || fs::metadata(&ledger).is_ok_and(|file| file.len() > 0));
    let killed = Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    all_end(&children);
    let lines = fs::read_to_string(&ledger).unwrap();
    let whole = lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok());
    assert!(whole && lines.ends_with('\n'), "{lines}");
    assert!(!ledger.with_file_name("control-plane").exists(), "keys and data are removed");
}

/// Scenario: kube-apiserver is ended by SIGKILL while load is sent.
/// Guarantees: the run says so with exit code 3, gives no verdict, and the ledgers keep what was sent.
#[test]
fn an_api_server_that_dies_under_load_ends_the_run() {
    let _alone = alone();
    let (dir, path) = with_scenario(SMOKE);
    let (mut run, children) = run_until_load(dir.path(), &path);
    let ledger = glob_one(dir.path(), "requests.jsonl");
    eventually("a request is in the ledger", || fs::metadata(&ledger).is_ok_and(|file| file.len() > 0));
    let api_server = children.iter().find(|pid| name_of(**pid) == "kube-apiserver").unwrap();
    let killed = Command::new("kill").args(["-KILL", &api_server.to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(run.wait().unwrap().code(), Some(3));
    all_end(&children);
    let lines = fs::read_to_string(&ledger).unwrap();
    let whole = lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok());
    assert!(whole && lines.ends_with('\n'), "{lines}");
    assert!(!ledger.with_file_name("report.json").exists(), "a broken run has no verdict");
}

/// Starts a run and returns when it sends load, with the processes that it has started.
fn run_until_load(out: &Path, scenario: &Path) -> (Child, BTreeSet<u32>) {
    let mut run = spangate()
        .args(["run", "--out"])
        .arg(out)
        .arg(scenario)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    loop {
        let line = lines.next().unwrap_or_else(|| panic!("the run ended early: {said:#?}")).unwrap();
        if line.contains("sending load") {
            break;
        }
        said.push(line);
    }
    // Whatever else it says must not block it.
    std::thread::spawn(move || lines.for_each(drop));
    let children = children_of(run.id());
    assert_eq!(children.len(), 2, "etcd and kube-apiserver: {said:#?}");
    (run, children)
}

/// The processes whose parent is `pid` (field 4 of `/proc/PID/stat`).
fn children_of(pid: u32) -> BTreeSet<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|child| parent_of(*child) == Some(pid))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields are counted from its end.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The name of a process, of which Linux keeps the first 15 bytes (`proc(5)`).
fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim_end().to_owned()
}

fn all_end(pids: &BTreeSet<u32>) {
    eventually("the control plane has ended", || pids.iter().all(|pid| ended(*pid)));
}

/// Whether a process is gone, or only waits for its parent to notice.
fn ended(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not so after 10 s: {what}");
        std::thread::yield_now();
    }
}

/// The file `name` of the only run in `out`.
fn glob_one(out: &Path, name: &str) -> PathBuf {
    let runs: Vec<PathBuf> = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path().join(name))
        .filter(|p| p.exists())
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}
