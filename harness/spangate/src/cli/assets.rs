//! `spangate assets`: where the binaries come from.

use std::fmt::Write;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use spangate_cluster::{Assets, AssetsEnv, Component, Wanted};
use spangate_scenario::model::Cluster;

use super::{Output, Session, print, print_json, terminal};
use crate::{
    error::CommandError,
    event::{Events, Step},
    exit::Exit,
    run::environment,
};

#[derive(Debug, Subcommand)]
pub(super) enum AssetsCommand {
    /// Every known release, and where it is at hand.
    List,
    /// Find binaries, or download them, or build them.
    Fetch(FetchArgs),
    /// Build binaries from their Go modules, even where they could be downloaded.
    Build(FetchArgs),
}

#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// Which; by default those that a local control plane and a Collector need.
    #[arg(value_enum, value_name = "COMPONENT")]
    components: Vec<Name>,
    /// Version of the component, such as 1.37 or 1.37.2; by default the newest known one.
    #[arg(long, visible_alias = "kubernetes", value_name = "VERSION", requires = "components")]
    version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    KubeApiserver,
    Etcd,
    Otelcol,
    Kind,
    Jaeger,
    Prometheus,
    /// The image of the nodes of kind clusters; its version is that of Kubernetes.
    NodeImage,
}

pub(super) async fn run(command: AssetsCommand, session: &Session) -> Result<Exit, CommandError> {
    let assets = Assets::new(AssetsEnv::from_process());
    match command {
        AssetsCommand::List => list(&assets, session),
        AssetsCommand::Fetch(args) => fetch(assets, args, false, session).await,
        AssetsCommand::Build(args) => fetch(assets, args, true, session).await,
    }
}

fn list(assets: &Assets, session: &Session) -> Result<Exit, CommandError> {
    let releases = assets.list();
    if session.global.output == Output::Json {
        let view: Vec<_> = releases
            .iter()
            .map(|asset| {
                json!({
                    "component": asset.component,
                    "version": asset.version,
                    "default": asset.default,
                    "downloadable": asset.downloadable,
                    "buildable": asset.buildable,
                    "path": asset.found.as_ref().map(|found| &found.path),
                    "source": asset.found.as_ref().map(|found| found.source),
                })
            })
            .collect();
        return print_json(&view).map(|()| Exit::Pass);
    }
    let mut out = String::new();
    for asset in &releases {
        let default = if asset.default { " (default)" } else { "" };
        let place = match &asset.found {
            Some(found) => format!("{} [{}]", found.path.display(), found.source),
            None => match (asset.downloadable, asset.buildable) {
                (true, true) => "not here: can be downloaded or built".to_owned(),
                (true, false) => "not here: can be downloaded".to_owned(),
                (false, true) => "not here: can be built".to_owned(),
                (false, false) => "not here, and cannot be had for this machine".to_owned(),
            },
        };
        let name = format!("{} {}{default}", asset.component, asset.version);
        let _ = writeln!(out, "{name:32} {place}");
    }
    print(&out).map(|()| Exit::Pass)
}

async fn fetch(
    assets: Assets,
    args: FetchArgs,
    build: bool,
    session: &Session,
) -> Result<Exit, CommandError> {
    let all = [Name::Etcd, Name::KubeApiserver, Name::Otelcol];
    let names = if args.components.is_empty() { all.to_vec() } else { args.components };
    let (events, shown) = terminal::show(session.global.quiet);
    events.step(Step::Binaries);
    let mut lines = Vec::new();
    let mut failure = None;
    for name in names {
        let fetched = tokio::select! {
            fetched = fetch_one(&assets, name, args.version.as_deref(), build, &events) => fetched,
            // What is being built ends with this process.
            () = session.cancel.cancelled() => Err(CommandError::interrupted()),
        };
        match fetched {
            Ok(line) => lines.push(line),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    drop(events);
    terminal::until_shown(shown, &session.cancel).await;
    for line in lines {
        print(&format!("{line}\n"))?;
    }
    failure.map_or(Ok(Exit::Pass), Err)
}

/// Fetches one, and says where it is.
async fn fetch_one(
    assets: &Assets,
    name: Name,
    version: Option<&str>,
    build: bool,
    events: &Events,
) -> Result<String, CommandError> {
    let component = match name {
        Name::KubeApiserver => Component::KubeApiserver,
        Name::Etcd => Component::Etcd,
        Name::Otelcol => Component::Otelcol,
        Name::Kind => Component::Kind,
        Name::Jaeger => Component::Jaeger,
        Name::Prometheus => Component::Prometheus,
        Name::NodeImage => return node_image(assets, version, events).await,
    };
    let wanted = wanted(assets, component, version)?;
    environment::fetch(assets, wanted, build, events).await.map(|found| found.to_string())
}

async fn node_image(assets: &Assets, version: Option<&str>, events: &Events) -> Result<String, CommandError> {
    let spec = version.unwrap_or(Cluster::DEFAULT_KUBERNETES).parse();
    let spec = spec.map_err(|error| CommandError::usage(format!("{error}")))?;
    let docker = crate::run::kind::docker()?;
    let (image, built) = crate::run::kind::node_image(&docker, assets, spec, events).await?;
    Ok(format!("node image {image} ({})", if built { "built" } else { "at hand" }))
}

fn wanted(assets: &Assets, component: Component, version: Option<&str>) -> Result<Wanted, CommandError> {
    let spec = match version {
        Some(text) => text.parse().map_err(|error| CommandError::usage(format!("{error}")))?,
        None => assets
            .catalogue()
            .default_version(component)
            .ok_or_else(|| CommandError::bug(format!("the catalogue has no {component}")))?
            .into(),
    };
    Ok(Wanted { component, spec, path: None })
}
