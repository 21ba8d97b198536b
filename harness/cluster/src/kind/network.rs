//! The network of one cluster, which stands before the cluster does and goes after it.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    error::KindError,
    kernel_settings::KernelSettings,
    standing::{self, PREFIX},
};
use crate::{
    docker::{Docker, Owner},
    private,
};

/// The network of a cluster, and the right to have nodes on it. Dropping it removes the network and all nodes.
#[derive(Debug)]
pub struct KindNetwork {
    pub(super) docker: Docker,
    name: String,
    gateway: IpAddr,
    /// Where the logs of its nodes go when it is dropped: nobody has asked for its end then.
    pub(super) logs: Option<PathBuf>,
    released: bool,
}

// === impl KindNetwork ===

impl KindNetwork {
    /// Makes the network of the cluster `spangate-NAME`, and writes on it the kernel settings of now, if its nodes are to change
    /// them. Blocks.
    ///
    /// It is made by us and not by kind, whose own has IPv6 and so has Docker turn IPv6 forwarding on for the whole
    /// machine.
    pub fn create(
        docker: &Docker,
        name: &str,
        owner: &Owner,
        settings: Option<&KernelSettings>,
    ) -> Result<Self, KindError> {
        let name = format!("{PREFIX}{name}");
        let mut args = vec!["network".to_owned(), "create".to_owned(), "--driver=bridge".to_owned()];
        let labels = owner.labels("cluster");
        args.extend(labels.iter().map(|(name, value)| format!("--label={name}={value}")));
        args.extend(settings.map(|settings| format!("--label={}", settings.label())));
        args.push(name.clone());
        docker.run(&args)?;
        // From here on it is removed, whatever happens.
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let mut this = Self { docker: docker.clone(), name, gateway: unknown, logs: None, released: false };
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        let said = docker.run(["network", "inspect", "--format", format, &this.name])?;
        let no_gateway = |_| KindError::NoGateway { network: this.name.clone(), said: said.clone() };
        this.gateway = said.parse().map_err(no_gateway)?;
        Ok(this)
    }

    /// The name of the network and of the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of this machine on it: where nodes reach what listens here.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The node on which the API server runs (kind, `pkg/cluster/internal/providers/common/namer.go`).
    pub(super) fn node(&self) -> String {
        format!("{}-control-plane", self.name)
    }

    /// Writes what the node and its control plane said to `dir`, as far as there is a node. Blocks.
    pub fn save_logs(&self, dir: &Path) {
        let node = self.node();
        let of_pod = |pod: &str| format!("cat /var/log/pods/kube-system_{pod}-*/{pod}/*.log");
        let commands = [
            ("kube-apiserver.log", of_pod("kube-apiserver")),
            ("etcd.log", of_pod("etcd")),
            ("node.log", "journalctl --no-pager --output=short-precise".to_owned()),
        ];
        for (file, command) in commands {
            let Ok(text) = self.docker.run(["exec", &node, "sh", "-c", &command]) else { continue };
            if let Err(error) = private::write(&dir.join(file), &text) {
                tracing::warn!(file, %error, "cannot keep a log");
            }
        }
    }

    /// Lets it stand when this is dropped.
    pub(super) fn release(mut self) {
        self.released = true;
    }

    /// Removes the network and all nodes. Blocks.
    pub fn remove(mut self) -> Result<(), KindError> {
        self.released = true;
        Ok(standing::remove(&self.docker, &self.name)?)
    }
}

impl Drop for KindNetwork {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        self.logs.iter().for_each(|dir| self.save_logs(dir));
        if let Err(error) = standing::remove(&self.docker, &self.name) {
            tracing::warn!(
                cluster = self.name,
                %error,
                "cannot remove the cluster: `spangate cluster prune` tries again"
            );
        }
    }
}
