//! What an arrival or a step of a session does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CreateOperation, DeleteOperation, GetOperation, Identity, KubectlStep, ListOperation, PatchOperation,
    PutOperation, UpdateOperation, WatchListOperation, WatchOperation, exactly_one_of, given,
};

/// One entry of the mix: exactly one operation, and who does it how often.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = exactly_one_of(Self::OPERATIONS))]
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
    /// Reads a collection as a stream: a watch that is closed when the initial state is through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_list: Option<WatchListOperation>,
    /// Watches a collection for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchOperation>,
    /// Replaces an object (GET, then PUT with its resource version).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateOperation>,
    /// Replaces an object without reading it first (PUT without a resource version).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub put: Option<PutOperation>,
    /// Patches an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchOperation>,
    /// Server-side apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply: Option<CreateOperation>,
    /// Deletes an object that was made for it before load started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<DeleteOperation>,
    /// Creates an object and deletes it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_delete: Option<CreateOperation>,
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

// === impl MixEntry ===

impl MixEntry {
    /// The keys of which an entry has exactly one.
    pub const OPERATIONS: &'static [&'static str] = &[
        "create",
        "get",
        "list",
        "watchList",
        "watch",
        "update",
        "put",
        "patch",
        "apply",
        "delete",
        "postDelete",
        "deleteCollection",
        "kubectl",
    ];

    /// The keys of the operations that are given; one, once the scenario is checked.
    pub fn operations(&self) -> Vec<&'static str> {
        let is_given = [
            self.create.is_some(),
            self.get.is_some(),
            self.list.is_some(),
            self.watch_list.is_some(),
            self.watch.is_some(),
            self.update.is_some(),
            self.put.is_some(),
            self.patch.is_some(),
            self.apply.is_some(),
            self.delete.is_some(),
            self.post_delete.is_some(),
            self.delete_collection.is_some(),
            self.kubectl.is_some(),
        ];
        given(Self::OPERATIONS, &is_given)
    }
}
