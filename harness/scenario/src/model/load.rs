//! What to send.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Duration, Rate, Size};

/// What to send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Open loop: operations start at times that were fixed before the run.
    pub arrivals: Arrivals,
    /// What each arrival does.
    pub mix: Vec<MixEntry>,
    /// The namespace that the operations work in; made for the run and removed after it.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Objects of each resource that exist before load starts, for reads and changes.
    #[serde(default = "default_objects")]
    pub objects: u32,
    /// HTTP/2 connections to the API server.
    #[serde(default = "default_connections")]
    pub connections: u16,
    /// Operations that may be under way at once; an arrival beyond it is shed and counted.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: u32,
    /// Time after which an operation is given up.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
}

fn default_namespace() -> String {
    "spangate-load".to_owned()
}

fn default_objects() -> u32 {
    10
}

fn default_connections() -> u16 {
    2
}

fn default_max_in_flight() -> u32 {
    1000
}

fn default_timeout() -> Duration {
    Duration::from_secs(60)
}

/// When operations start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arrivals {
    /// Mean number of operations per time.
    pub rate: Rate,
    /// How they are spaced.
    #[serde(default)]
    pub shape: Shape,
    /// For how long.
    #[serde(rename = "for")]
    pub duration: Duration,
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Shape {
    /// Evenly.
    #[default]
    Constant,
    /// As independent callers would: exponential gaps.
    Poisson,
}

/// One entry of the mix: exactly one operation, and who does it how often.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = exactly_one_operation)]
pub struct MixEntry {
    /// How often this entry is chosen, relative to the others.
    pub weight: Weight,
    /// Who sends it.
    #[serde(rename = "as")]
    pub identity: Identity,
    /// The `traceparent` that is sent.
    pub traceparent: TraceFlag,
    /// Creates an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<CreateOperation>,
    /// Reads an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get: Option<GetOperation>,
    /// Reads a collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<ListOperation>,
    /// Watches a collection for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchOperation>,
    /// Replaces an object (GET, then PUT with its resource version).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateOperation>,
    /// Patches an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchOperation>,
    /// Server-side apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply: Option<CreateOperation>,
    /// Deletes an object that was made for it before load started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<DeleteOperation>,
    /// Deletes a collection that was made for it before load started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_collection: Option<DeleteOperation>,
    /// A sequence of commands, each sending what kubectl sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubectl: Option<Vec<KubectlStep>>,
}

/// A relative weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Weight(pub u32);

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// A user in `system:masters`: its `traceparent` is honoured.
    #[default]
    Admin,
    /// A user with RBAC rights and no privileged group: its `traceparent` becomes a link.
    Unprivileged,
}

/// The `traceparent` that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TraceFlag {
    /// With the flag `01`.
    #[default]
    Sampled,
    /// With the flag `00`.
    Unsampled,
    /// None at all.
    None,
}

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
}

/// Creates or applies an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOperation {
    /// What.
    pub resource: Resource,
    /// Size of the payload, where the resource has room for one.
    #[serde(default = "default_size")]
    pub size: Size,
    /// Labels of the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn default_size() -> Size {
    Size(1024)
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
    /// `application/strategic-merge-patch+json`.
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
    /// `kubectl scale deployment`: GET and PATCH of the `scale` subresource.
    #[serde(rename = "scale")]
    Scale,
    /// `kubectl delete --wait`: DELETE, then a watch until it is gone.
    #[serde(rename = "delete")]
    Delete,
}

// === impl MixEntry ===

impl MixEntry {
    /// The keys of which an entry has exactly one.
    pub const OPERATIONS: &'static [&'static str] = &[
        "create",
        "get",
        "list",
        "watch",
        "update",
        "patch",
        "apply",
        "delete",
        "deleteCollection",
        "kubectl",
    ];

    /// The keys of the operations that are given; one, once the scenario is checked.
    pub fn operations(&self) -> Vec<&'static str> {
        let given = [
            self.create.is_some(),
            self.get.is_some(),
            self.list.is_some(),
            self.watch.is_some(),
            self.update.is_some(),
            self.patch.is_some(),
            self.apply.is_some(),
            self.delete.is_some(),
            self.delete_collection.is_some(),
            self.kubectl.is_some(),
        ];
        Self::OPERATIONS.iter().zip(given).filter(|(_, given)| *given).map(|(key, _)| *key).collect()
    }
}

/// Says in the schema that an entry has exactly one operation.
fn exactly_one_operation(schema: &mut schemars::Schema) {
    let one = |key: &&str| serde_json::json!({"required": [key]});
    schema.insert("oneOf".to_owned(), MixEntry::OPERATIONS.iter().map(one).collect());
}

// === impl Resource ===

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 4] = [Self::Configmaps, Self::Pods, Self::Deployments, Self::Events];

    /// The plural name in URLs.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Configmaps => "configmaps",
            Self::Pods => "pods",
            Self::Deployments => "deployments",
            Self::Events => "events",
        }
    }
}
