//! Watchers that stay for the whole run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Identity, Resource, Scope, TraceFlag};

/// Clients that watch a collection from before the load until after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watchers {
    /// What they are called in reports and filters; the resource unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many.
    pub count: u32,
    /// What they watch.
    pub resource: Resource,
    /// How they begin, and begin again.
    #[serde(default)]
    pub mode: WatchMode,
    /// Whether bookmarks are asked for (`allowWatchBookmarks`).
    #[serde(default = "yes")]
    pub bookmarks: bool,
    /// `labelSelector` of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// `fieldSelector` of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_selector: Option<String>,
    /// One namespace, or all of them.
    #[serde(default)]
    pub scope: Scope,
    /// Who watches.
    #[serde(rename = "as", default)]
    pub identity: Identity,
    /// The `traceparent` that is sent.
    #[serde(default)]
    pub traceparent: TraceFlag,
}

/// How a watcher begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WatchMode {
    /// From now on, without any state.
    Watch,
    /// As client-go's informers did before 1.35: a list in pages, then a watch from its resource version.
    ListWatch,
    /// As client-go's informers do since 1.35: one watch that delivers the state first (`sendInitialEvents`).
    #[default]
    WatchList,
}

fn yes() -> bool {
    true
}
