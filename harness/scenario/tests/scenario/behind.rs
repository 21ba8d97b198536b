//! What a scenario says of a Collector, and of traces in place of requests.

use crate::support::{SHORT, assert_problems, problems};

const CONFIG: &str = "collector: {configFile: otelcol.yaml}";
const TRACES: &str = "\
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {name: traces}
spec:
  collector: {configFile: otelcol.yaml}
  load:
    traces: {rate: 10/s, for: 5s, classes: [{name: a, share: 100%}]}
";

/// The shortest scenario with a Collector, and with these expectations.
fn behind(collector: &str, expect: &str) -> String {
    format!("{}  expect:\n    - {expect}\n", SHORT.replace("  load:", &format!("  {collector}\n  load:")))
}

fn fine(text: &str) {
    spangate_scenario::parse("fine", text).unwrap_or_else(|found| panic!("{:?}\n{text}", found.problems()));
}

#[test]
fn a_collector_has_one_configuration() {
    fine(&behind(CONFIG, "conserved: {}"));
    assert_problems(
        &behind("collector: <<{}>>", "conserved: {}"),
        &["has no configuration of the Collector"],
    );
    assert_problems(
        &behind("collector: <<{configFile: a.yaml, config: x}>>", "conserved: {}"),
        &["has more than one configuration of the Collector: `config`, `configFile`"],
    );
    assert_problems(
        &behind("collector: {configFile: a.yaml, version: <<latest>>}", "conserved: {}"),
        &["`latest` is not a version"],
    );
    assert_problems(
        &behind("collector: {configFile: a.yaml, featureGates: {-gate: <<true>>}}", "conserved: {}"),
        &["`-gate` is not the name of a gate"],
    );
}

#[test]
fn what_is_expected_of_a_collector_needs_one() {
    for expect in ["conserved", "kept", "spanMetrics"] {
        let text = format!("{SHORT}  expect:\n    - {expect}: <<{{}}>>\n");
        assert_problems(&text, &["the scenario has no Collector"]);
    }
    let text = format!("{SHORT}  expect:\n    - sampling: <<{{of: collector}}>>\n");
    assert_problems(&text, &["the scenario has no Collector"]);
    let text =
        format!("{SHORT}  faults:\n    - collector: <<{{name: gone, during: {{from: 1s, to: 2s}}}}>>\n");
    assert_problems(&text, &["the scenario has no Collector"]);
}

#[test]
fn only_traces_have_classes() {
    assert_problems(
        &behind(CONFIG, "kept: {class: <<errors>>}"),
        &["only the traces of `load.traces` have classes"],
    );
    let text = format!("{TRACES}  expect:\n    - kept: {{class: <<b>>}}\n");
    assert_problems(&text, &["no class of traces is called `b`"]);
    fine(&format!("{TRACES}  expect:\n    - kept: {{class: a, share: 0%}}\n"));
    let text = format!("{TRACES}  expect:\n    - kept: {{share: <<\">= 0%\">>}}\n");
    assert_problems(&text, &["every value is within this bound, so it checks nothing"]);
}

#[test]
fn traces_need_a_collector_and_no_api_server() {
    let without = TRACES.replace("  collector: {configFile: otelcol.yaml}\n", "");
    let without = without.replace("    traces: {", "    traces: <<{").replace("]}\n", "]}>>\n");
    assert_problems(&without, &["there is no Collector to send the traces to"]);
    let text = format!("{TRACES}  expect:\n    - <<complete>>: {{}}\n");
    let found = problems(&text.replace("<<", "").replace(">>", ""));
    let found: Vec<String> = found.problems().iter().map(ToString::to_string).collect();
    assert!(found[0].contains("the load is traces, so there is no API server"), "{found:?}");
    let text = format!("{TRACES}    mix: <<[{{list: {{resource: pods}}}}]>>\n");
    assert_problems(&text, &["is never used: traces are sent, and no requests"]);
}

#[test]
fn what_fails_may_not_fail_to_fail() {
    fine(&behind(CONFIG, "fails: {kept: {}}"));
    assert_problems(&behind(CONFIG, "fails: <<{fails: {kept: {}}}>>"), &["what fails to fail is met"]);
    // What stands within is checked as well.
    let text = format!("{SHORT}  expect:\n    - fails: {{kept: <<{{}}>>}}\n");
    assert_problems(&text, &["the scenario has no Collector"]);
}

#[test]
fn only_a_counted_rate_is_decided_early() {
    let at = |rate: u32, of: &str| {
        let cluster = format!("  cluster: {{tracing: {{samplingRatePerMillion: {rate}}}}}\n  load:");
        let load = SHORT.replace("  load:", &cluster).replace("[{list", "[{as: unprivileged, list");
        format!("{load}  expect:\n    - sampling: {{of: {of}, until: <<decided>>}}\n")
    };
    fine(&at(10_000, "requestRoots").replace("<<", "").replace(">>", ""));
    assert_problems(
        &at(10_000, "authenticationRoots"),
        &["only a rate whose requests are counted is decided early"],
    );
    assert_problems(
        &at(0, "requestRoots"),
        &["at a rate of 0 nothing is kept, so the load never ends early"],
    );
}

/// Scenario: parts of a scenario in containers, on local processes and on kind, with mistakes.
/// Guarantees: they are of local processes only, and what is asked of a backend needs that backend.
#[test]
fn containers_are_beside_local_processes() {
    let scenario = |provider: &str, collector: &str, backends: &str, expect: &str| {
        let spec = format!(
            "spec:\n  cluster: {{provider: {provider}}}\n  collector: {{config: \"a: b\"{collector}}}\n  \
             backends: {backends}"
        );
        format!("{SHORT}  expect:\n    - {expect}\n").replace("spec:", &spec)
    };
    let both = "{jaeger: {}, prometheus: {image: a}}";
    let limits = ", container: {image: \"a:1\"}, resources: {limits: {memory: 64Mi}}";
    fine(&scenario("local", limits, both, "stored: {}"));
    fine(&scenario("local", ", container: {}", both, "spanMetrics: {from: prometheus}"));
    assert_problems(
        &scenario("kind", ", container: <<{}>>", "{jaeger: <<{}>>}", "conserved: {}"),
        &[
            "a Collector in a container runs beside local processes: on kind it is in a pod",
            "backends run beside local processes",
        ],
    );
    let mistakes = ", binary: x, container: {image: a b}, resources: {requests: {memory: 1Mi}}";
    let found = problems(&scenario("local", mistakes, "{}", "stored: {}"));
    assert_eq!(found.problems().len(), 4, "{found:?}");
    assert_problems(&scenario("local", "", "{}", "stored: <<{}>>"), &["the scenario has no Jaeger"]);
    assert_problems(
        &scenario("local", "", "{}", "spanMetrics: {from: <<prometheus>>}"),
        &["the scenario has no Prometheus"],
    );
    let without = SHORT.replace("spec:", "spec:\n  backends: {prometheus: <<{}>>}");
    assert_problems(&without, &["the scenario has no Collector"]);
    let away = SHORT
        .replace("spec:", "spec:\n  backends: {jaeger: <<{}>>}\n  faults: [{sink: {name: a, does: hang}}]");
    assert_problems(&away, &["what a sink takes while it misbehaves is not sent on to Jaeger"]);
}

/// Scenario: the pod of a Collector, and its restarts, on local processes and on kind.
/// Guarantees: both are of kind only; on kind mistakes in them are found at their places.
#[test]
fn pods_and_their_restarts_are_of_kind() {
    let scenario = |provider: &str, pod: &str, restarts: &str| {
        let spec =
            format!("spec:\n  cluster: {{provider: {provider}}}\n  collector: {{config: \"a: b\"{pod}}}");
        let text = format!("{SHORT}  expect:\n    - restarts: {restarts}\n");
        text.replace("spec:", &spec)
    };
    let only = "a Collector is in a pod on kind only";
    let started = "a Collector that ends by itself is started again on kind only, by the kubelet";
    let pod = ", kind: <<Deployment>>, resources: <<{limits: {memory: 64Mi}}>>";
    assert_problems(&scenario("local", pod, "<<{}>>"), &[only, only, started]);
    assert_problems(
        &scenario("kind", "", "{reason: <<\"\">>, count: <<\">= 0\">>, dark: <<\"< 0s\">>}"),
        &[
            "must not be empty",
            "every value is within this bound, so it checks nothing",
            "no value can be within this bound",
        ],
    );
    let quantity =
        "expected a quantity of Kubernetes such as 64Mi, 500m or 2, more than nothing, got \"64MiB\"";
    assert_problems(&scenario("kind", ", resources: {limits: {memory: <<64MiB>>}}", "{}"), &[quantity]);
}
