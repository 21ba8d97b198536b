//! What processes may use of the machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bound, Duration, Size};

/// What processes use of the machine while load is sent and until the last span is through.
///
/// CPU times are of this machine at this time: they say something of it and of no other. What is to be compared is to be
/// measured in one run (`spangate gate`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Overhead {
    /// The API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ApiServerOverhead>,
    /// The Collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collector: Option<CollectorOverhead>,
}

/// What the API server may use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiServerOverhead {
    /// All of its CPU time, by the requests that were sent: what it does for itself is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_per_request: Option<Bound<Duration>>,
    /// The most memory that was ever resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss: Option<Bound<Size>>,
}

/// What the Collector may use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CollectorOverhead {
    /// All of its CPU time, by the spans that it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_per_span: Option<Bound<Duration>>,
    /// The most memory that was ever resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss: Option<Bound<Size>>,
}
