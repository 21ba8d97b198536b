//! What is made before the load, and removed after it.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use spangate_load::{ClientError, EngineError, LoadEvent};
use spangate_scenario::{
    model::{DeleteOperation, Encoding, Identity, Load, MixEntry, PopulationEntry, Resource, Sizes},
    units::Size,
};

use crate::{
    Bench, get, load,
    server::{Answer, Options, Seen, Server},
    willing,
};

const NAMESPACES: &str = "/api/v1/namespaces";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const REVIEW: &str = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews";
/// How everything that is applied is applied.
const APPLIED: &str = "?fieldManager=spangate&force=true";
/// The query of what is removed with the run, and with any run.
const OF_RUN: &str = "?labelSelector=spangate.io%2Frun%3Dtest-run&limit=500";
const OF_ANY: &str = "?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dspangate&limit=500";

fn deletes() -> MixEntry {
    let delete = Some(DeleteOperation { resource: Resource::Pods });
    MixEntry { delete, identity: Identity::unprivileged(), ..MixEntry::default() }
}

async fn bench(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Bench {
    bench_of(&load(4, 200, vec![deletes()]), answer).await
}

async fn bench_of(load: &Load, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Bench {
    Bench::new(Server::start(Options::default(), answer).await, load)
}

/// Nothing is sent, but all of this exists.
fn population(namespaces: u32, resource: Resource, count: u32) -> Load {
    let mut load = load(1, 100, Vec::new());
    load.prepare.namespaces = namespaces;
    load.prepare.objects = vec![PopulationEntry {
        resource,
        count,
        size: Sizes::Fixed(Size(100)),
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
    }];
    load
}

fn refusal(status: u16) -> Answer {
    Answer::Status(status, r#"{"kind":"Status","message":"no such luck"}"#.to_owned())
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer::Status(status, body.to_string())
}

fn lines(bench: &Bench) -> Vec<String> {
    bench.server.take().iter().map(Seen::line).collect()
}

#[tokio::test]
async fn everything_is_made_by_the_admin_without_leaving_a_trace() {
    let mut bench = bench(willing).await;
    bench.prepare().await.unwrap();
    let seen = bench.server.take();
    let lines: Vec<_> = seen.iter().map(Seen::line).collect();
    assert_eq!(
        lines[..5],
        [
            "GET /api/v1/namespaces?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dspangate%2C\
             spangate.io%2Fload%3Dns"
                .to_owned(),
            format!("POST {NAMESPACES}"),
            format!("PATCH {RBAC}/clusterroles/spangate-load:ns{APPLIED}"),
            format!("PATCH {RBAC}/namespaces/ns/rolebindings/spangate-load:ns{APPLIED}"),
            REVIEW.to_owned(),
        ]
    );
    assert_eq!(lines[5..], ["POST /api/v1/namespaces/ns/pods"; 4]);
    for seen in &seen {
        assert_eq!(seen.identity, Identity::admin());
        assert!(seen.header("traceparent").ends_with("-00"), "{seen:?}");
    }
    let mut progress = Vec::new();
    while let Ok(LoadEvent::Prepared { done, total }) = bench.events.try_recv() {
        progress.push((done, total));
    }
    assert_eq!(progress, [(1, 4), (2, 4), (3, 4), (4, 4)]);
}

#[tokio::test]
async fn cleaning_up_removes_objects_rights_and_namespaces() {
    let mut load = load(4, 200, vec![deletes()]);
    load.prepare.namespaces = 2;
    let bench = bench_of(&load, willing).await;
    bench.prepare().await.unwrap();
    bench.server.take();
    bench.engine.cleanup().await.unwrap();
    let lines = lines(&bench);
    let emptied: BTreeSet<_> = lines[..14].iter().cloned().collect();
    let mut expected = BTreeSet::new();
    for namespace in ["ns", "ns-2"] {
        for resource in ["configmaps", "events", "pods", "secrets", "serviceaccounts"] {
            expected.insert(format!("DELETE {NAMESPACES}/{namespace}/{resource}{OF_RUN}"));
        }
        expected.insert(format!("DELETE /apis/apps/v1/namespaces/{namespace}/deployments{OF_RUN}"));
        expected.insert(format!("DELETE {RBAC}/namespaces/{namespace}/rolebindings{OF_RUN}"));
    }
    assert_eq!(emptied, expected);
    assert_eq!(
        lines[14..],
        [
            format!("DELETE {RBAC}/clusterroles/spangate-load:ns"),
            format!("DELETE {NAMESPACES}/ns"),
            format!("DELETE {NAMESPACES}/ns-2"),
        ]
    );
}

#[tokio::test]
async fn a_namespace_that_was_there_is_emptied_and_stays() {
    let conflict = |seen: &Seen| match seen.line().as_str() {
        "POST /api/v1/namespaces" => refusal(409),
        _ => willing(seen),
    };
    let bench = bench(conflict).await;
    bench.prepare().await.unwrap();
    let lines = lines(&bench);
    assert_eq!(lines[2], "GET /api/v1/namespaces/ns");
    assert!(lines.contains(&format!("DELETE {NAMESPACES}/ns/pods{OF_ANY}")), "{lines:?}");
    bench.engine.cleanup().await.unwrap();
    assert!(!bench.server.take().iter().any(|seen| seen.line() == "DELETE /api/v1/namespaces/ns"));
}

#[tokio::test]
async fn namespaces_of_a_run_that_was_killed_are_taken_over_or_removed() {
    let ours = json!({"labels": {"app.kubernetes.io/managed-by": "spangate"}});
    let left = move |seen: &Seen| match seen.line().as_str() {
        "POST /api/v1/namespaces" => refusal(409),
        "GET /api/v1/namespaces/ns" => answer(200, &json!({"metadata": ours, "status": {"phase": "Active"}})),
        line if line.starts_with("GET /api/v1/namespaces?") => answer(
            200,
            &json!({"items": [
                {"metadata": {"name": "ns"}, "status": {"phase": "Active"}},
                {"metadata": {"name": "ns-2"}, "status": {"phase": "Active"}},
                {"metadata": {"name": "ns-3"}, "status": {"phase": "Terminating"}},
            ]}),
        ),
        _ => willing(seen),
    };
    let bench = bench(left).await;
    bench.prepare().await.unwrap();
    let lines = lines(&bench);
    for emptied in ["ns", "ns-2"] {
        assert!(lines.contains(&format!("DELETE {NAMESPACES}/{emptied}/configmaps{OF_ANY}")), "{lines:?}");
    }
    let removed: Vec<_> =
        lines.iter().filter(|line| line.starts_with("DELETE") && !line.contains('?')).collect();
    assert_eq!(removed, ["DELETE /api/v1/namespaces/ns-2"]);
    bench.engine.cleanup().await.unwrap();
    assert!(bench.server.take().iter().any(|seen| seen.line() == "DELETE /api/v1/namespaces/ns"));
}

#[tokio::test]
async fn a_large_collection_is_deleted_in_pages() {
    let pages = |seen: &Seen| {
        let first = seen.line() == format!("DELETE {NAMESPACES}/ns/pods{OF_RUN}");
        if first {
            answer(200, &json!({"metadata": {"continue": "more"}, "items": []}))
        } else {
            willing(seen)
        }
    };
    let bench = bench(pages).await;
    bench.prepare().await.unwrap();
    bench.server.take();
    bench.engine.cleanup().await.unwrap();
    let second = format!("DELETE {NAMESPACES}/ns/pods?continue=more&{}", &OF_RUN[1..]);
    assert_eq!(lines(&bench).iter().filter(|line| **line == second).count(), 1);
}

#[tokio::test]
async fn a_population_is_spread_over_its_namespaces() {
    let mut bench = bench_of(&population(3, Resource::Secrets, 8), willing).await;
    bench.prepare().await.unwrap();
    let made: Vec<_> =
        bench.server.take().into_iter().filter(|seen| seen.target.ends_with("/secrets")).collect();
    let mut names = BTreeSet::new();
    for seen in &made {
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let metadata = &body["metadata"];
        assert_eq!(metadata["labels"]["tier"], "gold");
        assert_eq!(body["stringData"]["payload"].as_str().unwrap().len(), 100);
        assert_eq!(seen.target, format!("{NAMESPACES}/{}/secrets", metadata["namespace"].as_str().unwrap()));
        names.insert((metadata["namespace"].to_string(), metadata["name"].to_string()));
    }
    let expected = (0..8).map(|index: usize| {
        let namespace = ["\"ns\"", "\"ns-2\"", "\"ns-3\""][index % 3];
        (namespace.to_owned(), format!("\"pool-{index}\""))
    });
    assert_eq!(names, expected.collect());
    let mut last = None;
    while let Ok(event) = bench.events.try_recv() {
        last = Some(event);
    }
    assert_eq!(last, Some(LoadEvent::Prepared { done: 8, total: 8 }));
}

#[tokio::test]
async fn a_population_is_sent_in_the_encoding_of_the_load() {
    let mut load = population(1, Resource::Pods, 1);
    load.client.encoding = Encoding::Protobuf;
    let bench = bench_of(&load, willing).await;
    bench.prepare().await.unwrap();
    let seen = bench.server.take();
    let pod = seen.iter().find(|seen| seen.target.ends_with("/pods")).unwrap();
    assert_eq!(pod.header("content-type"), "application/vnd.kubernetes.protobuf");
    assert!(pod.body.starts_with(b"k8s\0"));
    // Refusals are read, so answers are asked for in JSON.
    assert_eq!(pod.header("accept"), "application/json");
}

/// Answers about the definition of widgets with these conditions, and as a willing server otherwise.
fn with_conditions(conditions: Value) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
    move |seen| {
        let asked = seen.line() == format!("GET {DEFINITIONS}/widgets.load.spangate.dev");
        if asked { answer(200, &json!({"status": {"conditions": conditions}})) } else { willing(seen) }
    }
}

#[tokio::test]
async fn custom_resources_have_their_definition_first_and_it_is_removed_last() {
    let served = AtomicUsize::new(0);
    let established = with_conditions(json!([{"type": "Established", "status": "True"}]));
    let bench = bench_of(&population(1, Resource::Widgets, 2), move |seen| {
        let early =
            seen.target.ends_with("/v1/widgets?limit=1") && served.fetch_add(1, Ordering::Relaxed) < 2;
        if early { refusal(404) } else { established(seen) }
    })
    .await;
    bench.prepare().await.unwrap();
    let seen = bench.server.take();
    let lines: Vec<_> = seen.iter().map(Seen::line).collect();
    let served = "GET /apis/load.spangate.dev/v1/widgets?limit=1";
    assert_eq!(lines[0], format!("POST {DEFINITIONS}"));
    assert_eq!(lines[2..5], [served; 3]);
    let definition: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(definition["metadata"]["name"], "widgets.load.spangate.dev");
    assert_eq!(definition["metadata"]["labels"]["spangate.io/run"], "test-run");
    let widgets = "POST /apis/load.spangate.dev/v1/namespaces/ns/widgets";
    assert_eq!(lines.iter().filter(|line| *line == widgets).count(), 2);
    bench.engine.cleanup().await.unwrap();
    let lines = self::lines(&bench);
    assert_eq!(lines.last().unwrap(), &format!("DELETE {DEFINITIONS}/widgets.load.spangate.dev"));
    let emptied = format!("DELETE /apis/load.spangate.dev/v1/namespaces/ns/widgets{OF_RUN}");
    assert!(lines.contains(&emptied), "{lines:?}");
}

#[tokio::test]
async fn a_definition_whose_names_conflict_is_an_error_with_its_conditions() {
    let refused = with_conditions(json!([{
        "type": "NamesAccepted", "status": "False", "reason": "KindConflict",
        "message": "\"Widget\" is already in use",
    }]));
    let bench = bench_of(&population(1, Resource::Widgets, 2), refused).await;
    let error = bench.prepare().await.unwrap_err();
    bench.engine.cleanup().await.unwrap();
    let removed = format!("DELETE {DEFINITIONS}/widgets.load.spangate.dev");
    assert_eq!(lines(&bench).last(), Some(&removed), "what was made is removed, though it was of no use");
    assert_eq!(
        error.to_string(),
        "the custom resource definition \"widgets.load.spangate.dev\" is not established: NamesAccepted=False \
         (KindConflict: \"Widget\" is already in use); remove what it conflicts with, or leave widgets out of \
         the scenario"
    );
}

#[tokio::test]
async fn a_definition_that_a_run_left_behind_is_removed_first() {
    let is_there = Mutex::new(true);
    let path = format!("{DEFINITIONS}/widgets.load.spangate.dev");
    let cluster = move |seen: &Seen| {
        let mut is_there = is_there.lock().unwrap();
        let line = seen.line();
        if line == format!("POST {DEFINITIONS}") && *is_there {
            return refusal(409);
        }
        if line == format!("DELETE {path}") {
            *is_there = false;
        }
        if line != format!("GET {path}") {
            return willing(seen);
        }
        answer(
            200,
            &json!({
                "metadata": {"labels": {"app.kubernetes.io/managed-by": "spangate"}},
                "status": {"conditions": [{"type": "Established", "status": "True"}]},
            }),
        )
    };
    // It goes the second time that it is asked for.
    let asked = AtomicUsize::new(0);
    let gone = move |seen: &Seen| {
        let asked_for = seen.method == "GET" && seen.target.ends_with(".load.spangate.dev");
        if asked_for && asked.fetch_add(1, Ordering::Relaxed) == 2 { refusal(404) } else { cluster(seen) }
    };
    let bench = bench_of(&population(1, Resource::Widgets, 1), gone).await;
    bench.prepare().await.unwrap();
    let about: Vec<_> = lines(&bench)
        .iter()
        .filter(|line| line.contains(DEFINITIONS))
        .map(|line| line[..4].to_owned())
        .collect();
    assert_eq!(about, ["POST", "GET ", "DELE", "GET ", "GET ", "POST", "GET "]);
}

/// Gives tokens out, and lets everybody in.
fn tokens(seen: &Seen) -> Answer {
    match seen.target.strip_suffix("/token").and_then(|path| path.rsplit('/').next()) {
        Some(account) => answer(201, &json!({"status": {"token": format!("token-of-{account}")}})),
        None => willing(seen),
    }
}

fn of_robots(count: u32, connections: u16) -> Load {
    let identity = Identity::new("robots");
    let mut load = load(6, 120, vec![MixEntry { identity, ..get() }]);
    load.identities = serde_json::from_value(json!([{"name": "robots", "serviceAccounts": count}])).unwrap();
    load.client.connections = connections;
    load
}

#[tokio::test]
async fn service_accounts_take_turns_with_their_tokens() {
    let mut bench = bench_of(&of_robots(2, 1), tokens).await;
    bench.prepare().await.unwrap();
    let prepared = bench.server.take();
    let binding = prepared.iter().find(|seen| seen.target.contains("/rolebindings/")).unwrap();
    let binding: Value = serde_json::from_slice(&binding.body).unwrap();
    let subject = |name: &str| json!({"kind": "ServiceAccount", "namespace": "ns", "name": name});
    assert_eq!(binding["subjects"], json!([subject("robots-0"), subject("robots-1")]));
    let request = prepared.iter().find(|seen| seen.target.ends_with("/robots-1/token")).unwrap();
    let request: Value = serde_json::from_slice(&request.body).unwrap();
    assert!(request["spec"]["expirationSeconds"].as_u64().unwrap() >= 600, "{request}");

    let (_, records) = bench.run().await;
    let mut seen = bench.server.take();
    assert_eq!((seen.len(), records.len()), (6, 6));
    seen.sort_by_key(|seen| {
        let sent = |record: &&spangate_load::RequestRecord| {
            record.sent.unwrap().to_string() == seen.header("traceparent")
        };
        records.iter().find(sent).unwrap().arrival
    });
    for (number, seen) in seen.iter().enumerate() {
        assert_eq!(seen.header("authorization"), format!("Bearer token-of-robots-{}", number % 2));
        assert_ne!(seen.identity, Identity::admin(), "a token goes over connections of its own");
    }
    assert!(records.iter().all(|record| record.identity.as_str() == "robots"));
}

#[tokio::test]
async fn a_token_that_is_refused_is_in_the_ledger() {
    let refused = |seen: &Seen| {
        if seen.header("authorization").is_empty() { tokens(seen) } else { refusal(401) }
    };
    let mut bench = bench_of(&of_robots(1, 1), refused).await;
    bench.prepare().await.unwrap();
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, summary.refused), (6, 6));
    assert!(records.iter().all(|record| record.outcome == spangate_load::Outcome::Status(401)));
}

#[tokio::test]
async fn no_token_is_an_error_that_names_the_account() {
    let error = bench_of(&of_robots(1, 1), willing).await.prepare().await.unwrap_err();
    assert!(matches!(&error, EngineError::NoToken(account) if account == "robots-0"), "{error}");
}

#[tokio::test]
async fn the_admin_acts_as_somebody_else() {
    let mut load = load(2, 100, vec![MixEntry { identity: Identity::new("jane"), ..get() }]);
    let jane = json!([{"name": "jane", "impersonate": {"user": "jane@corp", "groups": ["dev", "ops"]}}]);
    load.identities = serde_json::from_value(jane).unwrap();
    let mut bench = bench_of(&load, willing).await;
    bench.prepare().await.unwrap();
    let review: Value = bench
        .server
        .take()
        .iter()
        .find(|seen| seen.line() == REVIEW)
        .map(|seen| serde_json::from_slice(&seen.body).unwrap())
        .unwrap();
    assert_eq!(
        (&review["spec"]["user"], &review["spec"]["groups"]),
        (&json!("jane@corp"), &json!(["dev", "ops"]))
    );
    bench.run().await;
    let seen = bench.server.take();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.identity, Identity::admin());
        assert_eq!(seen.header("impersonate-user"), "jane@corp");
        let groups: Vec<_> = seen.headers.get_all("impersonate-group").iter().collect();
        assert_eq!(groups, ["dev", "ops"]);
    }
}

#[tokio::test]
async fn a_namespace_on_its_way_out_is_an_error_that_says_so() {
    let leaving = |seen: &Seen| match seen.line().as_str() {
        "POST /api/v1/namespaces" => refusal(409),
        _ => Answer::Status(200, r#"{"status":{"phase":"Terminating"}}"#.to_owned()),
    };
    let error = bench(leaving).await.prepare().await.unwrap_err();
    assert!(matches!(&error, EngineError::Terminating(namespace) if namespace == "ns"), "{error}");
}

#[tokio::test]
async fn a_young_cluster_is_asked_again() {
    let refusals = AtomicUsize::new(0);
    let bench = bench(move |seen| {
        let early = seen.target.ends_with("/pods") && refusals.fetch_add(1, Ordering::Relaxed) < 3;
        if early { refusal(403) } else { willing(seen) }
    })
    .await;
    bench.prepare().await.unwrap();
    let pods = bench.server.take().iter().filter(|seen| seen.target.ends_with("/pods")).count();
    assert_eq!(pods, 7);
}

#[tokio::test]
async fn a_refusal_names_the_request_and_the_reason() {
    let bench = bench(|seen| if seen.target.ends_with("/pods") { refusal(422) } else { willing(seen) }).await;
    let error = bench.prepare().await.unwrap_err();
    assert_eq!(error.to_string(), "POST /api/v1/namespaces/ns/pods was answered with 422: no such luck");
}

#[tokio::test]
async fn no_http2_is_an_error_that_says_so() {
    let server = Server::start(Options { h2: false, ..Options::default() }, willing).await;
    let error = Bench::new(server, &load(1, 100, vec![get()])).prepare().await.unwrap_err();
    assert!(matches!(error, EngineError::Client(ClientError::NotHttp2 { .. })), "{error}");
}

#[tokio::test]
async fn no_server_is_an_error_that_names_the_place() {
    // A port that was free a moment ago; nobody listens there any more.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut server = Server::start(Options::default(), willing).await;
    server.endpoint = format!("https://{free}").parse().unwrap();
    let mut bench = Bench::new(server, &load(2, 100, vec![get()]));
    let error = bench.prepare().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {free}"));
    let (summary, _) = bench.run().await;
    assert_eq!((summary.started, summary.errors), (2, 2));
}
