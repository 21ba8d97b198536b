//! A real kube-apiserver with a real etcd behind it, and the object that is read.
//!
//! Nothing is traced, so that the server's time is that of a request. Who sends is known by a bearer token, since not
//! every generator can send a certificate.

use std::fs;

use spangate_benches::command::Failure;
use spangate_cluster::{Assets, AssetsEnv, ControlPlane, ControlPlaneConfig, Lifetime};
use spangate_scenario::model::Cluster;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::generator::Target;

/// The token of someone whom the server lets do everything.
const TOKEN: &str = "spangate-bench";

/// A control plane that runs; it ends with this value.
pub(crate) struct ApiServer {
    pub(crate) target: Target,
    pub(crate) name: String,
    _control_plane: ControlPlane,
    _dir: TempDir,
    _runtime: Runtime,
}

// === impl ApiServer ===

impl ApiServer {
    pub(crate) fn start() -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let tokens = dir.path().join("tokens.csv");
        // A line of `--token-auth-file`: token, user, uid and groups.
        fs::write(&tokens, format!("{TOKEN},bench,bench,\"system:masters\"\n"))?;
        let mut cluster = Cluster::default();
        let extra = &mut cluster.api_server.extra_args;
        extra.insert("token-auth-file".to_owned(), tokens.display().to_string());
        let assets = Assets::new(AssetsEnv::from_process());
        let kube_apiserver = assets.ensure(&assets.wanted_kube_apiserver(&cluster)?, &())?;
        let etcd = assets.ensure(&assets.wanted_etcd(&cluster, kube_apiserver.version)?, &())?;
        let name = format!("kube-apiserver {}", kube_apiserver.version);
        let config = ControlPlaneConfig {
            kube_apiserver,
            etcd,
            dir: dir.path().to_owned(),
            cluster,
            otlp: None,
            lifetime: Lifetime::WithParent,
        };
        let runtime = Runtime::new()?;
        let control_plane = runtime.block_on(ControlPlane::start(&config, &()))?;
        let target = Target {
            addr: control_plane.api_server.address().to_string(),
            ca_pem: control_plane.api_server.access().ca_pem.clone(),
            token: Some(TOKEN.to_owned()),
        };
        // The engine of every round reads what this one leaves there.
        runtime.block_on(async {
            let (engine, ..) = target.engine(1, 1.0)?;
            engine.prepare().await.map_err(Failure::from)
        })?;
        Ok(Self { target, name, _control_plane: control_plane, _dir: dir, _runtime: runtime })
    }
}
