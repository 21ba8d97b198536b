//! The Collector as a part of a run: its configuration, its process with a tap in front, and what it says of itself.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spangate_scenario::{
    Problem, Scenario,
    collector::{
        self, CheckOptions, Component, Config, ExtensionWiring, Pipeline, Rewired, Role, Section, Severity,
        Wiring,
    },
    model::{self, Expectation},
};

use spangate_sink::SinkHandle;
use spangate_trace::collector::parse_duration;

use crate::error::CommandError;

pub mod asked;
pub mod explain;
pub mod facts;
pub(crate) mod foretold;
pub(crate) mod given;
pub mod oracle;
pub(crate) mod pods;
pub mod prometheus;
pub mod running;
pub mod telemetry;

/// The types of exporters that are wired to the sink.
pub(crate) const TO_SINK: [&str; 4] = ["otlp", "otlp_grpc", "otlphttp", "otlp_http"];

/// What is said of a configuration that nothing can be sent to.
const NO_RECEIVER: &str = "there is no OTLP/gRPC receiver, by which spans are sent: add `receivers: {otlp: {protocols: {grpc: {}}}}`";

/// Whether spans may come into a pipeline: from the receiver that they are sent to, or by way of a connector.
pub(crate) fn is_fed(config: &Config, pipeline: &Pipeline) -> bool {
    // The first that takes OTLP by gRPC, as `Wired::grpc` is.
    let grpc = |receiver: &&Component| receiver.key_span(&["protocols", "grpc"]).is_some();
    let entry = config.of_type(Section::Receivers, "otlp").find(grpc).map(Component::id);
    pipeline.receivers().iter().any(|it| {
        entry == Some(it.id()) || config.component(Section::Receivers, &it.id().to_string()).is_none()
    })
}

/// A Collector's configuration, read and found to be one.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The text as the user wrote it.
    pub text: String,
    /// Its file, if it is one of its own.
    pub path: Option<PathBuf>,
    /// What the text says.
    pub config: Config,
}

/// A value of the configuration that was replaced for the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewiring {
    /// The component, by section and id, such as `receivers::otlp`.
    pub component: String,
    /// The key within it.
    pub key: String,
    /// What was there, as YAML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is there now, as YAML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A configuration whose endpoints are known.
#[derive(Debug, Clone)]
pub struct Wired {
    /// The configuration to run.
    pub yaml: String,
    /// What was replaced.
    pub changes: Vec<Rewiring>,
    /// What still names an address.
    pub left: Vec<String>,
    /// Where OTLP/gRPC is received.
    pub grpc: SocketAddr,
    /// Everything that receives.
    pub receivers: Vec<SocketAddr>,
    /// Where the Collector serves its own metrics.
    pub metrics: SocketAddr,
    /// Where a `prometheus` exporter serves, if there is one.
    pub prometheus: Option<SocketAddr>,
}

// === impl Configuration ===

impl Configuration {
    /// Reads the configuration that a scenario names; `base` is the directory that its paths are relative to.
    pub fn read(collector: &model::Collector, base: &Path) -> Result<Self, CommandError> {
        match (&collector.config, &collector.config_file) {
            (Some(text), _) => Self::parse("spec.collector.config", text.clone(), None),
            (None, Some(file)) => Self::from_file(&base.join(file)),
            // Validation finds this.
            (None, None) => Err(CommandError::usage("the Collector of the scenario has no configuration")),
        }
    }

    /// Reads a configuration file.
    pub fn from_file(path: &Path) -> Result<Self, CommandError> {
        let text = fs::read_to_string(path).map_err(|error| {
            CommandError::usage(format!("the Collector's configuration {} cannot be read", path.display()))
                .because(error)
                .help("check the path; in a scenario it is relative to the scenario's own directory")
        })?;
        Self::parse(&path.display().to_string(), text, Some(path.to_owned()))
    }

    /// Reads the text of a configuration; `name` is shown in messages.
    pub fn parse(name: &str, text: String, path: Option<PathBuf>) -> Result<Self, CommandError> {
        let config = collector::parse(name, &text).map_err(|diagnostics| {
            let place =
                |problem: &Problem| format!("{name}:{}:{}: {problem}", problem.line(), problem.column());
            let all: Vec<String> = diagnostics.problems().iter().map(place).collect();
            CommandError::usage(format!("{name} is no configuration of a Collector:\n{}", all.join("\n")))
        })?;
        Ok(Self { text, path, config })
    }

    /// What is likely to go wrong with the configuration, by the rules of `spangate collector check`, if it is as bad as
    /// `least`.
    pub fn remarks(&self, options: &CheckOptions, least: Severity) -> Vec<String> {
        let found = collector::check(&self.config, options);
        let found = found.into_iter().filter(|finding| finding.severity >= least);
        let name = self.config.name();
        found.map(|it| format!("{name}:{}:{}: {} ({})", it.line, it.column, it.message, it.rule)).collect()
    }

    /// Whether it can take what a scenario sends, and has what the scenario asks of it; all that is missing is told.
    pub fn suits(&self, scenario: &Scenario) -> Result<(), CommandError> {
        let grpc = |receiver: &Component| receiver.key_span(&["protocols", "grpc"]).is_some();
        let mut missing = Vec::new();
        if !self.config.of_type(Section::Receivers, "otlp").any(grpc) {
            missing.push(NO_RECEIVER);
        }
        let metrics = |expectation: &Expectation| matches!(expectation, Expectation::SpanMetrics(_));
        if scenario.spec.expect.iter().any(metrics) {
            let connectors = ["span_metrics", "spanmetrics"];
            if !connectors.iter().any(|kind| self.config.of_type(Section::Connectors, kind).next().is_some())
            {
                missing.push(
                    "`spanMetrics` is expected of a configuration without the connector `span_metrics`",
                );
            }
            if self.config.of_type(Section::Exporters, "prometheus").next().is_none() {
                missing
                    .push("`spanMetrics` is expected of a configuration without the exporter `prometheus`");
            }
        }
        let reads = scenario.spec.backends.prometheus.is_some();
        if reads && self.config.of_type(Section::Exporters, "prometheus").next().is_none() {
            missing
                .push("Prometheus has nothing to read of a configuration without the exporter `prometheus`");
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(CommandError::usage(format!("{}: {}", self.config.name(), missing.join("\n"))))
    }

    /// How long a span may stay in the Collector by its configuration: until the tail sampler decides, the batch is
    /// full or metrics are made of it.
    pub fn hold(&self) -> Duration {
        let config = &self.config;
        let time = |component: &Component, key: &str, default: Duration| {
            component.text(&[key]).and_then(|text| parse_duration(text).ok()).unwrap_or(default)
        };
        let processors = config.section(Section::Processors).map(|component| match component.id().kind() {
            // A decision falls on the second tick after the wait at the latest.
            "tail_sampling" => {
                time(component, "decision_wait", Duration::from_secs(30)) + Duration::from_secs(2)
            }
            "batch" => time(component, "timeout", Duration::from_millis(200)),
            _ => Duration::ZERO,
        });
        let connectors = config.section(Section::Connectors).map(|component| match component.id().kind() {
            "span_metrics" | "spanmetrics" => {
                time(component, "metrics_flush_interval", Duration::from_mins(1)) + Duration::from_secs(1)
            }
            _ => Duration::ZERO,
        });
        processors.sum::<Duration>().max(connectors.sum())
    }

    /// Points the configuration to free ports of the loopback interface, a sink and a directory.
    pub fn wire(&self, sink: &SinkHandle, directory: &Path) -> Result<Wired, CommandError> {
        let no_port = |error| CommandError::environment("there is no free port on 127.0.0.1").because(error);
        // More than a configuration can need: each component listens on few ports.
        let count = 4 * self.config.components().len() + 4;
        let free = spangate_cluster::ports::free_list(count).map_err(no_port)?;
        let mut ports = free.iter().map(SocketAddr::port);
        let mut listen = move |_| SocketAddr::from((Ipv4Addr::LOCALHOST, ports.next().unwrap_or_default()));
        self.wire_to(sink, directory, &mut listen)
    }

    /// Points the configuration to addresses that `listen` hands out, a sink and a directory.
    fn wire_to(
        &self,
        sink: &SinkHandle,
        directory: &Path,
        listen: &mut dyn FnMut(Role) -> SocketAddr,
    ) -> Result<Wired, CommandError> {
        let rewired = collector::rewire(
            &self.config,
            &mut Wiring {
                sink_grpc: sink.grpc_addr(),
                sink_http: sink.http_addr(),
                listen,
                directory,
                extensions: ExtensionWiring::Remove,
            },
        );
        Wired::of(rewired)
    }
}

// === impl Wired ===

impl Wired {
    /// Replaces the addresses at which it listens by those at which it is reached.
    fn reached_at(&mut self, reached: impl Fn(SocketAddr) -> SocketAddr) {
        let others = [&mut self.grpc, &mut self.metrics].into_iter().chain(&mut self.prometheus);
        self.receivers.iter_mut().chain(others).for_each(|address| *address = reached(*address));
    }

    fn of(rewired: Rewired) -> Result<Self, CommandError> {
        let grpc = rewired.address(Role::OtlpGrpc).ok_or_else(|| CommandError::usage(NO_RECEIVER))?;
        let metrics = rewired.address(Role::Telemetry).ok_or_else(|| {
            CommandError::bug("the configuration was wired without the Collector's own metrics")
        })?;
        let receives = |role| matches!(role, Role::OtlpGrpc | Role::OtlpHttp | Role::Receiver);
        let endpoints = rewired.endpoints.iter();
        let listening =
            endpoints.filter(|endpoint| receives(endpoint.role)).filter_map(|endpoint| endpoint.address);
        Ok(Self {
            receivers: listening.collect(),
            grpc,
            metrics,
            prometheus: rewired.address(Role::Prometheus),
            changes: rewired
                .changes
                .into_iter()
                .map(|change| Rewiring {
                    component: change.component,
                    key: change.key,
                    from: change.from,
                    to: change.to,
                })
                .collect(),
            left: rewired.left,
            yaml: rewired.yaml,
        })
    }
}
