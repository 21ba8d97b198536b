//! `spangate assets`: where the binaries come from.

use std::fmt::Write;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use spangate_cluster::{Assets, AssetsEnv, Component, Wanted};

use super::{Output, Session, print, print_json, terminal};
use crate::{error::CommandError, event::Step, exit::Exit, run::environment};

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
    /// Which; by default both.
    #[arg(value_enum, value_name = "COMPONENT")]
    components: Vec<Name>,
    /// Version of the component, such as 1.37 or 1.37.2; by default the newest known one.
    #[arg(long, value_name = "VERSION", requires = "components")]
    version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    KubeApiserver,
    Etcd,
    Otelcol,
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
    let mut found = Vec::new();
    let mut failure = None;
    for name in names {
        let component = match name {
            Name::KubeApiserver => Component::KubeApiserver,
            Name::Etcd => Component::Etcd,
            Name::Otelcol => Component::Otelcol,
        };
        match environment::fetch(
            &assets,
            wanted(&assets, component, args.version.as_deref())?,
            build,
            &events,
        )
        .await
        {
            Ok(one) => found.push(one),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    drop(events);
    let _ = shown.await;
    for one in found {
        print(&format!("{one}\n"))?;
    }
    failure.map_or(Ok(Exit::Pass), Err)
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
