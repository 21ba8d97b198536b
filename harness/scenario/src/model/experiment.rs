//! An experiment: the same load on several arms, to tell what the differences between them cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApiServer, ApiVersion, Backends, Cluster, Collector, Fault, Load, Metadata, Scenario, ScenarioKind,
    SinkFault, SinkMisbehaviour, Spec, Tracing,
};
use crate::units::{Duration, Rate, Ratio};

/// An experiment: arms that are measured in turns or at once, each unit with processes of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Experiment {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of this file.
    pub kind: ExperimentKind,
    /// What the experiment is called.
    pub metadata: Metadata,
    /// The experiment.
    pub spec: ExperimentSpec,
}

/// The kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExperimentKind {
    /// An experiment.
    Experiment,
}

/// What is measured, how often and under which load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExperimentSpec {
    /// Seed of the order of the arms and of the load. The load of a round is the same for all arms.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How often each arm is measured; each time is one unit, with processes of its own.
    #[serde(default = "default_rounds")]
    pub rounds: u32,
    /// The arm that the others are compared with.
    pub reference: String,
    /// Whether the arms of a round run at the same time, in place of in turn: what the machine does is in all of them then, and
    /// they differ by less. All of them share its CPUs, so each is to be sent less.
    #[serde(default)]
    pub at_once: bool,
    /// The beginning of the load that does not count.
    #[serde(default = "default_warm_up")]
    pub warm_up: Duration,
    /// When a server that has just started is quiet enough to be loaded.
    #[serde(default)]
    pub quiet: Quiet,
    /// How often a unit that does not count is measured again.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Time after which no further round begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Duration>,
    /// How well every arm has to be known, so that no further round begins; `rounds` are the most then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// The control plane, as far as arms do not say otherwise.
    #[serde(default)]
    pub cluster: Cluster,
    /// The Collector of arms that have none of their own; none unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<Collector>,
    /// What is sent to every arm: `arrivals`, or `traces`.
    pub load: Load,
    /// What is compared, in the order in which reports have it.
    pub arms: Vec<ExperimentArm>,
}

/// How well every arm has to be known. An experiment is looked at a few times, and each look pays for the others: all
/// intervals are as wide as so many looks make them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Until {
    /// So far does the interval of what CPU time is of the reference's reach at most, to either side of the ratio.
    pub within: Ratio,
    /// How often it is looked at, evenly up to `rounds`, the end included.
    #[serde(default = "default_looks")]
    pub looks: u32,
}

/// When a server that has just started is quiet enough: it has work of its own long after it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Quiet {
    /// It uses at most this share of one CPU for two seconds.
    pub below: Ratio,
    /// Time after which it is loaded all the same; the unit does not count then.
    pub within: Duration,
    /// How long what it uses at rest is measured then; figures of CPU time are without it.
    pub idle: Duration,
}

/// One arm. What it leaves out is as the experiment says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExperimentArm {
    /// Its name: a DNS label that no other arm has.
    pub name: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the API server traces, and how it exports; all of it, not only what differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// The Kubernetes version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
    /// The API server's own settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ApiServer>,
    /// The Collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<Collector>,
    /// What the trace backend does instead of accepting spans, as long as the load is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkMisbehaviour>,
    /// Traces that begin per time, where the load is traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Spans in an export at most, where the load is traces; 512 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
}

fn default_seed() -> u64 {
    1
}

fn default_rounds() -> u32 {
    6
}

fn default_warm_up() -> Duration {
    Duration::from_secs(10)
}

fn default_looks() -> u32 {
    4
}

fn default_retries() -> u32 {
    1
}

// === impl Quiet ===

impl Default for Quiet {
    fn default() -> Self {
        Self {
            below: Ratio::new_unchecked(0.05),
            within: Duration::from_secs(30),
            idle: Duration::from_secs(3),
        }
    }
}

// === impl ExperimentSpec ===

impl ExperimentSpec {
    /// What is sent after the warm-up.
    pub fn measured(&self) -> Duration {
        let length = self.load.length().map_or(std::time::Duration::ZERO, Duration::get);
        length.saturating_sub(self.warm_up.get()).into()
    }
}

// === impl Experiment ===

impl Experiment {
    /// The scenario that measures an arm in a round.
    pub fn scenario(&self, arm: &ExperimentArm, round: u32) -> Scenario {
        let spec = &self.spec;
        let mut cluster = spec.cluster.clone();
        if let Some(tracing) = &arm.tracing {
            cluster.tracing = tracing.clone();
        }
        if let Some(kubernetes) = &arm.kubernetes {
            cluster.kubernetes.clone_from(kubernetes);
        }
        if let Some(api_server) = &arm.api_server {
            cluster.api_server = api_server.clone();
        }
        let mut load = spec.load.clone();
        if let Some((traces, rate)) = load.traces.as_mut().zip(arm.rate) {
            traces.rate = rate;
        }
        let sink = arm
            .sink
            .clone()
            .map(|does| Fault::Sink(SinkFault { name: Self::SINK_FAULT.to_owned(), does, during: None }));
        Scenario {
            api_version: ApiVersion::V1Alpha1,
            kind: ScenarioKind::Scenario,
            metadata: Metadata { name: arm.name.clone(), description: arm.description.clone() },
            spec: Spec {
                seed: spec.seed.wrapping_add(u64::from(round)),
                cluster,
                collector: arm.collector.clone().or_else(|| spec.collector.clone()),
                backends: Backends::default(),
                faults: sink.into_iter().collect(),
                load,
                expect: Vec::new(),
            },
        }
    }

    /// What the fault of an arm with a misbehaving backend is called.
    pub const SINK_FAULT: &'static str = "backend";

    /// The experiment as YAML, with every default written out; it is read back as the same.
    ///
    /// # Panics
    ///
    /// Never: every experiment has a YAML form.
    pub fn to_yaml(&self) -> String {
        crate::yaml::write(self).expect("every key of the model is text, and every value has a YAML form")
    }
}
