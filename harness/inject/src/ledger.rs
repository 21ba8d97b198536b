//! The fault ledger: which call was held or answered wrongly, from when to when, under which trace.

use serde::{Deserialize, Serialize};
use spangate_trace::{TraceContext, UnixNanos};

/// One call that reached an injector, noted when it is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Injection {
    /// The fault's name.
    pub fault: String,
    /// Number of the call among those that this fault saw.
    pub call: u64,
    /// What was called.
    pub target: Target,
    /// The `traceparent` that the caller passed along: its `span_id` is the caller's CLIENT span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TraceContext>,
    /// When the whole request was there.
    pub received: UnixNanos,
    /// When the answer was handed to the connection, or the caller was seen to have gone.
    pub answered: UnixNanos,
    /// The part of that time that was injected; absent when the call was let through at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What was answered.
    pub answer: Answer,
}

/// A deliberate delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Its start.
    pub from: UnixNanos,
    /// Its end, as measured and not as asked for.
    pub to: UnixNanos,
}

/// What was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An admission webhook.
    #[serde(rename_all = "camelCase")]
    Webhook {
        /// `request.uid` of the review.
        uid: String,
        /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
        operation: String,
        /// The resource, plural.
        resource: String,
        /// The namespace, empty for cluster-wide objects.
        namespace: String,
        /// The object's name, empty when the server is to make one.
        name: String,
    },
    /// etcd.
    Etcd {
        /// `KV/Txn`, ...
        rpc: String,
        /// The first key of the request, lossily as text.
        key: String,
    },
    /// The trace sink.
    Sink {
        /// Spans in the export.
        spans: u64,
    },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// What an unfaulted peer would have answered; also when the caller left before that, and was not held.
    Genuine,
    /// A denial with this code.
    Denied(u16),
    /// This HTTP status.
    Http(u16),
    /// A body that is not JSON.
    MalformedJson,
    /// A review for another request.
    WrongUid,
    /// Allowed with a JSON patch.
    Patched,
    /// This gRPC status, by its number.
    Grpc(u8),
    /// Nothing: held until the caller gave up.
    Held,
    /// A TCP reset.
    Reset,
}

// === impl Injection ===

impl Injection {
    /// Whether the fault did something to the call; calls that it let through are in the ledger too.
    pub fn acted(&self) -> bool {
        self.held.is_some() || self.answer != Answer::Genuine
    }
}
