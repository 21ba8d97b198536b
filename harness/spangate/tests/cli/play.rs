//! Control planes for play: what is left when their command is killed, and what is said where Docker does not answer.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{SMOKE, all_end, alone, ended, output, spangate, text, with_scenario};

/// A name that no cluster in Docker has.
const NAME: &str = "killed-while-starting";
/// How long the first processes may take to come.
const STARTED: Duration = Duration::from_mins(1);
/// Time between two looks: a server is up soon after it was started.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Control planes below a directory of the test's own, where no Docker is on PATH.
fn cluster(state: &Path, args: &[&str]) -> Command {
    let mut command = spangate();
    command.env("XDG_STATE_HOME", state).env("PATH", state).arg("cluster").args(args);
    command
}

/// Takes the control plane down also when the test fails.
struct Down(PathBuf);

impl Drop for Down {
    fn drop(&mut self) {
        let _ = cluster(&self.0, &["down", NAME]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// What is written down of a control plane.
fn read(state: &Path) -> Option<Value> {
    let text = fs::read(state.join("spangate/clusters").join(NAME).join("state.json")).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn pids(state: &Value) -> BTreeSet<u32> {
    let processes = state["processes"].as_array().unwrap();
    processes.iter().map(|process| u32::try_from(process["pid"].as_u64().unwrap()).unwrap()).collect()
}

/// Starts a control plane, kills the command as soon as it has started so many processes, and gives their numbers.
fn killed_with(count: usize, state: &Path) -> BTreeSet<u32> {
    let mut up = spangate()
        .env("XDG_STATE_HOME", state)
        .args(["cluster", "up", NAME, "--otlp-endpoint", "127.0.0.1:9"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while read(state).is_none_or(|state| pids(&state).len() < count) {
        let runs = up.try_wait().unwrap().is_none();
        assert!(runs && begun.elapsed() < STARTED, "not so many processes were started: {count}");
        thread::sleep(LOOK_EVERY);
    }
    up.kill().unwrap();
    up.wait().unwrap();
    let left = read(state).unwrap();
    assert_eq!(left["endpoint"], Value::Null, "it came up before it was killed: {left:#}");
    pids(&left)
}

/// Scenario: `cluster up` is killed by SIGKILL as soon as etcd runs, and another one as soon as kube-apiserver does too.
/// Guarantees: what runs on is listed as not running, and ends by `cluster prune` as by `cluster down`, without Docker; the
/// directory is gone.
#[test]
fn what_a_killed_start_left_is_found_and_ended() {
    let _alone = alone();
    for (count, end) in [(1, &["prune"][..]), (2, &["down", NAME][..])] {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path();
        let _down = Down(state.to_owned());
        let left = killed_with(count, state);
        assert!(left.len() >= count && left.iter().all(|pid| !ended(*pid)), "{left:?}");
        let listed = output(&mut cluster(state, &["list", "--output", "json"]));
        let view: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let shown = (view[0]["name"].as_str(), view[0]["running"].as_bool());
        assert_eq!(shown, (Some(NAME), Some(false)), "{view:#}");
        let ending = output(&mut cluster(state, end));
        assert_eq!(ending.status.code(), Some(0), "{}", text(&ending));
        assert!(text(&ending).contains(NAME), "{}", text(&ending));
        all_end(&left);
        assert!(!state.join("spangate/clusters").join(NAME).exists());
        let nothing = output(&mut cluster(state, &["prune"]));
        assert!(text(&nothing).contains("nothing to remove"), "{}", text(&nothing));
    }
}

/// Scenario: the client of Docker is there and no engine answers it; control planes are listed, one that is not there is taken
/// down, and is named to a run.
/// Guarantees: nobody says that there is none: the list warns, and the others end with exit code 3 and say what to do.
#[test]
fn a_docker_that_does_not_answer_is_not_taken_for_none() {
    let (dir, scenario) = with_scenario(SMOKE);
    let client = dir.path().join("docker");
    fs::write(&client, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
    let told = |command: &mut Command| {
        let output = output(command);
        // Without the breaks of its lines.
        let text = text(&output);
        let words = text.split_whitespace().filter(|word| *word != "\u{2502}");
        (output.status.code(), words.collect::<Vec<_>>().join(" "))
    };
    let (code, said) = told(&mut cluster(dir.path(), &["list"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: the clusters in Docker cannot be seen"), "{said}");
    let mut reuse = spangate();
    reuse.env("XDG_STATE_HOME", dir.path()).env("PATH", dir.path());
    reuse.args(["run", "--reuse", "nobody", "--out"]).arg(dir.path()).arg(&scenario);
    for mut command in [cluster(dir.path(), &["down", "nobody"]), reuse] {
        let (code, said) = told(&mut command);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("systemctl start docker"), "{said}");
    }
}
