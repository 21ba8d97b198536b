//! Mistakes of meaning: each rule finds what it is about, at its place, and nothing else.

use spangate_scenario::parse;

use crate::support::{
    SHORT, advice, assert_problems, expect, problems, replaced, with_expect, with_faults, with_faults_and_mix,
};

#[track_caller]
fn fault(yaml: &str, messages: &[&str]) {
    assert_problems(&with_faults(&format!("    - {yaml}")), messages);
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
    cluster("{kubernetes: <<v1.37>>}", &["`v1.37` is not a version"]);
    cluster("{etcd: {version: <<v3.7>>}}", &["`v3.7` is not a version"]);
    for (version, help) in [("v1.37", "did you mean \"1.37\"?"), ("latest", "write it as 1.37 or 1.37.2")] {
        let text = SHORT.replace("spec:", &format!("spec:\n  cluster: {{kubernetes: {version}}}"));
        assert_eq!(problems(&text).problems()[0].advice(), Some(help));
    }
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

/// Scenario: a kind cluster is asked for what it cannot have yet, or what its image decides.
/// Guarantees: each is refused at its place; the same is fine on local processes.
#[test]
fn what_kind_cannot_do() {
    let on_kind = |yaml: &str| format!("spec:\n  cluster: {{provider: kind{yaml}}}");
    let image = "on kind the binaries are those of the node image";
    replaced("spec:", &on_kind(", binaries: {etcd: <</e>>}"), &[image]);
    replaced("spec:", &on_kind(", binaries: {kubeApiserver: <</k>>}"), &[image]);
    replaced("spec:", &on_kind(", etcd: {version: <<\"3.6\">>}"), &[image]);
    replaced("spec:", &on_kind(", kind: {image: <<\"\">>}"), &["must not be empty"]);
    replaced("spec:", &on_kind(", kind: {configFile: <<\"\">>}"), &["must not be empty"]);
    let collector =
        "\n  collector: {config: \"a: b\", kind: Deployment, resources: {limits: {memory: 64Mi}}}";
    assert!(parse("kind", &SHORT.replace("spec:", &format!("{}{collector}", on_kind("")))).is_ok());
    let service = "    - webhook: {name: a, type: mutating, via: <<service>>, delay: {fixed: 5ms}, rules: \
                   [{operations: [CREATE], resources: [pods]}]}";
    assert_problems(&with_faults(service), &["a webhook is behind a Service on kind only"]);
}

/// Scenario: a cluster that is there already is asked for what is not ours to change there.
/// Guarantees: each is refused at its place; what the scenario expects of its tracing is fine.
#[test]
fn what_a_guest_cannot_do() {
    let existing = |yaml: &str| format!("spec:\n  cluster: {{provider: existing{yaml}}}");
    let own = "an existing cluster has its own, which are not changed";
    replaced("spec:", &existing(", binaries: <<{etcd: /e}>>"), &[own]);
    replaced("spec:", &existing(", apiServer: <<{featureGates: {A: true}}>>"), &[own]);
    replaced("spec:", &existing(", etcd: <<{tracing: {}}>>"), &[own]);
    replaced("spec:", &existing(", kind: <<{image: a}>>"), &[own]);
    replaced("spec:", &existing(", kubelet: <<{tracing: {samplingRatePerMillion: 1}}>>"), &[own]);
    let message = "a Collector is not possible on an existing cluster: where its API server exports to is not ours to say";
    replaced("spec:", &format!("{}\n  collector: <<{{config: \"a: b\"}}>>", existing("")), &[message]);
    let expected = existing(", adminGroup: any, tracing: {samplingRatePerMillion: 10}");
    assert!(parse("existing", &SHORT.replace("spec:", &expected)).is_ok());
}

/// Scenario: scenarios name the group of their administrator.
/// Guarantees: one that nobody has there is refused.
#[test]
fn groups_of_administrators() {
    let group = |provider: &str, group: &str| {
        format!("spec:\n  cluster: {{provider: {provider}, adminGroup: {group}}}")
    };
    for (provider, name) in [("kind", "kubeadm:cluster-admins"), ("local", "system:masters")] {
        let text = SHORT.replace("spec:", &group(provider, &format!("\"{name}\"")));
        assert!(parse(provider, &text).is_ok(), "{text}");
    }
    for (provider, name) in [("local", "kubeadm:cluster-admins"), ("kind", "dev")] {
        let message = format!("on the provider {provider} there is no administrator in `{name}`");
        replaced("spec:", &group(provider, &format!("<<\"{name}\">>")), &[&message]);
    }
}

/// Scenario: something that takes a kubelet is asked of local processes.
/// Guarantees: it is refused, with the provider as the way out; on kind both are fine.
#[test]
fn what_takes_a_kubelet() {
    let advised = "take the provider `kind`, or leave it out";
    let tracing = "kubelet: {tracing: {samplingRatePerMillion: 1000}}";
    let rollout =
        SHORT.replace("{list: {resource: configmaps}}", "{kubectl: [create deployment, rollout status]}");
    let with_cluster =
        |text: &str, yaml: &str| text.replace("spec:", &format!("spec:\n  cluster: {{{yaml}}}"));
    assert_eq!(advice(&with_cluster(SHORT, tracing)), advised);
    assert_eq!(advice(&rollout), advised);
    let on_kind = with_cluster(&rollout, &format!("provider: kind, {tracing}"));
    assert!(parse("on kind", &on_kind).is_ok());
    let unmade = on_kind.replace("create deployment, ", "");
    assert_eq!(problems(&unmade).problems().len(), 1);
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
fn names_of_faults_in_expectations() {
    expect("injected: {fault: <<hok>>}", &["there is no fault `hok`"]);
    let found = problems(&with_expect("    - injected: {fault: hok}"));
    assert_eq!(found.problems()[0].advice(), Some("did you mean `hook`?"));
    expect(
        "blame: {fault: <<gone>>}",
        &["`gone` is a fault behind the API server, which no span of a request shows"],
    );
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
fn what_is_expected_of_the_sampler() {
    let sampling = |keys: &str, messages: &[&str]| expect(&format!("sampling: {{{keys}}}"), messages);
    sampling("of: honouredParents, within: <<0%>>", &["no number of traces tells a rate exactly"]);
    for confidence in ["100%", "49.9%"] {
        let keys = format!("of: honouredParents, confidence: <<{confidence}>>");
        sampling(&keys, &["must be at least 50% and less than 100%"]);
    }
    sampling(
        "of: honouredParents, samplingRatePerMillion: <<5>>",
        &["the rate never decides on a trace whose parent is honoured"],
    );
    sampling("of: honouredParents, lost: <<\"< 1%\">>", &["every lost trace is told, and none is allowed"]);
    sampling(
        "of: authenticationRoots, samplingRatePerMillion: 5, lost: <<\"< 5%\">>",
        &["nobody knows how many there were"],
    );
    let expecting = "  expect:\n    - sampling: {of: requestRoots, lost: <<\"> 5%\">>}\n";
    let unprivileged = SHORT.replace("[{list:", "[{as: unprivileged, list:");
    let limit = "the part that is lost is an interval, which only an upper limit can hold";
    assert_problems(&format!("{unprivileged}{expecting}"), &[limit]);
    sampling(
        "of: <<authenticationRoots>>",
        &["at a rate of 0 there are no such traces, and no ids to judge"],
    );
    sampling(
        "of: <<requestRoots>>, samplingRatePerMillion: 5",
        &["load sends only requests whose `traceparent` the API server honours"],
    );
    let expecting = "  expect:\n    - sampling: {of: <<honouredParents>>}\n";
    let none = "load sends no `traceparent` that the API server honours";
    assert_problems(&format!("{unprivileged}{expecting}"), &[none]);
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

/// Problems of a scenario with this fault and these entries of the mix.
#[track_caller]
fn meeting(fault: &str, mix: &str, messages: &[&str]) {
    let text = with_faults_and_mix(&format!("    - {fault}"), mix);
    if messages.is_empty() {
        parse("meeting", &text).unwrap_or_else(|found| panic!("{:?}\n{text}", found.problems()));
    } else {
        assert_problems(&text, messages);
    }
}

#[test]
fn resources_of_rules_are_plural() {
    for (given, advice) in [
        ("deployment", "did you mean `deployments`?"),
        ("deployment/scale", "did you mean `deployments/scale`?"),
        ("pod", "did you mean `pods`?"),
    ] {
        let rules = format!("rules: [{{operations: [\"*\"], resources: [pods, <<{given}>>]}}]");
        let text = with_faults(&format!("    - webhook: {{name: a, type: mutating, answer: hold, {rules}}}"));
        let name = given.split('/').next().unwrap();
        assert_problems(&text, &[&format!("there is no resource `{name}`")]);
        assert_eq!(problems(&text.replace("<<", "").replace(">>", "")).problems()[0].advice(), Some(advice));
    }
}

#[test]
fn webhooks_that_are_never_called() {
    let message: &[&str] = &["the webhook is never called: load sends no write that it is for"];
    let called: &[&str] = &[];
    let sends = "{create: {resource: configmaps}}, {weight: 0, create: {resource: events}}, \
                 {kubectl: [create deployment, scale]}, {get: {resource: pods}}";
    for (operations, resources, messages) in [
        ("CREATE", "configmaps", called),
        ("CREATE, DELETE", "secrets, configmaps", called),
        ("\"*\"", "configmaps", called),
        ("CREATE", "\"*\"", called),
        ("CREATE", "configmaps/*", called),
        ("UPDATE", "deployments/scale", called),
        ("UPDATE", "\"*/scale\"", called),
        ("UPDATE", "\"*/*\"", called),
        // The API server writes these itself.
        ("UPDATE", "leases", called),
        ("UPDATE", "flowschemas/status", called),
        ("DELETE", "configmaps", message),
        ("UPDATE", "deployments", message),
        ("CREATE", "deployments/scale", message),
        ("CREATE", "pods", message),
        ("CREATE", "events", message),
        ("CREATE", "secrets", message),
        ("CONNECT", "\"*\"", message),
    ] {
        let list = format!("[{{operations: [{operations}], resources: [{resources}]}}]");
        let list = if messages.is_empty() { list } else { format!("<<{list}>>") };
        meeting(
            &format!("webhook: {{name: a, type: mutating, answer: hold, rules: {list}}}"),
            sends,
            messages,
        );
    }
    // One rule of several is enough, and the filters count as well.
    let rules = "[{operations: [DELETE], resources: [pods]}, {operations: [CREATE, UPDATE], resources: [configmaps]}]";
    let fault = |rules: &str, filter: &str| {
        format!("webhook: {{name: a, type: mutating, answer: hold, rules: {rules}{filter}}}")
    };
    meeting(&fault(rules, ""), sends, called);
    meeting(&fault(rules, ", operations: [CREATE]"), sends, called);
    meeting(&fault(&format!("<<{rules}>>"), ", operations: [UPDATE]"), sends, message);
    meeting(&fault(&format!("<<{rules}>>"), ", resources: [pods]"), sends, message);
    meeting(&fault(&format!("<<{rules}>>"), ""), "{list: {resource: configmaps}}", message);
    // What could not be read may have been the write.
    let unread = &["unknown value `configmap`"];
    meeting(&fault(rules, ""), "{get: {resource: pods}}, {create: {resource: <<configmap>>}}", unread);
}

#[test]
fn what_load_sends_is_told() {
    let rules = "rules: [{operations: [CREATE], resources: [pods]}]";
    for (mix, advice) in [
        ("{apply: {resource: events}}", "load sends `CREATE events`, `UPDATE events`"),
        (
            "{kubectl: [create deployment, scale]}",
            "load sends `CREATE deployments`, `UPDATE deployments/scale`",
        ),
        ("{list: {resource: pods}}", "load only reads; let it write something, as by `create`"),
    ] {
        let fault = format!("    - webhook: {{name: a, type: mutating, answer: hold, {rules}}}");
        let found = problems(&with_faults_and_mix(&fault, mix));
        assert_eq!(found.problems()[0].advice(), Some(advice), "{mix}");
    }
}

#[test]
fn prefixes_of_keys_that_nothing_has() {
    let mix = "{create: {resource: configmaps}}, {patch: {resource: events}}, \
               {update: {resource: configmaps}}, {get: {resource: pods}}";
    let no_key = |prefix: &str| Some(format!("no key of the API server begins with `{prefix}`"));
    let unwritten = |prefix: &str| Some(format!("nothing is written below `{prefix}`"));
    for (rpc, prefix, message, advice) in [
        ("KV/Txn", "/registry/configmaps/", None, ""),
        ("KV/Txn", "/registry/configmap", None, ""),
        ("KV/Txn", "/registry/configmaps/spangate-load/load-1", None, ""),
        ("KV/Txn", "/reg", None, ""),
        ("KV/Txn", "/", None, ""),
        ("KV/Txn", "/registry/leases/", None, ""),
        ("KV/Txn", "/registry/services/specs/", None, ""),
        ("KV/Range", "/registry/pods/", None, ""),
        ("KV/Range", "/registry/secrets/", None, ""),
        ("Watch/Watch", "/registry/apiregistration.k8s.io/", None, ""),
        (
            "KV/Txn",
            "/registry/pods/",
            unwritten("/registry/pods/"),
            "load writes below `/registry/configmaps/`, `/registry/events/`",
        ),
        (
            "KV/Txn",
            "/registry/apps/deployments/",
            unwritten("/registry/apps/deployments/"),
            "load writes below `/registry/configmaps/`, `/registry/events/`",
        ),
        (
            "KV/Txn",
            "/registry/configmap/",
            no_key("/registry/configmap/"),
            "did you mean `/registry/configmaps/`?",
        ),
        ("KV/Range", "/registry/pod/x", no_key("/registry/pod/"), "did you mean `/registry/pods/x`?"),
        ("KV/Range", "/configmaps/", no_key("/configmaps/"), "did you mean `/registry/configmaps/`?"),
        (
            "KV/Range",
            "/registries/",
            no_key("/registries/"),
            "its keys begin with `/registry/`, as in `/registry/configmaps/`",
        ),
    ] {
        let fault = |prefix: &str| {
            format!("etcd: {{name: a, rpc: {rpc}, keyPrefix: {prefix}, delay: {{fixed: 1s}}}}")
        };
        let Some(message) = message else {
            meeting(&fault(prefix), mix, &[]);
            continue;
        };
        meeting(&fault(&format!("<<{prefix}>>")), mix, &[&message]);
        let found = problems(&with_faults_and_mix(&format!("    - {}", fault(prefix)), mix));
        assert_eq!(found.problems()[0].advice(), Some(advice), "{prefix}");
    }
    let moved = with_faults("    - etcd: {name: a, rpc: KV/Txn, keyPrefix: /mine/pods/, delay: {fixed: 1s}}")
        .replace("spec:", "spec:\n  cluster: {apiServer: {extraArgs: {etcd-prefix: /mine}}}");
    assert!(parse("moved", &moved).is_ok());
}

#[test]
fn blame_needs_requests_to_compare_with() {
    let message = "`a` spares no request of a kind, so there is none to compare with";
    let blame = |fault: &str, mix: &str| {
        format!(
            "{}  expect:\n    - blame: {{fault: <<a>>}}\n",
            with_faults_and_mix(&format!("    - {fault}"), mix)
        )
    };
    let refused = |fault: &str, mix: &str| {
        let text = blame(fault, mix);
        assert_problems(&text, &[message]);
        let found = problems(&text.replace("<<", "").replace(">>", ""));
        assert_eq!(found.problems()[0].advice(), Some("let the fault spare some: `share: 50%`, or `during`"));
    };
    let fine = |fault: &str, mix: &str| {
        let text = blame(fault, mix).replace("<<", "").replace(">>", "");
        parse("fine", &text).unwrap_or_else(|found| panic!("{:?}\n{text}", found.problems()));
    };
    let create = "{create: {resource: pods}}";
    let hook = |keys: &str| {
        let rules = "rules: [{operations: [CREATE], resources: [pods]}]";
        format!("webhook: {{name: a, type: mutating, {rules}, answer: hold{keys}}}")
    };
    refused(&hook(""), create);
    refused(&hook(", share: 100%"), create);
    fine(&hook(", share: 99%"), create);
    fine(&hook(", during: {to: 5s}"), create);
    fine(
        &hook(", matchConditions: [{name: odd, expression: \"object.metadata.name.endsWith('1')\"}]"),
        create,
    );

    let etcd = |rpc: &str, keys: &str| format!("etcd: {{name: a, rpc: {rpc}, delay: {{fixed: 1s}}{keys}}}");
    refused(&etcd("KV/Txn", ""), create);
    refused(&etcd("KV/Txn", ", keyPrefix: /registry/pods/spangate-load/"), create);
    fine(&etcd("KV/Txn", ", keyPrefix: /registry/pods/spangate-load/load-1"), create);
    fine(&etcd("KV/Txn", ", share: 40%"), create);
    refused(&etcd("KV/Range", ""), "{get: {resource: pods}}, {create: {resource: pods}}");
    // The watch cache answers some of these, and they are like the others.
    fine(&etcd("KV/Range", ""), "{get: {resource: pods}}, {get: {resource: pods, resourceVersion: \"0\"}}");
    fine(&etcd("KV/Range", ""), "{list: {resource: pods}}");
}

#[test]
fn measured_times_are_never_exact() {
    for (yaml, time, advice) in [
        ("latency: {is: {p99: <<200ms>>}}", "200ms", "did you mean `< 200ms`?"),
        ("latency: {is: {min: <<\"= 1.5s\">>}}", "1.5s", "did you mean `>= 1.5s`?"),
        ("latency: {is: {max: <<1s..1s>>}}", "1s", "did you mean `< 1s`?"),
        ("spans: {duration: {p50: <<2ms>>}}", "2ms", "did you mean `< 2ms`?"),
        ("spans: {where: {duration: <<2ms>>}, count: 1}", "2ms", "did you mean `>= 2ms`?"),
        ("phases: {phase: cache, is: {p50: <<2ms>>}}", "2ms", "did you mean `< 2ms`?"),
        ("recovery: {fault: gone-a-while, dark: <<30s>>}", "30s", "did you mean `< 30s`?"),
    ] {
        expect(yaml, &[&format!("no measured time is exactly {time}")]);
        let text = with_expect(&format!("    - {}", yaml.replace("<<", "").replace(">>", "")));
        assert_eq!(problems(&text).problems()[0].advice(), Some(advice), "{yaml}");
    }
    // What never took place took no time.
    assert!(parse("none", &with_expect("    - phases: {phase: cache, is: {p50: 0s}}")).is_ok());
}
