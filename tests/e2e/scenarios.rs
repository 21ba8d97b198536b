//! One test for each file of `scenarios/`: all of its expectations are met. Those that need kind are in `kind.rs`, those with
//! containers in `containers.rs`.

use std::collections::BTreeSet;

use crate::{
    containers,
    harness::{passes, root},
    kind, kind_collector,
};

/// One test a scenario, and the list of all.
macro_rules! scenarios {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                passes($name);
            }
        )*

        const NAMES: &[&str] = &[$($name),*];
    };
}

scenarios! {
    quickstart = "quickstart",
    slow_validating_webhooks = "slow-validating-webhooks",
    webhook_timeout = "webhook-timeout",
    webhook_denies = "webhook-denies",
    webhook_broken = "webhook-broken",
    etcd_slow_writes = "etcd-slow-writes",
    etcd_slow_reads = "etcd-slow-reads",
    etcd_errors = "etcd-errors",
    big_list = "big-list",
    watch_start = "watch-start",
    kubectl_session = "kubectl-session",
    unprivileged_caller = "unprivileged-caller",
    unsampled_parent = "unsampled-parent",
    conflict_and_retry = "conflict-and-retry",
    collector_outage = "collector-outage",
    stages = "stages",
    poisson = "poisson",
    users = "users",
    replay_audit_log = "replay-audit-log",
    watchers = "watchers",
    ten_thousand_objects = "ten-thousand-objects",
    identities = "identities",
    apf_starvation = "apf-starvation",
    head_1_percent = "head-1-percent",
    head_10_percent = "head-10-percent",
    head_100_percent = "head-100-percent",
    head_unset = "head-unset",
    parent_flag_on = "parent-flag-on",
    parent_flag_off = "parent-flag-off",
    unprivileged_parent = "unprivileged-parent",
    head_until_decided = "head-until-decided",
    head_times_tail = "head-times-tail",
    tail_errors_slow_1_percent = "tail-errors-slow-1-percent",
    overhead = "overhead",
    tail_late_spans = "tail-late-spans",
    tail_wait_too_short = "tail-wait-too-short",
    tail_out_of_memory_slots = "tail-out-of-memory-slots",
    tail_drop = "tail-drop",
    tail_composite = "tail-composite",
    probabilistic_hash_seed = "probabilistic-hash-seed",
    probabilistic_proportional = "probabilistic-proportional",
    probabilistic_equalizing = "probabilistic-equalizing",
    spanmetrics_red = "spanmetrics-red",
    collector_memory_limit = "collector-memory-limit",
    collector_restart = "collector-restart",
}

/// Scenario: the directory of shipped scenarios is read.
/// Guarantees: no file is without a test, and no test without a file.
#[test]
fn every_shipped_scenario_has_a_test() {
    let files: BTreeSet<String> = std::fs::read_dir(root().join("scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let on_kind = kind::SCENARIOS.iter().chain(&kind_collector::SCENARIOS).chain(&containers::SCENARIOS);
    let tests: BTreeSet<String> = NAMES.iter().chain(on_kind).map(ToString::to_string).collect();
    assert_eq!(files, tests);
}
