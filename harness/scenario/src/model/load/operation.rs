//! Operations on the API, and what they work on.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Sizes;
use crate::units::{Duration, Size};

/// A resource that operations work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    /// `v1` configmaps.
    Configmaps,
    /// `v1` pods; without a kubelet they stay pending.
    Pods,
    /// `apps/v1` deployments; without a controller manager they make no pods.
    Deployments,
    /// `v1` events.
    Events,
    /// `v1` secrets.
    Secrets,
    /// `load.spangate.dev/v1` widgets: custom resources, whose definition is made for the run.
    Widgets,
}

/// Creates or applies an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOperation {
    /// What.
    pub resource: Resource,
    /// Size of the payload, where the resource has room for one.
    #[serde(default)]
    pub size: Sizes,
    /// Labels of the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Reads an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetOperation {
    /// What.
    pub resource: Resource,
    /// `resourceVersion` of the query: absent is a quorum read, `0` may be served from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// Reads a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListOperation {
    /// What.
    pub resource: Resource,
    /// `resourceVersion` of the query: absent is a quorum read, `0` may be served from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Page size; all pages are read. Absent: everything in one response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `labelSelector` of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// `fieldSelector` of the query; `metadata.name` and `metadata.namespace`, and more of pods, secrets and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_selector: Option<String>,
    /// One namespace, or all of them.
    #[serde(default)]
    pub scope: Scope,
}

/// Reads a collection as a stream: a watch that is closed when the initial state is through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchListOperation {
    /// What.
    pub resource: Resource,
    /// `labelSelector` of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// `fieldSelector` of the query; `metadata.name` and `metadata.namespace`, and more of pods, secrets and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_selector: Option<String>,
    /// One namespace, or all of them.
    #[serde(default)]
    pub scope: Scope,
}

/// Whether a collection is that of one namespace or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// One of the load's namespaces.
    #[default]
    Namespace,
    /// All namespaces of the cluster.
    Cluster,
}

/// Watches a collection for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchOperation {
    /// What.
    pub resource: Resource,
    /// How long the watch is held open.
    #[serde(rename = "for")]
    pub duration: Duration,
    /// Whether the watch delivers the initial state first (`sendInitialEvents=true`).
    #[serde(default)]
    pub initial_events: bool,
    /// `labelSelector` of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
}

/// Replaces an object: GET, then PUT with its resource version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateOperation {
    /// What.
    pub resource: Resource,
    /// Objects that updates are spread over; one makes them conflict. Absent: all prepared ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u32>,
}

/// Replaces an object without reading it first. The API server does not do so with custom resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutOperation {
    /// What.
    pub resource: Resource,
    /// Size of the payload, where the resource has room for one.
    #[serde(default)]
    pub size: Sizes,
    /// Objects that puts are spread over. Absent: all prepared ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u32>,
}

/// Patches an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchOperation {
    /// What.
    pub resource: Resource,
    /// The kind of patch.
    #[serde(rename = "type", default)]
    pub patch_type: PatchType,
    /// Objects that patches are spread over; one makes them contend. Absent: all prepared ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u32>,
}

/// The kind of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PatchType {
    /// `application/merge-patch+json` (RFC 7386).
    #[default]
    Merge,
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/strategic-merge-patch+json`; not for custom resources.
    Strategic,
}

/// Deletes an object or a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteOperation {
    /// What.
    pub resource: Resource,
}

/// A command whose requests are those of kubectl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KubectlStep {
    /// `/api` and `/apis`, as a kubectl with a cold cache asks for them.
    #[serde(rename = "discovery")]
    Discovery,
    /// `kubectl create deployment`.
    #[serde(rename = "create deployment")]
    CreateDeployment,
    /// `kubectl create configmap`.
    #[serde(rename = "create configmap")]
    CreateConfigmap,
    /// `kubectl apply -f`: GET, then POST or PATCH.
    #[serde(rename = "apply")]
    Apply,
    /// `kubectl get pods`: a table, in pages of 500.
    #[serde(rename = "get pods")]
    GetPods,
    /// `kubectl get deployments`: a table, in pages of 500.
    #[serde(rename = "get deployments")]
    GetDeployments,
    /// `kubectl rollout status`: GET, then a watch until the pods of the deployment that the sequence made are
    /// available. The pods of such a sequence are scheduled; those of others are not, so that nothing runs for them.
    #[serde(rename = "rollout status")]
    RolloutStatus,
    /// `kubectl scale deployment`: GET and PATCH of the `scale` subresource.
    #[serde(rename = "scale")]
    Scale,
    /// `kubectl delete --wait`: DELETE, then a watch until it is gone.
    #[serde(rename = "delete")]
    Delete,
}

// === impl Resource ===

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 6] =
        [Self::Configmaps, Self::Pods, Self::Deployments, Self::Events, Self::Secrets, Self::Widgets];

    /// The plural name in URLs.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Configmaps => "configmaps",
            Self::Pods => "pods",
            Self::Deployments => "deployments",
            Self::Events => "events",
            Self::Secrets => "secrets",
            Self::Widgets => "widgets",
        }
    }

    /// Where an object keeps its payload.
    pub const fn payload_place(self) -> &'static str {
        match self {
            Self::Configmaps | Self::Secrets => "data",
            Self::Widgets => "spec",
            Self::Pods | Self::Deployments | Self::Events => "annotations",
        }
    }

    /// The largest payload that an object can hold. Sizes of a distribution that are above it are cut to it.
    ///
    /// Data ends at `MaxSecretSize`, which `pkg/apis/core/validation` uses for config maps too, and annotations
    /// at `TotalAnnotationSizeLimitB` of `k8s.io/apimachinery`. A custom resource ends where etcd does
    /// (`--max-request-bytes`, 1.5 MiB), and some room is left for what is not payload.
    pub const fn payload_limit(self) -> Size {
        match self {
            Self::Configmaps | Self::Secrets | Self::Widgets => Size(1 << 20),
            Self::Pods | Self::Deployments | Self::Events => Size(256 << 10),
        }
    }
}
