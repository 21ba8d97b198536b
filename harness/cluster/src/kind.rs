//! Clusters of the real kind, in Docker: kubeadm, static pods, a kubelet.
//!
//! The way to a cluster, each step usable on its own:
//!
//! 1. [`Docker`](crate::Docker) finds the engine, and [`NodeImage`] the image of a node, which is built if need be;
//!    [`Privileges`] finds out whether the engine starts such containers.
//! 2. [`KindNetwork`] is where the cluster will be: what listens at its gateway's address is reached from the nodes.
//! 3. [`KindConfig`] completes kind's configuration, pure, and [`KindNetwork::start`] has kind make the cluster.
//! 4. [`ProgramImage`](crate::docker::ProgramImage) makes an image of a binary, for pods, and [`KindCluster::load`] gives it
//!    to the nodes.
//! 5. [`Standing`] finds all that is ours again, also after its maker was killed, and removes it.

mod access;
mod cluster;
mod config;
mod error;
mod kernel_settings;
mod load_image;
mod network;
mod node;
mod node_end;
mod node_file;
mod node_image;
mod node_tracing;
mod pod_network;
mod pod_patches;
mod privilege;
mod recipe;
mod rootfs;
mod standing;
mod start;

pub use self::{
    cluster::KindCluster,
    config::{ETCD_AUTHORITY, KindConfig, KindConfigError, KindEtcdProxy, SINGLE_NODE, TRACING_FILE},
    error::KindError,
    kernel_settings::KernelSettings,
    network::KindNetwork,
    node::KindNode,
    node_end::NodeEnd,
    node_file::{NodeFile, node_files},
    node_image::{NodeImage, NodeImageError},
    privilege::Privileges,
    standing::Standing,
    start::KindClusterConfig,
};
use crate::assets::hex;

/// Whether this machine has cgroup v1, as nodes on it then have.
pub fn cgroup_v1() -> bool {
    !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}
