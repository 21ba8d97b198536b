//! A control plane of child processes on loopback: etcd, then kube-apiserver.
//!
//! The two are started apart, since a proxy may stand between them: the API server is given an etcd URL.
//! Each gets free ports, and is started again on others when someone took them meanwhile. Each is waited for
//! until it answers; when it does not, the error shows why.

mod apiserver;
mod backend;
mod collector;
mod etcd;
mod ready;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use spangate_scenario::model;

pub(crate) use self::ready::reason;
pub use self::{
    apiserver::{ApiServerConfig, LocalApiServer, TracingTo},
    backend::{BackendConfig, Jaeger, Prometheus},
    collector::{CollectorConfig, CollectorEnd, CollectorProgram, LocalCollector, gates, get, scrape},
    etcd::{EtcdConfig, LocalEtcd},
    ready::NotReady,
};
use crate::{
    assets::Found,
    docker::ContainerError,
    etcd_flags::EtcdFlagError,
    pki::{Pki, PkiError},
    process::{Child, Lifetime, ProcessError},
    progress::Progress,
};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No port on loopback is free, or none may be bound.
    #[error("cannot find a free port on 127.0.0.1")]
    Port(#[source] io::Error),
    /// A file or directory of the run could not be written.
    #[error("cannot write {}: check that the run directory is writable and the disk not full", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// This etcd cannot do what the scenario asks.
    #[error(transparent)]
    EtcdFlags(#[from] EtcdFlagError),
    /// There are no certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The certificates cannot be used by our own client.
    #[error("the client certificate for the readiness probe cannot be used")]
    Probe(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The process could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There is no container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The process was started, and never became ready.
    #[error(transparent)]
    NotReady(#[from] Box<NotReady>),
}

// === impl StartError ===

impl StartError {
    /// The same, for logs that are moved to `directory` afterwards.
    #[must_use]
    pub fn with_logs_in(self, directory: &Path) -> Self {
        match self {
            Self::NotReady(error) => Self::NotReady(Box::new(error.with_log_in(directory))),
            other => other,
        }
    }
}

/// What a control plane is made from.
#[derive(Debug, Clone)]
pub struct ControlPlaneConfig {
    /// The API server's binary.
    pub kube_apiserver: Found,
    /// etcd's binary.
    pub etcd: Found,
    /// The run directory: data, certificates, configuration and logs.
    pub dir: PathBuf,
    /// What the scenario sets.
    pub cluster: model::Cluster,
    /// The OTLP/gRPC receiver, `host:port`, without TLS. `None` leaves all tracing off.
    pub otlp: Option<String>,
    /// How long the processes live.
    pub lifetime: Lifetime,
}

/// A running control plane. Dropping it kills both processes.
#[derive(Debug)]
pub struct ControlPlane {
    /// The API server.
    pub api_server: LocalApiServer,
    /// etcd. After the API server, so that it is dropped last.
    pub etcd: LocalEtcd,
}

/// What is called with each process as soon as it was started, long before it is ready. An error ends the start.
pub(crate) type Spawned<'a> = &'a mut (dyn FnMut(&Child) -> io::Result<()> + Send);

/// How often a server is started again on other ports.
const ATTEMPTS: u32 = 3;

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts etcd and then the API server directly in front of it.
    pub async fn start(config: &ControlPlaneConfig, progress: &dyn Progress) -> Result<Self, StartError> {
        let etcd = LocalEtcd::start(&config.etcd_config(), progress).await?;
        let pki = Pki::generate()?;
        let api_server = LocalApiServer::start(&config.api_server_config(etcd.url()), &pki, progress).await?;
        Ok(Self { api_server, etcd })
    }

    /// Stops the API server, and then etcd; each has `grace` to end by itself.
    pub async fn stop(self, grace: Duration) {
        self.api_server.stop(grace).await;
        self.etcd.stop(grace).await;
    }
}

// === impl ControlPlaneConfig ===

impl ControlPlaneConfig {
    /// The part that is etcd's.
    pub fn etcd_config(&self) -> EtcdConfig {
        EtcdConfig {
            binary: self.etcd.path.clone(),
            version: self.etcd.version,
            dir: self.dir.clone(),
            tracing: self.cluster.etcd.tracing.clone().zip(self.otlp.clone()),
            batch: self.cluster.tracing.batch.clone(),
            lifetime: self.lifetime,
        }
    }

    /// The part that is the API server's, with the etcd, or the proxy in front of it, at `etcd_url`.
    pub fn api_server_config(&self, etcd_url: &str) -> ApiServerConfig {
        let tracing = |endpoint| TracingTo { endpoint, tracing: self.cluster.tracing.clone() };
        ApiServerConfig {
            binary: self.kube_apiserver.path.clone(),
            version: self.kube_apiserver.version,
            dir: self.dir.clone(),
            etcd_url: etcd_url.to_owned(),
            tracing: self.otlp.clone().filter(|_| self.cluster.tracing.enabled).map(tracing),
            settings: self.cluster.api_server.clone(),
            lifetime: self.lifetime,
        }
    }
}

/// Turns an IO error at `path` into ours.
fn write_error(path: &Path) -> impl FnOnce(io::Error) -> StartError + use<> {
    let path = path.to_owned();
    |source| StartError::Write { path, source }
}

#[cfg(test)]
pub(crate) mod tests;
