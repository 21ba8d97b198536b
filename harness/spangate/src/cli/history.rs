//! `spangate history`: figures over time, and where they changed for good.

use std::path::PathBuf;

use clap::Args;

use super::{Output, Session, print, print_json};
use crate::{
    error::CommandError,
    exit::Exit,
    overhead::{
        Metric, found,
        history::{self, Entry},
    },
};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The history, one JSON object a line.
    #[arg(long, value_name = "FILE", default_value = history::FILE)]
    file: PathBuf,
    /// Add what the directory of an experiment, of a gate on overhead or of a run has measured.
    #[arg(long, value_name = "DIR")]
    add: Option<PathBuf>,
    /// What to call what is added: a commit, say.
    #[arg(long, value_name = "TEXT", requires = "add")]
    label: Option<String>,
    /// Show this figure alone, such as cpuPerRequest.
    #[arg(long, value_name = "METRIC", value_parser = metric)]
    metric: Option<Metric>,
    /// Show this arm alone.
    #[arg(long, value_name = "ARM")]
    arm: Option<String>,
}

pub(super) fn run(args: &HistoryArgs, session: &Session) -> Result<Exit, CommandError> {
    if let Some(directory) = &args.add {
        let measured = found::measured(directory)?;
        let at = measured.began().unwrap_or_else(|| jiff::Timestamp::now().to_string());
        Entry::new(&measured, at, args.label.clone()).append(&args.file)?;
    }
    let wanted = |arm: &str, metric: Metric| {
        args.arm.as_ref().is_none_or(|it| it == arm) && args.metric.is_none_or(|it| it == metric)
    };
    let series = history::series(&history::read(&args.file)?, wanted);
    match session.global.output {
        Output::Json => print_json(&series)?,
        Output::Text => print(&history::text(&series))?,
    }
    Ok(Exit::Pass)
}

/// A figure by its key in files.
fn metric(text: &str) -> Result<Metric, String> {
    let found = Metric::ALL.into_iter().find(|metric| metric.key() == text);
    found.ok_or_else(|| format!("it is one of {}", Metric::ALL.map(Metric::key).join(", ")))
}
