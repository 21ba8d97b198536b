//! `spangate run`: runs scenarios one after the other and judges each.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Output, Session, colour, print, print_json, terminal};
use crate::{
    error::CommandError,
    exit::Exit,
    plan::Plan,
    report::{Report, summary},
    run::{self, RunOptions, directory::RunDirectory},
    verdict::Status,
};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Seed of every random choice, in place of the scenario's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Directory in which each run makes its own.
    #[arg(long, value_name = "DIR", default_value = RunDirectory::ROOT)]
    out: PathBuf,
    /// kube-apiserver to start, in place of the one that would be looked up.
    #[arg(long, value_name = "PATH")]
    kube_apiserver: Option<PathBuf>,
    /// etcd to start, in place of the one that would be looked up.
    #[arg(long, value_name = "PATH")]
    etcd: Option<PathBuf>,
}

/// Reads a scenario, or says everything that is wrong with it.
pub(super) fn read_scenario(path: &Path) -> Result<spangate_scenario::Loaded, CommandError> {
    spangate_scenario::read(path).map_err(|error| {
        if !matches!(error, spangate_scenario::ReadError::Invalid(_)) {
            return CommandError::usage("there is no scenario to read").because(error);
        }
        let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(error));
        CommandError::usage(format!("{} is not a valid scenario", path.display()))
    })
}

pub(super) async fn run(args: RunArgs, session: &Session) -> Result<Exit, CommandError> {
    // All files are read before the first one runs: a typo in the last one should not cost the others' time.
    let mut plans = Vec::new();
    let mut invalid = None;
    for file in &args.files {
        match read_scenario(file).and_then(|loaded| Plan::new(loaded, args.seed)) {
            Ok(mut plan) => {
                let binaries = &mut plan.scenario.spec.cluster.binaries;
                binaries.kube_apiserver = args.kube_apiserver.clone().or(binaries.kube_apiserver.take());
                binaries.etcd = args.etcd.clone().or(binaries.etcd.take());
                plans.push(plan);
            }
            Err(error) => invalid = Some(error),
        }
    }
    if let Some(error) = invalid {
        return Err(error);
    }
    let options = RunOptions { out: args.out };
    let mut exit = Exit::Pass;
    let mut reports = Vec::new();
    for plan in plans {
        let report = match one(plan, &options, session).await {
            Ok(report) => report,
            Err(error) if session.cancel.is_cancelled() || args.files.len() == 1 => return Err(error),
            Err(error) => {
                exit = exit.worst(super::fail(error));
                continue;
            }
        };
        exit = exit.worst(report.exit());
        reports.push(report);
    }
    if session.global.output == Output::Json {
        match reports.as_slice() {
            [one] if args.files.len() == 1 => print_json(one)?,
            many => print_json(&many)?,
        }
    } else if args.files.len() > 1 {
        let count = |status| reports.iter().filter(|report| report.status == status).count();
        print(&format!(
            "\n{} scenarios: {} passed, {} failed, {} inconclusive, {} not run\n",
            args.files.len(),
            count(Status::Pass),
            count(Status::Fail),
            count(Status::Inconclusive),
            args.files.len() - reports.len(),
        ))?;
    }
    Ok(exit)
}

async fn one(plan: Plan, options: &RunOptions, session: &Session) -> Result<Report, CommandError> {
    let text = session.global.output == Output::Text;
    if text {
        print(&format!("{} (seed {})\n", plan.scenario.metadata.name, plan.scenario.spec.seed))?;
    }
    let (events, shown) = terminal::show(session.global.quiet);
    let outcome = run::run(plan, options, events, session.cancel.clone()).await;
    // The view goes first, so that its bar does not mix with what follows.
    let _ = shown.await;
    let (report, directory) = outcome?;
    if text {
        let style = summary::Style { colour: colour(), verbose: session.global.verbose > 0 };
        print(&summary::summary(&report, directory.path(), style))?;
        print(&format!("{}\n", directory.path().display()))?;
    }
    Ok(report)
}
