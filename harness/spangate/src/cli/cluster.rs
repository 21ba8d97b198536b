//! `spangate cluster`: a local control plane for play, which stays up after the command.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use spangate_cluster::{
    Assets, AssetsEnv, Component, ControlPlaneConfig, Lifetime, Play, PlayCluster, PlayError, Wanted,
};
use spangate_scenario::{
    model::{Cluster, Tracing},
    units::PerMillion,
};

use super::{Output, Session, print, print_json, terminal};
use crate::{
    error::CommandError,
    event::{Event, Events, Step},
    exit::Exit,
    run::environment,
};

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Start a control plane and print its kubeconfig.
    Up(UpArgs),
    /// End a control plane and remove its files.
    Down(NameArgs),
    /// Show the control planes that are up.
    List,
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
    /// Kubernetes version, such as 1.37 or 1.37.2.
    #[arg(long, value_name = "VERSION", default_value = Cluster::DEFAULT_KUBERNETES)]
    kubernetes: String,
    /// OTLP/gRPC receiver for traces, without TLS.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4317", value_parser = endpoint)]
    otlp_endpoint: String,
    /// Traces per million that the API server starts on its own; unset, only sampled requests of privileged
    /// callers are traced.
    #[arg(long, value_name = "N", value_parser = per_million)]
    sampling_rate_per_million: Option<PerMillion>,
}

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
            let stopped = tokio::task::spawn_blocking(move || play.down(&args.name)).await;
            stopped
                .map_err(|panic| CommandError::bug("ending the control plane broke off").because(panic))?
                .map_err(refused)?;
            if !session.global.quiet {
                print(&format!("{name} is down\n"))?;
            }
            Ok(Exit::Pass)
        }
        ClusterCommand::List => list(&play.list().map_err(refused)?, session),
    }
}

fn refused(error: PlayError) -> CommandError {
    match error {
        PlayError::Name { .. } => CommandError::usage(error.to_string()),
        error => CommandError::environment("the control plane cannot be had").because(error),
    }
}

async fn up(play: &Play, args: UpArgs, session: &Session) -> Result<Exit, CommandError> {
    let (events, shown) = terminal::show(session.global.quiet);
    let started = tokio::select! {
        started = start(play, &args, &events) => started,
        () = session.cancel.cancelled() => Err(CommandError::interrupted()),
    };
    drop(events);
    let _ = shown.await;
    let cluster = started?;
    match session.global.output {
        Output::Json => print_json(&view(&cluster))?,
        Output::Text => print(&format!("export KUBECONFIG={}\n", kubeconfig(&cluster)))?,
    }
    Ok(Exit::Pass)
}

async fn start(play: &Play, args: &UpArgs, events: &Events) -> Result<PlayCluster, CommandError> {
    let cluster = Cluster {
        kubernetes: args.kubernetes.clone(),
        tracing: Tracing { sampling_rate_per_million: args.sampling_rate_per_million, ..Tracing::default() },
        ..Cluster::default()
    };
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
        otlp: Some(args.otlp_endpoint.clone()),
        lifetime: Lifetime::Detached,
    };
    let to = events.clone();
    let progress = move |event: spangate_cluster::Event| to.send(Event::Note(event.to_string()));
    play.up(&args.name.name, &config, &progress).await.map_err(refused)
}

fn list(clusters: &[PlayCluster], session: &Session) -> Result<Exit, CommandError> {
    if session.global.output == Output::Json {
        return print_json(&clusters.iter().map(view).collect::<Vec<_>>()).map(|()| Exit::Pass);
    }
    let mut out = String::new();
    for cluster in clusters {
        let running = if cluster.running { "running" } else { "not running" };
        let _ = writeln!(out, "{:16} {running:12} KUBECONFIG={}", cluster.name, kubeconfig(cluster));
    }
    if clusters.is_empty() {
        out.push_str("no control plane is up; start one with `spangate cluster up`\n");
    }
    print(&out).map(|()| Exit::Pass)
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
        "running": cluster.running,
        "directory": cluster.dir,
        "state": cluster.state,
    })
}
