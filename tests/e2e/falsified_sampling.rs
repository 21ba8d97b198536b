//! Real runs with a head sampler are falsified afterwards: in what the scenario says of the server, or in what
//! arrived from it. The verdict on sampling must turn red.

use std::{collections::BTreeSet, sync::LazyLock};

use spangate::{
    evidence::Evidence,
    report::Report,
    saved,
    verdict::{self, Status, Verdict},
};
use spangate_scenario::units::PerMillion;
use spangate_trace::{Capture, RatioSampler, Span, TraceId, contract};

use crate::harness::{plan_of, run_plan, run_scenario};

static ONE_PERCENT: LazyLock<Evidence> = LazyLock::new(|| saved_run("head-1-percent"));
static TEN_PERCENT: LazyLock<Evidence> = LazyLock::new(|| saved_run("head-10-percent"));
static ALL: LazyLock<Evidence> = LazyLock::new(|| saved_run("head-100-percent"));
static BY_FLAG: LazyLock<Evidence> = LazyLock::new(|| saved_run("parent-flag-on"));

fn saved_run(name: &str) -> Evidence {
    let (_, directory) = run_scenario(name);
    saved::read(&directory, None).unwrap()
}

/// The verdicts on sampling when the scenario says that the server runs at `rate` parts of a million.
fn claiming(run: &Evidence, rate: u32) -> Vec<Verdict> {
    let mut scenario = run.scenario.clone();
    scenario.spec.cluster.tracing.sampling_rate_per_million = PerMillion::new(rate);
    let Evidence { requests, injections, facts, .. } = run;
    let capture = run.capture.clone();
    on_sampling(&Evidence::new(scenario, requests.clone(), injections.clone(), capture, facts.clone()))
}

/// The verdicts on sampling when only spans for which `arrives` holds did arrive.
fn arriving(run: &Evidence, arrives: impl Fn(&Span) -> bool) -> Vec<Verdict> {
    let spans = (0..run.capture.rows().len()).map(|row| run.capture.span(row)).filter(arrives).collect();
    let Evidence { scenario, requests, injections, facts, .. } = run;
    let capture = Capture::from_spans(spans);
    on_sampling(&Evidence::new(
        scenario.clone(),
        requests.clone(),
        injections.clone(),
        capture,
        facts.clone(),
    ))
}

fn on_sampling(evidence: &Evidence) -> Vec<Verdict> {
    let verdicts = verdict::judge(evidence).into_iter();
    verdicts.filter(|verdict| verdict.expectation.starts_with("sampling")).collect()
}

fn status(verdicts: &[Verdict], of: &str) -> Status {
    let found = verdicts.iter().find(|verdict| verdict.expectation.starts_with(&format!("sampling of {of}")));
    found.unwrap_or_else(|| panic!("no verdict on {of:?} in {verdicts:#?}")).status
}

/// One in a hundred of the captured traces of requests of the load.
fn one_in_a_hundred(run: &Evidence) -> BTreeSet<TraceId> {
    let sent: BTreeSet<&str> =
        run.requests.iter().filter_map(|request| request.audit_id.as_deref()).collect();
    let of_load = contract::server_spans(&run.capture).filter(|row| {
        run.capture.text(*row, contract::AUDIT_ID).is_some_and(|id| sent.contains(id.as_str()))
    });
    of_load.map(|row| run.capture.rows()[row].trace_id).step_by(100).collect()
}

/// Scenario: the saved runs are judged again as they are.
/// Guarantees: what turns red below is green here, so the falsehood alone made it red.
#[test]
fn the_truth_is_green() {
    for run in [&ONE_PERCENT, &TEN_PERCENT, &ALL, &BY_FLAG] {
        let verdicts = arriving(run, |_| true);
        assert!(!verdicts.is_empty());
        for verdict in verdicts {
            assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        }
    }
}

/// Scenario: a scenario says 1% of a server that runs at 10% or 100%, and another one says 10% of one at 1%.
/// Guarantees: requests and authentication are red, each by itself; too high a rate is shown by an id.
#[test]
fn a_server_at_another_rate_is_caught() {
    for (run, claim) in [
        (&TEN_PERCENT, 10_000),
        (&ALL, 10_000),
        (&ONE_PERCENT, 100_000),
        (&ONE_PERCENT, 0),
        (&TEN_PERCENT, 0),
    ] {
        let verdicts = claiming(run, claim);
        for of in ["requestRoots", "authenticationRoots"] {
            assert_eq!(status(&verdicts, of), Status::Fail, "{claim}: {verdicts:#?}");
        }
    }
    let verdicts = claiming(&TEN_PERCENT, 10_000);
    let example = verdicts[0].examples[0];
    assert!(
        !RatioSampler::per_million(10_000).keeps(example)
            && RatioSampler::per_million(100_000).keeps(example)
    );
}

/// Scenario: a scenario says 8% and 12% of a server that runs at 10%.
/// Guarantees: the ids tell so small a difference from some hundred traces, where a count would need thousands.
#[test]
fn a_slightly_other_rate_is_caught() {
    for claim in [80_000, 120_000] {
        let verdicts = claiming(&TEN_PERCENT, claim);
        assert_eq!(status(&verdicts, "requestRoots"), Status::Fail, "{claim}: {verdicts:#?}");
    }
}

/// Scenario: one in a hundred traces of requests never arrived.
/// Guarantees: red, both where every request is traced and where the flag decides; and it names such a trace.
#[test]
fn one_in_a_hundred_lost_traces_is_caught() {
    for (run, of) in [(&ALL, "requestRoots"), (&ALL, "honouredParents"), (&BY_FLAG, "honouredParents")] {
        let lost = one_in_a_hundred(run);
        assert!(lost.len() >= 5, "{lost:?}");
        let verdicts = arriving(run, |span| !lost.contains(&span.trace_id));
        assert_eq!(status(&verdicts, of), Status::Fail, "{verdicts:#?}");
    }
    let lost = one_in_a_hundred(&BY_FLAG);
    let verdicts = arriving(&BY_FLAG, |span| !lost.contains(&span.trace_id));
    assert!(lost.contains(&verdicts[0].examples[0]), "{verdicts:#?}");
}

/// Scenario: the ledger says that one request was sent with the flag 00, which was sent with 01.
/// Guarantees: red, for its trace is one too many.
#[test]
fn a_trace_of_an_unsampled_parent_is_caught() {
    let Evidence { scenario, requests, injections, facts, .. } = &*BY_FLAG;
    let mut requests = requests.clone();
    let sent = requests.iter_mut().find_map(|request| request.sent.as_mut().filter(|sent| sent.sampled));
    sent.unwrap().sampled = false;
    let capture = BY_FLAG.capture.clone();
    let evidence = Evidence::new(scenario.clone(), requests, injections.clone(), capture, facts.clone());
    assert_eq!(status(&on_sampling(&evidence), "honouredParents"), Status::Fail);
}

/// Scenario: nine in ten kept traces of a server at 10% never arrived.
/// Guarantees: red, by the count; the ids still clear the sampler, and the loss is told.
#[test]
fn a_loss_is_not_taken_for_a_lower_rate() {
    let verdicts = arriving(&TEN_PERCENT, |span| span.trace_id.as_bytes()[0].is_multiple_of(10));
    let verdict = &verdicts[0];
    assert_eq!(verdict.status, Status::Fail);
    let check = |what: &str| verdict.checks.iter().find(|check| check.what == what).unwrap();
    assert!(check("rate by ids").holds && !check("rate by count").holds, "{verdict:#?}");
    assert!(!check("lost").holds, "{verdict:#?}");
}

/// A run of `requests` requests in which the API server samples at `rate` parts of a million, and the scenario says 1%.
fn lying_server(rate: u32, requests: u32) -> Report {
    let seconds = requests / 1_000;
    let text = format!(
        "apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {{name: lying-server}}
spec:
  seed: {rate}
  cluster: {{tracing: {{samplingRatePerMillion: {rate}}}}}
  load:
    arrivals: {{rate: 1000/s, for: {seconds}s}}
    mix: [{{as: unprivileged, get: {{resource: configmaps, resourceVersion: \"0\"}}}}]
  expect:
    - sampling: {{of: requestRoots, samplingRatePerMillion: 10000}}
"
    );
    run_plan(plan_of(&text)).unwrap_or_else(|text| panic!("{text}")).0
}

/// Scenario: a real API server samples at 1.1% and at 2%, and 1% is claimed.
/// Guarantees: 15,000 and 2,000 requests are enough to be caught.
#[test]
fn a_server_that_lies_is_caught_in_time() {
    for (rate, requests) in [(11_000, 15_000), (20_000, 2_000)] {
        let report = lying_server(rate, requests);
        assert!(report.requests.total <= u64::from(requests), "{:?}", report.requests);
        assert_eq!(report.verdicts[0].status, Status::Fail, "{rate}: {:#?}", report.verdicts);
        let beyond = &report.verdicts[0].checks[0];
        assert!(!beyond.holds && beyond.what == "kept ids that a sampler of 1% never keeps", "{beyond:?}");
    }
}
