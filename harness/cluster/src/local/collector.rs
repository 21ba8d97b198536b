//! One OpenTelemetry Collector on loopback: a child process, or a container on the network of this machine.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    StartError,
    ready::{self, Starting},
    write_error,
};
use crate::{
    docker::{Container, ContainerConfig, Docker, Ended, Owner},
    private,
    probe::Probe,
    process::{Child, Lifetime, Spec},
    progress::{Event, Progress},
    version::Version,
};

/// What a Collector is made from.
#[derive(Debug, Clone)]
pub struct CollectorConfig {
    /// What runs it.
    pub program: CollectorProgram,
    /// Its version.
    pub version: Version,
    /// The run directory: the configuration goes to `otelcol.yaml` in it.
    pub dir: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
    /// The configuration, as YAML.
    pub config: String,
    /// Where the configuration has it serve its own metrics.
    pub metrics: SocketAddr,
    /// Where the configuration has it receive.
    pub receivers: Vec<SocketAddr>,
    /// Feature gates.
    pub feature_gates: BTreeMap<String, bool>,
    /// Further environment variables.
    pub env: BTreeMap<String, String>,
}

/// What runs a Collector.
#[derive(Debug, Clone)]
pub enum CollectorProgram {
    /// A binary, as a child process.
    Binary {
        /// The binary.
        path: PathBuf,
        /// How long the process lives.
        lifetime: Lifetime,
    },
    /// A container. It sees the network of this machine, so that the configuration is the same.
    Container {
        /// The engine.
        docker: Docker,
        /// Its image.
        image: String,
        /// Whose it is.
        owner: Box<Owner>,
        /// Directories of this machine that its configuration names.
        directories: Vec<PathBuf>,
        /// The most memory that it may use, in bytes.
        memory: Option<u64>,
        /// The most CPU time that it may use, in nanoseconds a second.
        cpu: Option<u64>,
    },
}

/// A running Collector. Dropping it kills the process, or removes the container.
#[derive(Debug)]
pub struct LocalCollector {
    running: Running,
    config: CollectorConfig,
}

#[derive(Debug)]
enum Running {
    Child(Child),
    Container(Box<Container>),
}

/// How a Collector ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorEnd {
    /// With what status; `None` where nobody told.
    pub status: Option<ExitStatus>,
    /// Why, in the words of a kubelet, where it was in a container: `OOMKilled`, `Error`, `Completed`, or `unknown`.
    pub reason: Option<&'static str>,
    /// When.
    pub at: std::time::Instant,
}

const NAME: &str = "otelcol";
/// Where a container has the configuration.
const IN_CONTAINER: &str = "/etc/spangate/otelcol.yaml";

// === impl LocalCollector ===

impl LocalCollector {
    /// The name of its log in the run directory.
    pub const LOG: &'static str = "otelcol.log";

    /// Starts a Collector, and waits until it serves its metrics and all its receivers listen.
    pub async fn start(config: CollectorConfig, progress: &dyn Progress) -> Result<Self, StartError> {
        progress.event(Event::Starting { what: NAME, version: config.version });
        let began = Instant::now();
        let log_from = ready::log_length(&config.log);
        let running = Running::start(&config).await?;
        let starting = match &running {
            Running::Child(child) => Starting::new(child, log_from),
            Running::Container(container) => Starting::in_container(container, log_from),
        };
        starting.wait(Probe::plain(config.metrics), "/metrics", ready::LIMIT).await?;
        for receiver in &config.receivers {
            starting.listening(*receiver, ready::LIMIT).await?;
        }
        progress.event(Event::Ready { what: NAME, elapsed: began.elapsed() });
        Ok(Self { running, config })
    }

    /// What it was made from; another one that is like it can be started when it has ended.
    pub fn config(&self) -> &CollectorConfig {
        &self.config
    }

    /// The number that its process has on this machine.
    pub fn pid(&self) -> u32 {
        match &self.running {
            Running::Child(child) => child.pid(),
            Running::Container(container) => container.pid(),
        }
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.config.log
    }

    /// Waits until the process ends. The future does not borrow this.
    pub fn ended(&self) -> impl Future<Output = CollectorEnd> + Send + use<> {
        // Only one of the two is there.
        let (child, container) = match &self.running {
            Running::Child(child) => (Some(child.exited()), None),
            Running::Container(container) => (None, Some(container.ended())),
        };
        async move {
            match (child, container) {
                (_, Some(container)) => CollectorEnd::of(container.await),
                (Some(child), None) => {
                    CollectorEnd { status: Some(child.await), reason: None, at: std::time::Instant::now() }
                }
                (None, None) => unreachable!("a Collector is a child process or a container"),
            }
        }
    }

    /// Asks the process to end; it sends on what it has. It is killed when it has not ended after `grace`. Gives how it ended,
    /// if anybody told.
    pub async fn stop(self, grace: Duration) -> Option<ExitStatus> {
        match self.running {
            Running::Child(child) => Some(child.stop(grace).await.status),
            Running::Container(container) => container.stop(grace).await,
        }
    }
}

// === impl Running ===

impl Running {
    async fn start(config: &CollectorConfig) -> Result<Self, StartError> {
        let gates = match gates(&config.feature_gates) {
            none if none.is_empty() => None,
            gates => Some(format!("--feature-gates={gates}")),
        };
        let args =
            |file: &str| ["--config".to_owned(), format!("file:{file}")].into_iter().chain(gates).collect();
        private::create_dir(&config.dir).map_err(write_error(&config.dir))?;
        match &config.program {
            CollectorProgram::Binary { path, lifetime } => {
                let file = config.dir.join("otelcol.yaml");
                private::write(&file, &config.config).map_err(write_error(&file))?;
                let child = Child::spawn(Spec {
                    name: NAME,
                    program: path.clone(),
                    args: args(&file.display().to_string()),
                    env: config.env.clone(),
                    log: config.log.clone(),
                    lifetime: *lifetime,
                });
                Ok(Self::Child(child?))
            }
            CollectorProgram::Container { docker, image, owner, directories, memory, cpu } => {
                let container = ContainerConfig {
                    what: NAME,
                    image: image.clone(),
                    args: args(IN_CONTAINER),
                    env: config.env.clone(),
                    files: [(IN_CONTAINER.to_owned(), config.config.clone())].into(),
                    directories: directories.clone(),
                    memory: *memory,
                    cpu: *cpu,
                    log: config.log.clone(),
                    owner: (**owner).clone(),
                };
                Ok(Self::Container(Box::new(Container::start(docker, container).await?)))
            }
        }
    }
}

// === impl CollectorEnd ===

impl CollectorEnd {
    /// Why a container ended that had more memory than it may have.
    pub const OOM_KILLED: &'static str = "OOMKilled";
    /// Why a container ended of whose end nobody told.
    pub const UNKNOWN: &'static str = "unknown";

    fn of(Ended { status, oom_killed, at }: Ended) -> Self {
        let reason = match status.map(|status| status.code()) {
            _ if oom_killed => Self::OOM_KILLED,
            None => Self::UNKNOWN,
            Some(Some(0)) => "Completed",
            Some(_) => "Error",
        };
        Self { status, reason: Some(reason), at }
    }
}

/// Gates as the Collector's command line has them: `one,-other`.
pub fn gates(gates: &BTreeMap<String, bool>) -> String {
    let gate = |(name, on): (&String, &bool)| format!("{}{name}", if *on { "" } else { "-" });
    gates.iter().map(gate).collect::<Vec<_>>().join(",")
}

/// What a Collector serves about itself, in Prometheus' text format.
///
/// # Errors
///
/// When it does not answer, or not with metrics.
pub async fn scrape(metrics: SocketAddr) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let (status, body) = get(metrics, "/metrics").await?;
    if status.is_success() { Ok(body) } else { Err(format!("{metrics} answered {status}").into()) }
}

/// What a server on loopback answers to a question over plain HTTP: the status and the body.
///
/// # Errors
///
/// When it does not answer.
pub async fn get(
    address: SocketAddr,
    path: &str,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    Probe::plain(address).get(path).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_end_of_a_container_has_a_reason() {
        let reason = |code: Option<i32>, oom_killed| {
            let status = code.map(|code| ExitStatus::from_raw(code << 8));
            CollectorEnd::of(Ended { status, oom_killed, at: std::time::Instant::now() }).reason
        };
        let of = |code: i32| reason(Some(code), false);
        assert_eq!(
            [reason(Some(137), true), of(137), of(0), of(1), reason(None, false)],
            ["OOMKilled", "Error", "Completed", "Error", "unknown"].map(Some)
        );
    }

    #[test]
    fn a_gate_that_is_off_has_a_dash() {
        let both = BTreeMap::from([("a.b".to_owned(), true), ("c".to_owned(), false)]);
        assert_eq!(gates(&both), "a.b,-c");
    }
}
