//! The gate on overhead, tried on real API servers: equal ones, and one that burns CPU on purpose.
//!
//! The burner is the real kube-apiserver with one goroutine more (`fixtures/burn`), so what it burns is in its process. The
//! suite sees a great burn only; `just prove-gate` asks for ten gates of equal servers and five of a burn of 10 %, by
//! `SPANGATE_PROVE_GATE=10,5`, and shows the table. `SPANGATE_PROVE_MINUTES` says after how long no further gate begins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use spangate::{
    event::Events,
    overhead::{
        Metric, OverheadReport, OverheadRules,
        pair::{
            self, Pair, PairOptions,
            side::{BuiltIn, Side},
        },
        simulate::Tally,
    },
    run::directory::RunDirectory,
    verdict::Status,
};
use spangate_scenario::units::Ratio;
use tokio_util::sync::CancellationToken;

use crate::harness::{alone, root};

const TRACING: &str =
    "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nsamplingRatePerMillion: 10000\n";
const BUILT_IN: BuiltIn = BuiltIn { rate: 150.0, length: Duration::from_secs(16) };

/// The burner, built once: the same file under every name, and the name says what it burns.
fn burner(percent: u32) -> PathBuf {
    let directory = root().join("target/burn");
    fs::create_dir_all(&directory).unwrap();
    let module = root().join("fixtures/modules/kube-apiserver-1.37.2");
    for (from, name) in [
        (module.join("go.mod"), "go.mod"),
        (module.join("go.sum"), "go.sum"),
        (root().join("fixtures/burn/main.go"), "main.go"),
    ] {
        fs::copy(from, directory.join(name)).unwrap();
    }
    let version = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {version}.gitVersion=v1.37.2 -X {version}.gitMajor=1 -X {version}.gitMinor=37 -X {version}.gitTreeState=clean"
    );
    let built = Command::new("go")
        .args([
            "build",
            "-mod=mod",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &flags,
            "-o",
            "kube-apiserver",
            ".",
        ])
        .current_dir(&directory)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .status()
        .unwrap();
    assert!(built.success(), "the burner cannot be built: {built}");
    let plain = directory.join("kube-apiserver");
    if percent == 0 {
        return plain;
    }
    let burning = directory.join(format!("kube-apiserver-burn-{percent}"));
    let _ = fs::remove_file(&burning);
    fs::hard_link(&plain, &burning).unwrap();
    burning
}

/// CPU time alone: what is burnt is in nothing else for certain.
fn rules() -> OverheadRules {
    let mut rules = OverheadRules::default_rules();
    rules.rules.retain(|rule| rule.metric == Metric::CpuPerRequest);
    rules
}

/// A gate of equal servers, of which the new one burns so much.
fn gate(rules: OverheadRules, rounds: u32, percent: u32, seed: u64) -> OverheadReport {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tracing.yaml");
    fs::write(&config, TRACING).unwrap();
    let side =
        |binary: &Path| Side::read(&config, &BUILT_IN).unwrap().with_api_server(Some(binary.to_owned()));
    let pair = Pair {
        base: side(&burner(0)),
        head: side(&burner(percent)),
        rules,
        rounds,
        warm_up: Duration::from_secs(6),
        seed,
    };
    pair.check().unwrap();
    let options =
        PairOptions { out: root().join(RunDirectory::ROOT), repeat: "cargo test prove_gate".to_owned() };
    let (events, _stream) = Events::channel();
    let cancel = CancellationToken::new();
    let run = pair::run(&pair, &options, &events, &cancel);
    alone(Box::pin(run)).unwrap().0
}

/// Scenario: two equal API servers at the same time, one of which burns half as much again.
/// Guarantees: the gate is red, for CPU time.
#[test]
fn a_great_burn_is_red() {
    let mut rules = rules();
    // Five rounds have an interval of this confidence, and a burn of half as much needs no more.
    rules.confidence = Ratio::new(0.8).unwrap();
    let report = gate(rules, 5, 50, 1);
    println!("{}", report.markdown());
    assert_eq!(report.status, Status::Fail, "{:#?}", report.verdicts);
}

/// Scenario: as many gates of equal servers, and of a burn of 10 %, as was asked for.
/// Guarantees: no more of the equal ones are red than the gate says, and all of the burns are.
#[test]
#[ignore = "an hour on a machine of its own: `just prove-gate`"]
fn the_gate_keeps_its_promises() {
    let asked =
        std::env::var("SPANGATE_PROVE_GATE").expect("SPANGATE_PROVE_GATE says how many, such as 10,5");
    let (equal, burnt) = asked.split_once(',').expect("SPANGATE_PROVE_GATE is two numbers, such as 10,5");
    let minutes: u64 = std::env::var("SPANGATE_PROVE_MINUTES").map_or(120, |it| it.parse().unwrap());
    let until = Instant::now() + Duration::from_mins(minutes);
    println!("| server | rounds | CPU per request | 99% | gate |\n|---|---|---|---|---|");
    let mut tallies = [Tally::default(); 2];
    let mut left_out = 0;
    for (kind, percent, count) in [(0, 0, equal), (1, 10, burnt)] {
        for seed in 0..count.parse::<u64>().unwrap() {
            if Instant::now() > until {
                left_out += 1;
                continue;
            }
            let report = gate(rules(), Pair::ROUNDS, percent, 1_000 * (seed + 1));
            match report.status {
                Status::Fail => tallies[kind].red += 1,
                Status::Pass => tallies[kind].green += 1,
                Status::Inconclusive => tallies[kind].open += 1,
            }
            let figure = report.comparison.figure("head", Metric::CpuPerRequest);
            let effect = figure.and_then(|figure| figure.effect).expect("it was measured");
            let change = |ratio: f64| format!("{:+.1}%", (ratio - 1.0) * 100.0);
            println!(
                "| {} | {} | {} | {} to {} | {:?} |",
                if percent == 0 { "equal".to_owned() } else { format!("+{percent}%") },
                effect.pairs,
                change(effect.ratio.value),
                change(effect.ratio.low),
                change(effect.ratio.high),
                report.status
            );
        }
    }
    let stated = rules().false_red(1);
    let [equal, burnt] = tallies;
    println!("equal: {equal:?}, stated {:.1}% red; burnt: {burnt:?}; not begun: {left_out}", stated * 100.0);
    assert_eq!(left_out, 0, "the time was up");
    assert!(equal.keeps(stated), "{equal:?}");
    assert_eq!(burnt.red, burnt.all(), "{burnt:?}");
}
