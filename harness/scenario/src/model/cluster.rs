//! The control plane under test.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Duration, PerMillion};

/// The control plane to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cluster {
    /// Where the control plane comes from.
    pub provider: Provider,
    /// The Kubernetes version, `1.37` or `1.37.2`.
    pub kubernetes: String,
    /// Binaries to use in place of those that would be looked up.
    pub binaries: Binaries,
    /// What only a kind cluster has.
    pub kind: Kind,
    /// What the API server traces, and how it exports.
    pub tracing: Tracing,
    /// The API server's own settings.
    pub api_server: ApiServer,
    /// etcd.
    pub etcd: Etcd,
    /// A group of the sender `admin`: `system:masters`, whose `traceparent` the API server follows, or on kind
    /// `kubeadm:cluster-admins`, as in the `admin.conf` of kubeadm, whose `traceparent` becomes a link. Unless given
    /// `system:masters`; on an existing cluster the API server is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_group: Option<String>,
    /// The kubelets, which only a kind cluster has.
    pub kubelet: Kubelet,
}

/// Where the control plane comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// etcd and kube-apiserver as child processes on loopback.
    #[default]
    Local,
    /// A cluster of its own that the real kind makes in Docker: kubeadm, static pods, a kubelet.
    Kind,
    /// A cluster that is there already, named on the command line of `spangate run`. Of it, the scenario says what it
    /// expects: `tracing` is compared and never set.
    Existing,
}

/// What only a kind cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kind {
    /// kind's own configuration of the cluster (`kind: Cluster`), relative to the scenario's file; it is completed with
    /// all that tracing needs. By default one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// Image of the nodes, such as `kindest/node:v1.37.0`; Docker pulls it if need be. By default one is built on this
    /// machine, from Debian packages and Go modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Explicit paths of binaries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Binaries {
    /// Path of `kube-apiserver`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_apiserver: Option<PathBuf>,
    /// Path of `etcd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<PathBuf>,
    /// Path of `kind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<PathBuf>,
}

/// The API server's tracing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tracing {
    /// Whether the API server is given a `TracingConfiguration` at all. Without one it has no spans.
    pub enabled: bool,
    /// `samplingRatePerMillion` of the `TracingConfiguration`. Unset: only requests that arrive sampled from
    /// a privileged caller are traced, and there are no background spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_rate_per_million: Option<PerMillion>,
    /// The exporter's batch span processor (`OTEL_BSP_*`).
    pub batch: BatchProcessor,
}

/// The batch span processor of the OpenTelemetry SDK, by its environment variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BatchProcessor {
    /// Time between two exports (`OTEL_BSP_SCHEDULE_DELAY`). The upstream default is 5s.
    pub schedule_delay: Duration,
    /// Spans that may wait; more are dropped (`OTEL_BSP_MAX_QUEUE_SIZE`). The upstream default is 2048.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue_size: Option<u32>,
    /// Spans in one export (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`). The upstream default is 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_export_batch_size: Option<u32>,
    /// Time that one export may take (`OTEL_BSP_EXPORT_TIMEOUT`). The upstream default is 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_timeout: Option<Duration>,
}

/// The API server's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiServer {
    /// Further flags, without the leading dashes; they win over ours.
    pub extra_args: BTreeMap<String, String>,
    /// Feature gates.
    pub feature_gates: BTreeMap<String, bool>,
    /// Further environment variables; they win over ours.
    pub env: BTreeMap<String, String>,
}

/// etcd.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Etcd {
    /// The etcd version, `3.7` or `3.7.3`; by default the one that the Kubernetes version is tested with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// etcd's own tracing; off unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<EtcdTracing>,
}

/// etcd's own tracing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EtcdTracing {
    /// Share of traces that etcd starts on its own; calls that arrive sampled are always traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_rate_per_million: Option<PerMillion>,
}

/// The kubelets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubelet {
    /// The kubelet's own tracing; off unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<KubeletTracing>,
}

/// The kubelet's own tracing. It exports as `tracing.batch` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeletTracing {
    /// `tracing.samplingRatePerMillion` of the `KubeletConfiguration`: the share of its traces that are recorded.
    pub sampling_rate_per_million: PerMillion,
    /// Whether the requests that it sends to the API server are traced. The kubelet does that only where its client
    /// certificate is not rotated, and kubeadm always turns rotation on: this turns it off.
    #[serde(default)]
    pub api_requests: bool,
    /// Whether containerd continues the traces of the kubelet's calls.
    #[serde(default)]
    pub container_runtime: bool,
}

// === impl Cluster ===

impl Cluster {
    /// The Kubernetes version that scenarios use unless they say otherwise.
    pub const DEFAULT_KUBERNETES: &'static str = "1.37";
    /// The group of those who may do everything; RBAC is not asked.
    pub const MASTERS: &'static str = "system:masters";
    /// The group of the administrator that kubeadm makes, since 1.29; it is bound to `cluster-admin`.
    pub const CLUSTER_ADMINS: &'static str = "kubeadm:cluster-admins";
    /// The groups whose `traceparent` the API server makes the parent of its spans
    /// (`k8s.io/apiserver/pkg/endpoints/filters/traces.go`).
    pub const FOLLOWED_GROUPS: [&'static str; 2] = [Self::MASTERS, "system:monitoring"];
    /// The version of Kubernetes since which it does; before, everybody's became a link (kubernetes/kubernetes#127053).
    pub const FOLLOWED_SINCE: (u32, u32) = (1, 33);

    /// Whether the API server follows the `traceparent` of the sender `admin`.
    pub fn follows_admin(&self) -> bool {
        self.admin_group.as_deref().is_none_or(|group| Self::FOLLOWED_GROUPS.contains(&group))
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            kubernetes: Self::DEFAULT_KUBERNETES.to_owned(),
            binaries: Binaries::default(),
            kind: Kind::default(),
            tracing: Tracing::default(),
            api_server: ApiServer::default(),
            etcd: Etcd::default(),
            admin_group: None,
            kubelet: Kubelet::default(),
        }
    }
}

// === impl Provider ===

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 3] = [Self::Local, Self::Kind, Self::Existing];

    /// What scenarios call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kind => "kind",
            Self::Existing => "existing",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Tracing ===

impl Tracing {
    /// The rate at which the API server starts traces of its own, in a million requests.
    pub fn rate(&self) -> u32 {
        self.sampling_rate_per_million.filter(|_| self.enabled).map_or(0, PerMillion::get)
    }
}

impl Default for Tracing {
    fn default() -> Self {
        Self { enabled: true, sampling_rate_per_million: None, batch: BatchProcessor::default() }
    }
}

// === impl BatchProcessor ===

impl BatchProcessor {
    /// Spans that may wait unless the scenario says otherwise (`DefaultMaxQueueSize` of OpenTelemetry's Go SDK,
    /// `sdk/trace/batch_span_processor.go`).
    pub const DEFAULT_MAX_QUEUE_SIZE: u32 = 2048;
}

impl Default for BatchProcessor {
    /// Exports every 200 ms, so that a scenario does not wait for spans; the rest as upstream.
    fn default() -> Self {
        Self {
            schedule_delay: Duration::from_millis(200),
            max_queue_size: None,
            max_export_batch_size: None,
            export_timeout: None,
        }
    }
}
