//! The model of a scenario file: one struct per mapping, one enum per one-of.
//!
//! Conventions: Kubernetes' `apiVersion`/`kind`/`metadata`/`spec`, camelCase keys, unknown keys are errors,
//! one-of maps are externally tagged (`- webhook: {...}`), and every number with a unit is a newtype.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod backends;
pub mod cluster;
pub mod collector;
pub mod expect;
pub mod experiment;
pub mod fault;
pub mod load;
pub mod matches;
pub mod traffic;

pub use backends::Backends;
pub use cluster::{
    ApiServer, BatchProcessor, Binaries, Cluster, Etcd, EtcdTracing, Kind, Kubelet, KubeletTracing, Provider,
    Tracing,
};
pub use collector::{Collector, ContainerOf, ResourceList, Resources, Workload};
pub use expect::{
    ApiServerOverhead, Blame, CollectorOverhead, Complete, Conserved, EventMatch, Expectation, Injected,
    Kept, Latency, LinkMatch, LoadExpectation, Overhead, Percentiles, Phases, Recovery, RequestFilter,
    Requests, Restarts, Roots, Sampling, SpanKind, SpanMetrics, SpanMetricsFrom, SpanSelector, SpanStatus,
    Spans, Stored, Until, WatchersExpectation,
};
pub use fault::{
    AdmissionOperation, CollectorFault, CollectorOutage, Delay, Deny, EtcdFault, FailurePolicy, Fault,
    GrpcStatus, HeldSide, HttpFailure, MatchCondition, ReinvocationPolicy, SinkFault, SinkMisbehaviour, Via,
    WebhookAnswer, WebhookFault, WebhookRule, WebhookType, Window,
};
pub use load::{
    AbortRule, Arrivals, ClientOptions, CreateOperation, DeleteOperation, Encoding, GetOperation, Identity,
    IdentitySpec, Impersonate, KubectlStep, ListOperation, Load, MixEntry, PatchOperation, PatchType,
    Population, PopulationEntry, Protocol, PutOperation, Ramp, Replay, Resource, RetryAfter, Scope, Session,
    Shape, SizeDistribution, Sizes, Spike, Stage, Steps, TraceFlag, UpdateOperation, Users,
    WatchListOperation, WatchMode, WatchOperation, Watchers, Weight,
};
pub use matches::{AttributeMatch, TextMatch};
pub use traffic::{LateSpans, RootSpan, Traffic, TrafficClass};

/// A scenario: what to start, what to break, what to send, and what must then be true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of this file.
    pub kind: ScenarioKind,
    /// What the scenario is called.
    pub metadata: Metadata,
    /// The experiment.
    pub spec: Spec,
}

/// The version of the scenario format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version; may still change between minor releases.
    #[serde(rename = "spangate/v1alpha1")]
    V1Alpha1,
}

/// The kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScenarioKind {
    /// A scenario.
    Scenario,
}

/// Name and description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The scenario's name: a DNS label, used in paths and reports.
    pub name: String,
    /// What the scenario shows, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Seed of every random choice: arrival times, operations, ids, delays.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The control plane to start.
    #[serde(default)]
    pub cluster: Cluster,
    /// The Collector between whoever sends spans and the sink; none unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<Collector>,
    /// What stores traces and metrics beside the sink; nothing unless given.
    #[serde(default, skip_serializing_if = "Backends::is_empty")]
    pub backends: Backends,
    /// What to break.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What to send.
    pub load: Load,
    /// What must then be true.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

// === impl Scenario ===

impl Scenario {
    /// The scenario as YAML, with every default written out; [`parse`](crate::parse) reads it back.
    ///
    /// # Panics
    ///
    /// Never: every scenario has a YAML form.
    pub fn to_yaml(&self) -> String {
        crate::yaml::write(self).expect("every key of the model is text, and every value has a YAML form")
    }
}

fn default_seed() -> u64 {
    1
}
