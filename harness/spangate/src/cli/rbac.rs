//! `spangate rbac`: the rights that runs need on a cluster that is there already.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use spangate_scenario::model::Provider;

use super::{
    Output, ProviderName, Session, print, print_json,
    run::{provided, read_scenario},
};
use crate::{error::CommandError, existing::Rights, exit::Exit, plan::Plan};

#[derive(Debug, Args)]
pub(super) struct RbacArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &RbacArgs, session: &Session) -> Result<Exit, CommandError> {
    let plan = |file: &PathBuf| {
        let loaded = provided(read_scenario(file)?, Some(ProviderName::Existing), None)?;
        Plan::new(loaded, None)
    };
    let plans = args.files.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    debug_assert!(plans.iter().all(|plan| plan.scenario.spec.cluster.provider == Provider::Existing));
    let rights = Rights::of(&plans);
    match session.global.output {
        Output::Json => {
            let rights = rights.iter().map(|right| {
                json!({
                    "group": right.group, "resource": right.resource, "namespace": right.namespace,
                    "name": right.name, "verb": right.verb,
                })
            });
            print_json(&rights.collect::<Vec<_>>())?;
        }
        Output::Text => print(&rights.manifest())?,
    }
    Ok(Exit::Pass)
}
