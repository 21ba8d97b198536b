//! Scenarios as text, and what is wrong with them.

use spangate_scenario::{Diagnostics, parse};

/// The shortest valid scenario.
pub(crate) const SHORT: &str = "\
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {name: short}
spec:
  load:
    arrivals: {rate: 10/s, for: 20s}
    mix: [{list: {resource: configmaps}}]
";

/// A scenario with a bit of everything.
pub(crate) const LONG: &str = r#"# yaml-language-server: $schema=../schemas/scenario.schema.json
apiVersion: spangate/v1alpha1
kind: Scenario
metadata:
  name: everything
  description: >-
    A bit of everything,
    on two lines.
spec:
  seed: 7
  cluster:
    provider: local
    kubernetes: "1.37"
    binaries: {etcd: bin/etcd}
    tracing:
      samplingRatePerMillion: 1000000
      batch: {scheduleDelay: 100ms, maxQueueSize: 4096}
    apiServer:
      extraArgs: {v: "4"}
      featureGates: {WatchList: true}
    etcd: {version: "3.7", tracing: {}}
  faults:
    - webhook: &hook
        name: slow-mutate
        type: mutating
        rules:
          - {operations: [CREATE, UPDATE], resources: [configmaps]}
          - {operations: ["*"], resources: ["*"], apiGroups: [apps]}
        matchConditions:
          - {name: not-ours, expression: "request.userInfo.username != 'x'"}
        delay: {fixed: 150ms}
        share: 50%
        operations: [CREATE]
        resources: [configmaps]
    - webhook:
        name: deny
        type: validating
        rules: [{operations: [DELETE], resources: [configmaps, deployments/scale]}]
        answer: {deny: {code: 409}}
        during: {from: 5s, to: 10s}
    - etcd:
        name: slow-writes
        rpc: KV/Txn
        keyPrefix: /registry/configmaps
        delay: {normal: {mean: 80ms, stddev: 10ms}}
        hold: response
        share: 40%
    - sink:
        name: away
        does: away
        during: {to: 15s}
    - sink:
        name: refuse
        does: {refuse: {status: UNAVAILABLE, retryAfter: 2s}}
  load:
    arrivals: {rate: 50/s, shape: poisson, for: 20s}
    mix:
      - {weight: 3, create: {resource: configmaps, size: 2KiB, labels: {app: x}}}
      - {weight: 5, as: unprivileged, list: {resource: configmaps, limit: 500, labelSelector: "app in (x, y)"}}
      - {traceparent: unsampled, get: {resource: pods, resourceVersion: "0"}}
      - {update: {resource: configmaps, objects: 1}}
      - {patch: {resource: deployments, type: strategic}}
      - {watch: {resource: events, for: 3s, initialEvents: true}}
      - {deleteCollection: {resource: configmaps}}
      - {as: tenants, watchList: {resource: pods, scope: cluster, fieldSelector: "spec.nodeName="}}
      - {as: robot, put: {resource: secrets, size: {uniform: {min: 1KiB, max: 8KiB}}}}
      - {postDelete: {resource: widgets, size: {logNormal: {median: 2KiB, p99: 64KiB}}}}
      - {kubectl: [discovery, create deployment, get pods, scale, delete]}
    watchers:
      - {count: 10, resource: configmaps, mode: listWatch, labelSelector: app=x, as: tenants}
      - {name: all-pods, count: 2, resource: pods, bookmarks: false, scope: cluster}
    identities:
      - {name: tenants, serviceAccounts: 3}
      - {name: robot, impersonate: {user: robot, groups: [robots]}}
    prepare:
      namespaces: 2
      parallel: 32
      objects: [{resource: secrets, count: 200, size: 2KiB, labels: {app: x}}]
    client: {protocol: http2, connections: 4, streams: 50, encoding: protobuf, retryAfter: honour}
    abortOn: [{errors: "> 50%", latency: {p99: "> 10s"}, over: 5s, grace: 5s}]
  expect:
    - injected: {fault: slow-mutate, within: 2ms}
    - blame: {fault: slow-writes, share: ">= 80%"}
    - spans:
        where:
          name: {prefix: "Call mutating webhook"}
          kind: client
          attributes: {webhook: {exists: true}, code: {number: ">= 200"}}
          events: [{name: {regex: "^Request.*"}}]
          parent: {name: x, not: {root: true}}
        count: 1..5
        duration: {p50: "> 100ms"}
    - complete: {orphans: "<= 3"}
    - latency: {where: {verb: create, as: admin, during: {from: 1s, to: 2s}}, is: {p99: "< 500ms"}}
    - phases: {phase: etcd KV/Txn, share: "> 10%"}
    - requests: {where: {status: 409}, share: "< 5%"}
    - recovery: {fault: away, lost: "0%"}
    - load: {achieved: ">= 99%", startLag: {p99: "< 1ms"}, shed: 0}
    - watchers: {name: all-pods, lag: {p99: "< 1s"}, missed: 0}
"#;

/// A scenario with these faults, indented by four spaces, and with a load that they can meet: it creates pods.
pub(crate) fn with_faults(faults: &str) -> String {
    with_faults_and_mix(faults, "{list: {resource: configmaps}}, {create: {resource: pods}}")
}

/// A scenario with these faults, indented by four spaces, and these entries of the mix.
pub(crate) fn with_faults_and_mix(faults: &str, mix: &str) -> String {
    SHORT
        .replace("  load:", &format!("  faults:\n{faults}\n  load:"))
        .replace("{list: {resource: configmaps}}", mix)
}

/// A scenario with these expectations, and with a fault of each kind for them to name.
pub(crate) fn with_expect(expect: &str) -> String {
    let faults = "    - webhook: {name: hook, type: mutating, rules: [{operations: [CREATE], resources: [pods]}], answer: hold, share: 50%}
    - etcd: {name: store, rpc: KV/Txn, status: UNAVAILABLE}
    - sink: {name: gone, does: away}
    - sink: {name: gone-a-while, does: away, during: {to: 5s}}";
    format!("{}  expect:\n{expect}\n", with_faults(faults))
}

/// The problems of a text that is not a valid scenario.
pub(crate) fn problems(text: &str) -> Diagnostics {
    match parse("scenario.yaml", text) {
        Ok(_) => panic!("no problem was found in:\n{text}"),
        Err(diagnostics) => diagnostics,
    }
}

/// Begin and end of what a problem is expected to point at.
const MARKS: [&str; 2] = ["<<", ">>"];

/// Checks that exactly the marked parts of a text are wrong, and why. Marks are `<<` and `>>`.
#[track_caller]
pub(crate) fn assert_problems(marked: &str, messages: &[&str]) {
    let mut text = String::new();
    let mut spans = Vec::new();
    let mut rest = marked;
    while let Some((before, after)) = rest.split_once(MARKS[0]) {
        let (inside, after) = after.split_once(MARKS[1]).expect("every mark is closed");
        text.push_str(before);
        spans.push(text.len()..text.len() + inside.len());
        text.push_str(inside);
        rest = after;
    }
    text.push_str(rest);
    let found = problems(&text);
    let found: Vec<(String, String)> = found
        .problems()
        .iter()
        .map(|problem| {
            let start = problem.span().start;
            let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
            assert_eq!(problem.line(), text[..start].split('\n').count(), "the line of {problem}");
            assert_eq!(
                problem.column(),
                text[line_start..start].chars().count() + 1,
                "the column of {problem}"
            );
            (problem.to_string(), text[problem.span()].to_owned())
        })
        .collect();
    let expected: Vec<(String, String)> = messages
        .iter()
        .zip(&spans)
        .map(|(message, span)| ((*message).to_owned(), text[span.clone()].to_owned()))
        .collect();
    assert_eq!(messages.len(), spans.len(), "a message for each mark");
    assert_eq!(found, expected, "\n{text}");
    let places: Vec<_> = problems(&text).problems().iter().map(spangate_scenario::Problem::span).collect();
    assert_eq!(places, spans, "\n{text}");
}

/// Problems of the short scenario with something else in place of a part of it.
#[track_caller]
pub(crate) fn replaced(part: &str, with: &str, messages: &[&str]) {
    assert!(SHORT.contains(part), "{part}");
    assert_problems(&SHORT.replace(part, with), messages);
}

#[track_caller]
pub(crate) fn expect(yaml: &str, messages: &[&str]) {
    assert_problems(&with_expect(&format!("    - {yaml}")), messages);
}

/// What is advised about the only problem of a text, whose marks are removed.
#[track_caller]
pub(crate) fn advice(marked: &str) -> String {
    let found = problems(&MARKS.iter().fold(marked.to_owned(), |text, mark| text.replace(mark, "")));
    assert_eq!(found.problems().len(), 1, "{:?}", found.problems());
    found.problems()[0].advice().unwrap_or_default().to_owned()
}
