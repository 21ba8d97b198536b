//! The request ledger: what was sent, when, and what came back.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use spangate_scenario::model::Identity;
use spangate_trace::{TraceContext, UnixNanos};

use crate::watchers;

/// One HTTP request of the load, noted when it is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Number of the arrival in the schedule; a watcher's requests have a number of their own
    /// ([`watchers::arrival`]).
    pub arrival: u64,
    /// Number of the request within its arrival: pages of a list, steps of a kubectl sequence.
    pub step: u32,
    /// Index of the mix entry; those of watchers come after all of them.
    pub entry: usize,
    /// Index of its stage, or of the user's session.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stage: u32,
    /// Who sent it.
    pub identity: Identity,
    /// The `traceparent` that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<TraceContext>,
    /// What was asked.
    pub verb: Verb,
    /// The resource, plural; empty for discovery.
    pub resource: Cow<'static, str>,
    /// The subresource, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<Cow<'static, str>>,
    /// The object's name, if the request names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The HTTP method.
    pub method: Cow<'static, str>,
    /// Path and query.
    pub target: String,
    /// When it was to start: for the first step the time in the schedule, for later ones the end of the one
    /// before.
    pub intended: UnixNanos,
    /// When it was handed to the connection; if it never was, when it was given up.
    pub started: UnixNanos,
    /// When the whole response was there, or the request was given up.
    pub ended: UnixNanos,
    /// How it ended.
    pub outcome: Outcome,
    /// The `audit-id` that the server answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<String>,
    /// Seconds after which the server asked to try again (`Retry-After`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// Bytes of the response body.
    pub received_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// With an HTTP status and a whole body, or with a watch that was closed on purpose.
    Status(u16),
    /// Without a status, or in the middle of the body.
    Error(String),
    /// After the scenario's timeout.
    Timeout,
    /// Never sent: too many operations were under way.
    Shed,
}

/// What a request asks for, in the words of Kubernetes' RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// POST of an object.
    Create,
    /// GET of an object.
    Get,
    /// GET of a collection.
    List,
    /// Watch.
    Watch,
    /// Watch with initial events.
    WatchList,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// Server-side apply.
    Apply,
    /// DELETE of an object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// `/api`, `/apis`, `/openapi`, `/version`.
    Discovery,
}

// === impl RequestRecord ===

impl RequestRecord {
    /// Whether a watcher sent it. It belongs to no arrival, and a watch takes as long as it is held open.
    pub fn is_of_watcher(&self) -> bool {
        watchers::index_of(self.arrival).is_some()
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether the request came to nothing for want of a willing server: no whole answer, `429`, or 500 and more.
    /// An answer such as `404` or `409` is one.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::Error(_) | Self::Timeout => true,
            Self::Shed => false,
        }
    }
}

// === impl Verb ===

impl fmt::Display for Verb {
    /// In lower case, as scenarios and reports name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::WatchList => "watchlist",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Apply => "apply",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Discovery => "discovery",
        })
    }
}
