//! kind's configuration of a cluster, completed with all that tracing needs. Pure.
//!
//! What kubeadm is told goes through `kubeadmConfigPatches`, which kind merges into what it writes for kubeadm itself
//! (kind, `pkg/cluster/internal/kubeadm/config.go`). A list in a patch replaces the one that is there, so that lists
//! are written whole, with what the user's own patches and kind have in them.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value, json};
use spangate_scenario::{document, model::Cluster};

use super::node_tracing::{self, DropIn};
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
    /// kubeadm of this version cannot be told the environment of the API server.
    #[error(
        "Kubernetes {version} is too old for the provider kind, which needs kubeadm's v1beta4 configuration: take 1.36 or \
         later, or the provider local"
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
    /// The directory of this machine with the [drop-ins](super::drop_ins) of the nodes' services.
    pub drop_ins: &'a Path,
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
const KUBEADM: &str = "kubeadm.k8s.io/v1beta4";
/// Where kubeadm has what it signs for etcd (kubeadm, `app/constants/constants.go`).
const ETCD_PKI_DIR: &str = "/etc/kubernetes/pki/etcd";
/// Where that directory is on the node, and in the API server's pod.
const TRACING_DIR: &str = "/etc/spangate";

// === impl KindConfig ===

impl KindConfig<'_> {
    /// The whole configuration, in YAML.
    pub fn complete(&self) -> Result<String, KindConfigError> {
        if !self.kubernetes.at_least(1, 36) {
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
        for drop_in in self.drop_ins() {
            let mount = json!({
                "hostPath": self.drop_ins.join(drop_in.file),
                "containerPath": drop_in.path,
                "readOnly": true,
            });
            for node in config["nodes"].as_array_mut().into_iter().flatten() {
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

    /// What is set for the services of every node.
    fn drop_ins(&self) -> Vec<DropIn> {
        let tracing = self.cluster.kubelet.tracing.as_ref().zip(self.otlp);
        let drop_ins = |(tracing, otlp)| node_tracing::drop_ins(tracing, &self.cluster.tracing.batch, otlp);
        tracing.map(drop_ins).unwrap_or_default()
    }

    /// What kubeadm is told.
    fn patches(&self, config: &Value) -> Result<Vec<String>, KindConfigError> {
        let theirs = cluster_patches(config)?;
        let Cluster { api_server, tracing, etcd, .. } = self.cluster;

        let mut args = self.api_server_args(config, &theirs);
        args.extend(
            api_server
                .extra_args
                .iter()
                .map(|(name, value)| (name.trim_start_matches('-').to_owned(), value.clone())),
        );
        let mut env: BTreeMap<String, String> = named(&theirs, &["apiServer", "extraEnvs"]);
        let mut volumes = listed(&theirs, &["apiServer", "extraVolumes"]);
        if self.tracing.is_some() {
            env.extend(tracing_config::batch_env(&tracing.batch));
            volumes.push(json!({
                "name": "spangate",
                "hostPath": TRACING_DIR,
                "mountPath": TRACING_DIR,
                "readOnly": true,
                "pathType": "Directory",
            }));
        }
        env.extend(api_server.env.clone());
        let mut patch = json!({
            "apiVersion": KUBEADM,
            "kind": "ClusterConfiguration",
            "apiServer": {"extraArgs": pairs(&args)},
        });
        if !env.is_empty() {
            patch["apiServer"]["extraEnvs"] = pairs(&env);
        }
        if !volumes.is_empty() {
            patch["apiServer"]["extraVolumes"] = volumes.into();
        }
        if let Some((tracing, otlp)) = etcd.tracing.as_ref().zip(self.otlp) {
            let mut args: BTreeMap<String, String> = named(&theirs, &["etcd", "local", "extraArgs"]);
            args.extend(tracing_flags(self.etcd, tracing, otlp)?);
            let mut env: BTreeMap<String, String> = named(&theirs, &["etcd", "local", "extraEnvs"]);
            env.extend(tracing_config::batch_env(&self.cluster.tracing.batch));
            patch["etcd"] = json!({"local": {"extraArgs": pairs(&args), "extraEnvs": pairs(&env)}});
        }
        let mut patches = vec![document::write(&patch)];
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

/// The one node on which the API server runs.
fn control_plane(config: &mut Value) -> Result<&mut Value, KindConfigError> {
    // kind takes a node without a role for one of the control plane.
    let is = |node: &&mut Value| node["role"].as_str().is_none_or(|role| role == "control-plane");
    let mut nodes: Vec<&mut Value> =
        config["nodes"].as_array_mut().into_iter().flatten().filter(is).collect();
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

/// The user's own patches of kubeadm's `ClusterConfiguration`.
fn cluster_patches(config: &Value) -> Result<Vec<Value>, KindConfigError> {
    let mut found = Vec::new();
    let nodes = config["nodes"].as_array().into_iter().flatten();
    for place in [config].into_iter().chain(nodes) {
        let texts = place["kubeadmConfigPatches"].as_array().into_iter().flatten();
        for text in texts.filter_map(Value::as_str).flat_map(|text| text.split("\n---")) {
            let patch = document::read(text)?;
            if patch["kind"] == "ClusterConfiguration" {
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

/// The items of a list out of the last patch that has one.
fn listed(patches: &[Value], keys: &[&str]) -> Vec<Value> {
    patches.iter().rev().find_map(|patch| at(patch, keys).as_array().cloned()).unwrap_or_default()
}

/// Names with values as kubeadm's v1beta4 has them.
fn pairs(all: &BTreeMap<String, String>) -> Value {
    all.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>().into()
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
