//! `spangate check`: judges a saved run again, with its own expectations or with those of another file.

use std::path::PathBuf;

use clap::Args;

use super::{From, Output, Session, colour, print, print_json, run::read_scenario};
use crate::{
    error::CommandError,
    exit::Exit,
    report::{Report, overall, summary},
    run::directory::RunDirectory,
    saved, verdict,
};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    from: From,
    /// Scenario file whose expectations are judged; by default the one that was run.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(args: &CheckArgs, session: &Session) -> Result<Exit, CommandError> {
    let scenario = args.file.as_deref().map(read_scenario).transpose()?.map(|loaded| loaded.scenario);
    let directory = saved::open(args.from.from.as_deref())?;
    if let Some(scenario) = &scenario {
        let ran = saved::read_scenario(&directory)?;
        let other = [
            ("faults", ran.spec.faults != scenario.spec.faults),
            ("load", ran.spec.load != scenario.spec.load),
            ("tracing", ran.spec.cluster.tracing != scenario.spec.cluster.tracing),
        ];
        if let Some((what, _)) = other.iter().find(|(_, differs)| *differs) {
            return Err(CommandError::usage(format!(
                "the run in {} had another {what}",
                directory.path().display()
            ))
            .help("a saved run can be judged by other expectations only; run the scenario for the rest"));
        }
    }
    let evidence = saved::read(&directory, scenario)?;
    let report: Report = directory.read_json(RunDirectory::REPORT).map_err(|error| {
        CommandError::environment("the report of the saved run cannot be read").because(error)
    })?;
    let verdicts = verdict::judge(&evidence);
    let report = Report {
        status: overall(&verdicts),
        verdicts,
        // It may have been moved.
        directory: directory.path().display().to_string(),
        ..report
    };
    match session.global.output {
        Output::Json => print_json(&report)?,
        Output::Text => {
            let style = summary::Style { colour: colour(), verbose: session.global.verbose > 0 };
            print(&summary::summary(&report, directory.path(), style))?;
        }
    }
    Ok(report.exit())
}
