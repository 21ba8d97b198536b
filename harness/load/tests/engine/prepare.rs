//! What is made before the load, and removed after it.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicUsize, Ordering},
};

use spangate_load::{ClientError, EngineError, LoadEvent};
use spangate_scenario::model::{DeleteOperation, Identity, MixEntry, Resource};

use crate::{
    Bench, get, load,
    server::{Answer, Options, Seen, Server},
    willing,
};

fn deletes() -> MixEntry {
    let delete = Some(DeleteOperation { resource: Resource::Pods });
    MixEntry { delete, identity: Identity::unprivileged(), ..MixEntry::default() }
}

async fn bench(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Bench {
    let server = Server::start(Options::default(), answer).await;
    Bench::new(server, &load(4, 200, vec![deletes()]))
}

fn refusal(status: u16) -> Answer {
    Answer::Status(status, r#"{"kind":"Status","message":"no such luck"}"#.to_owned())
}

#[tokio::test]
async fn everything_is_made_by_the_admin_without_leaving_a_trace() {
    let mut bench = bench(willing).await;
    bench.prepare().await.unwrap();
    let seen = bench.server.take();
    let lines: Vec<_> = seen.iter().map(Seen::line).collect();
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/ns";
    assert_eq!(
        lines[..4],
        [
            "POST /api/v1/namespaces".to_owned(),
            format!("POST {rbac}/roles"),
            format!("POST {rbac}/rolebindings"),
            "POST /apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned(),
        ]
    );
    assert_eq!(lines[4..], ["POST /api/v1/namespaces/ns/pods"; 4]);
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
async fn cleaning_up_removes_objects_rights_and_namespace() {
    let bench = bench(willing).await;
    bench.prepare().await.unwrap();
    bench.server.take();
    bench.engine.cleanup().await.unwrap();
    let lines: Vec<_> = bench.server.take().iter().map(Seen::line).collect();
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert_eq!(
        lines[0],
        "DELETE /api/v1/namespaces/ns/configmaps?labelSelector=spangate.io%2Frun%3Dtest-run"
    );
    assert_eq!(lines[6], "DELETE /api/v1/namespaces/ns");
}

#[tokio::test]
async fn a_namespace_that_was_there_is_emptied_and_stays() {
    let conflict = |seen: &Seen| match seen.line().as_str() {
        "POST /api/v1/namespaces" => refusal(409),
        _ => willing(seen),
    };
    let bench = bench(conflict).await;
    bench.prepare().await.unwrap();
    let lines: Vec<_> = bench.server.take().iter().map(Seen::line).collect();
    assert_eq!(lines[1], "GET /api/v1/namespaces/ns");
    assert!(lines[2].starts_with("DELETE /api/v1/namespaces/ns/configmaps?labelSelector="), "{}", lines[2]);
    bench.engine.cleanup().await.unwrap();
    assert!(!bench.server.take().iter().any(|seen| seen.line() == "DELETE /api/v1/namespaces/ns"));
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
