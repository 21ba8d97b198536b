//! What an experiment measured, as a file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::Beside;

/// What an experiment measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// What was measured, and where.
    pub key: Key,
    /// The arm that the others are compared with.
    pub reference: String,
    /// The arms, in the order in which they are told.
    pub arms: Vec<Arm>,
    /// The units, in the order in which they were measured; excluded ones too.
    pub units: Vec<Unit>,
}

/// What two results must share to be compared: figures of CPU time never travel between machines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The experiment's name.
    pub experiment: String,
    /// The hash of everything that the experiment was asked for; of a gate what both sides are.
    pub hash: String,
    /// Versions of what ran, by component.
    pub versions: BTreeMap<String, String>,
    /// The model of the CPU, as `/proc/cpuinfo` has it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The release of the kernel.
    pub kernel: String,
}

/// An arm of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What it is, in a few words.
    pub description: String,
}

/// One measurement of one arm: a start of the server, or a block within one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// The arm.
    pub arm: String,
    /// The round: units of the same round are paired.
    pub round: u32,
    /// When it began, in milliseconds of the wall clock.
    pub began_ms: u64,
    /// Requests, or synthetic spans, that the figures are about.
    pub n: u64,
    /// The figures.
    pub figures: BTreeMap<Metric, f64>,
    /// How long it took, start and end of its processes included, in seconds; 0 where nobody noted it.
    #[serde(default)]
    pub seconds: f64,
    /// What went on beside it, where that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
    /// Why it does not count, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
}

/// A figure of a unit. Times are in seconds, memory and traffic in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// CPU time of the API server for a request.
    CpuPerRequest,
    /// Resident memory of the API server at its highest.
    Rss,
    /// The median of response time.
    ResponseP50,
    /// The 90th percentile of response time.
    ResponseP90,
    /// The 99th percentile of response time.
    ResponseP99,
    /// Spans that were received for a request.
    SpansPerRequest,
    /// Bytes of spans that were received for a request.
    BytesPerRequest,
    /// CPU time of the Collector for a span that it was sent.
    CollectorCpuPerSpan,
    /// Resident memory of the Collector at its highest.
    CollectorRss,
    /// The share of spans that were sent and not kept although nobody meant to drop them.
    Loss,
    /// The share of spans that the Collector was sent and refused.
    Refused,
    /// The share of spans that found the queue of an exporter of the Collector full.
    QueueFull,
    /// The median of the time from a span's way into the Collector until it is out.
    LagP50,
    /// The 99th percentile of that time.
    LagP99,
}
