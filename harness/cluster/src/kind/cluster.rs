//! One cluster: its network, its nodes, and how to reach its API server.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use spangate_scenario::document;
use tokio::time::{Instant, sleep, timeout};

use super::{
    config::TRACING_FILE,
    docker::{Docker, DockerError},
    privilege::{self, Privileges},
    standing::{self, Owner, PREFIX},
};
use crate::{
    kubeconfig::Access,
    pki::{ADMIN, Identity, PRIVILEGED_GROUP, USER},
    private,
    probe::Probe,
    process::{Child, Lifetime, ProcessError, Spec, log_tail},
    progress::{Event, Progress},
    version::Version,
};

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// Docker does not do what is wanted.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A file could not be written.
    #[error("cannot write {}: check that the directory is writable and the disk not full", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The network has no address for this machine.
    #[error("the Docker network {network} has no gateway ({said}), so that no node could reach this machine")]
    NoGateway {
        /// The network.
        network: String,
        /// What Docker says of its gateway.
        said: String,
    },
    /// A program could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// kind, or what was run on a node, failed.
    #[error("{what} ended with {status}; the last lines of {}:\n{tail}", log.display())]
    Failed {
        /// What failed.
        what: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// What a node says cannot be understood.
    #[error("cannot understand {what} of the node {node}")]
    Unclear {
        /// What it was.
        what: &'static str,
        /// The node.
        node: String,
    },
    /// The client certificate cannot be used.
    #[error("the client certificate for the readiness probe cannot be used")]
    Probe(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server is there and not ready.
    #[error("kube-apiserver on kind was not ready after {} s (last answer: {answer})", limit.as_secs())]
    NotReady {
        /// How long it had.
        limit: Duration,
        /// What it answered last.
        answer: String,
    },
}

/// The network of a cluster, and the right to have nodes on it. Dropping it removes the network and all nodes.
#[derive(Debug)]
pub struct KindNetwork {
    docker: Docker,
    name: String,
    gateway: IpAddr,
    released: bool,
}

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
    /// The version of Kubernetes.
    pub kubernetes: Version,
    /// The `TracingConfiguration` of the API server, if it traces.
    pub tracing: Option<String>,
    /// The directory for its files, an absolute path: `kind.yaml`, `kind.log`, `kubeconfig`, and what is mounted into
    /// the node.
    pub dir: PathBuf,
}

/// A cluster whose API server is ready. Dropping it removes it.
#[derive(Debug)]
pub struct KindCluster {
    network: KindNetwork,
    node: String,
    version: Version,
    address: SocketAddr,
    access: Access,
    kubeconfig: PathBuf,
    waiting: Child,
}

/// What is told of while it starts, before its version, and when it is ready.
const STARTING: &str = "a kind cluster of Kubernetes";
const READY: &str = "the kind cluster";
/// The log of kind itself.
const LOG: &str = "kind.log";
/// How many lines of a log an error shows.
const TAIL: usize = 20;
/// How long the nodes and their pods may take to become ready, in kubectl's words.
const PATIENCE: &str = "120s";
/// How long the API server may take to say that it is ready when its pod is.
const LIMIT: Duration = Duration::from_mins(1);
/// How often it is asked.
const TICK: Duration = Duration::from_millis(100);
/// Where kubeadm keeps what administrators and the node itself use.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

// === impl KindClusterConfig ===

impl KindClusterConfig {
    /// The directory in `dir` that is mounted into the node, for [`KindConfig::tracing`](super::KindConfig::tracing).
    pub fn tracing_dir(dir: &Path) -> PathBuf {
        dir.join("tracing")
    }
}

// === impl KindNetwork ===

impl KindNetwork {
    /// Makes the network of the cluster `spangate-NAME`. Blocks.
    ///
    /// It is made by us and not by kind, whose own has IPv6 and so has Docker turn IPv6 forwarding on for the whole
    /// machine.
    pub fn create(docker: &Docker, name: &str, owner: &Owner) -> Result<Self, KindError> {
        let name = format!("{PREFIX}{name}");
        let mut args = vec!["network".to_owned(), "create".to_owned(), "--driver=bridge".to_owned()];
        args.extend(owner.labels().into_iter().map(|label| format!("--label={label}")));
        args.push(name.clone());
        docker.run(&args)?;
        // From here on it is removed, whatever happens.
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let mut this = Self { docker: docker.clone(), name, gateway: unknown, released: false };
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        let said = docker.run(["network", "inspect", "--format", format, &this.name])?;
        let no_gateway = |_| KindError::NoGateway { network: this.name.clone(), said: said.clone() };
        this.gateway = said.parse().map_err(no_gateway)?;
        Ok(this)
    }

    /// The name of the network and of the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of this machine on it: where nodes reach what listens here.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The node on which the API server runs (kind, `pkg/cluster/internal/providers/common/namer.go`).
    fn node(&self) -> String {
        format!("{}-control-plane", self.name)
    }

    /// Writes what the node and its control plane said to `dir`, as far as there is a node. Blocks.
    pub fn save_logs(&self, dir: &Path) {
        let node = self.node();
        let of_pod = |pod: &str| format!("cat /var/log/pods/kube-system_{pod}-*/{pod}/*.log");
        let commands = [
            ("kube-apiserver.log", of_pod("kube-apiserver")),
            ("etcd.log", of_pod("etcd")),
            ("node.log", "journalctl --no-pager --output=short-precise".to_owned()),
        ];
        for (file, command) in commands {
            let Ok(text) = self.docker.run(["exec", &node, "sh", "-c", &command]) else { continue };
            if let Err(error) = private::write(&dir.join(file), &text) {
                tracing::warn!(file, %error, "cannot keep a log");
            }
        }
    }

    /// Has kind make the nodes, and returns when all that runs on them is ready. Their logs are kept when that fails.
    pub async fn start(
        self,
        config: &KindClusterConfig,
        progress: &dyn Progress,
    ) -> Result<KindCluster, KindError> {
        progress.event(Event::Starting { what: STARTING, version: config.kubernetes });
        let began = Instant::now();
        let made = self.made(config).await;
        let (address, access, kubeconfig) = made.inspect_err(|_| self.save_logs(&config.dir))?;
        let waiting = self.wait_for_end(config)?;
        progress.event(Event::Ready { what: READY, elapsed: began.elapsed() });
        let (node, version) = (self.node(), config.kubernetes);
        Ok(KindCluster { network: self, node, version, address, access, kubeconfig, waiting })
    }

    async fn made(&self, config: &KindClusterConfig) -> Result<(SocketAddr, Access, PathBuf), KindError> {
        private::create_dir(&config.dir).map_err(write_error(&config.dir))?;
        let file = config.dir.join("kind.yaml");
        private::write(&file, &config.config).map_err(write_error(&file))?;
        if let Some(tracing) = &config.tracing {
            let dir = KindClusterConfig::tracing_dir(&config.dir);
            let file = dir.join(TRACING_FILE);
            private::create_dir(&dir).map_err(write_error(&dir))?;
            private::write(&file, tracing).map_err(write_error(&file))?;
        }
        self.kind(config, &file).await?;
        let kubectl = ["kubectl", "--kubeconfig", ADMIN_CONF];
        // In this order: pods of the name server and of kube-proxy are made some time after the node is there.
        for (what, condition) in [("nodes", "Ready"), ("deployments", "Available"), ("pods", "Ready")] {
            let condition = format!("--for=condition={condition}");
            let wait = ["wait", &condition, "--timeout", PATIENCE, "--namespace=kube-system", what, "--all"];
            self.on_node("waiting for the node and its pods", kubectl.into_iter().chain(wait), config)
                .await?;
        }
        let (address, access) = self.access()?;
        ready(&access, address).await?;
        let kubeconfig = config.dir.join("kubeconfig");
        let published = Access { endpoint: self.published()?, ..access.clone() };
        private::write(&kubeconfig, &published.kubeconfig()).map_err(write_error(&kubeconfig))?;
        Ok((address, access, kubeconfig))
    }

    /// Runs kind.
    async fn kind(&self, config: &KindClusterConfig, file: &Path) -> Result<(), KindError> {
        let mut path = self.docker.path().to_owned();
        if config.privileges == Privileges::WithoutSysResource {
            let bin = config.dir.join("bin");
            privilege::write_client(&self.docker, &bin).map_err(write_error(&bin))?;
            path = joined(&bin, &path);
        }
        let mut env = docker_env();
        env.insert("PATH".to_owned(), path.to_string_lossy().into_owned());
        env.insert("KIND_EXPERIMENTAL_PROVIDER".to_owned(), "docker".to_owned());
        env.insert("KIND_EXPERIMENTAL_DOCKER_NETWORK".to_owned(), self.name.clone());
        let args = ["create", "cluster", "--retain", "--name", &self.name, "--image", &config.image];
        let mut args: Vec<String> = args.map(str::to_owned).to_vec();
        args.extend(["--config".to_owned(), file.display().to_string()]);
        // kind would write to the user's own kubeconfig. What it writes is in `kubeadm:cluster-admins`, of whose callers
        // the API server does not follow the trace context.
        args.extend(["--kubeconfig".to_owned(), config.dir.join("kind.kubeconfig").display().to_string()]);
        self.run("kind create cluster", &config.kind, args, env, config).await
    }

    /// Runs a command on the node, and throws away what it prints.
    async fn on_node(
        &self,
        what: &'static str,
        command: impl Iterator<Item = &str>,
        config: &KindClusterConfig,
    ) -> Result<(), KindError> {
        let args = ["exec".to_owned(), self.node()];
        let args = args.into_iter().chain(command.map(str::to_owned)).collect();
        self.run(what, self.docker.client(), args, docker_env(), config).await
    }

    /// Runs a program to its end. When this is dropped, the program and what it started are killed.
    async fn run(
        &self,
        what: &'static str,
        program: &Path,
        args: Vec<String>,
        env: BTreeMap<String, String>,
        config: &KindClusterConfig,
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
        let status = child.0.exited().await;
        if status.success() {
            return Ok(());
        }
        Err(KindError::Failed { what, status, tail: log_tail(&log, TAIL), log })
    }

    /// A process that ends when the node does.
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

    /// Where this machine publishes the API server, as kind has it: this stays when the node gets another address.
    fn published(&self) -> Result<String, KindError> {
        let node = self.node();
        let ports = self.docker.run(["port", &node, "6443/tcp"])?;
        let published: Option<SocketAddr> = ports.lines().find_map(|line| line.trim().parse().ok());
        let unclear = KindError::Unclear { what: "the published port of the API server", node };
        published.map(|address| format!("https://{address}")).ok_or(unclear)
    }

    /// Where the API server is, and two clients of it. Blocks.
    ///
    /// It is reached at the node's own address: through the published port every byte would pass Docker's proxy.
    /// kubeadm signs the certificates on the node, so that the key of the cluster's authority stays there.
    fn access(&self) -> Result<(SocketAddr, Access), KindError> {
        let node = self.node();
        let unclear = |what| KindError::Unclear { what, node: node.clone() };
        let format = format!("{{{{(index .NetworkSettings.Networks {:?}).IPAddress}}}}", self.name);
        let ip = self.docker.run(["inspect", "--format", &format, &node])?;
        let ip: IpAddr = ip.parse().map_err(|_| unclear("the address of the API server"))?;
        let address = SocketAddr::new(ip, 6443);
        let ca_pem = self.docker.run(["exec", &node, "cat", "/etc/kubernetes/pki/ca.crt"])?;
        let client = |name: &str, group: Option<&str>| {
            let mut args = vec!["exec", &node, "kubeadm", "kubeconfig", "user"];
            args.extend(["--config", "/kind/kubeadm.conf", "--client-name", name]);
            args.extend(group.iter().flat_map(|group| ["--org", group]));
            let text = self.docker.run(args)?;
            identity(&text).ok_or_else(|| unclear("the client certificate"))
        };
        let access = Access {
            endpoint: format!("https://{address}"),
            ca_pem,
            admin: client(ADMIN, Some(PRIVILEGED_GROUP))?,
            user: client(USER, None)?,
        };
        Ok((address, access))
    }

    /// Removes the network and all nodes. Blocks.
    pub fn remove(mut self) -> Result<(), KindError> {
        self.released = true;
        Ok(standing::remove(&self.docker, &self.name)?)
    }
}

impl Drop for KindNetwork {
    fn drop(&mut self) {
        if !self.released
            && let Err(error) = standing::remove(&self.docker, &self.name)
        {
            tracing::warn!(
                cluster = self.name,
                %error,
                "cannot remove the cluster: `spangate cluster prune` tries again"
            );
        }
    }
}

// === impl KindCluster ===

impl KindCluster {
    /// The name of the cluster.
    pub fn name(&self) -> &str {
        self.network.name()
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

    /// The version of Kubernetes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Waits until the node ends. The future does not borrow this.
    pub fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.waiting.exited()
    }

    /// The processes on the node, by their numbers on this machine and their names. Blocks.
    pub fn processes(&self) -> Result<Vec<(u32, String)>, KindError> {
        let text = self.network.docker.run(["top", &self.node, "-eo", "pid,comm"])?;
        // The first line is the heading.
        let process = |line: &str| {
            let (number, name) = line.trim().split_once(char::is_whitespace)?;
            Some((number.parse().ok()?, name.trim().to_owned()))
        };
        Ok(text.lines().filter_map(process).collect())
    }

    /// What the API server has logged so far. Blocks.
    pub fn api_server_log(&self) -> Result<String, KindError> {
        let command = "cat /var/log/pods/kube-system_kube-apiserver-*/kube-apiserver/*.log";
        Ok(self.network.docker.run(["exec", &self.node, "sh", "-c", command])?)
    }

    /// See [`KindNetwork::save_logs`].
    pub fn save_logs(&self, dir: &Path) {
        self.network.save_logs(dir);
    }

    /// Removes it. Blocks.
    pub fn remove(self) -> Result<(), KindError> {
        self.network.remove()
    }

    /// Lets it stand when this is dropped.
    pub fn release(mut self) {
        self.network.released = true;
    }
}

/// A child whose own children are killed with it.
struct KillGroup(Child);

impl Drop for KillGroup {
    fn drop(&mut self) {
        self.0.kill_group();
    }
}

/// Asks the API server until it says that it is ready.
async fn ready(access: &Access, address: SocketAddr) -> Result<(), KindError> {
    let mut probe = Probe::privileged(address, access).map_err(KindError::Probe)?;
    let mut answer = "none".to_owned();
    let asking = async {
        loop {
            match probe.get("/readyz").await {
                Ok((StatusCode::OK, _)) => return,
                Ok((status, body)) => {
                    answer = format!("{status}, {}", body.lines().last().unwrap_or_default());
                }
                Err(error) => answer = error.to_string(),
            }
            sleep(TICK).await;
        }
    };
    let asked = timeout(LIMIT, asking).await;
    asked.map_err(|_| KindError::NotReady { limit: LIMIT, answer })
}

/// The client certificate and key in a kubeconfig that kubeadm printed, after whatever it warned of.
fn identity(text: &str) -> Option<Identity> {
    let start = text.find("apiVersion:")?;
    let config = document::read(&text[start..]).ok()?;
    let user = &config["users"][0]["user"];
    let pem = |key: &str| String::from_utf8(STANDARD.decode(user[key].as_str()?).ok()?).ok();
    Some(Identity { cert_pem: pem("client-certificate-data")?, key_pem: pem("client-key-data")? })
}

/// What of our environment tells the Docker client where its engine is.
fn docker_env() -> BTreeMap<String, String> {
    let ours = std::env::vars().filter(|(name, _)| name.starts_with("DOCKER_"));
    ours.chain(std::env::var("XDG_RUNTIME_DIR").ok().map(|dir| ("XDG_RUNTIME_DIR".to_owned(), dir))).collect()
}

fn joined(first: &Path, path: &std::ffi::OsStr) -> OsString {
    let mut all = first.as_os_str().to_owned();
    all.push(":");
    all.push(path);
    all
}

/// Turns an IO error at `path` into ours.
fn write_error(path: &Path) -> impl FnOnce(io::Error) -> KindError + use<> {
    let path = path.to_owned();
    |source| KindError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_read_from_what_kubeadm_prints() {
        let text = "W1128 initconfiguration.go:363] ignored\napiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    \
                    client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n";
        let found = identity(text).unwrap();
        assert_eq!((found.cert_pem.as_str(), found.key_pem.as_str()), ("cert", "key"));
        assert_eq!(identity("Error: no"), None);
    }
}
