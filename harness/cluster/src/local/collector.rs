//! One OpenTelemetry Collector on loopback.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, process::ExitStatus, time::Duration};

use tokio::time::Instant;

use super::{
    StartError,
    ready::{self, Starting},
    write_error,
};
use crate::{
    private,
    probe::Probe,
    process::{Child, Lifetime, Spec, Stopped},
    progress::{Event, Progress},
    version::Version,
};

/// What a Collector is made from.
#[derive(Debug, Clone)]
pub struct CollectorConfig {
    /// The binary.
    pub binary: PathBuf,
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
    /// How long the process lives.
    pub lifetime: Lifetime,
}

/// A running Collector. Dropping it kills the process.
#[derive(Debug)]
pub struct LocalCollector {
    child: Child,
    config: CollectorConfig,
}

const NAME: &str = "otelcol";

// === impl LocalCollector ===

impl LocalCollector {
    /// The name of its log in the run directory.
    pub const LOG: &'static str = "otelcol.log";

    /// Starts a Collector, and waits until it serves its metrics and all its receivers listen.
    pub async fn start(config: CollectorConfig, progress: &dyn Progress) -> Result<Self, StartError> {
        progress.event(Event::Starting { what: NAME, version: config.version });
        let began = Instant::now();
        private::create_dir(&config.dir).map_err(write_error(&config.dir))?;
        let file = config.dir.join("otelcol.yaml");
        private::write(&file, &config.config).map_err(write_error(&file))?;
        let mut args = vec!["--config".to_owned(), format!("file:{}", file.display())];
        if !config.feature_gates.is_empty() {
            args.push(format!("--feature-gates={}", gates(&config.feature_gates)));
        }
        let log_from = ready::log_length(&config.log);
        let child = Child::spawn(Spec {
            name: NAME,
            program: config.binary.clone(),
            args,
            env: config.env.clone(),
            log: config.log.clone(),
            lifetime: config.lifetime,
        })?;
        let starting = Starting::new(&child, log_from);
        starting.wait(Probe::plain(config.metrics), "/metrics", ready::LIMIT).await?;
        for receiver in &config.receivers {
            starting.listening(*receiver, ready::LIMIT).await?;
        }
        progress.event(Event::Ready { what: NAME, elapsed: began.elapsed() });
        Ok(Self { child, config })
    }

    /// What it was made from; another one that is like it can be started when it has ended.
    pub fn config(&self) -> &CollectorConfig {
        &self.config
    }

    /// The process.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Waits until the process ends. The future does not borrow this.
    pub fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.child.exited()
    }

    /// Asks the process to end; it sends on what it has. It is killed when it has not ended after `grace`.
    pub async fn stop(self, grace: Duration) -> Stopped {
        self.child.stop(grace).await
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
    let (status, body) = Probe::plain(metrics).get("/metrics").await?;
    if status.is_success() { Ok(body) } else { Err(format!("{metrics} answered {status}").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_is_off_has_a_dash() {
        let both = BTreeMap::from([("a.b".to_owned(), true), ("c".to_owned(), false)]);
        assert_eq!(gates(&both), "a.b,-c");
    }
}
