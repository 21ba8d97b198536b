//! A Collector between the API server and the sink.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Quantity;

/// An OpenTelemetry Collector between whoever sends spans and the sink.
///
/// The configuration runs as it is, but for endpoints: receivers get free ports of the loopback interface, exporters of
/// traces send to the sink, and the Collector's own metrics are read. On kind it runs in a pod, and receivers get ports of
/// the node. Exactly one of `config` and `configFile` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Collector {
    /// The Collector's configuration, as a block of YAML text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The file with the Collector's configuration, relative to the scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// The Collector's version, `0.161` or `0.161.0`.
    pub version: String,
    /// A binary to use in place of the one that would be looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
    /// Feature gates of the Collector (`--feature-gates`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub feature_gates: BTreeMap<String, bool>,
    /// Further environment variables, such as `GOMEMLIMIT` and those that the configuration names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How it runs on kind; `DaemonSet` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Workload>,
    /// Runs it in a container in place of a child process; only on local processes, for on kind it is in a pod anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerOf>,
    /// What its container asks for and may use; only on kind, or its limits with `container`.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
}

/// A container in place of a child process, on the network of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerOf {
    /// Its image with its tag, which is pulled where it is not on this machine. Unless given, one is made of the binary that
    /// would be a child process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["otel/opentelemetry-collector-contrib:0.161.0"]))]
    pub image: Option<String>,
}

/// What keeps the Collector's pod running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub enum Workload {
    /// One pod, on the node and in the network of the API server.
    #[default]
    DaemonSet,
    /// One pod in the pod network, reached through a Service of the type `NodePort`.
    Deployment,
}

/// Requests and limits of a container, as Kubernetes has them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What is set aside for it.
    #[serde(skip_serializing_if = "ResourceList::is_empty")]
    pub requests: ResourceList,
    /// What it may use: with more memory it is killed (`OOMKilled`), and of the CPU it gets no more.
    #[serde(skip_serializing_if = "ResourceList::is_empty")]
    pub limits: ResourceList,
}

/// Amounts by resource.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourceList {
    /// Memory, such as `64Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// CPU time a second, such as `500m` for half a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
}

// === impl Collector ===

impl Collector {
    /// The version that scenarios use unless they say otherwise.
    pub const DEFAULT_VERSION: &'static str = "0.161";

    /// The keys that say what the configuration is.
    pub const CONFIGS: &'static [&'static str] = &["config", "configFile"];

    /// Those of [`Self::CONFIGS`] that are given.
    pub fn configs(&self) -> Vec<&'static str> {
        let given = [self.config.is_some(), self.config_file.is_some()];
        Self::CONFIGS.iter().zip(given).filter(|(_, given)| *given).map(|(key, _)| *key).collect()
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            config: None,
            config_file: None,
            version: Self::DEFAULT_VERSION.to_owned(),
            binary: None,
            feature_gates: BTreeMap::new(),
            env: BTreeMap::new(),
            kind: None,
            container: None,
            resources: Resources::default(),
        }
    }
}

// === impl Resources ===

impl Resources {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

// === impl ResourceList ===

impl ResourceList {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.memory.is_none() && self.cpu.is_none()
    }
}
