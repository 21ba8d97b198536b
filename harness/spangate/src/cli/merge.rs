//! `spangate merge`: joins what the workers of one load left.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{Output, Session, print, print_json, worker::told};
use crate::{error::CommandError, exit::Exit, merge, report::latencies};

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// Directories that workers left.
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Directory for what is joined.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go without parts that are missing, and say which.
    #[arg(long)]
    partial: bool,
}

pub(super) fn run(args: &MergeArgs, session: &Session) -> Result<Exit, CommandError> {
    let merge::Merged { summary, requests, missing } =
        merge::merge(&args.directories, &args.out, args.partial)?;
    match session.global.output {
        Output::Json => print_json(&json!({
            "missing": missing,
            "planned": summary.planned,
            "started": summary.started,
            "shed": summary.shed,
            "notStarted": summary.not_started,
            "requests": requests,
            "aborted": summary.aborted,
            "bottleneck": summary.bottleneck,
            "directory": args.out,
        }))?,
        Output::Text => {
            let mut text = format!("{} workers: {}\n", args.directories.len(), told(&summary));
            if !missing.is_empty() {
                let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
                let _ = writeln!(text, "missing: {}", missing.join(", "));
            }
            text.push_str(&latencies::table(&summary.latencies));
            print(&format!("{text}{}\n", args.out.display()))?;
        }
    }
    // As of a run: a load that was given up has failed, and a generator that fell short decides nothing.
    Ok(match (&summary.aborted, &summary.bottleneck) {
        (Some(_), _) => Exit::Failed,
        (None, Some(_)) => Exit::Inconclusive,
        (None, None) => Exit::Pass,
    })
}
