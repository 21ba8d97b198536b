//! A cluster that is there.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    error::KindError, network::KindNetwork, node::KindNode, node_end::NodeEnd, start::KindClusterConfig,
};
use crate::{docker::DockerError, kubeconfig::Access, process::Child, version::Version};

/// A cluster whose API server is ready. Dropping it removes it, and keeps its logs.
#[derive(Debug)]
pub struct KindCluster {
    pub(super) network: KindNetwork,
    pub(super) node: KindNode,
    pub(super) version: Version,
    pub(super) address: SocketAddr,
    pub(super) access: Access,
    pub(super) kubeconfig: PathBuf,
    pub(super) waiting: Child,
    pub(super) config: KindClusterConfig,
}

// === impl KindCluster ===

impl KindCluster {
    /// The name of the cluster.
    pub fn name(&self) -> &str {
        self.network.name()
    }

    /// Where clients connect, over TLS.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients need: endpoint, authority, and the two client certificates.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The kubeconfig, as [`Access::kubeconfig`] makes it; only its owner may read it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The version of Kubernetes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Waits until the node ends, or Docker tells of it no more. The future does not borrow this.
    pub fn lost(&self) -> impl Future<Output = NodeEnd> + Send + use<> {
        let (waiting, node) = (self.waiting.exited(), self.node.clone());
        async move {
            let client = waiting.await;
            let told = tokio::task::spawn_blocking(move || node.state()).await;
            let told = told.unwrap_or_else(|panic| {
                Err(DockerError::Failed { what: "inspect".to_owned(), said: panic.to_string() })
            });
            NodeEnd::of(told, client)
        }
    }

    /// The processes on the node, by their numbers on this machine and their names. Blocks.
    pub fn processes(&self) -> Result<Vec<(u32, String)>, KindError> {
        self.node.processes()
    }

    /// The node with the API server.
    pub fn node(&self) -> &KindNode {
        &self.node
    }

    /// What the API server has logged so far. Blocks.
    pub fn api_server_log(&self) -> Result<String, KindError> {
        self.node.pod_log("kube-system", "kube-apiserver")
    }

    /// See [`KindNetwork::save_logs`].
    pub fn save_logs(&self, dir: &Path) {
        self.network.save_logs(dir);
    }

    /// Removes it. Blocks.
    pub fn remove(self) -> Result<(), KindError> {
        self.network.remove()
    }

    /// Lets it stand when this is dropped.
    pub fn release(self) {
        self.network.release();
    }
}
