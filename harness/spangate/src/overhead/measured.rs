//! What an experiment measured, as a file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare::Pairing;
use crate::{measure::Beside, report::Component};

/// What an experiment measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// What was measured, and where.
    pub key: Key,
    /// The arm that the others are compared with.
    pub reference: String,
    /// How the units of a round belong together, where there are pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing: Option<Pairing>,
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

// === impl Key ===

impl Key {
    /// Notes what ran. Of a component that ran in several versions all are named, in the order in which they came.
    pub(crate) fn learn(&mut self, components: Vec<Component>) {
        for component in components {
            let versions = self.versions.entry(component.name).or_default();
            if !versions.split(", ").any(|version| version == component.version) {
                let comma = if versions.is_empty() { "" } else { ", " };
                *versions = format!("{versions}{comma}{}", component.version);
            }
        }
    }
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
    /// Time in which threads of the API server could have run and had to wait for a CPU, for a request.
    RunQueueWait,
    /// How often a thread of the API server was put on a CPU, for a request.
    ContextSwitches,
    /// Bytes that the API server read, from connections and files, for a request.
    ReadPerRequest,
    /// Bytes that it wrote.
    WrittenPerRequest,
    /// Resident memory of the API server at the end of the load, each page that others have too by its part.
    Pss,
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

#[cfg(test)]
mod tests {
    use crate::{overhead::testing::key, report::Component};

    /// Scenario: two servers of different builds, each beside an etcd of the same one.
    /// Guarantees: both builds are named, and what is in both once.
    #[test]
    fn every_version_that_ran_is_named() {
        let mut key = key();
        let ran = |name: &str, version: &str| Component {
            name: name.to_owned(),
            version: version.to_owned(),
            source: "cache".to_owned(),
        };
        key.versions.clear();
        key.learn(vec![ran("kube-apiserver", "1.36.1"), ran("etcd", "3.7.3")]);
        key.learn(vec![ran("kube-apiserver", "1.37.2"), ran("etcd", "3.7.3")]);
        let versions: Vec<_> = key.versions.iter().map(|(name, at)| format!("{name} {at}")).collect();
        assert_eq!(versions, ["etcd 3.7.3", "kube-apiserver 1.36.1, 1.37.2"]);
    }
}
