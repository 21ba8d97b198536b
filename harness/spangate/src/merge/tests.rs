use std::fs;

use serde_json::json;
use spangate_load::RequestRecord;
use spangate_trace::UnixNanos;

use super::*;
use crate::{plan::LoadView, testing};

fn plan(shard: &str) -> WorkerPlan {
    WorkerPlan {
        scenario: json!({"metadata": {"name": "x"}, "spec": {"seed": 7, "load": {"objects": 10}}}),
        shard: shard.parse().unwrap(),
        missing: Vec::new(),
        start: UnixNanos(1),
        load: LoadView {
            operations: 3,
            by_entry: vec![3],
            rate: 1.0,
            prepared_objects: 0,
            fingerprint: "00".to_owned(),
        },
    }
}

/// Leaves what a worker of one request leaves.
fn leave(path: &Path, plan: &WorkerPlan) {
    let directory = RunDirectory::at(path).unwrap();
    directory.write_json(RunDirectory::PLAN, plan).unwrap();
    directory.write(RunDirectory::SCENARIO, "kind: Scenario\n").unwrap();
    directory.write(RunDirectory::EVENTS, "").unwrap();
    let request = RequestRecord { arrival: u64::from(plan.shard.index()), step: 0, ..testing::request() };
    directory.write(RunDirectory::REQUESTS, &serde_json::to_string(&request).unwrap()).unwrap();
    directory.write_json(RunDirectory::SUMMARY, &summary()).unwrap();
}

fn summary() -> Summary {
    serde_json::from_value(json!({
        "planned": 1, "started": 1, "shed": 0, "notStarted": 0, "requests": 1, "errors": 0, "timeouts": 0, "refused": 0,
        "duration": "3s", "startLag": spangate_load::Histogram::default(), "latencies": [],
        "timeline": {"width": 1, "slots": []},
    }))
    .unwrap()
}

fn merged(plans: &[WorkerPlan], partial: bool) -> (tempfile::TempDir, Result<Merged, CommandError>) {
    let root = tempfile::tempdir().unwrap();
    let directories: Vec<_> = (0..plans.len()).map(|number| root.path().join(number.to_string())).collect();
    for (directory, plan) in directories.iter().zip(plans) {
        leave(directory, plan);
    }
    let merged = merge(&directories, &root.path().join("out"), partial);
    (root, merged)
}

fn refused(plans: &[WorkerPlan]) -> String {
    let (root, merged) = merged(plans, false);
    assert!(!root.path().join("out").exists(), "nothing is written");
    let error = merged.unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn parts_of_one_load_are_joined_in_order() {
    let (root, merged) = merged(&["2/3", "0/3", "1/3"].map(plan), false);
    let merged = merged.unwrap();
    assert_eq!((merged.summary.planned, merged.requests, merged.missing), (3, 3, vec![]));
    let out = RunDirectory::existing(&root.path().join("out"));
    let requests: Vec<RequestRecord> = out.read_lines(RunDirectory::REQUESTS).unwrap();
    assert!(requests.iter().map(|request| request.arrival).eq(0..3));
    assert_eq!(out.read_json::<Summary>(RunDirectory::SUMMARY).unwrap(), merged.summary);
    assert_eq!(out.read_json::<WorkerPlan>(RunDirectory::PLAN).unwrap(), plan("0/1"));
}

#[test]
fn parts_that_are_missing_are_named_and_can_be_done_without() {
    let told = refused(&["2/3"].map(plan));
    assert!(told.contains("of 3 workers some are missing: 0/3, 1/3"), "{told}");
    let (root, merged) = merged(&["2/3"].map(plan), true);
    let missing: Vec<_> = merged.unwrap().missing.iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["0/3", "1/3"]);
    let out = RunDirectory::existing(&root.path().join("out"));
    assert_eq!(out.read_json::<WorkerPlan>(RunDirectory::PLAN).unwrap().missing.len(), 2);
}

#[test]
fn parts_of_different_loads_are_refused() {
    let other = |change: fn(&mut WorkerPlan)| {
        let mut other = plan("1/2");
        change(&mut other);
        refused(&[plan("0/2"), other])
    };
    for (told, message) in [
        (
            other(|plan| plan.scenario["metadata"]["name"] = json!("y")),
            "different scenarios: \"x\" and \"y\"",
        ),
        (other(|plan| plan.scenario["spec"]["seed"] = json!(8)), "different seeds: 7 and 8"),
        (other(|plan| plan.scenario["spec"]["load"]["objects"] = json!(9)), "differ at /spec/load/objects"),
        (other(|plan| plan.scenario["spec"]["load"] = json!({})), "differ at /spec/load/objects"),
        (other(|plan| plan.load.fingerprint = "01".to_owned()), "different loads"),
        (
            other(|plan| plan.start = UnixNanos(2)),
            "different times: they began at 0.000000001 and 0.000000002",
        ),
        (other(|plan| plan.shard = "1/3".parse().unwrap()), "part 0/2 is of a load for 2 workers, part 1/3"),
        (other(|plan| plan.shard = "0/2".parse().unwrap()), "part 0/2 is there twice"),
    ] {
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn a_worker_that_was_killed_is_named() {
    let root = tempfile::tempdir().unwrap();
    let directories = ["0/2", "1/2"].map(|shard| root.path().join(shard.replace('/', "-")));
    for (directory, shard) in directories.iter().zip(["0/2", "1/2"]) {
        leave(directory, &plan(shard));
    }
    fs::remove_file(directories[1].join(RunDirectory::SUMMARY)).unwrap();
    let told = merge(&directories, &root.path().join("out"), false).unwrap_err().to_string();
    assert_eq!(told, "a worker left no summary");
    leave_half_a_line(&directories[1]);
    let told = merge(&directories, &root.path().join("out"), false).unwrap_err().to_string();
    assert!(told.contains("1-2/requests.jsonl cannot be joined"), "{told}");
}

#[test]
fn a_run_is_no_part() {
    let root = tempfile::tempdir().unwrap();
    let run = RunDirectory::at(root.path()).unwrap();
    run.write(RunDirectory::PLAN, r#"{"scenario": {}, "components": [], "load": {}, "run": ""}"#).unwrap();
    let error = merge(&[root.path().to_owned()], &root.path().join("out"), false).unwrap_err();
    let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
    assert!(help.is_some_and(|help| help.contains("`spangate worker --out`")), "{error}");
}

fn leave_half_a_line(path: &Path) {
    let directory = RunDirectory::existing(path);
    directory.write_json(RunDirectory::SUMMARY, &summary()).unwrap();
    directory.write(RunDirectory::REQUESTS, "{\"arrival\":").unwrap();
}
