//! `spangate baseline`: figures under a name.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Output, Session, print, print_json};
use crate::{
    error::CommandError,
    exit::Exit,
    overhead::{Baseline, Metric, found},
    run::directory::RunDirectory,
};

#[derive(Debug, Subcommand)]
pub(super) enum BaselineCommand {
    /// Save what was measured under a name, in a file to commit.
    Save(SaveArgs),
}

#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    /// Name of the baseline.
    #[arg(value_name = "NAME")]
    name: String,
    /// Directory of an experiment, of a gate on overhead, or of a run; by default the newest run.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// File, in place of baselines/NAME.json.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(command: BaselineCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        BaselineCommand::Save(args) => save(args, session),
    }
}

fn save(args: SaveArgs, session: &Session) -> Result<Exit, CommandError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if args.name.is_empty() || args.name.starts_with('.') || !args.name.chars().all(plain) {
        let message = format!("{:?} is no name of a baseline", args.name);
        return Err(CommandError::usage(message).help("use letters, digits, `-`, `_` and `.`"));
    }
    let directory = match args.directory {
        Some(directory) => directory,
        None => RunDirectory::latest(RunDirectory::ROOT.as_ref())
            .map_err(|error| CommandError::usage("there is nothing to save").because(error))?
            .path()
            .to_owned(),
    };
    let measured = found::measured(&directory)?;
    let file = args.file.unwrap_or_else(|| PathBuf::from(Baseline::ROOT).join(format!("{}.json", args.name)));
    let baseline = Baseline::new(&args.name, jiff::Timestamp::now().to_string(), measured);
    baseline.write(&file)?;
    match session.global.output {
        Output::Json => print_json(&baseline)?,
        Output::Text => {
            let measured = &baseline.measured;
            let has = |metric: &Metric| measured.units.iter().any(|unit| unit.figures.contains_key(metric));
            let (travel, stay): (Vec<Metric>, Vec<Metric>) =
                Metric::ALL.into_iter().filter(has).partition(|metric| metric.travels());
            let names = |metrics: Vec<Metric>| {
                let names: Vec<_> = metrics.into_iter().map(Metric::label).collect();
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            };
            print(&format!(
                "{}: {} units of {}\n  compared everywhere: {}\n  compared on {} x {} alone: {}\n",
                file.display(),
                measured.units.len(),
                measured.key.experiment,
                names(travel),
                measured.key.cores,
                measured.key.cpu,
                names(stay),
            ))?;
        }
    }
    Ok(Exit::Pass)
}
