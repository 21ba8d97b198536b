//! What is known of a Collector's life.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spangate_trace::UnixNanos;

use super::{Rewiring, telemetry::Telemetry};

/// What is known of a Collector's life.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CollectorFacts {
    /// What was replaced in its configuration.
    pub rewired: Vec<Rewiring>,
    /// What of it still names an address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// What it counted, all its processes together.
    pub telemetry: Telemetry,
    /// When its last counts were read.
    #[schemars(with = "u64")]
    pub counted: UnixNanos,
    /// Why its last counts could not be had, if they could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
    /// What its `prometheus` exporter served in the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prometheus: Vec<Series>,
    /// What Prometheus had stored of that, where the scenario has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<Series>,
    /// The most memory that was ever resident, in bytes.
    pub peak_rss: u64,
    /// When faults took it away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<CollectorAway>,
    /// Faults that were to take it away and did not, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_acted: Vec<String>,
    /// When it ended though nobody asked it to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crashes: Vec<Crash>,
    /// Whether the last that was known of a pod or container was not heard, so that an end in its last second may be missing above.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unheard: bool,
}

/// A series of a `prometheus` exporter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Series {
    /// The name.
    pub name: String,
    /// The labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// A time in which a fault had taken the Collector away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorAway {
    /// The fault.
    pub fault: String,
    /// When it was told to end.
    #[schemars(with = "u64")]
    pub from: UnixNanos,
    /// When it had ended.
    #[schemars(with = "u64")]
    pub ended: UnixNanos,
    /// When another one was ready.
    #[schemars(with = "u64")]
    pub to: UnixNanos,
}

/// An end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crash {
    /// When, if anybody told; in a pod to the second below, as the kubelet tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub at: Option<UnixNanos>,
    /// How it ended.
    pub status: String,
    /// Why, in the kubelet's words, if it was in a pod or a container: `OOMKilled`, `Error`, `Completed`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was seen to be ready again, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub back: Option<UnixNanos>,
    /// The end of its log.
    pub log: String,
}
