//! Mistakes of form: keys, types, values. All are found at once, each at its place.

use spangate_scenario::{model::Fault, parse};

use crate::support::{LONG, SHORT, assert_problems, problems, with_faults};

#[test]
fn valid_scenarios_are_read() {
    assert_eq!(parse("short", SHORT).unwrap().spec.load.mix.len(), 1);
    let long = parse("long", LONG).unwrap();
    assert_eq!(
        long.spec.faults.iter().map(Fault::name).collect::<Vec<_>>(),
        ["slow-mutate", "deny", "slow-writes", "away", "refuse"]
    );
    assert_eq!(long.metadata.description.as_deref(), Some("A bit of everything, on two lines."));
}

#[test]
fn every_unknown_key_of_a_mapping_is_found() {
    let text = SHORT.replace("{name: short}", "{name: short, <<nmae>>: x, <<colour>>: red}");
    assert_problems(&text, &["unknown key `nmae`", "unknown key `colour`"]);
    let text = text.replace("<<", "").replace(">>", "");
    let found = problems(&text);
    assert_eq!(found.problems()[0].advice(), Some("did you mean `name`?"));
    assert_eq!(found.problems()[0].path().to_string(), "metadata.nmae");
    assert_eq!(found.problems()[1].advice(), Some("known here: `name`, `description`"));
}

#[test]
fn mistakes_of_all_sections_are_found_at_once() {
    let text = "\
apiVersion: <<spangate/v1>>
kind: Scenario
metadata: {name: <<5>>}
spec:
  seed: <<-1>>
  cluster:
    kubernetes: <<1.37>>
    tracing: {samplingRatePerMillion: <<2000000>>}
  faults:
    - webhook:
        name: a
        type: <<mutate>>
        rules: <<all>>
        timeoutSeconds: <<300>>
    - etcd: {name: b, rpc: KV/Txn, <<deley>>: {fixed: 1s}, share: <<120%>>}
    - <<netem>>: {}
  load:
    arrivals: {rate: <<50>>, for: <<20>>}
    mix:
      - {list: {resource: <<configmap>>}}
      - {weight: <<some>>, get: {resource: pods}}
  expect:
    - complete: {missing: <<none>>}
";
    assert_problems(
        text,
        &[
            "unknown value `spangate/v1`",
            "expected text, got the number `5`",
            "expected a whole number from 0 to 18446744073709551615, got the number `-1`",
            "expected text, got the number `1.37`",
            "expected 0 to 1000000 parts of a million, got 2000000",
            "unknown value `mutate`",
            "expected a list, got `all`",
            "must be 1 to 30, got 300",
            "unknown key `deley`",
            "expected a share such as 80% or 0.8, between 0 and 1, got \"120%\"",
            "unknown key `netem`",
            "expected a rate such as 50/s or 10/m, got \"50\"",
            "expected a duration such as 150ms, 1.5s or 1m30s, got the number `20`",
            "unknown value `configmap`",
            "expected a whole number from 0 to 4294967295, got `some`",
            "cannot read the bound \"none\": invalid digit found in string",
        ],
    );
}

#[test]
fn all_missing_keys_of_a_mapping_are_told() {
    let text = with_faults(
        "    - <<webhook>>:\n        delay: {fixed: 1s}\n    - etcd: {name: x, rpc: KV/Txn, delay: {uniform: <<{}>>}}",
    );
    assert_problems(
        &text,
        &["the keys `name`, `type`, `rules` are missing", "the keys `min`, `max` are missing"],
    );
    assert_problems(
        "<<kind>>: Scenario\nmetadata: {name: x}\n",
        &["the keys `apiVersion`, `spec` are missing"],
    );
}

#[test]
fn mistakes_beside_a_missing_key_are_found_too() {
    let text = with_faults("    - <<webhook>>:\n        type: <<x>>\n        share: <<7>>");
    assert_problems(
        &text,
        &[
            "the keys `name`, `rules` are missing",
            "unknown value `x`",
            "expected a share such as 80% or 0.8, between 0 and 1, got \"7\"",
        ],
    );
}

#[test]
fn repeated_keys_are_found() {
    let text = SHORT.replace("kind: Scenario", "kind: Scenario\n<<kind>>: Scenario");
    assert_problems(&text, &["the key `kind` is given more than once"]);
    let text = with_faults("    - etcd: {name: x, rpc: KV/Txn, delay: {fixed: 1s}, <<delay>>: {fixed: 2s}}");
    assert_problems(&text, &["the key `delay` is given more than once"]);
}

#[test]
fn truth_values_are_strict() {
    let text = SHORT.replace(
        "spec:",
        "spec:\n  cluster: {apiServer: {featureGates: {A: <<yes>>, B: true, C: <<1>>, D: <<\"true\">>}}}",
    );
    assert_problems(
        &text,
        &[
            "expected true or false, got `yes`",
            "expected true or false, got the number `1`",
            "expected true or false, got the text `true`",
        ],
    );
}

#[test]
fn keys_that_are_not_indented_are_explained() {
    let text = with_faults("    - <<webhook>>:\n      name: x\n      type: mutating");
    assert_problems(
        &text,
        &["expected exactly one of `webhook`, `etcd`, `sink`, `collector`, got `webhook` and `name`"],
    );
    let text = text.replace("<<", "").replace(">>", "");
    let advice = problems(&text).problems()[0].advice().map(str::to_owned);
    assert_eq!(advice.as_deref(), Some("indent what belongs to `webhook` further than `webhook` itself"));
}

#[test]
fn a_key_without_a_value_is_not_taken_for_absent() {
    let text = with_faults(
        "    - etcd:\n        name: x\n        rpc: KV/Txn\n        status: ABORTED\n        <<delay>>:",
    );
    assert_problems(&text, &["has no value"]);
}

#[test]
fn forms_of_a_choice_are_kept_apart() {
    let sink = |does: &str| with_faults(&format!("    - sink: {{name: x, does: {does}}}"));
    assert_problems(&sink("<<refuse>>"), &["`refuse` needs a value"]);
    assert_problems(&sink("<<{away: 1}>>"), &["`away` takes no value"]);
    assert_problems(
        &sink("<<{}>>"),
        &["expected one of `delay`, `refuse`, `partialSuccess`, `hang`, `away`, got a mapping"],
    );
    assert_problems(
        &sink("[<<away>>]").replace("[<<", "<<[").replace(">>]", "]>>"),
        &["expected one of `delay`, `refuse`, `partialSuccess`, `hang`, `away`, got a list"],
    );
    assert_problems(&sink("{refuse: {status: <<UNAVAILABEL>>}}"), &["unknown value `UNAVAILABEL`"]);
}

#[test]
fn columns_count_characters() {
    let text = SHORT
        .replace("{name: short}", "{description: \"\u{e4}\u{f6}\u{fc} \u{1f980}\", name: short, <<x>>: 1}");
    assert_problems(&text, &["unknown key `x`"]);
    let with_mark = format!("\u{feff}{}", SHORT.replace("apiVersion:", "apiVersoin:"));
    let found = problems(&with_mark);
    assert_eq!((found.problems()[0].line(), found.problems()[0].column()), (1, 1));
}

#[test]
fn what_is_no_scenario_at_all_is_told() {
    for (text, message) in [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("just text\n", "expected a mapping, got `just text`"),
        ("- a\n- list\n", "expected a mapping, got a list"),
        ("null\n", "expected a mapping, got nothing"),
    ] {
        let found = problems(text);
        assert_eq!(found.problems().len(), 1, "{text:?}");
        assert_eq!(found.problems()[0].to_string(), message, "{text:?}");
    }
    let found = problems(&format!("{SHORT}---\n{SHORT}"));
    assert_eq!(found.problems()[0].line(), SHORT.lines().count() + 1);
    assert_eq!(
        problems(&"#\n".repeat(1 << 20)).problems()[0].to_string(),
        "the scenario is longer than 1 MiB"
    );
}

#[test]
fn endless_mistakes_end() {
    let faults = "    - etcd: {a: 1, name: 5}\n".repeat(2000);
    assert_eq!(problems(&with_faults(&faults)).problems().len(), 50);
    let keys = (0..20_000).map(|key| format!("nam{key}: x")).collect::<Vec<_>>().join(", ");
    assert_eq!(problems(&SHORT.replace("name: short", &keys)).problems().len(), 50);
    let gates = (0..5000).map(|gate| format!("G{gate}: x")).collect::<Vec<_>>().join(", ");
    let text =
        SHORT.replace("spec:", &format!("spec:\n  cluster: {{apiServer: {{featureGates: {{{gates}}}}}}}"));
    assert_eq!(problems(&text).problems().len(), 50);
}

/// What is said, and advised, about the only problem of a text.
#[track_caller]
fn advised(text: &str, message: &str, advice: &str) {
    let found = problems(text);
    let said: Vec<_> = found
        .problems()
        .iter()
        .map(|problem| (problem.to_string(), problem.advice().unwrap_or_default()))
        .collect();
    assert_eq!(said, [(message.to_owned(), advice)], "{text}");
}

#[test]
fn values_in_a_wrong_form_are_put_right() {
    advised(
        &SHORT.replace("spec:", "spec:\n  cluster: {apiServer: {featureGates: {A: \"true\"}}}"),
        "expected true or false, got the text `true`",
        "remove the quotes",
    );
    advised(
        &SHORT.replace("spec:", "spec:\n  seed: \"7\""),
        "expected a whole number from 0 to 18446744073709551615, got the text `7`",
        "remove the quotes",
    );
    advised(
        &SHORT.replace("10/s", "10"),
        "expected a rate such as 50/s or 10/m, got \"10\"",
        "did you mean `10/s`?",
    );
    let etcd = |keys: &str| with_faults(&format!("    - etcd: {{name: a, rpc: KV/Txn, {keys}}}"));
    advised(
        &etcd("status: ABORTED, share: 50"),
        "expected a share such as 80% or 0.8, between 0 and 1, got \"50\"",
        "did you mean `50%`?",
    );
    let duration = "expected a duration such as 150ms, 1.5s or 1m30s, got";
    for (delay, got) in [("80", "the number `80`"), ("\"80\"", "\"80\"")] {
        let text = etcd(&format!("delay: {{fixed: {delay}}}"));
        advised(&text, &format!("{duration} {got}"), "did you mean `80ms` or `80s`?");
    }
    for delay in ["80ms", "80"] {
        let text = etcd(&format!("delay: {delay}"));
        advised(&text, &format!("unknown value `{delay}`"), "write `delay: {fixed: 80ms}`");
    }
    advised(
        &with_faults("    - sink: {name: a, does: {delay: 1.5s}}"),
        "unknown value `1.5s`",
        "write `delay: {fixed: 1.5s}`",
    );
    let known = "known here: `fixed`, `uniform`, `normal`, `exponential`, `pareto`";
    advised(&etcd("delay: long"), "unknown value `long`", known);
}

#[test]
fn the_timeout_of_a_webhook_is_a_number_of_seconds() {
    let webhook = |timeout: &str| {
        let rules = "rules: [{operations: [CREATE], resources: [pods]}]";
        let timeout = format!("timeoutSeconds: {timeout}");
        with_faults(&format!("    - webhook: {{name: a, type: mutating, {rules}, answer: hold, {timeout}}}"))
    };
    let expected = "expected a whole number from 1 to 30, got";
    advised(&webhook("5s"), &format!("{expected} `5s`"), "did you mean `5`?");
    advised(&webhook("\"5\""), &format!("{expected} `5`"), "did you mean `5`?");
    advised(&webhook("soon"), &format!("{expected} `soon`"), "");
    advised(&webhook("-1"), &format!("{expected} the number `-1`"), "");
    advised(&webhook("1.5"), &format!("{expected} the number `1.5`"), "");
    advised(&webhook("[5]"), &format!("{expected} a list"), "");
}

#[test]
fn bounds_without_a_unit_or_quotes_are_put_right() {
    let expect = |yaml: &str| format!("{SHORT}  expect:\n    - {yaml}\n");
    advised(
        &expect("requests: {share: 50}"),
        "cannot read the bound \"50\": expected a share such as 80% or 0.8, between 0 and 1, got \"50\"",
        "did you mean `50%`?",
    );
    advised(
        &expect("latency: {is: {p99: < 500}}"),
        "cannot read the bound \"< 500\": expected a duration such as 150ms, 1.5s or 1m30s, got \"500\"",
        "did you mean `500ms` or `500s`?",
    );
    let found = problems(&expect("requests:\n        share: >= 80%"));
    assert_eq!(
        found.problems()[0].advice(),
        Some("text that begins with `>` is a block of lines; to mean a bound, quote it: \">= 80%\"")
    );
}
