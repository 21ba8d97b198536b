//! Every sampler of the Collector whose decision is a function of the trace, against a real Collector.
//!
//! A Collector for each of them is sent the same traces, and what it keeps is compared with what is foretold, trace by
//! trace. `SPANGATE_PROVE_TRACES` says how many traces; `just prove-sampling` asks for 10,000 and shows the table.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use spangate::{
    plan::Plan,
    report::Report,
    verdict::{Check, Status, Verdict},
};
use spangate_load::synthetic::{Synthetic, Templates};

use crate::{
    harness::{plan_of, run_together},
    templates,
};

/// Traces that each sampler gets in a suite that has other things to do.
const FEW: u64 = 1_000;
/// Traces a second.
const RATE: u64 = 1_000;
/// Collectors that run at once.
const AT_ONCE: usize = 6;
/// How often a sampler is asked in all when the machine kept spans from their Collector until its ticks had a say.
const ATTEMPTS: usize = 3;

const ALL: &str = "{name: all, type: always_sample}";
const ERRORS: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}";
const SLOW: &str = "{name: slow, type: latency, latency: {threshold_ms: 70}}";
const READS: &str =
    "{name: reads, type: string_attribute, string_attribute: {key: http.request.method, values: [GET]}}";
const TENTH: &str = "{name: tenth, type: probabilistic, probabilistic: {sampling_percentage: 10}}";
/// What a create is answered with, and nothing else.
const STATUS: &str = "key: http.response.status_code, min_value: 201, max_value: 499";

/// A sampler, and how it is configured.
struct Row {
    name: &'static str,
    /// The type of the processor.
    processor: &'static str,
    /// Its configuration, as YAML in one line.
    body: String,
    keeps: Keeps,
}

/// What of the traces must be kept for the proof to mean something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    All,
    Some,
}

/// What came of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Figures {
    traces: u64,
    exact: u64,
    kept: u64,
    wrong: u64,
    /// How many were undecidable, by the reason.
    undecidable: BTreeMap<String, u64>,
}

/// Scenario: a real Collector for each sampler, and traces that arrive whole before they are decided on.
/// Guarantees: traces are decided on beforehand, none wrongly, and no sampler keeps none or all of them.
#[test]
fn every_function_of_the_trace_is_foretold() {
    let traces = std::env::var("SPANGATE_PROVE_TRACES").map_or(FEW, |traces| traces.parse().unwrap());
    let rows = rows();
    let templates = Arc::new(templates::varied());
    let mut proven: BTreeMap<usize, (Report, Figures)> = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let open: Vec<usize> = (0..rows.len())
            .filter(|place| proven.get(place).is_none_or(|(_, figures)| figures.is_open()))
            .collect();
        let plans = open.iter().map(|place| plan(&rows[*place], traces, &templates)).collect();
        for (place, (report, _)) in open.iter().zip(run_together(plans, AT_ONCE)) {
            let figures = Figures::of(sampling(&report));
            proven.insert(*place, (report, figures));
        }
    }
    println!("{}", table(&rows, &proven));
    for (row, (report, figures)) in rows.iter().zip(proven.values()) {
        let name = row.name;
        for verdict in &report.verdicts {
            assert_eq!(verdict.status, Status::Pass, "{name}: {verdict:#?}");
        }
        let Figures { traces: given, exact, kept, wrong, .. } = *figures;
        assert_eq!((given, wrong), (traces, 0), "{name}: {figures:#?}");
        // A machine that is busy through all attempts leaves a few open, and never a wrong one.
        assert!(100 * exact >= 99 * traces, "{name}: {figures:#?}");
        match row.keeps {
            Keeps::All => assert_eq!(kept, traces, "{name}"),
            Keeps::Some => assert!(kept > 0 && kept < traces, "{name} keeps {kept} of {traces}"),
        }
    }
}

/// A tail sampler with these policies.
fn tail(name: &'static str, policies: &str) -> Row {
    let body = format!("{{decision_wait: 1s, policies: [{policies}]}}");
    Row { name, processor: "tail_sampling", body, keeps: Keeps::Some }
}

/// A probabilistic sampler.
fn sampler(name: &'static str, body: &str) -> Row {
    Row { name, processor: "probabilistic_sampler", body: body.to_owned(), keeps: Keeps::Some }
}

fn rows() -> Vec<Row> {
    single().into_iter().chain(combined()).collect()
}

/// Every policy by itself.
fn single() -> Vec<Row> {
    vec![
        Row { keeps: Keeps::All, ..tail("always_sample", ALL) },
        tail("latency", SLOW),
        tail(
            "latency, both bounds",
            "{name: p, type: latency, latency: {threshold_ms: 20, upper_threshold_ms: 90}}",
        ),
        tail(
            "numeric_attribute",
            &format!("{{name: p, type: numeric_attribute, numeric_attribute: {{{STATUS}}}}}"),
        ),
        tail(
            "numeric_attribute, inverted",
            &format!(
                "{{name: p, type: numeric_attribute, numeric_attribute: {{{STATUS}, invert_match: true}}}}"
            ),
        ),
        tail("probabilistic 1%", "{name: p, type: probabilistic, probabilistic: {sampling_percentage: 1}}"),
        tail("probabilistic 10%", TENTH),
        tail(
            "probabilistic 10%, salt",
            "{name: p, type: probabilistic, probabilistic: {sampling_percentage: 10, hash_salt: pepper}}",
        ),
        tail("status_code ERROR", ERRORS),
        tail(
            "status_code UNSET, OK",
            "{name: p, type: status_code, status_code: {status_codes: [UNSET, OK]}}",
        ),
        tail("status_code OK", "{name: p, type: status_code, status_code: {status_codes: [OK]}}"),
        tail("string_attribute", READS),
        tail(
            "string_attribute, regex",
            r"{name: p, type: string_attribute, string_attribute: {key: url.path, enabled_regex_matching: true, values: ['^/api/v1/namespaces/[^/]+/configmaps/(pool|victim)-\d+']}}",
        ),
        tail(
            "string_attribute, inverted",
            "{name: p, type: string_attribute, string_attribute: {key: verb, values: [LIST, POST], invert_match: true}}",
        ),
        tail("span_count, min", "{name: p, type: span_count, span_count: {min_spans: 10}}"),
        tail(
            "span_count, min and max",
            "{name: p, type: span_count, span_count: {min_spans: 2, max_spans: 9}}",
        ),
        tail(
            "boolean_attribute",
            "{name: p, type: boolean_attribute, boolean_attribute: {key: cached, value: true}}",
        ),
        tail(
            "boolean_attribute, inverted",
            "{name: p, type: boolean_attribute, boolean_attribute: {key: cached, value: true, invert_match: true}}",
        ),
        tail("trace_state", "{name: p, type: trace_state, trace_state: {key: tenant, values: [red, green]}}"),
        tail("trace_flags", "{name: p, type: trace_flags}"),
        tail(
            "ottl_condition, spans",
            r#"{name: p, type: ottl_condition, ottl_condition: {span: ['IsRootSpan() and attributes["http.response.status_code"] == 201', 'end_time - start_time > Duration("120ms")']}}"#,
        ),
        tail(
            "ottl_condition, events",
            r#"{name: p, type: ottl_condition, ottl_condition: {spanevent: ['name == "Object deleted from database" or IsMatch(name, "^About to apply")']}}"#,
        ),
    ]
}

/// Policies that have others within them, several policies, and the other processor.
fn combined() -> Vec<Row> {
    vec![
        tail("and", &format!("{{name: p, type: and, and: {{and_sub_policy: [{SLOW}, {READS}]}}}}")),
        tail("not", &format!("{{name: p, type: not, not: {{not_sub_policy: {READS}}}}}")),
        tail(
            "drop",
            &format!("{{name: p, type: drop, drop: {{drop_sub_policy: [{READS}, {SLOW}]}}}}, {ALL}"),
        ),
        tail("several", &format!("{ERRORS}, {SLOW}, {TENTH}")),
        Row {
            body: format!(
                "{{decision_wait: 1s, sample_on_first_match: true, policies: [{SLOW}, {ERRORS}, {TENTH}]}}"
            ),
            ..tail("sample_on_first_match", "")
        },
        sampler("probabilistic_sampler 10%, hash_seed", "{sampling_percentage: 10, hash_seed: 22}"),
        sampler("probabilistic_sampler 10%, proportional", "{sampling_percentage: 10, mode: proportional}"),
        sampler("probabilistic_sampler 30%, equalizing", "{sampling_percentage: 30, mode: equalizing}"),
    ]
}

/// One Collector with that sampler, and the traces; they are the same for all.
fn plan(row: &Row, traces: u64, templates: &Arc<Templates>) -> Plan {
    let Row { name, processor, body, .. } = row;
    let label: String = name.to_lowercase().replace('%', "-percent");
    let words = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let label = words.collect::<Vec<_>>().join("-");
    let mut plan = plan_of(&format!(
        r#"
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {{name: prove-{label}}}
spec:
  collector:
    config: |
      receivers: {{otlp: {{protocols: {{grpc: {{}}}}}}}}
      processors:
        {processor}: {body}
        # Without it each trace is an export of its own, and the exporter's queue holds a thousand.
        batch: {{}}
      exporters: {{otlp: {{endpoint: "backend:4317"}}}}
      service: {{pipelines: {{traces: {{receivers: [otlp], processors: [{processor}, batch], exporters: [otlp]}}}}}}
  load:
    traces:
      rate: {RATE}/s
      traces: {traces}
      classes:
        - {{name: errors, share: 10%, error: true}}
        - {{name: slow, share: 20%, duration: {{uniform: {{min: 60ms, max: 150ms}}}}}}
        - {{name: normal, share: 70%, duration: {{uniform: {{min: 1ms, max: 50ms}}}}}}
  expect:
    - sampling: {{of: collector}}
    - kept: {{share: "> 0%"}}
    - conserved: {{}}
"#
    ));
    let traffic = plan.scenario.spec.load.traces.clone().unwrap();
    plan.synthetic = Some(Synthetic::with_templates(&traffic, Arc::clone(templates)).unwrap());
    plan
}

fn sampling(report: &Report) -> &Verdict {
    report.verdicts.iter().find(|verdict| verdict.expectation == "sampling of collector").unwrap()
}

fn table(rows: &[Row], proven: &BTreeMap<usize, (Report, Figures)>) -> String {
    let mut text = "| policy | traces | decided exactly | kept | wrong | undecidable |\n".to_owned();
    text.push_str("|---|---|---|---|---|---|\n");
    for (row, (_, figures)) in rows.iter().zip(proven.values()) {
        let Figures { traces, exact, kept, wrong, undecidable } = figures;
        let reasons = undecidable.iter().map(|(why, count)| format!("{count}: {why}"));
        let reasons =
            if undecidable.is_empty() { "0".to_owned() } else { reasons.collect::<Vec<_>>().join("; ") };
        let name = row.name;
        let _ = writeln!(text, "| {name} | {traces} | {exact} | {kept} | {wrong} | {reasons} |");
    }
    text
}

// === impl Figures ===

impl Figures {
    fn of(verdict: &Verdict) -> Self {
        let find = |what: &str| -> &Check {
            let found = verdict.checks.iter().find(|check| check.what == what);
            found.unwrap_or_else(|| panic!("{what} is no check of {verdict:#?}"))
        };
        // Such as `12` and `12 of 1000`.
        let count = |check: &Check| check.observed.split(' ').next().unwrap().parse::<u64>().unwrap();
        let undecidable = verdict.checks.iter().filter_map(|check| {
            Some((check.what.strip_prefix("undecidable beforehand: ")?.to_owned(), count(check)))
        });
        Self {
            traces: find("traces kept").n,
            exact: count(find("traces whose fate is a function of them")),
            kept: count(find("traces kept")),
            wrong: count(find("kept, and had to be dropped")) + count(find("dropped, and had to be kept")),
            undecidable: undecidable.collect(),
        }
    }

    /// Whether the machine was too busy for all traces to be decided on by what they are.
    fn is_open(&self) -> bool {
        !self.undecidable.is_empty()
    }
}
