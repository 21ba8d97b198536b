//! Real runs with a Collector are falsified afterwards: in what its configuration says, in what it was given, in what it
//! counted, or in what reached the sink. Those verdicts must turn red that look there, and no others.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, LazyLock},
};

use spangate::{
    collector::{Configuration, explain::explain, telemetry::Telemetry},
    evidence::{Case, Evidence, Facts, Passed},
    plan::Plan,
    saved,
    verdict::{self, Status, Verdict},
};
use spangate_load::synthetic::Synthetic;
use spangate_sink::{Passage, PassageOutcome};
use spangate_trace::{
    Capture, Kind, Span, SpanId, TraceId, UnixNanos,
    collector::{Decision, TailSampler, TailSamplingConfig, TraceView},
    stats::SplitMix64,
};

use crate::{
    harness::{plan_of, run_together},
    templates,
};

const TENTH: &str = "{name: tenth, type: probabilistic, probabilistic: {sampling_percentage: 10}}";
const ERRORS: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}";
const RATE: &str = "{name: rate, type: rate_limiting, rate_limiting: {spans_per_second: 500}}";

/// Traces of the runs that tell rates apart.
const MANY: u64 = 10_000;

/// The runs that are falsified.
struct Runs {
    /// Samplers that keep 2% and 1.1%, of the two kinds.
    tail_2: Evidence,
    tail_1_1: Evidence,
    head_2: Evidence,
    head_1_1: Evidence,
    /// Errors and a tenth of all others.
    tail: Evidence,
    /// Errors and what a rate leaves of all others, where the order has an effect.
    limited: Evidence,
    /// A Collector without room for what it is sent.
    refusing: Evidence,
}

static RUNS: LazyLock<Runs> = LazyLock::new(|| {
    let limiter =
        "memory_limiter: {check_interval: 50ms, limit_mib: 30, spike_limit_mib: 3}\n        batch: {}";
    let first = format!("sample_on_first_match: true, policies: [{RATE}, {ERRORS}]");
    let plans = vec![
        rate_plan("tail-2", &tail(&by_rate("2"))),
        rate_plan("tail-1-1", &tail(&by_rate("1.1"))),
        rate_plan("head-2", &head("2")),
        rate_plan("head-1-1", &head("1.1")),
        plan("errors-and-a-tenth", &tail(&format!("policies: [{ERRORS}, {TENTH}]")), MIXED),
        plan("errors-and-a-rate", &tail(&first), MIXED),
        plan("refusing", &config(limiter, "memory_limiter, batch"), CROWD),
    ];
    let mut runs = run_together(plans, 4).into_iter();
    let mut next = || saved::read(&runs.next().unwrap().1, None).unwrap();
    Runs {
        tail_2: next(),
        tail_1_1: next(),
        head_2: next(),
        head_1_1: next(),
        tail: next(),
        limited: next(),
        refusing: next(),
    }
});

/// More than a Collector without memory takes.
const CROWD: &str = r"rate: 3000/s
      for: 3s
      classes: [{name: errors, share: 20%, error: true}, {name: normal, share: 80%}]";

/// A tenth of the traces are errors, and all of them are short.
const MIXED: &str = r"rate: 1000/s
      traces: 1500
      classes:
        - {name: errors, share: 10%, error: true, duration: {uniform: {min: 1ms, max: 50ms}}}
        - {name: normal, share: 90%, duration: {uniform: {min: 1ms, max: 50ms}}}";

/// A run of a Collector, and what is expected of it.
fn plan(name: &str, config: &str, traffic: &str) -> Plan {
    plan_expecting(name, config, traffic, "- kept: {class: errors}")
}

fn plan_expecting(name: &str, config: &str, traffic: &str, more: &str) -> Plan {
    plan_of(&format!(
        r#"
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {{name: falsified-{name}}}
spec:
  collector:
    config: |{config}
  load:
    traces:
      {traffic}
  expect:
    - sampling: {{of: collector}}
    - conserved: {{refused: "< 100%"}}
    {more}
"#
    ))
}

/// A run of many traces that are only a root, where nothing but their ids is of interest.
fn rate_plan(name: &str, config: &str) -> Plan {
    let classes = "[{name: all, share: 100%, duration: {fixed: 5ms}}]";
    let traffic = format!("rate: 4000/s\n      traces: {MANY}\n      classes: {classes}");
    let mut plan = plan_expecting(name, config, &traffic, "");
    let traffic = plan.scenario.spec.load.traces.clone().unwrap();
    plan.synthetic = Some(Synthetic::with_templates(&traffic, Arc::new(templates::roots())).unwrap());
    plan
}

/// The configuration of a Collector with these processors, as a block within a scenario.
fn config(processors: &str, names: &str) -> String {
    format!(
        r#"
      receivers: {{otlp: {{protocols: {{grpc: {{}}}}}}}}
      processors:
        {processors}
      exporters: {{otlp: {{endpoint: "backend:4317"}}}}
      service: {{pipelines: {{traces: {{receivers: [otlp], processors: [{names}], exporters: [otlp]}}}}}}
"#
    )
}

fn tail(settings: &str) -> String {
    config(&format!("tail_sampling: {{decision_wait: 1s, {settings}}}"), "tail_sampling")
}

fn by_rate(percent: &str) -> String {
    format!("policies: [{{name: p, type: probabilistic, probabilistic: {{sampling_percentage: {percent}}}}}]")
}

fn head(percent: &str) -> String {
    config(
        &format!(
            "probabilistic_sampler: {{sampling_percentage: {percent}, mode: proportional, sampling_precision: 8}}"
        ),
        "probabilistic_sampler",
    )
}

/// The evidence with another passage, other facts.
fn evidence(run: &Evidence, passed: Passed, facts: Facts) -> Evidence {
    let Evidence { scenario, requests, injections, capture, traces, .. } = run;
    let evidence =
        Evidence::new(scenario.clone(), requests.clone(), injections.clone(), capture.clone(), facts);
    evidence.with_passed(Some(passed)).with_traces(traces.clone())
}

/// The verdicts on it.
fn with(run: &Evidence, passed: Passed, facts: Facts) -> Vec<Verdict> {
    verdict::judge(&evidence(run, passed, facts))
}

fn passed(run: &Evidence) -> Passed {
    run.passed.clone().unwrap()
}

/// The verdicts when the configuration is said to be this one.
fn claiming(run: &Evidence, config: &str) -> Vec<Verdict> {
    // Without the indentation of the scenario.
    let lines: Vec<&str> = config.lines().map(|line| line.strip_prefix("      ").unwrap_or(line)).collect();
    let configuration = Configuration::parse("a claim", lines.join("\n"), None).unwrap();
    with(run, Passed { configuration, ..passed(run) }, run.facts.clone())
}

/// What reached the sink when only spans for which `arrives` holds did, and facts that know of no others.
fn reached(run: &Evidence, arrives: impl Fn(&Span) -> bool) -> (Passed, Facts) {
    let kept = &run.passed.as_ref().unwrap().kept;
    let spans: Vec<Span> = (0..kept.rows().len()).map(|row| kept.span(row)).filter(arrives).collect();
    let mut facts = run.facts.clone();
    facts.sink.received = spans.len() as u64;
    facts.sink.stored = facts.sink.received;
    (Passed { kept: Capture::from_spans(spans), ..passed(run) }, facts)
}

/// The verdicts when only spans for which `arrives` holds reached the sink, which knows of no others.
fn arriving(run: &Evidence, arrives: impl Fn(&Span) -> bool) -> Vec<Verdict> {
    let (passed, facts) = reached(run, arrives);
    with(run, passed, facts)
}

/// The same, and the Collector says that it sent no more than that.
fn keeping_quiet(run: &Evidence, arrives: impl Fn(&Span) -> bool) -> Vec<Verdict> {
    let (passed, mut facts) = reached(run, arrives);
    let sent = facts.sink.received;
    telemetry(&mut facts).exporters.values_mut().next().unwrap().sent = sent;
    with(run, passed, facts)
}

/// The verdicts when one more span reached the sink.
fn with_another(run: &Evidence, span: Span) -> Vec<Verdict> {
    let kept = &run.passed.as_ref().unwrap().kept;
    let spans = (0..kept.rows().len()).map(|row| kept.span(row)).chain([span]).collect();
    with(run, Passed { kept: Capture::from_spans(spans), ..passed(run) }, run.facts.clone())
}

/// What the red verdicts are about, each by its first word.
fn red(verdicts: &[Verdict]) -> BTreeSet<&str> {
    assert!(verdicts.iter().all(|verdict| verdict.status != Status::Inconclusive), "{verdicts:#?}");
    let red = verdicts.iter().filter(|verdict| verdict.status == Status::Fail);
    red.filter_map(|verdict| verdict.expectation.split(' ').next()).collect()
}

fn observed<'v>(verdicts: &'v [Verdict], what: &str) -> &'v str {
    let mut checks = verdicts.iter().flat_map(|verdict| &verdict.checks);
    &checks.find(|check| check.what == what).unwrap().observed
}

fn of_class(run: &Evidence, class: &str) -> HashSet<TraceId> {
    run.traces.iter().filter(|trace| &*trace.class == class).map(|trace| trace.trace_id).collect()
}

/// Whether a span is of one of these traces.
fn of(traces: &HashSet<TraceId>) -> impl Fn(&Span) -> bool {
    |span| traces.contains(&span.trace_id)
}

/// The traces that reached the sink, in the order of their ids.
fn kept_traces(run: &Evidence) -> BTreeSet<TraceId> {
    run.passed.as_ref().unwrap().kept.rows().iter().map(|row| row.trace_id).collect()
}

/// Scenario: the saved runs are judged again as they are.
/// Guarantees: what turns red below is green here, so the falsehood alone made it red.
#[test]
fn the_truth_is_green() {
    for run in [
        &RUNS.tail_2,
        &RUNS.tail_1_1,
        &RUNS.head_2,
        &RUNS.head_1_1,
        &RUNS.tail,
        &RUNS.limited,
        &RUNS.refusing,
    ] {
        let verdicts = arriving(run, |_| true);
        assert_eq!(red(&verdicts), BTreeSet::new(), "{verdicts:#?}");
    }
}

/// Scenario: the configuration says 1%, and the Collector ran 2% or 1.1%; by the policy, and by the processor.
/// Guarantees: the verdict on sampling is red from 10,000 traces, and no other.
#[test]
fn another_rate_is_caught() {
    for (run, claim) in [
        (&RUNS.tail_2, tail(&by_rate("1"))),
        (&RUNS.tail_1_1, tail(&by_rate("1"))),
        (&RUNS.head_2, head("1")),
        (&RUNS.head_1_1, head("1")),
    ] {
        let verdicts = claiming(run, &claim);
        assert_eq!(red(&verdicts), BTreeSet::from(["sampling"]), "{verdicts:#?}");
    }
}

/// Scenario: another salt, another seed of the hash, or a policy that is not in the configuration.
/// Guarantees: the rate is the same or nearly so, and the verdict on sampling is red all the same.
#[test]
fn another_sampler_at_the_same_rate_is_caught() {
    let salted =
        "policies: [{name: p, type: probabilistic, probabilistic: {sampling_percentage: 2, hash_salt: x}}]";
    let hashed = config("probabilistic_sampler: {sampling_percentage: 2}", "probabilistic_sampler");
    let lonely = tail(&format!("policies: [{TENTH}]"));
    for (run, claim) in [(&RUNS.tail_2, tail(salted)), (&RUNS.head_2, hashed), (&RUNS.tail, lonely)] {
        let verdicts = claiming(run, &claim);
        assert_eq!(red(&verdicts), BTreeSet::from(["sampling"]), "{verdicts:#?}");
    }
}

/// Scenario: one in a hundred of the exports that reached the sink did not; none of them had an error.
/// Guarantees: red by what had to be kept, and by the count of the Collector; the class of errors is whole.
#[test]
fn lost_exports_are_caught() {
    let kept = &RUNS.tail.passed.as_ref().unwrap().kept;
    let errors = of_class(&RUNS.tail, "errors");
    let batches = (0..kept.rows().len()).filter(|row| !errors.contains(&kept.rows()[*row].trace_id));
    let batches: BTreeSet<u64> = batches.map(|row| kept.surroundings(row).batch).collect();
    let lost: BTreeSet<u64> = batches.into_iter().step_by(100).collect();
    let is_lost = |row: &usize| lost.contains(&kept.surroundings(*row).batch);
    let traces: HashSet<TraceId> =
        (0..kept.rows().len()).filter(is_lost).map(|row| kept.rows()[row].trace_id).collect();
    assert!(traces.is_disjoint(&errors) && !traces.is_empty());
    let verdicts = arriving(&RUNS.tail, |span| !of(&traces)(span));
    assert_eq!(red(&verdicts), BTreeSet::from(["conserved", "sampling"]), "{verdicts:#?}");
    assert!(verdicts[0].examples.iter().all(|example| traces.contains(example)), "{verdicts:#?}");
}

/// Scenario: a trace with an error is not at the sink, or lacks one span, and the Collector's counts agree with that.
/// Guarantees: red by what had to be kept, and by the class; nothing is missing between Collector and sink.
#[test]
fn a_torn_or_missing_error_is_caught() {
    let errors = of_class(&RUNS.tail, "errors");
    let trace = *kept_traces(&RUNS.tail).iter().find(|trace| errors.contains(trace)).unwrap();
    let missing = keeping_quiet(&RUNS.tail, |span| span.trace_id != trace);
    let torn = keeping_quiet(&RUNS.tail, |span| span.trace_id != trace || &*span.name != "audit");
    for verdicts in [missing, torn] {
        assert_eq!(red(&verdicts), BTreeSet::from(["kept", "sampling"]), "{verdicts:#?}");
        assert_eq!(verdicts[0].examples, [trace]);
        assert_eq!(verdicts[2].examples, [trace]);
    }
}

/// Scenario: a span reached the sink that nobody sent, or one of a trace that had to be dropped.
/// Guarantees: red by conservation, and by sampling; each by that alone.
#[test]
fn a_span_too_many_is_caught() {
    let kept = kept_traces(&RUNS.tail);
    let dropped = (0..RUNS.tail.capture.rows().len())
        .find(|row| !kept.contains(&RUNS.tail.capture.rows()[*row].trace_id));
    let dropped = RUNS.tail.capture.span(dropped.unwrap());
    let invented = Span { trace_id: TraceId::new([0xee; 16]), ..dropped.clone() };
    assert_eq!(red(&with_another(&RUNS.tail, invented)), BTreeSet::from(["conserved"]));
    let of_a_kept_one =
        Span { trace_id: *kept.first().unwrap(), span_id: SpanId::new([0xee; 8]), ..dropped.clone() };
    assert_eq!(red(&with_another(&RUNS.tail, of_a_kept_one)), BTreeSet::from(["conserved"]));
    assert_eq!(red(&with_another(&RUNS.tail, dropped)), BTreeSet::from(["sampling"]));
}

/// Scenario: one of the Collector's counts, or that of the sink, is off by one.
/// Guarantees: conservation is red, and nothing else.
#[test]
fn a_count_that_is_off_by_one_is_caught() {
    let lies: [fn(&mut Facts); 9] = [
        |facts| telemetry(facts).received.accepted += 1,
        |facts| telemetry(facts).received.accepted -= 1,
        |facts| telemetry(facts).received.refused += 1,
        |facts| telemetry(facts).tail.new_traces += 1,
        |facts| telemetry(facts).tail.sampled -= 1,
        |facts| telemetry(facts).tail.dropped_too_early += 1,
        |facts| telemetry(facts).exporters.values_mut().next().unwrap().sent -= 1,
        |facts| telemetry(facts).exporters.values_mut().next().unwrap().send_failed += 1,
        |facts| facts.sink.received += 1,
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut facts = RUNS.tail.facts.clone();
        lie(&mut facts);
        let verdicts = with(&RUNS.tail, passed(&RUNS.tail), facts);
        assert_eq!(red(&verdicts), BTreeSet::from(["conserved"]), "lie {number}: {verdicts:#?}");
    }
}

fn telemetry(facts: &mut Facts) -> &mut Telemetry {
    &mut facts.collector.as_mut().unwrap().telemetry
}

/// Scenario: an export that the Collector refused is said to have been accepted.
/// Guarantees: red by all three: its spans had to be kept, its errors had to be, and nobody counted them.
#[test]
fn a_refused_export_that_is_said_to_be_accepted_is_caught() {
    let mut passed = passed(&RUNS.refusing);
    let refused =
        passed.passages.iter_mut().find(|passage| matches!(passage.outcome, PassageOutcome::Refused { .. }));
    let refused = refused.expect("a Collector with 30 MiB refuses some of it");
    refused.outcome = PassageOutcome::Accepted { rejected: 0 };
    let verdicts = with(&RUNS.refusing, passed, RUNS.refusing.facts.clone());
    assert_eq!(red(&verdicts), BTreeSet::from(["conserved", "kept", "sampling"]), "{verdicts:#?}");
}

/// Scenario: an export that the Collector accepted is said to have been refused.
/// Guarantees: conservation is red.
#[test]
fn an_accepted_export_that_is_said_to_be_refused_is_caught() {
    let mut passed = passed(&RUNS.tail);
    let refused = PassageOutcome::Refused {
        status: spangate_scenario::model::GrpcStatus::Unavailable,
        message: String::new(),
    };
    passed.passages[0].outcome = refused;
    let verdicts = with(&RUNS.tail, passed, RUNS.tail.facts.clone());
    assert!(red(&verdicts).contains("conserved"), "{verdicts:#?}");
}

/// Scenario: a trace of errors is asked for, and then again as if a span of it had not reached the sink.
/// Guarantees: its class, what was foretold, the vote of each policy, and that it did not come so.
#[test]
fn why_a_trace_was_kept_is_told() {
    let run = &RUNS.tail;
    let trace = run.traces.iter().find(|sent| &*sent.class == "errors").unwrap().trace_id;
    let lines = explain(&Case::new(run), trace);
    for line in ["class errors", "it had to be kept", "traces: policy errors: sampled"] {
        assert!(lines.iter().any(|told| told == line), "{line}: {lines:#?}");
    }
    let (passed, facts) = reached(run, |span| span.trace_id != trace);
    let lines = explain(&Case::new(&evidence(run, passed, facts)), trace);
    for line in ["0 of the ", "it had to be kept, and that is not what came"] {
        assert!(lines.iter().any(|told| told.starts_with(line)), "{line}: {lines:#?}");
    }
}

/// Scenario: the policies are said to stand in another order.
/// Guarantees: where that cannot matter nothing turns red and it is told so; where it does matter, that is told.
#[test]
fn whether_the_order_matters_is_told() {
    const ORDER: &str = "the order of the policies matters";
    assert_eq!(observed(&arriving(&RUNS.tail_2, |_| true), ORDER), "no");
    for policies in [format!("{ERRORS}, {TENTH}"), format!("{TENTH}, {ERRORS}")] {
        let verdicts = claiming(&RUNS.tail, &tail(&format!("policies: [{policies}]")));
        assert_eq!(red(&verdicts), BTreeSet::new(), "{verdicts:#?}");
        assert_eq!(observed(&verdicts, ORDER), "only for which policy is recorded");
    }
    let verdicts = arriving(&RUNS.limited, |_| true);
    assert!(observed(&verdicts, ORDER).starts_with("yes: "), "{verdicts:#?}");
}

/// Scenario: a Collector that keeps a certain number of traces at most lets all of them through, or hardly any.
/// Guarantees: the verdict on sampling is red both times.
#[test]
fn a_rate_that_is_not_kept_to_is_caught() {
    // As if the Collector had been given this rate, and had all the same let through what it did.
    for rate in ["5", "100000"] {
        let policies = format!(
            "policies: [{{name: rate, type: rate_limiting, rate_limiting: {{spans_per_second: {rate}}}}}]"
        );
        let verdicts = claiming(&RUNS.limited, &tail(&policies));
        assert_eq!(red(&verdicts), BTreeSet::from(["sampling"]), "{rate}: {verdicts:#?}");
    }
}

/// Scenario: 100 runs of 10,000 traces, each with a salt of its own, at a true 1% and at 2%; judged by their number.
/// Guarantees: at 1% none is red, and at 2% each of them.
#[test]
fn a_true_sampler_is_never_red_by_count() {
    let mut random = SplitMix64::new(11);
    let spans: Vec<Span> = (0..MANY)
        .map(|_| lone_span(TraceId::new(std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap()))))
        .collect();
    let given = Capture::from_spans(spans.clone());
    let text = "receivers: {otlp: {protocols: {grpc: }}}\nexporters: {otlp: {endpoint: 'x:4317'}}\n\
                service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp]}}}\n";
    let configuration = Configuration::parse("a test", text.to_owned(), None).unwrap();
    let scenario = plan_of(
        r#"
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {name: by-count}
spec:
  collector: {config: "receivers: {otlp: {protocols: {grpc: }}}\nexporters: {otlp: {endpoint: 'x:4317'}}\nservice: {pipelines: {traces: {receivers: [otlp], exporters: [otlp]}}}\n"}
  load: {traces: {rate: 1/s, traces: 1, classes: [{name: all, share: 100%}]}}
  expect: [{sampling: {of: collector, samplingRatePerMillion: 10000, within: 100%}}]
"#,
    )
    .scenario;
    let passage = Passage {
        sent: UnixNanos(1),
        answered: UnixNanos(2),
        rows: 0..u32::try_from(MANY).unwrap(),
        spans: MANY,
        bytes: 0,
        outcome: PassageOutcome::Accepted { rejected: 0 },
    };
    let judge = |percentage: u32, salt: u32| {
        let config = serde_json::json!({"policies": [{"name": "p", "type": "probabilistic",
            "probabilistic": {"sampling_percentage": percentage, "hash_salt": format!("salt {salt}")}}]});
        let sampler =
            TailSampler::new(serde_json::from_value::<TailSamplingConfig>(config).unwrap()).unwrap();
        let keeps = |span: &&Span| {
            let trace = TraceView::of_spans(span.trace_id, std::slice::from_ref(*span));
            sampler.judge(&trace).decisions.must_be(Decision::Sampled)
        };
        let kept = Capture::from_spans(spans.iter().filter(keeps).cloned().collect());
        let passed = Passed { kept, passages: vec![passage.clone()], configuration: configuration.clone() };
        let evidence =
            Evidence::new(scenario.clone(), Vec::new(), Vec::new(), given.clone(), Facts::default());
        verdict::judge(&evidence.with_passed(Some(passed))).remove(0).status
    };
    for salt in 0..100 {
        assert_eq!(judge(1, salt), Status::Pass, "salt {salt}");
        assert_eq!(judge(2, salt), Status::Fail, "salt {salt}");
    }
}

fn lone_span(trace_id: TraceId) -> Span {
    Span {
        trace_id,
        span_id: SpanId::new([1; 8]),
        parent: None,
        name: "GET".into(),
        kind: Kind::Server,
        start: UnixNanos(1),
        end: UnixNanos(2),
        attributes: BTreeMap::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: spangate_trace::Status::Unset,
        status_message: String::new(),
        scope: "a test".into(),
        service: "apiserver".into(),
    }
}
