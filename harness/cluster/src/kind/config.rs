//! kind's configuration of a cluster, completed with all that tracing needs. Pure.
//!
//! What kubeadm is told goes through `kubeadmConfigPatches`, which kind merges into what it writes for kubeadm itself
//! (kind, `pkg/cluster/internal/kubeadm/config.go`): v1beta3 for Kubernetes before 1.36, v1beta4 since. Our patches name no
//! version, and give flags as a mapping. kind merges such a one into the mapping of v1beta3 as into the list of v1beta4
//! (kind, `pkg/internal/patch/kubeadm_merge.go`). Lists would be replaced: what they are for is in [patches of the
//! pods](super::pod_patches).

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value, json};
use spangate_scenario::{document, model::Cluster};

use super::{
    node_file::{NodeFile, node_files},
    node_tracing,
    pod_patches::{DIRECTORY, TRACING_DIR},
};
use crate::{
    etcd_flags::{EtcdFlagError, tracing_flags},
    tracing_config,
    version::Version,
};

/// Why a configuration cannot be completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KindConfigError {
    /// It is no YAML.
    #[error("the kind config is no YAML")]
    Syntax(#[from] document::DocumentError),
    /// It is something else.
    #[error(
        "the kind config says apiVersion {api_version}, kind {kind}: it must say {API_VERSION} and Cluster \
         (https://kind.sigs.k8s.io/docs/user/configuration)"
    )]
    NotACluster {
        /// What it says.
        api_version: String,
        /// What it says.
        kind: String,
    },
    /// It has no node that could run the API server.
    #[error("the kind config has {count} nodes of the role control-plane: spangate needs exactly one")]
    ControlPlanes {
        /// How many it has.
        count: usize,
    },
    /// It names an image, which would not be taken.
    #[error(
        "the kind config names the image {image} for a node: name it in spec.cluster.kind.image, from which all nodes are \
         made"
    )]
    ImageOfNode {
        /// The image.
        image: String,
    },
    /// It has patches for static pods, and kubeadm takes those of one directory only.
    #[error(
        "the kind config tells kubeadm to take the patches of {directory}, and kubeadm takes those of one directory, which \
         is spangate's: leave out `patches` of the InitConfiguration, and set what it can be set for in `kubeadmConfigPatches`"
    )]
    Patches {
        /// The directory on the node.
        directory: String,
    },
    /// It is older than what is known to be right.
    #[error(
        "Kubernetes {version} is too old, for it follows nobody's traceparent: take {}.{} or later", OLDEST.0, OLDEST.1
    )]
    TooOld {
        /// The version.
        version: Version,
    },
    /// etcd cannot do what the scenario asks.
    #[error(transparent)]
    Etcd(#[from] EtcdFlagError),
}

/// What a configuration is completed from.
#[derive(Debug, Clone, Copy)]
pub struct KindConfig<'a> {
    /// The configuration as the user wrote it, or [`SINGLE_NODE`].
    pub base: &'a str,
    /// The name of the cluster.
    pub name: &'a str,
    /// The version of Kubernetes.
    pub kubernetes: Version,
    /// The version of etcd that this Kubernetes brings.
    pub etcd: Version,
    /// What the scenario sets.
    pub cluster: &'a Cluster,
    /// The directory of this machine with `tracing.yaml` in it; `None` leaves tracing off.
    pub tracing: Option<&'a Path>,
    /// Where spans go to, `host:port` as the node reaches it; etcd is told it on its command line.
    pub otlp: Option<&'a str>,
    /// The directory of this machine with what is mounted into nodes, [`node_files()`].
    pub node_files: &'a Path,
    /// The proxy of ours that the API server takes for its etcd, if there is one.
    pub etcd_proxy: Option<KindEtcdProxy<'a>>,
    /// Whether the node image was built by us: it has none of kind's own pod network.
    pub own_image: bool,
    /// Whether this machine has cgroup v1, which the kubelet refuses unless told otherwise.
    pub cgroup_v1: bool,
}

/// A proxy between the API server and etcd.
#[derive(Debug, Clone, Copy)]
pub struct KindEtcdProxy<'a> {
    /// Its URL, as the node reaches it.
    pub url: &'a str,
    /// The directory of this machine with the authority that etcd, its clients and the proxy have: [`ETCD_AUTHORITY`].
    pub authority: &'a Path,
}

/// One node: the configuration for scenarios that name none.
pub const SINGLE_NODE: &str = include_str!("../../../../kind-configs/single-node.yaml");

/// The file that the API server is given, in its directory.
pub const TRACING_FILE: &str = "tracing.yaml";

/// The certificate and the key of etcd's authority, in their directory and in kubeadm's.
pub const ETCD_AUTHORITY: [&str; 2] = ["ca.crt", "ca.key"];

const API_VERSION: &str = "kind.x-k8s.io/v1alpha4";
/// The oldest version: API servers before make a link of everybody's `traceparent`, and runs wait for spans of their own
/// traces. Kubelets have known `failCgroupV1` since 1.31, and trace without a feature gate since 1.27, as API servers do.
const OLDEST: (u32, u32) = Cluster::FOLLOWED_SINCE;
/// Where kubeadm has what it signs for etcd (kubeadm, `app/constants/constants.go`).
const ETCD_PKI_DIR: &str = "/etc/kubernetes/pki/etcd";

// === impl KindConfig ===

impl KindConfig<'_> {
    /// The whole configuration, in YAML.
    pub fn complete(&self) -> Result<String, KindConfigError> {
        if !self.kubernetes.at_least(OLDEST.0, OLDEST.1) {
            return Err(KindConfigError::TooOld { version: self.kubernetes });
        }
        let mut config = document::read(self.base)?;
        let said = |key: &str| config[key].as_str().unwrap_or("nothing").to_owned();
        let (api_version, kind) = (said("apiVersion"), said("kind"));
        if (api_version.as_str(), kind.as_str()) != (API_VERSION, "Cluster") {
            return Err(KindConfigError::NotACluster { api_version, kind });
        }
        config["name"] = self.name.into();
        if config["nodes"].as_array().is_none_or(Vec::is_empty) {
            config["nodes"] = json!([{"role": "control-plane"}]);
        }
        let mut images = config["nodes"].as_array().into_iter().flatten().map(|node| &node["image"]);
        if let Some(image) = images.find_map(Value::as_str) {
            // kind is given one on its command line, which wins.
            return Err(KindConfigError::ImageOfNode { image: image.to_owned() });
        }
        if let Some(tracing) = self.tracing {
            let mount = json!({"hostPath": tracing, "containerPath": TRACING_DIR, "readOnly": true});
            let node = control_plane(&mut config)?;
            push(node, "extraMounts", mount);
        }
        if let Some(proxy) = self.etcd_proxy {
            let node = control_plane(&mut config)?;
            for file in ETCD_AUTHORITY {
                let (from, to) = (proxy.authority.join(file), format!("{ETCD_PKI_DIR}/{file}"));
                push(node, "extraMounts", json!({"hostPath": from, "containerPath": to, "readOnly": true}));
            }
        }
        for file in self.files() {
            let mount = json!({
                "hostPath": self.node_files.join(file.file),
                "containerPath": file.path,
                "readOnly": true,
            });
            let nodes = config["nodes"].as_array_mut().into_iter().flatten();
            for node in nodes.filter(|node| file.on_workers || is_control_plane(node)) {
                push(node, "extraMounts", mount.clone());
            }
        }
        if self.needs_pod_network() {
            config["networking"]["disableDefaultCNI"] = true.into();
        }
        for patch in self.patches(&config)? {
            let node = control_plane(&mut config)?;
            // kind applies a node's own patches after those of the cluster, and a list replaces a list.
            let last = if node["kubeadmConfigPatches"].is_array() { node } else { &mut config };
            push(last, "kubeadmConfigPatches", patch.into());
        }
        Ok(document::write(&config))
    }

    /// Whether the pod network is left to us: the image has none, and the user has no plans for one.
    pub fn needs_pod_network(&self) -> bool {
        let theirs = document::read(self.base).unwrap_or_default();
        self.own_image && theirs["networking"]["disableDefaultCNI"] != true
    }

    /// What is mounted into nodes.
    fn files(&self) -> Vec<NodeFile> {
        node_files(self.cluster, self.otlp)
    }

    /// What kubeadm is told.
    fn patches(&self, config: &Value) -> Result<Vec<String>, KindConfigError> {
        let theirs = their_patches(config, "ClusterConfiguration")?;
        let mut args = self.api_server_args(config, &theirs);
        let extra = self.cluster.api_server.extra_args.iter();
        args.extend(extra.map(|(name, value)| (name.trim_start_matches('-').to_owned(), value.clone())));
        let mut patch = json!({"kind": "ClusterConfiguration", "apiServer": {"extraArgs": args}});
        if let Some((tracing, otlp)) = self.cluster.etcd.tracing.as_ref().zip(self.otlp) {
            let mut args: BTreeMap<String, String> = named(&theirs, &["etcd", "local", "extraArgs"]);
            args.extend(tracing_flags(self.etcd, tracing, otlp)?);
            patch["etcd"] = json!({"local": {"extraArgs": args}});
        }
        let mut patches = vec![document::write(&patch)];
        if self.files().iter().any(NodeFile::is_patch) {
            let theirs = their_patches(config, "InitConfiguration")?;
            if let Some(directory) = theirs.iter().find_map(|patch| patch["patches"]["directory"].as_str()) {
                return Err(KindConfigError::Patches { directory: directory.to_owned() });
            }
            patches.push(document::write(
                &json!({"kind": "InitConfiguration", "patches": {"directory": DIRECTORY}}),
            ));
        }
        // `KubeletConfiguration` has one version only, and kind writes it.
        let mut kubelet = json!({"kind": "KubeletConfiguration"});
        if self.cgroup_v1 {
            kubelet["failCgroupV1"] = false.into();
        }
        if let Some((tracing, otlp)) = self.cluster.kubelet.tracing.as_ref().zip(self.otlp) {
            kubelet["tracing"] = node_tracing::kubelet(tracing, otlp);
        }
        if kubelet.as_object().is_some_and(|fields| fields.len() > 1) {
            patches.push(document::write(&kubelet));
        }
        Ok(patches)
    }

    /// The API server's flags beyond kubeadm's own, without the scenario's.
    fn api_server_args(&self, config: &Value, theirs: &[Value]) -> BTreeMap<String, String> {
        let mut args = BTreeMap::from([("runtime-config".to_owned(), joined(&config["runtimeConfig"]))]);
        args.extend(named(theirs, &["apiServer", "extraArgs"]));
        let mut gates = config["featureGates"].as_object().cloned().unwrap_or_default();
        let scenario = self.cluster.api_server.feature_gates.iter();
        gates.extend(scenario.map(|(name, on)| (name.clone(), Value::Bool(*on))));
        if self.tracing.is_some() {
            if let Some((name, on)) = tracing_config::feature_gate(self.kubernetes) {
                gates.entry(name).or_insert(on.into());
            }
            args.insert("tracing-config-file".to_owned(), format!("{TRACING_DIR}/{TRACING_FILE}"));
        }
        if let Some(proxy) = self.etcd_proxy {
            args.insert("etcd-servers".to_owned(), proxy.url.to_owned());
        }
        if !gates.is_empty() {
            args.insert("feature-gates".to_owned(), joined(&gates.into()));
        }
        args
    }
}

/// kind takes a node without a role for one of the control plane.
fn is_control_plane(node: &Value) -> bool {
    node["role"].as_str().is_none_or(|role| role == "control-plane")
}

/// The one node on which the API server runs.
fn control_plane(config: &mut Value) -> Result<&mut Value, KindConfigError> {
    let nodes = config["nodes"].as_array_mut().into_iter().flatten();
    let mut nodes: Vec<&mut Value> = nodes.filter(|node| is_control_plane(node)).collect();
    match nodes.len() {
        1 => Ok(nodes.remove(0)),
        count => Err(KindConfigError::ControlPlanes { count }),
    }
}

/// Adds to a list, which need not be there.
fn push(to: &mut Value, key: &str, item: Value) {
    match &mut to[key] {
        Value::Array(items) => items.push(item),
        none => *none = json!([item]),
    }
}

/// The user's own patches of one kind of kubeadm's configuration.
fn their_patches(config: &Value, kind: &str) -> Result<Vec<Value>, KindConfigError> {
    let mut found = Vec::new();
    let nodes = config["nodes"].as_array().into_iter().flatten();
    for place in [config].into_iter().chain(nodes) {
        let texts = place["kubeadmConfigPatches"].as_array().into_iter().flatten();
        for text in texts.filter_map(Value::as_str).flat_map(|text| text.split("\n---")) {
            let patch = document::read(text)?;
            if patch["kind"] == kind {
                found.push(patch);
            }
        }
    }
    Ok(found)
}

fn at<'v>(value: &'v Value, keys: &[&str]) -> &'v Value {
    keys.iter().fold(value, |value, key| &value[*key])
}

/// A list of names with values, or a mapping, out of all patches; a later one wins.
fn named(patches: &[Value], keys: &[&str]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for value in patches.iter().map(|patch| at(patch, keys)) {
        let of_list = value.as_array().into_iter().flatten();
        all.extend(
            of_list.filter_map(|item| Some((item["name"].as_str()?.to_owned(), plain(&item["value"])))),
        );
        let of_mapping = value.as_object().into_iter().flatten();
        all.extend(of_mapping.map(|(name, value)| (name.clone(), plain(value))));
    }
    all
}

/// A mapping as a flag has it: `one=true,two=false`.
fn joined(mapping: &Value) -> String {
    let empty = Map::new();
    let entries = mapping.as_object().unwrap_or(&empty).iter();
    let mut all: Vec<String> = entries.map(|(name, value)| format!("{name}={}", plain(value))).collect();
    all.sort_unstable();
    all.join(",")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
