//! The servers of a run: child processes, a kind cluster, or those of somebody else.

use std::{fs, net::SocketAddr, path::Path, pin::Pin, process::ExitStatus, time::Duration};

use spangate_cluster::{Access, KindCluster, LocalApiServer, LocalEtcd};
use spangate_inject::EtcdProxyHandle;

use super::existing::Guest;
use crate::{error::CommandError, measure::Measurements};

/// An API server and its etcd. Dropping it ends both.
pub(super) enum Servers {
    /// As child processes.
    Local(Box<Processes>),
    /// As static pods of a kind cluster.
    Kind(Box<KindCluster>),
    /// As somebody else has started them.
    Existing(Box<Guest>),
}

/// The end of one of them, in words.
type End = Pin<Box<dyn Future<Output = String> + Send>>;

/// Child processes.
pub(super) struct Processes {
    /// The API server.
    pub(super) api_server: LocalApiServer,
    /// etcd. After the API server, so that it is dropped last.
    pub(super) etcd: LocalEtcd,
}

/// How long a process may take to end by itself. Nothing that it could still write is kept.
const GRACE: Duration = Duration::ZERO;

// === impl Servers ===

impl Servers {
    /// What clients need, and where they connect, over TLS; a guest has its own.
    pub(super) fn access(&self) -> Result<(&Access, SocketAddr), &Guest> {
        match self {
            Self::Local(local) => Ok((local.api_server.access(), local.api_server.address())),
            Self::Kind(cluster) => Ok((cluster.access(), cluster.address())),
            Self::Existing(guest) => Err(guest),
        }
    }

    /// What the API server has logged so far, as far as that can be read.
    pub(super) fn api_server_log(&self) -> String {
        match self {
            Self::Local(local) => fs::read_to_string(local.api_server.child().log()).unwrap_or_default(),
            Self::Kind(cluster) => cluster.api_server_log().unwrap_or_default(),
            Self::Existing(_) => String::new(),
        }
    }

    /// Their processes on this machine, by their names; those of a cluster as far as they can be seen from here. Blocks.
    pub(super) fn pids(&self) -> Vec<(&'static str, u32)> {
        match self {
            Self::Local(local) => vec![
                (Measurements::API_SERVER, local.api_server.pid()),
                (Measurements::ETCD, local.etcd.pid()),
            ],
            Self::Kind(cluster) => {
                let named = |(pid, name): (u32, String)| {
                    let wanted = [Measurements::API_SERVER, Measurements::ETCD];
                    Some((wanted.into_iter().find(|wanted| *wanted == name)?, pid))
                };
                cluster.processes().unwrap_or_default().into_iter().filter_map(named).collect()
            }
            Self::Existing(_) => Vec::new(),
        }
    }

    /// Waits until one of them ends, which none should.
    pub(super) fn broken(&self) -> impl Future<Output = CommandError> + Send + use<> {
        let ends: Vec<End> = match self {
            Self::Local(local) => {
                vec![end("kube-apiserver", local.api_server.exited()), end("etcd", local.etcd.exited())]
            }
            Self::Kind(cluster) => {
                let lost = cluster.lost();
                vec![Box::pin(async move {
                    let lost = lost.await;
                    format!("in the middle of the run, {lost}")
                })]
            }
            // Nobody tells; the load would see it.
            Self::Existing(_) => vec![Box::pin(std::future::pending())],
        };
        async move {
            let (what, ..) = futures::future::select_all(ends).await;
            CommandError::environment(what)
        }
    }

    /// Ends them, and between the two what stands there; the logs that are not files yet go to `dir`. What is somebody
    /// else's goes on; what the run made there was removed before ([`Guest::leave`]).
    pub(super) async fn stop(self, proxy: Option<EtcdProxyHandle>, dir: &Path) {
        match self {
            Self::Local(local) => {
                let Processes { api_server, etcd } = *local;
                api_server.stop(GRACE).await;
                if let Some(proxy) = proxy {
                    proxy.shutdown().await;
                }
                etcd.stop(GRACE).await;
            }
            Self::Existing(_) => {}
            Self::Kind(cluster) => {
                let (name, dir) = (cluster.name().to_owned(), dir.to_owned());
                let removing = move || {
                    cluster.save_logs(&dir);
                    cluster.remove()
                };
                if let Ok(Err(error)) = tokio::task::spawn_blocking(removing).await {
                    tracing::warn!(name, %error, "cannot remove the cluster: `spangate cluster prune` tries again");
                }
                if let Some(proxy) = proxy {
                    proxy.shutdown().await;
                }
            }
        }
    }
}

fn end(name: &'static str, process: impl Future<Output = ExitStatus> + Send + 'static) -> End {
    Box::pin(async move {
        let status = process.await;
        format!("{name} ended in the middle of the run with {status}")
    })
}
