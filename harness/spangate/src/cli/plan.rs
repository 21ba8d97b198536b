//! `spangate plan`: what would be started and sent, with every default resolved.

use std::path::PathBuf;

use clap::Args;

use super::{Output, Session, print, print_json, run::read_scenario, warn};
use crate::{error::CommandError, exit::Exit, plan::Plan};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Scenario file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seed of every random choice, in place of the scenario's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub(super) fn run(args: &PlanArgs, session: &Session) -> Result<Exit, CommandError> {
    let plan = Plan::new(read_scenario(&args.file)?, args.seed)?;
    warn(&plan.warnings(), session);
    match session.global.output {
        Output::Json => print_json(&plan.view())?,
        Output::Text => print(&plan.view().to_string())?,
    }
    Ok(Exit::Pass)
}
