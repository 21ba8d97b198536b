//! Who sends on kind: kubeadm's administrator is not in `system:masters`.

use std::collections::BTreeSet;

use spangate::verdict::{self, Status};
use spangate_scenario::model::{Cluster, Identity, TraceFlag};
use spangate_trace::contract;

use super::docker;
use crate::{contract::Observed, harness::plan_of};

const SCENARIO: &str = "
apiVersion: spangate/v1alpha1
kind: Scenario
metadata: {name: kind-admin-conf}
spec:
  seed: 3
  cluster:
    provider: kind
    adminGroup: kubeadm:cluster-admins
    tracing: {samplingRatePerMillion: 1000000, batch: {maxQueueSize: 16384}}
  load:
    arrivals: {rate: 10/s, for: 4s}
    mix:
      - {create: {resource: configmaps}}
      - {get: {resource: configmaps}}
      - {list: {resource: configmaps}}
  expect:
    - complete: {}
";

/// Scenario: load is sent on kind by an administrator as in the `admin.conf` of kubeadm, with a sampled traceparent.
/// Guarantees: every SERVER span is a root with a link to what was sent, and the verdict knows it; held to be in
/// `system:masters`, the same run is red. The names of spans and attributes are those of 1.37 on local processes.
#[test]
fn the_administrator_of_kubeadm_gets_links() {
    let Some(_docker) = docker("the_administrator_of_kubeadm_gets_links") else { return };
    let observed = Observed::run(plan_of(SCENARIO));
    for request in observed.sent(&Identity::admin(), TraceFlag::Sampled) {
        let server = &observed.spans[observed.server(request)];
        let links: Vec<_> = server.links.iter().map(|link| (link.trace_id, link.span_id)).collect();
        let sent = request.sent.unwrap();
        assert_eq!((server.parent, links), (None, vec![(sent.trace_id, sent.span_id)]), "{request:?}");
        for (key, is_there) in [("http.request.method", true), ("http.method", false), ("url.path", true)] {
            assert_eq!(server.attributes.contains_key(key), is_there, "{key}: {server:?}");
        }
    }
    let names: BTreeSet<&str> = observed.under_load().map(|(_, span)| &*span.name).collect();
    for name in ["Get etcd3", "constrainedimpersonation", contract::AUTHENTICATION, "cacher.GetList"] {
        assert!(names.contains(name), "{name}: {names:?}");
    }

    let statuses = |group: &str| {
        let mut evidence = observed.again();
        evidence.scenario.spec.cluster.admin_group = Some(group.to_owned());
        verdict::judge(&evidence).into_iter().map(|verdict| verdict.status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(Cluster::CLUSTER_ADMINS), [Status::Pass]);
    assert_eq!(statuses(Cluster::MASTERS), [Status::Fail]);
}
