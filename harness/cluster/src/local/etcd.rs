//! One etcd on loopback.

use std::{fs, io, net::SocketAddr, path::PathBuf, process::ExitStatus, time::Duration};

use spangate_scenario::model::{BatchProcessor, EtcdTracing};
use tokio::time::Instant;

use super::{
    ATTEMPTS, Spawned, StartError,
    ready::{self, Starting},
    write_error,
};
use crate::{
    etcd_flags::EtcdFlags,
    ports, private,
    probe::Probe,
    process::{Child, Lifetime, Spec, Stopped},
    progress::{Event, Progress},
    tracing_config,
    version::Version,
};

/// What an etcd is made from.
#[derive(Debug, Clone)]
pub struct EtcdConfig {
    /// The binary.
    pub binary: PathBuf,
    /// Its version.
    pub version: Version,
    /// The run directory: the data goes to `etcd/` in it, the output to `etcd.log`.
    pub dir: PathBuf,
    /// etcd's own tracing and the OTLP/gRPC receiver for it, `host:port`; `None` leaves it off.
    pub tracing: Option<(EtcdTracing, String)>,
    /// How etcd's spans are exported.
    pub batch: BatchProcessor,
    /// How long the process lives.
    pub lifetime: Lifetime,
}

/// A running etcd. Dropping it kills the process.
#[derive(Debug)]
pub struct LocalEtcd {
    child: Child,
    version: Version,
    client: SocketAddr,
    url: String,
    dir: PathBuf,
}

const NAME: &str = "etcd";

// === impl LocalEtcd ===

impl LocalEtcd {
    /// Starts an empty etcd, and waits until it answers that it is healthy: it has a leader and takes writes.
    pub async fn start(config: &EtcdConfig, progress: &dyn Progress) -> Result<Self, StartError> {
        Self::start_recorded(config, progress, &mut |_| Ok(())).await
    }

    /// As [`start`](Self::start); `spawned` records the process of each attempt before it is waited for.
    pub(crate) async fn start_recorded(
        config: &EtcdConfig,
        progress: &dyn Progress,
        spawned: Spawned<'_>,
    ) -> Result<Self, StartError> {
        progress.event(Event::Starting { what: NAME, version: config.version });
        let began = Instant::now();
        let mut attempt = 1;
        loop {
            match Self::attempt(config, spawned).await {
                Ok(etcd) => {
                    progress.event(Event::Ready { what: NAME, elapsed: began.elapsed() });
                    return Ok(etcd);
                }
                Err(StartError::NotReady(error)) if error.port_taken() && attempt < ATTEMPTS => {
                    attempt += 1;
                    progress.event(Event::Retrying { what: NAME, attempt });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(config: &EtcdConfig, spawned: Spawned<'_>) -> Result<Self, StartError> {
        let [client, peer] = ports::free().map_err(StartError::Port)?;
        private::create_dir(&config.dir).map_err(write_error(&config.dir))?;
        let data = config.dir.join(NAME);
        // An earlier attempt has written its peer address into it.
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write_error(&data)(error)),
            _ => {}
        }
        let tracing = config.tracing.as_ref().map(|(tracing, endpoint)| (tracing, endpoint.as_str()));
        let args = EtcdFlags { version: config.version, data_dir: &data, client, peer, tracing }.args()?;
        let log = config.dir.join("etcd.log");
        let log_from = ready::log_length(&log);
        let env = if tracing.is_some() { tracing_config::batch_env(&config.batch) } else { Vec::new() };
        let child = Child::spawn(Spec {
            name: NAME,
            program: config.binary.clone(),
            args,
            env: env.into_iter().collect(),
            log,
            lifetime: config.lifetime,
        })?;
        spawned(&child).map_err(write_error(&config.dir))?;
        Starting::new(&child, log_from).wait(Probe::plain(client), "/health", ready::LIMIT).await?;
        let url = format!("http://{client}");
        Ok(Self { child, version: config.version, client, url, dir: config.dir.clone() })
    }

    /// Where clients connect: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.client
    }

    /// The version of the binary.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The process number.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The process.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Waits until the process ends. The future does not borrow this.
    pub fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.child.exited()
    }

    /// Stops the process, and deletes its data.
    pub async fn stop(self, grace: Duration) -> Stopped {
        let stopped = self.child.stop(grace).await;
        // The run directory is kept for its logs; a leftover here only costs disk.
        if let Err(error) = fs::remove_dir_all(self.dir.join(NAME)) {
            tracing::warn!(%error, "cannot delete the data of etcd");
        }
        stopped
    }

    /// Lets the process live on. See [`Child::release`].
    pub(crate) fn release(self) {
        self.child.release();
    }
}
