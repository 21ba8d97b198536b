//! Watchers that stay for the whole run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Identity, Resource, Scope, TraceFlag};
use crate::units::Duration;

/// Clients that watch a collection from before the load until after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watchers {
    /// What they are called in reports and filters: a DNS label that no others have; the resource unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many, 1 to 10000.
    pub count: u32,
    /// What they watch.
    pub resource: Resource,
    /// How they begin, and begin again.
    #[serde(default)]
    pub mode: WatchMode,
    /// Whether bookmarks are asked for (`allowWatchBookmarks`). `watchList` always asks: a bookmark ends the state.
    #[serde(default = "yes")]
    pub bookmarks: bool,
    /// Time after which the API server ends a watch (`timeoutSeconds`, in whole seconds); it is then opened again.
    /// Unless given, one that differs by watcher, from 5 to 10 minutes, as of client-go's reflector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// `labelSelector` of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// `fieldSelector` of the query; `metadata.name` and `metadata.namespace`, and more of pods, secrets and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_selector: Option<String>,
    /// One namespace, or all of them. The watchers are spread over the load's namespaces in turn.
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
    /// From now on, without any state: a list of one object for its resource version, and a watch from there, as
    /// `kubectl get --watch-only`.
    Watch,
    /// As client-go's informers did before 1.35: a list in pages of 500, then a watch from its resource version.
    ListWatch,
    /// As client-go's informers do since 1.35: one watch that delivers the state first (`sendInitialEvents`).
    #[default]
    WatchList,
}

fn yes() -> bool {
    true
}

// === impl Watchers ===

impl Watchers {
    /// What they are called: their name, or else the resource.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(self.resource.plural())
    }
}
