//! From a network to a cluster: kind makes the nodes, and all that runs on them is waited for.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{
    access,
    cluster::KindCluster,
    config::{ETCD_AUTHORITY, TRACING_FILE},
    error::{KindError, write_error},
    network::KindNetwork,
    node::KindNode,
    node_file::NodeFile,
    pod_network::{self, COLUMNS, NodeNetwork},
    privilege::{self, Privileges},
};
use crate::{
    kubeconfig::Access,
    local::reason,
    pki::Identity,
    private,
    process::{Child, Lifetime, Spec, log_tail},
    progress::{Event, Progress},
    version::{Version, VersionSpec},
};

/// What a cluster is made from.
#[derive(Debug, Clone)]
pub struct KindClusterConfig {
    /// kind's own command line.
    pub kind: PathBuf,
    /// The image of the nodes.
    pub image: String,
    /// What containers may be given here.
    pub privileges: Privileges,
    /// kind's configuration, complete.
    pub config: String,
    /// The version of Kubernetes that the configuration is for.
    pub kubernetes: Version,
    /// The version that the API server must say it has.
    pub wanted: VersionSpec,
    /// The `TracingConfiguration` of the API server, if it traces.
    pub tracing: Option<String>,
    /// What is mounted into nodes.
    pub node_files: Vec<NodeFile>,
    /// The authority that etcd is to have, if a proxy of ours stands before it.
    pub etcd_authority: Option<Identity>,
    /// Whether the pod network is to be laid by us.
    pub pod_network: bool,
    /// The directory for its files, an absolute path: `kind.yaml`, `kind.log`, `kubeconfig`, and what is mounted into
    /// the node.
    pub dir: PathBuf,
}

/// A cluster that was made.
struct Made {
    address: SocketAddr,
    access: Access,
    kubeconfig: PathBuf,
    version: Version,
}

/// A child whose own children are killed with it.
struct KillGroup(Child);

/// What is told of while it starts, before its version, and when it is ready.
const STARTING: &str = "a kind cluster of Kubernetes";
const READY: &str = "the kind cluster";
/// The log of kind itself.
const LOG: &str = "kind.log";
/// How many lines of a log an error shows.
const TAIL: usize = 20;
/// How long the nodes and their pods may take to become ready, in kubectl's words.
const PATIENCE: &str = "120s";
/// How long nodes may take to get their addresses for pods.
const LIMIT: Duration = Duration::from_mins(1);
/// How often is told of what takes long.
const TELL: Duration = Duration::from_millis(500);
/// How often they are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Where kubeadm keeps what administrators and the node itself use.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

// === impl KindClusterConfig ===

impl KindClusterConfig {
    /// The directory in `dir` that is mounted into the node, for [`KindConfig::tracing`](super::KindConfig::tracing).
    pub fn tracing_dir(dir: &Path) -> PathBuf {
        dir.join("tracing")
    }

    /// The `TracingConfiguration` in it.
    pub fn tracing_file(dir: &Path) -> PathBuf {
        Self::tracing_dir(dir).join(TRACING_FILE)
    }

    /// The directory in `dir` with what is mounted into nodes, for [`KindConfig::node_files`](super::KindConfig::node_files).
    pub fn node_files_dir(dir: &Path) -> PathBuf {
        dir.join("node-files")
    }

    /// The directory in `dir` with etcd's authority, for [`KindEtcdProxy::authority`](super::KindEtcdProxy::authority).
    pub fn etcd_authority_dir(dir: &Path) -> PathBuf {
        dir.join("etcd-authority")
    }
}

// === impl KindNetwork ===

impl KindNetwork {
    /// Has kind make the nodes, and returns when all that runs on them is ready. Their logs are kept when that fails.
    pub async fn start(
        mut self,
        config: &KindClusterConfig,
        progress: &dyn Progress,
    ) -> Result<KindCluster, KindError> {
        progress.event(Event::Starting { what: STARTING, version: config.kubernetes });
        let began = Instant::now();
        let made = self.made(config, progress).await;
        let Made { address, access, kubeconfig, version } = made.map_err(|error| {
            self.save_logs(&config.dir);
            explained(error, &fs::read_to_string(config.dir.join("kube-apiserver.log")).unwrap_or_default())
        })?;
        self.logs = Some(config.dir.clone());
        let waiting = self.wait_for_end(config)?;
        progress.event(Event::Ready { what: READY, elapsed: began.elapsed() });
        let node = KindNode { docker: self.docker.clone(), name: self.node() };
        let config = config.clone();
        Ok(KindCluster { network: self, node, version, address, access, kubeconfig, waiting, config })
    }

    async fn made(&self, config: &KindClusterConfig, progress: &dyn Progress) -> Result<Made, KindError> {
        private::create_dir(&config.dir).map_err(write_error(&config.dir))?;
        let file = config.dir.join("kind.yaml");
        private::write(&file, &config.config).map_err(write_error(&file))?;
        if let Some(tracing) = &config.tracing {
            let dir = KindClusterConfig::tracing_dir(&config.dir);
            let file = dir.join(TRACING_FILE);
            private::create_dir(&dir).map_err(write_error(&dir))?;
            private::write(&file, tracing).map_err(write_error(&file))?;
        }
        let dir = KindClusterConfig::node_files_dir(&config.dir);
        private::create_dir(&dir).map_err(write_error(&dir))?;
        for node_file in &config.node_files {
            let file = dir.join(&node_file.file);
            private::write(&file, &node_file.text).map_err(write_error(&file))?;
        }
        if let Some(authority) = &config.etcd_authority {
            let dir = KindClusterConfig::etcd_authority_dir(&config.dir);
            private::create_dir(&dir).map_err(write_error(&dir))?;
            for (file, pem) in ETCD_AUTHORITY.into_iter().zip([&authority.cert_pem, &authority.key_pem]) {
                let file = dir.join(file);
                private::write(&file, pem).map_err(write_error(&file))?;
            }
        }
        self.make_nodes(config, &file, progress).await?;
        let kubectl = ["kubectl", "--kubeconfig", ADMIN_CONF];
        if config.pod_network {
            self.lay_pod_network(&kubectl).await?;
        }
        // In this order: pods of the name server and of kube-proxy are made some time after the node is there.
        for (what, condition) in [("nodes", "Ready"), ("deployments", "Available"), ("pods", "Ready")] {
            let condition = format!("--for=condition={condition}");
            let wait = ["wait", &condition, "--timeout", PATIENCE, "--namespace=kube-system", what, "--all"];
            self.on_node(
                "waiting for the node and its pods",
                kubectl.into_iter().chain(wait),
                config,
                progress,
            )
            .await?;
        }
        let (address, access) = self.access()?;
        let version = access::ready(&access, address).await?;
        if !config.wanted.matches(version) {
            let image = config.image.clone();
            return Err(KindError::OtherVersion { image, wanted: config.wanted, found: version });
        }
        let kubeconfig = config.dir.join("kubeconfig");
        let published = Access { endpoint: self.published()?, ..access.clone() };
        private::write(&kubeconfig, &published.kubeconfig()).map_err(write_error(&kubeconfig))?;
        Ok(Made { address, access, kubeconfig, version })
    }

    /// Has kind make the nodes.
    async fn make_nodes(
        &self,
        config: &KindClusterConfig,
        file: &Path,
        progress: &dyn Progress,
    ) -> Result<(), KindError> {
        let (file, kubeconfig) =
            (file.display().to_string(), config.dir.join("kind.kubeconfig").display().to_string());
        let args = ["create", "cluster", "--retain", "--image", &config.image, "--config", &file];
        // kind would write to the user's own kubeconfig. What it writes is in `kubeadm:cluster-admins`, of whose callers
        // the API server does not follow the trace context.
        let args = args.into_iter().chain(["--kubeconfig", &kubeconfig]);
        self.kind(args, config, progress).await
    }

    /// Runs kind.
    pub(super) async fn kind(
        &self,
        args: impl IntoIterator<Item = &str>,
        config: &KindClusterConfig,
        progress: &dyn Progress,
    ) -> Result<(), KindError> {
        let mut path = self.docker.path().to_owned();
        if config.privileges == Privileges::WithoutSysResource {
            let bin = config.dir.join("bin");
            privilege::write_client(&self.docker, &bin).map_err(write_error(&bin))?;
            path = joined(&bin, &path);
        }
        let mut env = docker_env();
        env.insert("PATH".to_owned(), path.to_string_lossy().into_owned());
        env.insert("KIND_EXPERIMENTAL_PROVIDER".to_owned(), "docker".to_owned());
        env.insert("KIND_EXPERIMENTAL_DOCKER_NETWORK".to_owned(), self.name().to_owned());
        let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let what = if args[0] == "load" { "kind load" } else { "kind create cluster" };
        args.extend(["--name".to_owned(), self.name().to_owned()]);
        self.run(what, &config.kind, args, env, config, progress).await
    }

    /// Lays the pod network when every node has its addresses for pods, which the controller manager gives them.
    async fn lay_pod_network(&self, kubectl: &[&str]) -> Result<(), KindError> {
        let node = self.node();
        let get = ["get", "nodes", "--no-headers", "--output", COLUMNS];
        let args: Vec<&str> = ["exec", &node].into_iter().chain(kubectl.iter().copied()).chain(get).collect();
        let began = Instant::now();
        loop {
            if let Some(nodes) =
                NodeNetwork::parse(&self.docker.run(&args)?).filter(|nodes| !nodes.is_empty())
            {
                return Ok(pod_network::lay(&self.docker, &nodes)?);
            }
            if began.elapsed() > LIMIT {
                return Err(KindError::Unclear { what: "the addresses for pods", node });
            }
            sleep(TICK).await;
        }
    }

    /// Runs a command on the node, and throws away what it prints.
    async fn on_node(
        &self,
        what: &'static str,
        command: impl Iterator<Item = &str>,
        config: &KindClusterConfig,
        progress: &dyn Progress,
    ) -> Result<(), KindError> {
        let args = ["exec".to_owned(), self.node()];
        let args = args.into_iter().chain(command.map(str::to_owned)).collect();
        self.run(what, self.docker.client(), args, docker_env(), config, progress).await
    }

    /// Runs a program to its end. When this is dropped, the program and what it started are killed.
    async fn run(
        &self,
        what: &'static str,
        program: &Path,
        args: Vec<String>,
        env: BTreeMap<String, String>,
        config: &KindClusterConfig,
        progress: &dyn Progress,
    ) -> Result<(), KindError> {
        let log = config.dir.join(LOG);
        let spec = Spec {
            name: what,
            program: program.to_owned(),
            args,
            env,
            log: log.clone(),
            lifetime: Lifetime::WithParent,
        };
        let child = KillGroup(Child::spawn(spec)?);
        let (began, log_from) = (Instant::now(), length(&log));
        let status = loop {
            let grown = length(&log) > log_from;
            let last_line = if grown { log_tail(&log, 1).trim().to_owned() } else { String::new() };
            progress.event(Event::Working { what: what.to_owned(), elapsed: began.elapsed(), last_line });
            if let Ok(status) = timeout(TELL, child.0.exited()).await {
                break status;
            }
        };
        if status.success() {
            return Ok(());
        }
        Err(KindError::Failed { what, status, reason: None, tail: log_tail(&log, TAIL), log })
    }

    /// A process that ends when the node does, or when Docker does not answer any more.
    fn wait_for_end(&self, config: &KindClusterConfig) -> Result<Child, KindError> {
        Ok(Child::spawn(Spec {
            name: "docker wait",
            program: self.docker.client().to_owned(),
            args: vec!["wait".to_owned(), self.node()],
            env: docker_env(),
            log: config.dir.join(LOG),
            lifetime: Lifetime::WithParent,
        })?)
    }
}

impl Drop for KillGroup {
    fn drop(&mut self) {
        self.0.kill_group();
    }
}

/// What of our environment tells the Docker client where its engine is.
fn docker_env() -> BTreeMap<String, String> {
    let ours = |name: &str| name.starts_with("DOCKER_") || name == "XDG_RUNTIME_DIR";
    let text = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| ours(name)).collect()
}

/// An error of kind with what the API server says of it, as its log in the form of the container runtime has it: kind
/// and kubeadm only know that it did not answer.
fn explained(error: KindError, log: &str) -> KindError {
    match error {
        KindError::Failed { what, status, log: path, tail, .. } => {
            // A time, the stream, and whether the line is whole come first.
            let plain = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned();
            let plain: Vec<String> = log.lines().map(plain).collect();
            let reason = reason(&plain.join("\n")).map(str::to_owned);
            KindError::Failed { what, status, reason, log: path, tail }
        }
        error => error,
    }
}

/// How long a file is; nothing, if it is not there.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn joined(first: &Path, path: &OsStr) -> OsString {
    let mut all = first.as_os_str().to_owned();
    all.push(":");
    all.push(path);
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_api_server_tells_why_kind_failed() {
        let failed = KindError::Failed {
            what: "kind create cluster",
            status: std::process::ExitStatus::from_raw(256),
            reason: None,
            log: "kind.log".into(),
            tail: "end".to_owned(),
        };
        let log = "2026-01-01T00:00:00.1Z stderr F I0101 00:00:00.1 1 flags.go:1] x\n\
                   2026-01-01T00:00:00.2Z stderr F Error: unknown flag: --no-such-flag\n";
        let text = explained(failed, log).to_string();
        assert!(
            text.contains("exit status: 1, kube-apiserver said: Error: unknown flag: --no-such-flag;"),
            "{text}"
        );
    }
}
