//! `spangate plan`: what would be started and sent, with every default resolved.

use std::path::PathBuf;

use clap::Args;

use super::{
    Output, ProviderName, Session, print, print_json,
    run::{provided, read_scenario},
    warn,
};
use crate::{error::CommandError, exit::Exit, plan::Plan};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Scenario file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seed of every random choice, in place of the scenario's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the control plane comes from, in place of the scenario's choice.
    #[arg(long, value_enum, value_name = "PROVIDER")]
    provider: Option<ProviderName>,
}

pub(super) fn run(args: &PlanArgs, session: &Session) -> Result<Exit, CommandError> {
    let loaded = provided(read_scenario(&args.file)?, args.provider)?;
    let mut plan = Plan::new(loaded, args.seed)?;
    plan.provider_override = args.provider.map(Into::into);
    warn(&plan.warnings(), session);
    match session.global.output {
        Output::Json => print_json(&plan.view())?,
        Output::Text => print(&plan.view().to_string())?,
    }
    Ok(Exit::Pass)
}
