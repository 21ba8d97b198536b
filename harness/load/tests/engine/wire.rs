//! What each operation sends.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use spangate_load::{Outcome, RequestRecord};
use spangate_scenario::{
    model::{
        CreateOperation, DeleteOperation, GetOperation, Identity, KubectlStep, ListOperation, MixEntry,
        PatchOperation, PatchType, Resource, Scope, Sizes, TraceFlag, UpdateOperation, WatchOperation,
    },
    units::{Duration, Size},
};

use crate::{
    Bench, load,
    server::{Answer, Options, Seen, Server},
    willing,
};

/// As [`willing`], but lists have two pages, and what the load itself makes is not there to be read.
fn cluster(seen: &Seen) -> Answer {
    let answer = |status, body: &str| Answer::Status(status, body.to_owned());
    if seen.target.contains("limit=") && !seen.target.contains("continue=") {
        return answer(200, r#"{"metadata":{"continue":"next"},"items":[]}"#);
    }
    if seen.method == http::Method::GET && seen.target.ends_with("/load-0-0") {
        return answer(404, r#"{"kind":"Status","code":404}"#);
    }
    willing(seen)
}

/// Sends one operation of `entry`; gives what the server saw, and the records.
async fn send(
    entry: MixEntry,
    answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (Vec<Seen>, Vec<RequestRecord>) {
    let server = Server::start(Options::default(), answer).await;
    let mut bench = Bench::new(server, &load(1, 100, vec![entry]));
    bench.prepare().await.unwrap();
    bench.server.take();
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, summary.errors, summary.timeouts), (1, 0, 0), "{records:?}");
    let seen = bench.server.take();
    agree(&seen, &records);
    (seen, records)
}

/// The ledger says of each request what the server saw of it.
fn agree(seen: &[Seen], records: &[RequestRecord]) {
    assert_eq!(seen.len(), records.len());
    let mut traces = BTreeSet::new();
    for (seen, record) in seen.iter().zip(records) {
        assert_eq!((seen.method.as_str(), &seen.target), (&*record.method, &record.target));
        assert_eq!(seen.identity, record.identity);
        assert_eq!(seen.header("traceparent"), record.sent.map(|sent| sent.to_string()).unwrap_or_default());
        assert_eq!(seen.body.is_empty(), seen.header("content-type").is_empty());
        assert!(seen.header("user-agent").starts_with("kubectl/"));
        if let Some(sent) = record.sent {
            assert!(traces.insert(sent.trace_id), "two requests in one trace");
        }
    }
}

/// Sends one operation; gives `METHOD target` of its requests.
async fn lines(entry: MixEntry) -> Vec<String> {
    send(entry, cluster).await.0.iter().map(Seen::line).collect()
}

fn entry(set: impl FnOnce(&mut MixEntry)) -> MixEntry {
    let mut entry = MixEntry::default();
    set(&mut entry);
    entry
}

fn create(resource: Resource) -> CreateOperation {
    CreateOperation {
        resource,
        size: Sizes::Fixed(Size(64)),
        labels: [("team".to_owned(), "a".to_owned())].into(),
    }
}

fn list(limit: Option<u32>) -> ListOperation {
    ListOperation {
        resource: Resource::Pods,
        resource_version: Some("0".to_owned()),
        limit,
        label_selector: Some("a=b".to_owned()),
        field_selector: None,
        scope: Scope::Namespace,
    }
}

fn watch(initial_events: bool) -> WatchOperation {
    let duration = Duration::from_millis(100);
    WatchOperation { resource: Resource::Pods, duration, initial_events, label_selector: None }
}

fn kubectl(steps: &[KubectlStep]) -> MixEntry {
    entry(|entry| entry.kubectl = Some(steps.to_vec()))
}

const CONFIGMAPS: &str = "/api/v1/namespaces/ns/configmaps";
const PODS: &str = "/api/v1/namespaces/ns/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ns/deployments";

#[tokio::test]
async fn create_posts_a_body() {
    let (seen, records) = send(entry(|entry| entry.create = Some(create(Resource::Events))), cluster).await;
    assert_eq!(seen[0].line(), "POST /api/v1/namespaces/ns/events");
    assert_eq!(
        (seen[0].header("content-type"), seen[0].header("accept")),
        ("application/json", "application/json")
    );
    let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!((&body["kind"], &body["metadata"]["name"]), (&json!("Event"), &json!("load-0-0")));
    assert_eq!(body["metadata"]["labels"]["team"], "a");
    assert_eq!(
        (&records[0].outcome, records[0].audit_id.as_deref()),
        (&Outcome::Status(201), Some("3c5e6a0e"))
    );
    assert!(records[0].received_bytes > 0 && records[0].name.is_none());
}

#[tokio::test]
async fn apply_is_a_patch_of_its_own_kind() {
    let (seen, _) = send(entry(|entry| entry.apply = Some(create(Resource::Configmaps))), cluster).await;
    assert_eq!(seen[0].line(), format!("PATCH {CONFIGMAPS}/load-0-0?fieldManager=spangate&force=true"));
    assert_eq!(seen[0].header("content-type"), "application/apply-patch+yaml");
}

#[tokio::test]
async fn reads() {
    let get = |version: Option<&str>| {
        let resource_version = version.map(str::to_owned);
        entry(|entry| entry.get = Some(GetOperation { resource: Resource::Configmaps, resource_version }))
    };
    assert_eq!(lines(get(None)).await, [format!("GET {CONFIGMAPS}/pool-0")]);
    assert_eq!(lines(get(Some("0"))).await, [format!("GET {CONFIGMAPS}/pool-0?resourceVersion=0")]);
    assert_eq!(
        lines(entry(|entry| entry.list = Some(list(None)))).await,
        [format!("GET {PODS}?labelSelector=a%3Db&resourceVersion=0")]
    );
    assert_eq!(
        lines(entry(|entry| entry.list = Some(list(Some(2))))).await,
        [
            format!("GET {PODS}?labelSelector=a%3Db&limit=2&resourceVersion=0"),
            format!("GET {PODS}?continue=next&labelSelector=a%3Db&limit=2"),
        ]
    );
}

#[tokio::test]
async fn watches() {
    assert_eq!(
        lines(entry(|entry| entry.watch = Some(watch(false)))).await,
        [format!("GET {PODS}?timeoutSeconds=1&watch=true")]
    );
    assert_eq!(
        lines(entry(|entry| entry.watch = Some(watch(true)))).await,
        [format!(
            "GET {PODS}?allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&\
             timeoutSeconds=1&watch=true"
        )]
    );
}

#[tokio::test]
async fn update_reads_and_puts() {
    let update = Some(UpdateOperation { resource: Resource::Configmaps, objects: None });
    let (seen, _) = send(entry(|entry| entry.update = update), cluster).await;
    assert_eq!(seen[0].line(), format!("GET {CONFIGMAPS}/pool-0"));
    assert_eq!(seen[1].line(), format!("PUT {CONFIGMAPS}/pool-0"));
    let body: Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!(body["metadata"]["resourceVersion"], "5");
}

#[tokio::test]
async fn patches() {
    for (patch_type, content_type) in [
        (PatchType::Merge, "application/merge-patch+json"),
        (PatchType::Json, "application/json-patch+json"),
        (PatchType::Strategic, "application/strategic-merge-patch+json"),
    ] {
        let patch = Some(PatchOperation { resource: Resource::Deployments, patch_type, objects: Some(1) });
        let (seen, _) = send(entry(|entry| entry.patch = patch), cluster).await;
        assert_eq!(seen[0].line(), format!("PATCH {DEPLOYMENTS}/pool-0"));
        assert_eq!(seen[0].header("content-type"), content_type);
    }
}

#[tokio::test]
async fn deletes() {
    let delete = || Some(DeleteOperation { resource: Resource::Pods });
    assert_eq!(lines(entry(|entry| entry.delete = delete())).await, [format!("DELETE {PODS}/victim-0-0")]);
    assert_eq!(
        lines(entry(|entry| entry.delete_collection = delete())).await,
        [format!("DELETE {PODS}?labelSelector=spangate.io%2Frun%3Dtest-run%2Cspangate.io%2Fcollection%3D0")]
    );
}

#[tokio::test]
async fn a_kubectl_sequence() {
    use KubectlStep::{Apply, CreateDeployment, Delete, Discovery, GetPods, Scale};
    let sequence = kubectl(&[Discovery, CreateDeployment, Apply, GetPods, Scale, Delete]);
    // The deployment is not there when it is read, so apply makes it again, scale gives up, and delete is done.
    let name = "load-0-1";
    let missing = move |seen: &Seen| {
        if seen.method == http::Method::GET && seen.target.ends_with(name) {
            Answer::Status(404, String::new())
        } else {
            cluster(seen)
        }
    };
    let (seen, records) = send(sequence, missing).await;
    let manager = "fieldManager=kubectl-client-side-apply&fieldValidation=Strict";
    assert_eq!(
        seen.iter().map(Seen::line).collect::<Vec<_>>(),
        [
            "GET /api?timeout=32s".to_owned(),
            "GET /apis?timeout=32s".to_owned(),
            format!("POST {DEPLOYMENTS}?fieldManager=kubectl-create&fieldValidation=Strict"),
            "GET /openapi/v3?timeout=32s".to_owned(),
            format!("GET {DEPLOYMENTS}/{name}"),
            format!("POST {DEPLOYMENTS}?{manager}"),
            format!("GET {PODS}?limit=500"),
            format!("GET {PODS}?continue=next&limit=500"),
            format!("GET {DEPLOYMENTS}/{name}"),
            format!("DELETE {DEPLOYMENTS}/{name}"),
            format!("GET {DEPLOYMENTS}/{name}"),
        ]
    );
    assert_eq!(
        seen[0].header("accept"),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    );
    assert!(seen[6].header("accept").starts_with("application/json;as=Table;v=v1;g=meta.k8s.io,"));
    assert_eq!(seen[9].body, r#"{"propagationPolicy":"Background"}"#);
    // Each request was to start when the one before was over.
    for pair in records.windows(2) {
        assert_eq!(pair[1].intended, pair[0].ended);
    }
}

#[tokio::test]
async fn a_delete_waits_until_the_object_is_gone() {
    let still_there = |seen: &Seen| {
        if seen.target.contains("watch=true") {
            Answer::Endless(vec![
                "{\"type\":\"ADDED\",\"object\":{}}
{\"type\":\"DEL",
                "ETED\",\"object\":{}}
",
            ])
        } else {
            willing(seen)
        }
    };
    let (seen, records) = send(kubectl(&[KubectlStep::Delete]), still_there).await;
    assert_eq!(seen.len(), 3);
    assert_eq!(records[2].outcome, Outcome::Status(200));
    assert!(records[2].target.contains("fieldSelector=metadata.name%3Dvictim-0-0"));
}

#[tokio::test]
async fn the_flag_and_the_identity_are_those_of_the_entry() {
    for (traceparent, end) in
        [(TraceFlag::Sampled, "-01"), (TraceFlag::Unsampled, "-00"), (TraceFlag::None, "")]
    {
        for identity in [Identity::admin(), Identity::unprivileged()] {
            let entry = entry(|entry| {
                (entry.traceparent, entry.identity) = (traceparent, identity.clone());
                entry.create = Some(create(Resource::Configmaps));
            });
            let (seen, _) = send(entry, cluster).await;
            assert_eq!(seen[0].identity, identity);
            let header = seen[0].header("traceparent");
            assert!(header.ends_with(end) && header.is_empty() == end.is_empty(), "{header}");
        }
    }
}
