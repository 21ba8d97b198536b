//! Control planes: where the binaries come from, PKI, configuration, child processes.
//!
//! The way to a running API server, each step usable on its own:
//!
//! 1. [`Assets`] finds, downloads or builds `kube-apiserver`, `etcd` and `otelcol` of a wanted version.
//! 2. [`Pki`] makes the certificates and keys of one run.
//! 3. [`LocalEtcd`] starts etcd; a proxy may then stand in front of it.
//! 4. [`LocalApiServer`] starts the API server against the etcd URL that it is given, and waits until it is
//!    ready.
//!
//! A [`LocalCollector`] may stand between the API server and whoever takes its spans, and a [`Jaeger`] and a [`Prometheus`]
//! behind them.
//!
//! [`ControlPlane`] takes steps 3 and 4 at once, and [`Play`] keeps named control planes that outlive the
//! command that started them. [`kind`] has clusters of the real kind in their place, and [`docker`] containers of parts that
//! may run in one.
//!
//! What flags and configuration files a version understands is pure code ([`apiserver_flags`],
//! [`etcd_flags`], [`tracing_config`]). This crate knows neither load nor faults, and prints nothing: it
//! reports through [`Progress`].
//!
//! ```
//! use spangate_cluster::{Assets, AssetsEnv, Version, tracing_config};
//! use spangate_scenario::model::Cluster;
//!
//! let assets = Assets::new(AssetsEnv::from_process());
//! let wanted = assets.wanted_kube_apiserver(&Cluster::default())?;
//! match assets.locate(&wanted) {
//!     Some(found) => println!("{found}"),
//!     None => println!("kube-apiserver {} would be fetched", wanted.spec),
//! }
//!
//! let file = tracing_config::file(Version::new(1, 37, 2), "127.0.0.1:4317", None);
//! assert!(file.starts_with("apiVersion: apiserver.config.k8s.io/v1\n"));
//! # Ok::<(), spangate_cluster::version::ParseVersionError>(())
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("local control planes need Linux: children are tied to their parent by prctl and pidfd");

pub mod apiserver_flags;
pub mod assets;
pub mod docker;
pub mod etcd_flags;
pub mod kind;
pub mod kubeconfig;
pub mod local;
mod machine;
mod mark;
pub mod pki;
pub mod play;
pub mod ports;
mod private;
mod probe;
pub mod process;
pub mod progress;
pub mod tracing_config;
pub mod version;

pub use assets::{Asset, AssetError, Assets, AssetsEnv, Component, Found, Source, Wanted};
pub use docker::{Docker, DockerError};
pub use kind::{KindCluster, KindError, KindNetwork, NodeImage, NodeImageError};
pub use kubeconfig::Access;
pub use local::{
    ApiServerConfig, BackendConfig, CollectorConfig, CollectorProgram, ControlPlane, ControlPlaneConfig,
    EtcdConfig, Jaeger, LocalApiServer, LocalCollector, LocalEtcd, Prometheus, StartError, TracingTo,
};
pub use mark::mark;
pub use pki::{EtcdPki, Identity, Pki, PkiError, PkiFiles};
pub use play::{Play, PlayCluster, PlayError, PlayProcess};
pub use process::{Child, Lifetime, ProcessError};
pub use progress::{Event, Progress};
pub use version::{Version, VersionSpec};
