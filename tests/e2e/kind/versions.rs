//! The oldest release of which a node image is built, on kind.
//!
//! Nobody builds that image for a test, since it takes minutes: where it is not there, the test says so and does nothing.

use spangate::plan::Plan;
use spangate_cluster::NodeImage;
use spangate_scenario::model::Provider;
use spangate_trace::contract;

use super::docker;
use crate::{
    contract::{
        Observed,
        versions::{
            HTTP, LOAD, OLDEST, RPC_BEFORE, RPC_SINCE, SPANS_SINCE, assert_only_the_privileged_are_followed,
            is_rpc, is_server, keys, names, orphans,
        },
    },
    harness::root,
    skipped::skipped,
};

/// Scenario: the load of which it is known what differs between 1.34 and 1.37 is sent to 1.34 on kind.
/// Guarantees: names of spans and attributes, whom the API server follows, and what it leaves behind of a watch are as on
/// local processes: kubeadm, its v1beta3 configuration and the patches of its pods change none of it.
#[test]
fn the_oldest_release_is_the_same_on_kind() {
    const TEST: &str = "the_oldest_release_is_the_same_on_kind";
    let Some(docker) = docker(TEST) else { return };
    let image = NodeImage::wanted(OLDEST.parse().unwrap()).unwrap();
    if !image.is_at_hand(&docker) {
        let build = "spangate assets build node-image --kubernetes 1.34";
        skipped(
            TEST,
            "SPANGATE_REQUIRE_KIND_OLDEST",
            &format!("Docker has no image {}: {build}", image.name),
        );
        return;
    }
    let mut loaded = spangate_scenario::read(root().join(LOAD)).unwrap();
    loaded.scenario.spec.cluster.provider = Provider::Kind;
    OLDEST.clone_into(&mut loaded.scenario.spec.cluster.kubernetes);
    let observed = Observed::run(Plan::new(loaded, None).unwrap());

    let http = keys(&observed, is_server);
    for (before, since) in HTTP {
        assert!(http.contains(before) && !http.contains(since), "{before}, {since}: {http:?}");
    }
    assert!(http.contains(contract::AUDIT_ID) && !http.contains("url.path"), "{http:?}");
    let rpc = keys(&observed, is_rpc);
    assert!(RPC_BEFORE.iter().all(|key| rpc.contains(key)), "{rpc:?}");
    assert!(RPC_SINCE.iter().all(|key| !rpc.contains(key)), "{rpc:?}");
    let names = names(&observed);
    assert!(SPANS_SINCE.iter().all(|name| !names.contains(name)), "{names:?}");
    assert!(names.contains("impersonation") && names.contains("etcdserverpb.KV/Txn"), "{names:?}");
    assert_only_the_privileged_are_followed(&observed);
    assert!(orphans(&observed) > 0, "its watches leave no orphan");
}
