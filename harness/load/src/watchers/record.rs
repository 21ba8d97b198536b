//! The watch ledger: every event that a watcher received.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use spangate_trace::UnixNanos;

/// One event that a watcher received, or one object of a list that it began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchRecord {
    /// What the watcher is called: [`Watchers::label`](spangate_scenario::model::Watchers::label).
    pub watcher: Arc<str>,
    /// Its number among all watchers of the load; its requests are those of
    /// [`arrival(index)`](super::arrival).
    pub index: u32,
    /// Number of the request that brought the event, among the watcher's own.
    pub step: u32,
    /// When the end of the event was received.
    pub at: UnixNanos,
    /// Its type.
    pub event: WatchEvent,
    /// Where the object is; empty for bookmarks, errors and what lies in no namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// What it is called; empty for bookmarks and errors.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its resource version, or that of the bookmark.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Number of the arrival that wrote the object last, as its annotation
    /// [`REVISION`](crate::object::REVISION) says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Whether it is of the state that the watcher began with, and not a change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
}

/// The type of a watch event (`apimachinery/pkg/watch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchEvent {
    /// An object is new, or was there when the watch began.
    Added,
    /// An object has changed.
    Modified,
    /// An object is gone.
    Deleted,
    /// Nothing but a newer resource version.
    Bookmark,
    /// The watch is over.
    Error,
}

/// Events that watchers received, by the watcher's name and the type.
pub type WatchCounts = BTreeMap<Arc<str>, BTreeMap<WatchEvent, u64>>;

// === impl WatchEvent ===

impl WatchEvent {
    /// The type that the API server calls `name`.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ADDED" => Self::Added,
            "MODIFIED" => Self::Modified,
            "DELETED" => Self::Deleted,
            "BOOKMARK" => Self::Bookmark,
            "ERROR" => Self::Error,
            _ => return None,
        })
    }
}

impl fmt::Display for WatchEvent {
    /// In lower case, as the ledger has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::Bookmark => "bookmark",
            Self::Error => "error",
        })
    }
}
