//! Files of this machine that are mounted into nodes. Pure.

use spangate_scenario::model::Cluster;

use super::{node_tracing, pod_patches};

/// A file of this machine that is mounted into nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFile {
    /// Its name in its directory on this machine.
    pub file: String,
    /// Its path on a node.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Whether workers have it too, and not the node of the control plane alone.
    pub on_workers: bool,
}

// === impl NodeFile ===

impl NodeFile {
    /// Whether kubeadm changes a pod of the control plane by it.
    pub fn is_patch(&self) -> bool {
        self.path.starts_with(pod_patches::DIRECTORY)
    }
}

/// What the nodes of a cluster are given beside the configuration of the API server's tracing. `otlp` is where spans go to,
/// `host:port`, if the API server traces.
pub fn node_files(cluster: &Cluster, otlp: Option<&str>) -> Vec<NodeFile> {
    let mut all = pod_patches::patches(cluster, otlp.is_some());
    if let Some((tracing, otlp)) = cluster.kubelet.tracing.as_ref().zip(otlp) {
        all.extend(node_tracing::drop_ins(tracing, &cluster.tracing.batch, otlp));
    }
    all
}
