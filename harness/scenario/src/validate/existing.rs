//! Rules for the provider existing: what is not ours to do to a cluster.

use super::{Findings, Optional, Parts, collector::collector_at};
use crate::{
    model::{Fault, Provider},
    path::Path,
};

/// The help of most findings.
const ELSEWHERE: &str = "leave it out, or take the provider `local`";

pub(super) fn check(parts: &Parts<'_>, findings: &mut Findings) {
    let Some(cluster) = parts.cluster.filter(|cluster| cluster.provider == Provider::Existing) else {
        return;
    };
    let root = Path::root();
    let provider = root.key("spec.cluster.provider");
    let mut refuse = |at: Path, message: &str| {
        findings.add(&at, message).help(ELSEWHERE).rests_on(provider.clone());
    };
    for (index, fault) in parts.faults.into_iter().flatten().enumerate() {
        if matches!(fault, Fault::Etcd(_)) {
            refuse(
                root.key("spec.faults").index(index).key("etcd"),
                "etcd faults are not possible on an existing cluster: nothing of ours stands before its etcd",
            );
        }
    }
    if let Optional::There(_) = parts.collector {
        refuse(
            collector_at(),
            "a Collector is not possible on an existing cluster: where its API server exports to is not ours to say",
        );
    }
    let at = root.key("spec.cluster");
    let (binaries, kind, server) = (&cluster.binaries, &cluster.kind, &cluster.api_server);
    for (key, is_given) in [
        ("binaries", binaries.kube_apiserver.is_some() || binaries.etcd.is_some() || binaries.kind.is_some()),
        ("kind", kind.config_file.is_some() || kind.image.is_some()),
        ("kubelet", cluster.kubelet.tracing.is_some()),
        ("etcd", cluster.etcd.version.is_some() || cluster.etcd.tracing.is_some()),
        (
            "apiServer",
            !(server.extra_args.is_empty() && server.feature_gates.is_empty() && server.env.is_empty()),
        ),
    ] {
        if is_given {
            refuse(at.key(key), "an existing cluster has its own, which are not changed");
        }
    }
}
