//! What a kind cluster needs beyond local processes: Docker, kind, and a node image.

use std::{
    fmt::Write,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use spangate_cluster::{
    Assets, AssetsEnv, Docker, DockerError, Found, KindCluster, KindNetwork, NodeImage, Version, VersionSpec,
    docker::Owner,
    kind::{
        self, KernelSettings, KindClusterConfig, KindConfig, KindEtcdProxy, Privileges, SINGLE_NODE, Standing,
    },
    mark, tracing_config,
};
use spangate_scenario::model;

use super::{
    environment::{component, fetch, forward},
    etcd_proxy,
};
use crate::{
    error::CommandError,
    event::{Event, Events},
    report::Component,
};

/// All that a cluster is made with.
pub(crate) struct Ready {
    docker: Docker,
    kind: Found,
    image: Image,
    privileges: Privileges,
    etcd: Version,
}

/// What a cluster is made to work with.
pub(crate) struct Surroundings<'a> {
    /// The user's config of kind.
    pub(crate) base: Option<&'a str>,
    /// Where its API server exports to.
    pub(crate) otlp: Option<&'a str>,
    /// The proxy that its API server takes for etcd.
    pub(crate) etcd_proxy: Option<&'a etcd_proxy::OnKind>,
}

/// The image of a cluster's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its name with its tag.
    pub(crate) name: String,
    /// The Kubernetes in it, as far as it is known before it runs: where nothing tells the patch, that is 0.
    pub(crate) kubernetes: Version,
    /// The Kubernetes that it must have.
    pub(crate) wanted: VersionSpec,
    /// Whether we build it, or have built it: it has none of kind's own pod network.
    pub(crate) own: bool,
}

// === impl Ready ===

impl Ready {
    /// Finds Docker, kind and the image of the nodes; what is not at hand is built. Clusters whose runs were killed are
    /// removed.
    pub(crate) async fn find(
        cluster: &model::Cluster,
        assets: &Assets,
        events: &Events,
    ) -> Result<Self, CommandError> {
        let docker = docker()?;
        let mut image = Image::of(cluster)?;
        let kind = fetch(assets, assets.wanted_kind(cluster), false, events).await?;
        if image.own {
            image = node_image(&docker, assets, image.kubernetes.into(), events).await?.0.into();
        }
        let (of, name) = (docker.clone(), image.name.clone());
        let tried = blocking(move || {
            let removed = prune(&of, Standing::is_abandoned);
            let privileges = of.ensure_image(&name).and_then(|()| Privileges::try_out(&of, &name));
            (removed, privileges, of.is_own_node_image(&name))
        });
        let (removed, privileges, own) = tried.await?;
        // Ours may have been given another name.
        image.own |= own;
        for name in removed? {
            events.send(Event::Note(format!("removed the cluster {name}, whose run was killed")));
        }
        let privileges = privileges.map_err(|error| {
            CommandError::environment(format!("no node can be started from {}", image.name)).because(error)
        })?;
        if privileges == Privileges::WithoutSysResource {
            let note =
                "Docker may not give CAP_SYS_RESOURCE away: kind asks for every other capability instead";
            events.send(Event::Note(note.to_owned()));
        }
        let etcd = assets.catalogue().etcd_for(image.kubernetes).unwrap_or(Version::new(3, 6, 0));
        Ok(Self { docker, kind, image, privileges, etcd })
    }

    /// What the cluster of a run is called: no other one has that name, of this process or another, here or on another machine
    /// that has the same engine.
    pub(crate) fn name_of_run() -> String {
        static RUNS: AtomicU32 = AtomicU32::new(1);
        format!("run-{}-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed), mark())
    }

    /// Makes the network of the cluster `spangate-NAME`, which goes with this process or is kept.
    pub(crate) async fn network(
        &self,
        name: &str,
        kept: bool,
        files: &Path,
    ) -> Result<KindNetwork, CommandError> {
        let files = files.to_owned();
        let owner = if kept { Ok(Owner::kept(files)) } else { Owner::this(files) };
        let owner = owner
            .map_err(|error| CommandError::environment("cannot tell which process this is").because(error))?;
        // Our own image keeps its kubelet from them.
        let settings = (!self.image.own).then(KernelSettings::read);
        let (docker, name) = (self.docker.clone(), name.to_owned());
        let made = blocking(move || KindNetwork::create(&docker, &name, &owner, settings.as_ref()));
        made.await?.map_err(|error| {
            CommandError::environment("the network of the cluster cannot be made").because(error)
        })
    }

    /// Starts the cluster.
    pub(crate) async fn start(
        &self,
        network: KindNetwork,
        cluster: &model::Cluster,
        around: Surroundings<'_>,
        files: &Path,
        events: &Events,
    ) -> Result<KindCluster, CommandError> {
        let Surroundings { base, otlp, etcd_proxy } = around;
        let otlp = otlp.filter(|_| cluster.tracing.enabled);
        let tracing_dir = KindClusterConfig::tracing_dir(files);
        let node_files_dir = KindClusterConfig::node_files_dir(files);
        let etcd_authority = KindClusterConfig::etcd_authority_dir(files);
        let etcd_url = etcd_proxy.map(etcd_proxy::OnKind::url);
        let kubernetes = self.image.kubernetes;
        let config = KindConfig {
            base: base.unwrap_or(SINGLE_NODE),
            name: network.name(),
            kubernetes,
            etcd: self.etcd,
            cluster,
            tracing: otlp.map(|_| tracing_dir.as_path()),
            otlp,
            node_files: &node_files_dir,
            etcd_proxy: etcd_url.as_ref().map(|url| KindEtcdProxy { url, authority: &etcd_authority }),
            own_image: self.image.own,
            cgroup_v1: kind::cgroup_v1(),
        };
        let pod_network = config.needs_pod_network();
        let config = config.complete().map_err(incomplete)?;
        let rate = cluster.tracing.sampling_rate_per_million;
        let config = KindClusterConfig {
            kind: self.kind.path.clone(),
            image: self.image.name.clone(),
            privileges: self.privileges,
            config,
            kubernetes,
            wanted: self.image.wanted,
            tracing: otlp.map(|otlp| tracing_config::file(kubernetes, otlp, rate)),
            node_files: kind::node_files(cluster, otlp),
            etcd_authority: etcd_proxy.map(|proxy| proxy.authority.clone()),
            pod_network,
            dir: files.to_owned(),
        };
        let started = network.start(&config, &forward(events)).await;
        started.map_err(|error| CommandError::environment("the kind cluster does not start").because(error))
    }

    /// What runs, for the report; `kubernetes` as the cluster says it.
    pub(crate) fn components(&self, kubernetes: Version) -> Vec<Component> {
        let image = Component {
            name: "node image".to_owned(),
            version: kubernetes.to_string(),
            source: self.image.name.clone(),
        };
        vec![component(&self.kind), image]
    }
}

// === impl Image ===

impl Image {
    /// The image that a scenario means.
    pub(crate) fn of(cluster: &model::Cluster) -> Result<Self, CommandError> {
        let wrong =
            |error| CommandError::usage("a version of the scenario cannot be understood").because(error);
        let Some(name) = &cluster.kind.image else {
            let spec = cluster.kubernetes.parse().map_err(wrong)?;
            return Ok(NodeImage::wanted(spec).map_err(no_image)?.into());
        };
        // As kind's own images are tagged: `kindest/node:v1.37.0@sha256:...`.
        let tagged = name.split('@').next().and_then(|name| name.rsplit_once(':')?.1.parse::<Version>().ok());
        let wanted: VersionSpec = match tagged {
            Some(version) => version.into(),
            None => cluster.kubernetes.parse().map_err(wrong)?,
        };
        let VersionSpec { major, minor, patch } = wanted;
        let kubernetes = Version::new(major, minor, patch.unwrap_or_default());
        Ok(Self { name: name.clone(), kubernetes, wanted, own: false })
    }
}

impl From<NodeImage> for Image {
    fn from(NodeImage { name, kubernetes }: NodeImage) -> Self {
        Self { name, kubernetes, wanted: kubernetes.into(), own: true }
    }
}

/// kind's config as it would be completed, for a plan, and after it what kubeadm would be given to patch its pods with: what is
/// known only when the cluster is there is in angle brackets.
pub(crate) fn planned(
    cluster: &model::Cluster,
    base: Option<&str>,
    etcd_proxy: bool,
) -> Result<String, CommandError> {
    let proxy = KindEtcdProxy {
        url: "https://<gateway of the cluster's network>:<port of the etcd proxy>",
        authority: Path::new("<directory of the run>/etcd-authority"),
    };
    let image = Image::of(cluster)?;
    let otlp = "<gateway of the cluster's network>:<port of the sink>";
    let otlp = cluster.tracing.enabled.then_some(otlp);
    let config = KindConfig {
        base: base.unwrap_or(SINGLE_NODE),
        name: "spangate-<run>",
        kubernetes: image.kubernetes,
        etcd: Assets::new(AssetsEnv::from_process())
            .catalogue()
            .etcd_for(image.kubernetes)
            .unwrap_or(Version::new(3, 6, 0)),
        cluster,
        tracing: otlp.map(|_| Path::new("<directory of the run>/tracing")),
        otlp,
        node_files: Path::new("<directory of the run>/node-files"),
        etcd_proxy: etcd_proxy.then_some(proxy),
        own_image: image.own,
        cgroup_v1: kind::cgroup_v1(),
    };
    let mut text = config.complete().map_err(incomplete)?;
    for file in kind::node_files(cluster, otlp).into_iter().filter(kind::NodeFile::is_patch) {
        let _ = write!(text, "---\n# {} of the node\n{}", file.path, file.text);
    }
    Ok(text)
}

/// The Docker engine of this machine.
pub(crate) fn docker() -> Result<Docker, CommandError> {
    let path = std::env::var_os("PATH");
    Docker::find(path.as_deref()).map_err(|error| {
        CommandError::environment("kind needs Docker, and there is none to use").because(error)
    })
}

/// The image of a node with this Kubernetes, built now if it is not at hand; gives whether it was built.
pub(crate) async fn node_image(
    docker: &Docker,
    assets: &Assets,
    kubernetes: VersionSpec,
    events: &Events,
) -> Result<(NodeImage, bool), CommandError> {
    let (docker, assets, to) = (docker.clone(), assets.clone(), forward(events));
    let work = move || {
        let image = NodeImage::wanted(kubernetes)?;
        let built = image.ensure(&docker, &assets, &to)?;
        Ok((image, built))
    };
    blocking(work).await?.map_err(no_image)
}

/// Removes the clusters of ours that `unwanted` says so of, and gives their names. Blocks.
pub(crate) fn prune(
    docker: &Docker,
    unwanted: impl Fn(&Standing) -> bool,
) -> Result<Vec<String>, CommandError> {
    let all = Standing::list(docker).map_err(not_had)?;
    let mut removed = Vec::new();
    for standing in all.into_iter().filter(unwanted) {
        standing.remove(docker).map_err(not_had)?;
        removed.push(standing.name);
    }
    Ok(removed)
}

/// The names of the clusters of ours of which nobody here can tell whether their makers are gone. Blocks.
pub(crate) fn elsewhere(docker: &Docker) -> Result<Vec<String>, CommandError> {
    let all = Standing::list(docker).map_err(not_had)?;
    Ok(all.into_iter().filter(Standing::is_elsewhere).map(|standing| standing.name).collect())
}

fn not_had(error: DockerError) -> CommandError {
    CommandError::environment("the clusters in Docker cannot be had").because(error)
}

fn no_image(error: kind::NodeImageError) -> CommandError {
    CommandError::environment("there is no node image").because(error)
}

fn incomplete(error: kind::KindConfigError) -> CommandError {
    CommandError::usage("there is no usable config for kind").because(error)
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CommandError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| CommandError::bug("work on a kind cluster broke off").because(panic))
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::Kind;

    use super::*;

    fn image(name: Option<&str>, kubernetes: &str) -> Image {
        let kind = Kind { image: name.map(str::to_owned), ..Kind::default() };
        let cluster = model::Cluster { kind, kubernetes: kubernetes.to_owned(), ..model::Cluster::default() };
        Image::of(&cluster).unwrap()
    }

    #[test]
    fn the_version_of_a_named_image_is_in_its_tag_or_in_the_scenario() {
        let named = image(Some("kindest/node:v1.36.1@sha256:0a"), "1.37");
        assert_eq!((named.kubernetes, named.own), (Version::new(1, 36, 1), false));
        assert_eq!(named.wanted, named.kubernetes.into());
        let untold = image(Some("localhost:5000/node"), "1.36");
        assert_eq!(
            (untold.kubernetes, untold.wanted.to_string()),
            (Version::new(1, 36, 0), "1.36".to_owned())
        );
        assert!(image(None, "1.37").own);
    }

    #[test]
    fn a_plan_shows_what_is_not_known_yet() {
        let cluster = model::Cluster {
            etcd: model::Etcd { tracing: Some(model::EtcdTracing::default()), ..model::Etcd::default() },
            ..model::Cluster::default()
        };
        let text = planned(&cluster, None, true).unwrap();
        assert!(
            text.contains("https://<gateway of the cluster's network>:<port of the etcd proxy>"),
            "{text}"
        );
        assert!(text.contains("<directory of the run>/tracing"), "{text}");
        assert!(text.contains("<gateway of the cluster's network>:<port of the sink>"), "{text}");
        for pod in ["kube-apiserver", "etcd"] {
            assert!(
                text.contains(&format!(
                    "\n---\n# /etc/kubernetes/patches/{pod}+strategic.yaml of the node\n"
                )),
                "{text}"
            );
        }
    }
}
