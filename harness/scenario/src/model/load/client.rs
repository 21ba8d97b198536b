//! How the load reaches the API server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the load reaches the API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientOptions {
    /// The version of HTTP.
    pub protocol: Protocol,
    /// Connections of each identity that sends.
    pub connections: u16,
    /// Requests under way on one connection, at most. More than the API server allows (100 unless
    /// `--http2-max-streams-per-connection` says otherwise) wait as if they were fewer. With HTTP/1.1 it is
    /// always one.
    pub streams: u32,
    /// How objects of built-in types are sent and asked for. Patches, custom resources, watchers, kubectl's
    /// commands and what is to be changed and sent back are always JSON.
    pub encoding: Encoding,
    /// What a `429 Too Many Requests` with `Retry-After` does.
    pub retry_after: RetryAfter,
}

/// The version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/2 over TLS.
    #[default]
    Http2,
    /// HTTP/1.1 over TLS.
    Http1,
}

/// How objects are sent and asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What a `429 Too Many Requests` with `Retry-After` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    /// It is recorded, and the operation is over.
    #[default]
    Record,
    /// The request is sent again after the time that it gives, as a request of its own in the ledger.
    Honour,
}

// === impl ClientOptions ===

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            connections: 2,
            streams: 100,
            encoding: Encoding::default(),
            retry_after: RetryAfter::default(),
        }
    }
}
