//! Backends beside the sink, each in a container on loopback: Jaeger for traces, Prometheus for metrics.
//!
//! Both run with a configuration of ours and keep everything in memory or in the container, so that nothing is left of them.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::{
    ATTEMPTS, StartError,
    ready::{self, Starting},
};
use crate::{
    docker::{Container, ContainerConfig, Docker, Owner},
    ports,
    probe::Probe,
    progress::{Event, Progress},
    version::Version,
};

/// What a backend is made from.
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// The engine.
    pub docker: Docker,
    /// Its image.
    pub image: String,
    /// Its version, as far as that is known.
    pub version: Version,
    /// Whose it is.
    pub owner: Owner,
    /// The directory of its log.
    pub logs: PathBuf,
}

/// A running Jaeger. Dropping it removes its container.
#[derive(Debug)]
pub struct Jaeger {
    container: Container,
    otlp: SocketAddr,
    query: SocketAddr,
}

/// A running Prometheus. Dropping it removes its container.
#[derive(Debug)]
pub struct Prometheus {
    container: Container,
    address: SocketAddr,
}

/// How long a backend may take to end. What it has in memory is of no use afterwards.
const GRACE: Duration = Duration::from_secs(2);
/// How often Prometheus reads its target.
const PACE: &str = "1s";

// === impl BackendConfig ===

impl BackendConfig {
    /// Starts a backend on ports that are its own: on others, when someone took them meanwhile.
    async fn start<T, F: Future<Output = Result<T, StartError>>>(
        &self,
        what: &'static str,
        attempt: impl Fn() -> F,
        progress: &dyn Progress,
    ) -> Result<T, StartError> {
        progress.event(Event::Starting { what, version: self.version });
        let began = Instant::now();
        let mut attempts = 1;
        loop {
            match attempt().await {
                Ok(started) => {
                    progress.event(Event::Ready { what, elapsed: began.elapsed() });
                    return Ok(started);
                }
                Err(StartError::NotReady(error)) if error.port_taken() && attempts < ATTEMPTS => {
                    attempts += 1;
                    progress.event(Event::Retrying { what, attempt: attempts });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts a container with one file, and waits until it answers a question with 200.
    async fn container(
        &self,
        what: &'static str,
        args: Vec<String>,
        (file, text): (&str, String),
        (address, question): (SocketAddr, &str),
    ) -> Result<Container, StartError> {
        let config = ContainerConfig {
            what,
            image: self.image.clone(),
            args,
            env: BTreeMap::new(),
            files: [(file.to_owned(), text)].into(),
            directories: Vec::new(),
            memory: None,
            cpu: None,
            log: self.logs.join(format!("{what}.log")),
            owner: self.owner.clone(),
        };
        let log_from = ready::log_length(&config.log);
        let container = Container::start(&self.docker, config).await?;
        let starting = Starting::in_container(&container, log_from);
        starting.wait(Probe::plain(address), question, ready::LIMIT).await?;
        Ok(container)
    }
}

// === impl Jaeger ===

impl Jaeger {
    const NAME: &'static str = "jaeger";
    const FILE: &'static str = "/etc/spangate/jaeger.yaml";

    /// Starts Jaeger, and returns when it takes traces and answers questions.
    pub async fn start(config: &BackendConfig, progress: &dyn Progress) -> Result<Self, StartError> {
        config.start(Self::NAME, || Self::attempt(config), progress).await
    }

    async fn attempt(config: &BackendConfig) -> Result<Self, StartError> {
        let [otlp, query, grpc] = ports::free().map_err(StartError::Port)?;
        let args = vec!["--config".to_owned(), format!("file:{}", Self::FILE)];
        let file = (Self::FILE, Self::config(otlp, query, grpc));
        let container = config.container(Self::NAME, args, file, (query, "/api/services")).await?;
        Starting::in_container(&container, 0).listening(otlp, ready::LIMIT).await?;
        Ok(Self { container, otlp, query })
    }

    /// Its configuration, which is one of the Collector it is made from (jaeger, `cmd/jaeger/internal/all-in-one.yaml`): what is
    /// received is in memory before it is answered.
    fn config(otlp: SocketAddr, query: SocketAddr, grpc: SocketAddr) -> String {
        json!({
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": otlp}}}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1_000_000}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": query},
                    "grpc": {"endpoint": grpc},
                },
            },
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        })
        .to_string()
    }

    /// Where it takes OTLP/gRPC.
    pub fn otlp(&self) -> SocketAddr {
        self.otlp
    }

    /// Where its UI and its query API are.
    pub fn query(&self) -> SocketAddr {
        self.query
    }

    /// Ends it and removes its container.
    pub async fn stop(self) {
        self.container.stop(GRACE).await;
    }
}

// === impl Prometheus ===

impl Prometheus {
    /// The job under which its target is read.
    pub const JOB: &'static str = "collector";

    const NAME: &'static str = "prometheus";
    const FILE: &'static str = "/etc/spangate/prometheus.yaml";

    /// Starts Prometheus, which reads the exporter at `target` every second, and returns when it answers questions.
    pub async fn start(
        config: &BackendConfig,
        target: SocketAddr,
        progress: &dyn Progress,
    ) -> Result<Self, StartError> {
        config.start(Self::NAME, || Self::attempt(config, target), progress).await
    }

    async fn attempt(config: &BackendConfig, target: SocketAddr) -> Result<Self, StartError> {
        let [address] = ports::free().map_err(StartError::Port)?;
        let args = [
            format!("--config.file={}", Self::FILE),
            // Whoever runs it may write there.
            "--storage.tsdb.path=/tmp/prometheus".to_owned(),
            format!("--web.listen-address={address}"),
        ];
        let file = (Self::FILE, Self::config(target));
        let container = config.container(Self::NAME, args.into(), file, (address, "/-/ready")).await?;
        Ok(Self { container, address })
    }

    fn config(target: SocketAddr) -> String {
        json!({
            "global": {"scrape_interval": PACE, "metric_name_validation_scheme": "legacy"},
            "scrape_configs": [{"job_name": Self::JOB, "static_configs": [{"targets": [target]}]}],
        })
        .to_string()
    }

    /// Where its UI and its query API are.
    pub fn query(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and removes its container.
    pub async fn stop(self) {
        self.container.stop(GRACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_listens_on_loopback_and_nowhere_else() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let texts = [Jaeger::config(at(1), at(2), at(3)), Prometheus::config(at(4))];
        for port in 1..=4 {
            assert!(texts.concat().contains(&format!(r#""127.0.0.1:{port}""#)), "{texts:?}");
        }
        assert_eq!(texts[0].matches("endpoint").count(), 3);
    }
}
