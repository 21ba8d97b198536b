//! `spangate cluster`: a control plane for play, which stays up after the command.

use std::{fmt::Write, net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use spangate_cluster::{
    Assets, AssetsEnv, Component, ControlPlaneConfig, Docker, DockerError, Lifetime, Play, PlayCluster,
    PlayError, Wanted, kind::Standing,
};
use spangate_scenario::{
    model::{Cluster, Kind, Tracing},
    units::PerMillion,
};

use super::{Output, ProviderName, Session, print, print_json, terminal, warn};
use crate::{
    error::CommandError,
    event::{Event, Events, Step},
    exit::Exit,
    run::{
        environment,
        kind::{self, Ready, Surroundings, blocking},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Start a control plane and print its kubeconfig.
    Up(UpArgs),
    /// End a control plane and remove its files.
    Down(NameArgs),
    /// Show the control planes that are up.
    List,
    /// Remove what killed commands left: control planes that never came up; in Docker clusters, networks and containers, of ours
    /// only.
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Also those in Docker that were to stay up; and say what is left alone, since its maker is on another machine or in a
    /// container.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Its name.
    #[arg(default_value = "play")]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Where it comes from.
    #[arg(long, value_enum, default_value = "local", value_name = "PROVIDER")]
    provider: ProviderName,
    /// Image of the node, in place of one that is built; for kind.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Config of kind to complete; for kind.
    #[arg(long, value_name = "PATH")]
    kind_config: Option<PathBuf>,
    /// Kubernetes version, such as 1.37 or 1.37.2.
    #[arg(long, value_name = "VERSION", default_value = Cluster::DEFAULT_KUBERNETES)]
    kubernetes: String,
    /// OTLP/gRPC receiver for traces, without TLS; by default port 4317 of this machine, as the API server reaches it.
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    otlp_endpoint: Option<String>,
    /// Traces per million that the API server starts on its own; unset, only sampled requests of privileged
    /// callers are traced.
    #[arg(long, value_name = "N", value_parser = per_million)]
    sampling_rate_per_million: Option<PerMillion>,
}

/// Where OTLP/gRPC is received unless something else is said (OpenTelemetry Protocol 1.5, "OTLP/gRPC default port").
const OTLP_PORT: u16 = 4317;

fn per_million(text: &str) -> Result<PerMillion, String> {
    text.parse().ok().and_then(PerMillion::new).ok_or_else(|| "expected 0 to 1000000".to_owned())
}

/// As gRPC dials it: no scheme, and a port.
fn endpoint(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').filter(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    parts.map(|_| text.to_owned()).ok_or_else(|| "expected HOST:PORT, such as 127.0.0.1:4317".to_owned())
}

pub(super) async fn run(command: ClusterCommand, session: &Session) -> Result<Exit, CommandError> {
    let play = Play::from_process().map_err(refused)?;
    match command {
        ClusterCommand::Up(args) => up(&play, args, session).await,
        ClusterCommand::Down(args) => {
            let name = args.name.clone();
            blocking(move || down(&play, &args.name)).await??;
            if !session.global.quiet {
                print(&format!("{name} is down\n"))?;
            }
            Ok(Exit::Pass)
        }
        ClusterCommand::List => {
            let on_kind = blocking(on_kind).await?.unwrap_or_else(|error| {
                warn(&[error.chain()], session);
                Vec::new()
            });
            list(&play.list().map_err(refused)?, &on_kind, session)
        }
        ClusterCommand::Prune(args) => prune(play, args, session).await,
    }
}

pub(super) fn refused(error: PlayError) -> CommandError {
    match error {
        PlayError::Name { .. } => CommandError::usage(error.to_string()),
        error => CommandError::environment("the control plane cannot be had").because(error),
    }
}

/// The Docker engine of this machine; none where there is no client that anything could have been made with. Blocks.
fn engine() -> Result<Option<Docker>, CommandError> {
    match Docker::find(std::env::var_os("PATH").as_deref()) {
        Ok(docker) => Ok(Some(docker)),
        Err(DockerError::NoClient) => Ok(None),
        Err(error) => Err(unseen(error)),
    }
}

fn unseen(error: DockerError) -> CommandError {
    CommandError::environment("the clusters in Docker cannot be seen").because(error)
}

/// The clusters in Docker that stay until they are taken down, by the names that users know. Blocks.
pub(super) fn on_kind() -> Result<Vec<(String, Standing)>, CommandError> {
    let Some(docker) = engine()? else { return Ok(Vec::new()) };
    let kept = Standing::list(&docker).map_err(unseen)?.into_iter().filter(Standing::is_kept);
    let named = |standing: Standing| {
        let name = standing.name.strip_prefix("spangate-").unwrap_or(&standing.name);
        (name.to_owned(), standing)
    };
    Ok(kept.map(named).collect())
}

fn down(play: &Play, name: &str) -> Result<(), CommandError> {
    let is = |(known, _): &(String, Standing)| known == name;
    let local = play.list().map_err(refused)?.iter().any(|cluster| cluster.name == name);
    if !local && let Some((_, standing)) = on_kind()?.into_iter().find(is) {
        let removed = standing.remove(&kind::docker()?);
        return removed.map_err(|error| CommandError::environment("the cluster stays").because(error));
    }
    play.down(name).map_err(refused)
}

async fn prune(play: Play, args: PruneArgs, session: &Session) -> Result<Exit, CommandError> {
    let mut removed = blocking(move || play.prune()).await?.map_err(refused)?;
    let kept = move |standing: &Standing| args.all && standing.is_kept() && !standing.is_elsewhere();
    let in_docker = blocking(move || {
        let Some(docker) = engine()? else { return Ok((Vec::new(), Vec::new())) };
        let mut removed = kind::prune(&docker, |standing| standing.is_abandoned() || kept(standing))?;
        removed.extend(environment::prune(&docker)?);
        let mut left = Vec::new();
        if args.all {
            left = kind::elsewhere(&docker)?;
            left.extend(environment::elsewhere(&docker)?);
        }
        Ok::<_, CommandError>((removed, left))
    });
    // What is gone is told also when Docker does not answer.
    let in_docker = in_docker.await?;
    removed.extend(in_docker.iter().flat_map(|(removed, _)| removed).cloned());
    if session.global.output == Output::Json {
        print_json(&removed)?;
        return in_docker.map(|_| Exit::Pass);
    }
    let mut out = String::new();
    for name in &removed {
        let _ = writeln!(out, "removed {name}");
    }
    if removed.is_empty() && in_docker.is_ok() {
        out.push_str("nothing to remove\n");
    }
    for name in in_docker.iter().flat_map(|(_, left)| left) {
        let _ = writeln!(out, "left alone {name}, whose maker is on another machine or in another container");
    }
    print(&out)?;
    in_docker.map(|_| Exit::Pass)
}

async fn up(play: &Play, args: UpArgs, session: &Session) -> Result<Exit, CommandError> {
    let (events, shown) = terminal::show(session.global.quiet);
    let starting = async {
        let name = &args.name.name;
        match blocking(on_kind).await? {
            Ok(known) if known.iter().any(|(known, _)| known == name) => {
                return Err(refused(PlayError::Running { name: name.clone() }));
            }
            Ok(_) => {}
            Err(error) if args.provider == ProviderName::Kind || may_be_another(play, name)? => {
                return Err(error);
            }
            Err(error) => events.send(Event::Note(error.chain())),
        }
        match args.provider {
            ProviderName::Local => start(play, &args, &events).await.map(|cluster| {
                let kubeconfig = kubeconfig(&cluster);
                (kubeconfig, view(&cluster))
            }),
            ProviderName::Kind => start_on_kind(play, &args, &events).await,
            ProviderName::Existing => {
                Err(CommandError::usage("an existing cluster is up already: name it to `spangate run`"))
            }
        }
    };
    let started = tokio::select! {
        started = starting => started,
        () = session.cancel.cancelled() => Err(CommandError::interrupted()),
    };
    drop(events);
    terminal::until_shown(shown, &session.cancel).await;
    let (kubeconfig, view) = started?;
    match session.global.output {
        Output::Json => print_json(&view)?,
        Output::Text => print(&format!("export KUBECONFIG={kubeconfig}\n"))?,
    }
    Ok(Exit::Pass)
}

/// Whether the files of a cluster in Docker may be where those of a local control plane of this name would go.
fn may_be_another(play: &Play, name: &str) -> Result<bool, CommandError> {
    let exists = play.dir(name).map_err(refused)?.exists();
    let local = play.list().map_err(refused)?.iter().any(|cluster| cluster.name == name);
    Ok(exists && !local)
}

/// What of the model the arguments say.
fn model(args: &UpArgs) -> Cluster {
    Cluster {
        provider: args.provider.into(),
        kubernetes: args.kubernetes.clone(),
        kind: Kind { image: args.image.clone(), ..Kind::default() },
        tracing: Tracing { sampling_rate_per_million: args.sampling_rate_per_million, ..Tracing::default() },
        ..Cluster::default()
    }
}

/// Starts a kind cluster that stays up; gives its kubeconfig, and what there is to say of it.
async fn start_on_kind(
    play: &Play,
    args: &UpArgs,
    events: &Events,
) -> Result<(String, serde_json::Value), CommandError> {
    let (name, cluster) = (&args.name.name, model(args));
    let dir = play.dir(name).map_err(refused)?;
    if play.list().map_err(refused)?.iter().any(|cluster| cluster.name == *name) {
        return Err(refused(PlayError::Running { name: name.clone() }));
    }
    let config = args.kind_config.as_ref().map(|path| {
        std::fs::read_to_string(path).map_err(|error| {
            CommandError::usage(format!("the kind config {} cannot be read", path.display())).because(error)
        })
    });
    let config = config.transpose()?;
    kind::planned(&cluster, config.as_deref(), false)?;
    let assets = Assets::new(AssetsEnv::from_process());
    events.step(Step::Binaries);
    let ready = Ready::find(&cluster, &assets, events).await?;
    events.step(Step::KindCluster);
    let network = ready.network(name, true, &dir).await?;
    let here = SocketAddr::new(network.gateway(), OTLP_PORT).to_string();
    let otlp = args.otlp_endpoint.as_ref().unwrap_or(&here);
    let around = Surroundings { base: config.as_deref(), otlp: Some(otlp), etcd_proxy: None };
    let started = ready.start(network, &cluster, around, &dir, events).await?;
    let kubeconfig = started.kubeconfig().display().to_string();
    let view = json!({
        "name": name,
        "provider": "kind",
        "running": true,
        "directory": dir,
        "kubeconfig": kubeconfig,
        "otlp": otlp,
    });
    started.release();
    Ok((kubeconfig, view))
}

async fn start(play: &Play, args: &UpArgs, events: &Events) -> Result<PlayCluster, CommandError> {
    let cluster = model(args);
    let dir = play.dir(&args.name.name).map_err(refused)?;
    let assets = Assets::new(AssetsEnv::from_process());
    let wrong = |error| CommandError::usage(format!("{error}"));
    events.step(Step::Binaries);
    let wanted: Wanted = assets.wanted_kube_apiserver(&cluster).map_err(wrong)?;
    let kube_apiserver = environment::fetch(&assets, wanted, false, events).await?;
    debug_assert_eq!(kube_apiserver.component, Component::KubeApiserver);
    let wanted = assets.wanted_etcd(&cluster, kube_apiserver.version).map_err(wrong)?;
    let etcd = environment::fetch(&assets, wanted, false, events).await?;
    events.step(Step::ControlPlane);
    let config = ControlPlaneConfig {
        kube_apiserver,
        etcd,
        dir,
        cluster,
        otlp: Some(args.otlp_endpoint.clone().unwrap_or_else(|| format!("127.0.0.1:{OTLP_PORT}"))),
        lifetime: Lifetime::Detached,
    };
    let to = events.clone();
    let progress = move |event: spangate_cluster::Event| to.send(Event::Note(event.to_string()));
    play.up(&args.name.name, &config, &progress).await.map_err(refused)
}

fn list(
    clusters: &[PlayCluster],
    on_kind: &[(String, Standing)],
    session: &Session,
) -> Result<Exit, CommandError> {
    if session.global.output == Output::Json {
        let all = clusters.iter().map(view).chain(on_kind.iter().map(kind_view));
        return print_json(&all.collect::<Vec<_>>()).map(|()| Exit::Pass);
    }
    let mut out = String::new();
    let mut line = |name: &str, provider, running, kubeconfig: &str| {
        let running = if running { "running" } else { "not running" };
        let _ = writeln!(out, "{name:16} {provider:6} {running:12} KUBECONFIG={kubeconfig}");
    };
    for cluster in clusters {
        line(&cluster.name, "local", cluster.running, &kubeconfig(cluster));
    }
    for (name, standing) in on_kind {
        line(name, "kind", standing.running, &kind_kubeconfig(standing).display().to_string());
    }
    if out.is_empty() {
        out.push_str("no control plane is up; start one with `spangate cluster up`\n");
    }
    print(&out).map(|()| Exit::Pass)
}

pub(super) fn kind_kubeconfig(standing: &Standing) -> PathBuf {
    standing.owner.as_ref().map(|owner| owner.directory.join("kubeconfig")).unwrap_or_default()
}

fn kind_view((name, standing): &(String, Standing)) -> serde_json::Value {
    json!({
        "name": name,
        "provider": "kind",
        "running": standing.running,
        "directory": standing.owner.as_ref().map(|owner| &owner.directory),
        "kubeconfig": kind_kubeconfig(standing),
    })
}

fn kubeconfig(cluster: &PlayCluster) -> String {
    cluster
        .state
        .kubeconfig
        .as_ref()
        .map_or_else(|| "(starting)".to_owned(), |path| path.display().to_string())
}

fn view(cluster: &PlayCluster) -> serde_json::Value {
    json!({
        "name": cluster.name,
        "provider": "local",
        "running": cluster.running,
        "directory": cluster.dir,
        "state": cluster.state,
    })
}
