//! Operations whose requests depend on what streams or what is encoded.

use spangate_load::Outcome;
use spangate_scenario::model::{
    CreateOperation, Encoding, Identity, ListOperation, MixEntry, Resource, Scope, Sizes, WatchListOperation,
};

use crate::{
    Bench, is_load, load,
    server::{Answer, Options, Seen, Server},
    willing,
};

async fn bench(entry: MixEntry, encoding: Encoding, answer: fn(&Seen) -> Answer) -> Bench {
    let mut load = load(2, 100, vec![entry]);
    load.client.encoding = encoding;
    Bench::new(Server::start(Options::default(), answer).await, &load)
}

#[tokio::test]
async fn a_watch_list_ends_with_the_state_though_the_server_goes_on() {
    let watch_list = Some(WatchListOperation {
        resource: Resource::Configmaps,
        label_selector: None,
        field_selector: None,
        scope: Scope::Cluster,
    });
    let streaming = |_: &Seen| {
        Answer::Endless(vec![
            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n{\"type\":\"BOOKM",
            "ARK\",\"object\":{\"metadata\":{\"annotations\":{\"k8s.io/initial-events-end\":",
            "\"true\"}}}}\n",
        ])
    };
    let mut bench = bench(MixEntry { watch_list, ..MixEntry::default() }, Encoding::Json, streaming).await;
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, records.len()), (2, 2));
    for record in records {
        assert_eq!((&record.outcome, &*record.resource), (&Outcome::Status(200), "configmaps"));
        assert!(record.target.starts_with("/api/v1/configmaps?"), "{}", record.target);
        assert_eq!(record.received_bytes, 147);
    }
}

#[tokio::test]
async fn what_is_made_in_protobuf_is_deleted_again() {
    let made = CreateOperation { resource: Resource::Secrets, size: Sizes::default(), labels: [].into() };
    let entry =
        MixEntry { post_delete: Some(made), identity: Identity::unprivileged(), ..MixEntry::default() };
    let mut bench = bench(entry, Encoding::Protobuf, willing).await;
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, summary.requests), (2, 4));
    let steps: Vec<_> = records.iter().map(|record| (record.arrival, record.step, &*record.method)).collect();
    assert_eq!(steps, [(0, 0, "POST"), (0, 1, "DELETE"), (1, 0, "POST"), (1, 1, "DELETE")]);
    let seen = bench.server.take();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    assert!(posts.len() == 2 && posts.iter().all(|seen| is_load(seen) && seen.body.starts_with(b"k8s\0")));
    for seen in &seen {
        assert_eq!(seen.header("accept"), "application/vnd.kubernetes.protobuf");
    }
}

#[tokio::test]
async fn pages_in_protobuf_are_read_to_the_last() {
    let list = Some(ListOperation {
        resource: Resource::Pods,
        resource_version: None,
        limit: Some(2),
        label_selector: None,
        field_selector: None,
        scope: Scope::Namespace,
    });
    // Unknown { raw: PodList { metadata: { continue } } }.
    let pages = |seen: &Seen| {
        let is_last = seen.target.contains("continue=x&");
        let page = if is_last { "k8s\0\x12\x02\x0a\x00" } else { "k8s\0\x12\x05\x0a\x03\x1a\x01x" };
        Answer::Status(200, page.to_owned())
    };
    let mut bench = bench(MixEntry { list, ..MixEntry::default() }, Encoding::Protobuf, pages).await;
    let (summary, records) = bench.run().await;
    assert_eq!((summary.started, records.len()), (2, 4));
    assert!(
        records.iter().filter(|record| record.step == 1).all(|record| record.target.contains("continue=x&"))
    );
}
