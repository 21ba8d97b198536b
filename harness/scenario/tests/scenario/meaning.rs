//! Mistakes of meaning: each rule finds what it is about, at its place, and nothing else.

use crate::support::{SHORT, assert_problems, problems, with_expect, with_faults};

/// Problems of a scenario with `from` in place of a part of the short one.
#[track_caller]
fn replaced(part: &str, with: &str, messages: &[&str]) {
    assert!(SHORT.contains(part), "{part}");
    assert_problems(&SHORT.replace(part, with), messages);
}

#[track_caller]
fn fault(yaml: &str, messages: &[&str]) {
    assert_problems(&with_faults(&format!("    - {yaml}")), messages);
}

#[track_caller]
fn expect(yaml: &str, messages: &[&str]) {
    assert_problems(&with_expect(&format!("    - {yaml}")), messages);
}

#[track_caller]
fn mix(entry: &str, messages: &[&str]) {
    replaced("{list: {resource: configmaps}}", entry, messages);
}

#[track_caller]
fn cluster(yaml: &str, messages: &[&str]) {
    replaced("spec:", &format!("spec:\n  cluster: {yaml}"), messages);
}

/// A webhook fault with these keys besides those that it must have.
#[track_caller]
fn webhook(keys: &str, messages: &[&str]) {
    let rules = "rules: [{operations: [CREATE], resources: [pods]}]";
    fault(&format!("webhook: {{name: a, type: mutating, {rules}, {keys}}}"), messages);
}

#[test]
fn names() {
    replaced("short", "<<Short>>", &["`Short` is not a DNS label"]);
    let long = "a".repeat(64);
    replaced("short", &format!("<<{long}>>"), &[&format!("`{long}` is not a DNS label")]);
}

#[test]
fn versions() {
    cluster("{kubernetes: <<latest>>}", &["`latest` is not a version"]);
    cluster("{etcd: {version: <<v3.7>>}}", &["`v3.7` is not a version"]);
}

#[test]
fn the_tracing_gate_is_refused_from_1_37_on() {
    let message = "the API server of Kubernetes 1.37 does not start with the gate `APIServerTracing`";
    cluster("{apiServer: {featureGates: {APIServerTracing: <<true>>}}}", &[message]);
    cluster("{apiServer: {extraArgs: {feature-gates: <<\"A=true,APIServerTracing=false\">>}}}", &[message]);
    let older =
        "spec:\n  cluster: {kubernetes: \"1.36.4\", apiServer: {featureGates: {APIServerTracing: true}}}";
    assert!(spangate_scenario::parse("older", &SHORT.replace("spec:", older)).is_ok());
}

#[test]
fn settings_of_the_api_server() {
    cluster("{apiServer: {extraArgs: {--v: <<\"4\">>}}}", &["`--v` is not the name of a flag"]);
    cluster("{apiServer: {env: {A=B: <<\"4\">>}}}", &["`A=B` is not the name of an environment variable"]);
    cluster("{tracing: {batch: {scheduleDelay: <<1.5ms>>}}}", &["must be one or more whole milliseconds"]);
    cluster("{tracing: {batch: {exportTimeout: <<0s>>}}}", &["must be one or more whole milliseconds"]);
    cluster("{tracing: {batch: {maxQueueSize: <<0>>}}}", &["must be at least 1"]);
    cluster(
        "{tracing: {batch: {maxExportBatchSize: <<4096>>}}}",
        &["4096 spans never wait at once: the queue holds 2048"],
    );
}

#[test]
fn names_of_faults() {
    assert_problems(
        &with_faults("    - sink: {name: a, does: hang}\n    - sink: {name: <<a>>, does: away}"),
        &["another fault is called `a` too"],
    );
    fault("sink: {name: <<a.b>>, does: hang}", &["`a.b` is not a DNS label"]);
}

#[test]
fn faults_that_do_nothing() {
    let neither = "the fault does nothing: it neither delays its calls nor answers them wrongly";
    fault(
        "webhook: <<{name: a, type: mutating, rules: [{operations: [CREATE], resources: [pods]}]}>>",
        &[neither],
    );
    let neither = "the fault does nothing: it neither delays calls nor fails them";
    fault("<<etcd>>:\n        name: a\n        rpc: KV/Txn", &[neither]);
    fault(
        "sink: {name: a, does: {partialSuccess: {rejected: <<0>>}}}",
        &["a fault that rejects 0% of the spans does nothing"],
    );
}

#[test]
fn a_fault_is_not_said_to_do_nothing_when_what_it_does_cannot_be_read() {
    fault(
        "etcd: {name: a, rpc: KV/Txn, delay: {fixed: <<5>>}}",
        &["expected a duration such as 150ms, 1.5s or 1m30s, got the number `5`"],
    );
    fault("etcd: {name: a, rpc: KV/Txn, <<dealy>>: {fixed: 5s}}", &["unknown key `dealy`"]);
}

#[test]
fn webhooks() {
    webhook("answer: hold, timeoutSeconds: <<0>>", &["must be 1 to 30, got 0"]);
    webhook("answer: hold, timeoutSeconds: <<31>>", &["must be 1 to 30, got 31"]);
    webhook("answer: {deny: {code: <<200>>}}", &["must be an HTTP status from 400 to 599, got 200"]);
    webhook("answer: {http: {status: <<600>>}}", &["must be an HTTP status from 400 to 599, got 600"]);
    webhook("answer: {patch: <<[]>>}", &["an empty patch changes nothing"]);
    webhook(
        "answer: {patch: [<<{op: add}>>]}",
        &["an operation of a JSON patch needs the texts `op` and `path` (RFC 6902)"],
    );
    webhook("answer: hold, share: <<0%>>", &["a fault that affects 0% of the calls does nothing"]);
    webhook("answer: hold, operations: [<<\"*\">>]", &["`*` belongs into `rules`"]);
    webhook(
        "answer: hold, operations: [<<DELETE>>]",
        &["none of the `rules` sends this operation to the webhook"],
    );
    webhook(
        "answer: hold, resources: [<<configmaps>>]",
        &["none of the `rules` sends `configmaps` to the webhook"],
    );
    webhook("answer: hold, resources: [<<Pods>>]", &["`Pods` is not a resource"]);
    webhook("answer: hold, namespaces: [<<a_b>>]", &["`a_b` is not a DNS label"]);
    webhook(
        "answer: hold, matchConditions: [{name: <<a b>>, expression: x}]",
        &["`a b` is not a name for a condition"],
    );
    webhook(
        "answer: hold, matchConditions: [{name: a, expression: x}, {name: <<a>>, expression: <<\" \">>}]",
        &["another condition is called `a` too", "must not be empty"],
    );
    let validating = "webhook: {name: a, type: validating, rules: [{operations: [CREATE], resources: [pods]}], \
                      answer: {patch: <<[{op: remove, path: /a}]>>}}";
    fault(validating, &["a validating webhook cannot change the object"]);
}

#[test]
fn rules_of_webhooks() {
    let rule = |rule: &str, messages: &[&str]| {
        fault(&format!("webhook: {{name: a, type: mutating, answer: hold, rules: [{rule}]}}"), messages);
    };
    rule("{operations: <<[]>>, resources: <<[]>>}", &["an empty list matches nothing"; 2]);
    rule(
        "{operations: <<[\"*\", CREATE]>>, resources: <<[pods, \"*\"]>>}",
        &["`*` is everything, so nothing may stand beside it"; 2],
    );
    rule(
        "{operations: [CREATE], resources: [<<Pod>>, pods/status, \"*/scale\"]}",
        &["`Pod` is not a resource"],
    );
    rule(
        "{operations: [CREATE], resources: [pods], apiGroups: [\"\"], apiVersions: <<[\"\"]>>}",
        &["must not hold empty text"],
    );
    fault(
        "webhook: {name: a, type: mutating, answer: hold, rules: <<[]>>}",
        &["a webhook without rules is never called"],
    );
}

#[test]
fn delays() {
    webhook("delay: {fixed: <<0s>>}", &["a delay of 0s does nothing"]);
    webhook("delay: {uniform: <<{min: 2s, max: 1s}>>}", &["`min` (2s) is greater than `max` (1s)"]);
    webhook("delay: {pareto: {scale: 1ms, shape: <<0>>}}", &["must be greater than 0"]);
    webhook("delay: {pareto: {scale: 1ms, shape: <<-1.5>>}}", &["must be greater than 0"]);
    webhook("delay: {pareto: {scale: 1ms, shape: <<1e999>>}}", &["must be greater than 0"]);
    webhook("delay: {exponential: {mean: <<0s>>}}", &["a delay of 0s does nothing"]);
    fault("sink: {name: a, does: {delay: {fixed: <<0s>>}}}", &["a delay of 0s does nothing"]);
}

#[test]
fn windows() {
    webhook("answer: hold, during: <<{from: 5s, to: 5s}>>", &["ends at 5s but begins at 5s"]);
    webhook(
        "answer: hold, during: {from: 5s, to: <<21s>>}",
        &["lies after the end of load, which is sent for 20s"],
    );
    expect("requests: {where: {during: <<{from: 3s, to: 1s}>>}, count: 1}", &["ends at 1s but begins at 3s"]);
}

#[test]
fn etcd() {
    fault("etcd: {name: a, rpc: <<KV/Tnx>>, delay: {fixed: 1s}}", &["etcd has no RPC `KV/Tnx`"]);
    fault(
        "etcd: {name: a, rpc: KV/Txn, keyPrefix: <<registry>>, status: ABORTED}",
        &["`registry` is no key of the API server's"],
    );
    fault(
        "etcd: {name: a, rpc: Lease/LeaseGrant, keyPrefix: <</registry>>, status: ABORTED}",
        &["requests of Lease/LeaseGrant name no key"],
    );
    fault(
        "etcd: {name: a, rpc: Watch/Watch, status: <<ABORTED>>}",
        &["one stream of Watch/Watch serves many callers, so it cannot fail for some"],
    );
}

#[test]
fn arrivals() {
    replaced("10/s", "<<0/s>>", &["must be greater than 0"]);
    replaced("20s", "<<0>>", &["expected a duration such as 150ms, 1.5s or 1m30s, got the number `0`"]);
    replaced("20s", "<<0s>>", &["must be longer than 0s"]);
    replaced(
        "{rate: 10/s, for: 20s}",
        "<<{rate: 1000000/s, for: 1h}>>",
        &["1000000/s for 1h are 3600000000 arrivals, and 10000000 are the limit"],
    );
    replaced(
        "{rate: 10/s, for: 20s}",
        "<<{rate: 1/h, for: 1s}>>",
        &["0.0002777777777777778/s for 1s is less than one arrival"],
    );
}

#[test]
fn lists_have_an_end() {
    let entry = "{list: {resource: configmaps}}";
    let entries = vec![entry; 1001].join(", ");
    replaced(
        &format!("[{entry}]"),
        &format!("<<[{entries}]>>"),
        &["has 1001 entries, and 1000 are the limit"],
    );
}

#[test]
fn settings_of_load() {
    let owned =
        |name: &str| format!("`{name}` belongs to the cluster, and the namespace is removed after the run");
    let with = |key: &str, messages: &[&str]| replaced("  load:", &format!("  load:\n    {key}"), messages);
    with("namespace: <<default>>", &[&owned("default")]);
    with("namespace: <<kube-system>>", &[&owned("kube-system")]);
    with("namespace: <<a/b>>", &["`a/b` is not a DNS label"]);
    with("connections: <<0>>", &["must be at least 1"]);
    with("maxInFlight: <<0>>", &["must be at least 1"]);
    with("objects: <<1000001>>", &["must be at most 1000000, got 1000001"]);
    with("timeout: <<0s>>", &["must be longer than 0s"]);
}

#[test]
fn entries_of_the_mix() {
    replaced("[{list: {resource: configmaps}}]", "<<[]>>", &["must have at least one entry"]);
    mix("<<{weight: 2}>>", &["has no operation"]);
    mix(
        "<<{get: {resource: pods}, list: {resource: pods}}>>",
        &["has more than one operation: `get`, `list`"],
    );
    replaced(
        "[{list: {resource: configmaps}}]",
        "<<[{weight: 0, list: {resource: pods}}]>>",
        &["no entry is ever chosen: all weights are 0"],
    );
    mix(
        "{create: {resource: configmaps, size: <<2MiB>>}}",
        &["2MiB are too much: the API server takes at most 1MiB of data of a config map"],
    );
    mix(
        "{apply: {resource: pods, size: <<1MiB>>}}",
        &["1MiB are too much: the API server takes at most 256KiB of annotations"],
    );
    mix(
        "{create: {resource: pods, labels: {a b: <<c>>, d: <<e f>>}}}",
        &["`a b` is not the key of a label", "`e f` is not the value of a label"],
    );
    mix("{list: {resource: pods, limit: <<0>>}}", &["must be at least 1, or left out"]);
    mix("{list: {resource: pods, labelSelector: <<\"a in (\">>}}", &["a `(` has no `)` after it"]);
    mix("{watch: {resource: pods, for: <<0s>>}}", &["must be longer than 0s"]);
    mix(
        "{update: {resource: pods, objects: <<11>>}}",
        &["only 10 objects exist before load starts (`load.objects`)"],
    );
    mix("{patch: {resource: pods, objects: <<0>>}}", &["must be at least 1"]);
    let none = "works on objects that exist before load starts, and `load.objects` is 0";
    replaced(
        "mix: [{list: {resource: configmaps}}]",
        "objects: 0\n    mix: [{get: <<{resource: pods}>>}]",
        &[none],
    );
}

#[test]
fn steps_of_kubectl() {
    mix("{kubectl: <<[]>>}", &["must have at least one step"]);
    mix(
        "{kubectl: [<<delete>>, apply, delete, <<scale>>]}",
        &["there is nothing to delete yet", "there is no deployment to scale yet"],
    );
    mix("{kubectl: [create configmap, <<scale>>, delete]}", &["there is no deployment to scale yet"]);
}

#[test]
fn names_of_faults_in_expectations() {
    expect("injected: {fault: <<hok>>}", &["there is no fault `hok`"]);
    let found = problems(&with_expect("    - injected: {fault: hok}"));
    assert_eq!(found.problems()[0].advice(), Some("did you mean `hook`?"));
    expect("blame: {fault: <<gone>>}", &["`gone` is a fault of the sink, which no span of a request shows"]);
    expect("recovery: {fault: <<store>>, lost: 0%}", &["`store` is not a fault of the sink"]);
    expect(
        "recovery: {fault: <<gone>>, lost: 0%}",
        &["`gone` lasts all the run, so the sink never comes back"],
    );
}

#[test]
fn a_fault_that_cannot_be_read_is_not_said_to_be_missing() {
    let faults = "    - etcd: {name: a, rpc: <<5>>, delay: {fixed: 1s}}";
    let text = format!("{}  expect:\n    - injected: {{fault: a}}\n", with_faults(faults));
    assert_problems(&text, &["expected text, got the number `5`"]);
}

#[test]
fn findings_count_list_items_as_they_are_written() {
    let text = with_faults(
        "    - etcd: {name: a, rpc: <<5>>}\n    - etcd: {name: b, rpc: KV/Txn, delay: {fixed: <<0s>>}}",
    );
    assert_problems(&text, &["expected text, got the number `5`", "a delay of 0s does nothing"]);
    let found = problems(&text.replace("<<", "").replace(">>", ""));
    assert_eq!(found.problems()[1].path().to_string(), "spec.faults[1].etcd.delay.fixed");
}

#[test]
fn expectations_that_say_nothing() {
    expect("spans: <<{where: {name: x}}>>", &["says which spans, but not what must be true of them"]);
    expect("spans: {duration: <<{}>>}", &["says nothing that must be true"]);
    expect("latency: {is: <<{}>>}", &["says nothing that must be true"]);
    expect("phases: <<{phase: authorization}>>", &["says nothing that must be true"]);
    expect("requests: <<{where: {verb: get}}>>", &["says nothing that must be true"]);
    expect("recovery: <<{fault: gone-a-while}>>", &["says nothing that must be true"]);
    expect("injected: {fault: hook, share: <<0%>>}", &["0% of the injections are always within"]);
    expect("phases: {phase: <<\" \">>, share: 1%}", &["must not be empty"]);
    expect("spans: {cel: <<\"\">>}", &["must not be empty"]);
}

#[test]
fn bounds_that_say_nothing() {
    let none = "no value can be within this bound";
    let all = "every value is within this bound, so it checks nothing";
    expect("blame: {fault: hook, share: <<\"> 100%\">>}", &[none]);
    expect("spans: {count: <<\">= 0\">>, perRequest: <<\"< 0\">>}", &[all, none]);
    expect("complete: {missing: <<\"< 0\">>, orphans: \">= 0\"}", &[none]);
    expect("latency: {is: {p99: <<\"< 0s\">>, max: <<\">= 0s\">>}}", &[none, all]);
    expect("requests: {where: {status: <<9>>}, share: <<\"<= 100%\">>}", &[none, all]);
    expect("recovery: {fault: gone-a-while, dark: <<\"< 0s\">>, lost: <<\"< 0%\">>}", &[none, none]);
}

#[test]
fn filters_of_requests() {
    expect("requests: {where: {verb: <<post>>}, count: 1}", &["there is no verb `post`"]);
    expect(
        "requests: {where: {resource: <<configmap>>}, count: 1}",
        &["load sends no requests for `configmap`"],
    );
    expect(
        "requests: {where: {verb: discovery, resource: <<pods>>}, count: 1}",
        &["discovery asks for no resource"],
    );
}

#[test]
fn selectors_of_spans() {
    expect(
        "spans: {where: {name: {regex: <<\"a(\">>}}, count: 1}",
        &["not a regular expression: unclosed group"],
    );
    expect(
        "spans: {where: {parent: {scope: {prefix: <<\"\">>}}}, count: 1}",
        &["every text begins with an empty prefix, so it checks nothing"],
    );
    expect(
        "spans: {where: {events: [{name: x, attributes: {k.x: {regex: <<\"[\">>}}}]}, count: 1}",
        &["not a regular expression: unclosed character class"],
    );
    expect(
        "spans: {where: {not: <<{}>>}, count: 1}",
        &["an empty selector picks every span, so its opposite picks none"],
    );
    expect(
        "spans: {where: {root: <<true>>, parent: {name: x}}, count: 1}",
        &["a root has no parent, so `parent` and `ancestor` pick nothing"],
    );
    expect(
        "spans: {where: {name: <<{prefix: a, regex: b}>>}, count: 1}",
        &["expected exactly one of equals, prefix, regex"],
    );
    expect("spans: {attributes: {a: <<{like: b}>>}}", &["unknown key `like`"]);
}
