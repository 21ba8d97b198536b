//! One kube-apiserver on loopback.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use spangate_scenario::model::{ApiServer, Tracing};
use tokio::time::Instant;

use super::{
    ATTEMPTS, Spawned, StartError,
    ready::{self, Starting},
    write_error,
};
use crate::{
    apiserver_flags::ApiServerFlags,
    kubeconfig::Access,
    pki::{Pki, PkiFiles},
    ports, private,
    probe::Probe,
    process::{Child, Lifetime, Spec, Stopped},
    progress::{Event, Progress},
    tracing_config,
    version::Version,
};

/// What the API server traces, and where it exports to.
#[derive(Debug, Clone, PartialEq)]
pub struct TracingTo {
    /// The OTLP/gRPC receiver, `host:port`, without TLS.
    pub endpoint: String,
    /// What is traced.
    pub tracing: Tracing,
}

/// What an API server is made from.
#[derive(Debug, Clone)]
pub struct ApiServerConfig {
    /// The binary.
    pub binary: PathBuf,
    /// Its version.
    pub version: Version,
    /// The run directory: certificates go to `pki/` in it, beside `tracing.yaml`, `kubeconfig` and
    /// `kube-apiserver.log`.
    pub dir: PathBuf,
    /// The etcd, or the proxy in front of it.
    pub etcd_url: String,
    /// Tracing; `None` leaves it off.
    pub tracing: Option<TracingTo>,
    /// What the scenario sets.
    pub settings: ApiServer,
    /// How long the process lives.
    pub lifetime: Lifetime,
}

/// A running API server. Dropping it kills the process.
#[derive(Debug)]
pub struct LocalApiServer {
    child: Child,
    version: Version,
    address: SocketAddr,
    access: Access,
    kubeconfig: PathBuf,
}

const NAME: &str = "kube-apiserver";

// === impl LocalApiServer ===

impl LocalApiServer {
    /// Starts an API server, and waits until `/readyz` says that it is ready: every start hook is done,
    /// default roles and namespaces among them.
    pub async fn start(
        config: &ApiServerConfig,
        pki: &Pki,
        progress: &dyn Progress,
    ) -> Result<Self, StartError> {
        Self::start_recorded(config, pki, progress, &mut |_| Ok(())).await
    }

    /// As [`start`](Self::start); `spawned` records the process of each attempt before it is waited for.
    pub(crate) async fn start_recorded(
        config: &ApiServerConfig,
        pki: &Pki,
        progress: &dyn Progress,
        spawned: Spawned<'_>,
    ) -> Result<Self, StartError> {
        progress.event(Event::Starting { what: NAME, version: config.version });
        let began = Instant::now();
        private::create_dir(&config.dir).map_err(write_error(&config.dir))?;
        let files = pki.write(&config.dir.join("pki"))?;
        let tracing_config =
            config.tracing.as_ref().map(|tracing| write_tracing_config(config, tracing)).transpose()?;
        let mut attempt = 1;
        loop {
            match Self::attempt(config, pki, &files, tracing_config.as_deref(), spawned).await {
                Ok(api_server) => {
                    progress.event(Event::Ready { what: NAME, elapsed: began.elapsed() });
                    return Ok(api_server);
                }
                Err(StartError::NotReady(error)) if error.port_taken() && attempt < ATTEMPTS => {
                    attempt += 1;
                    progress.event(Event::Retrying { what: NAME, attempt });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(
        config: &ApiServerConfig,
        pki: &Pki,
        files: &PkiFiles,
        tracing_config: Option<&Path>,
        spawned: Spawned<'_>,
    ) -> Result<Self, StartError> {
        let [address] = ports::free().map_err(StartError::Port)?;
        let access = Access::new(format!("https://{address}"), pki);
        let probe = Probe::privileged(address, &access).map_err(StartError::Probe)?;
        let kubeconfig = config.dir.join("kubeconfig");
        private::write(&kubeconfig, &access.kubeconfig()).map_err(write_error(&kubeconfig))?;
        let log = config.dir.join("kube-apiserver.log");
        let log_from = ready::log_length(&log);
        let flags = ApiServerFlags {
            version: config.version,
            secure: address,
            etcd_url: &config.etcd_url,
            pki: files,
            tracing_config,
            settings: &config.settings,
        };
        let batch = config.tracing.as_ref().map(|tracing| tracing_config::batch_env(&tracing.tracing.batch));
        let child = Child::spawn(Spec {
            name: NAME,
            program: config.binary.clone(),
            args: flags.args(),
            env: batch.into_iter().flatten().chain(config.settings.env.clone()).collect(),
            log,
            lifetime: config.lifetime,
        })?;
        spawned(&child).map_err(write_error(&config.dir))?;
        Starting::new(&child, log_from).wait(probe, "/readyz", ready::LIMIT).await?;
        Ok(Self { child, version: config.version, address, access, kubeconfig })
    }

    /// Where clients connect, over TLS.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients need: endpoint, authority, and the two client certificates.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The kubeconfig, as [`Access::kubeconfig`] makes it; only its owner may read it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
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

    /// Stops the process. With a live receiver it exports its last spans and ends within seconds; with a dead
    /// one it would try for most of a minute, so it is killed after `grace`.
    pub async fn stop(self, grace: Duration) -> Stopped {
        self.child.stop(grace).await
    }

    /// Lets the process live on. See [`Child::release`].
    pub(crate) fn release(self) {
        self.child.release();
    }
}

fn write_tracing_config(config: &ApiServerConfig, to: &TracingTo) -> Result<PathBuf, StartError> {
    let path = config.dir.join("tracing.yaml");
    let text = tracing_config::file(config.version, &to.endpoint, to.tracing.sampling_rate_per_million);
    private::write(&path, &text).map_err(write_error(&path))?;
    Ok(path)
}
