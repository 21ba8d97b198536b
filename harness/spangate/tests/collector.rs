//! `spangate collector` as a user meets it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/collector").join(name)
}

fn check() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["collector", "check"]).stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn todays_form_passes_and_the_old_one_fails() {
    let output = check().arg(fixture("spanmetrics.yaml")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("spanmetrics.yaml: nothing found"), "{}", stdout(&output));

    let output =
        check().args([fixture("spanmetrics.yaml"), fixture("spanmetrics.old.yaml")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("the processor `spanmetrics` no longer exists"), "{}", stdout(&output));
}

#[test]
fn findings_are_json_if_that_is_wanted() {
    let output =
        check().args(["--output", "json"]).arg(fixture("head-10-percent.old.yaml")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = json[0]["findings"].as_array().unwrap();
    let logging = findings.iter().find(|finding| finding["path"] == "exporters.logging").unwrap();
    assert_eq!((&logging["rule"], &logging["severity"]), (&"component-removed".into(), &"error".into()));
    assert!(logging["fix"].as_str().unwrap().contains("debug"), "{logging}");
}

#[test]
fn options_and_standard_input_count() {
    let tail = || {
        let mut command = check();
        // Text is broken into lines wherever it has to be.
        command.args(["--output", "json"]).arg(fixture("tail-errors-slow-1-percent.yaml"));
        command
    };
    assert_eq!(tail().output().unwrap().status.code(), Some(0));
    let output = tail().args(["--traces-per-second", "1000"]).output().unwrap();
    assert!(stdout(&output).contains("num_traces: 22000"), "{}", stdout(&output));
    let output = tail().args(["--head-sampling-rate-per-million", "100000"]).output().unwrap();
    assert!(stdout(&output).contains("is 0.1% of all"), "{}", stdout(&output));

    let mut child = check().arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"receivers: [otlp]\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("expected a mapping, got a list"), "{}", stdout(&output));
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_of_the_command_line() {
    assert_eq!(check().arg(fixture("none.yaml")).output().unwrap().status.code(), Some(2));
}
