//! `spangate plan`: what would be started and sent, with every default resolved; of an experiment, what would be measured.

use std::path::{Path, PathBuf};

use clap::Args;
use spangate_cluster::VersionSpec;
use spangate_scenario::units::Ratio;

use super::{
    Output, ProviderName, Session,
    bench::{Choice, read_experiment},
    print, print_json,
    run::{provided, read_scenario},
    warn,
};
use crate::{
    bench::experiment::{Outlook, Task, api_server, collector, outlook::Spread},
    error::CommandError,
    exit::Exit,
    overhead::found,
    plan::Plan,
};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// File of a scenario or of an experiment.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seed of every random choice, in place of the file's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the control plane comes from, in place of the scenario's choice.
    #[arg(long, value_enum, value_name = "PROVIDER")]
    provider: Option<ProviderName>,
    /// Kubernetes version, such as 1.37 or 1.37.2, in place of the scenario's.
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<VersionSpec>,
    #[command(flatten)]
    experiment: ExperimentArgs,
}

/// What is asked of an experiment.
#[derive(Debug, Args)]
#[command(next_help_heading = "Of an experiment")]
struct ExperimentArgs {
    /// Plan only these arms and the reference.
    #[arg(long = "arm", value_name = "NAME")]
    arms: Vec<String>,
    /// How often each arm is measured, in place of what the experiment says.
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// By how much a pair of an arm and the reference differs from the next one; by default as on a busy machine of two cores.
    #[arg(long, value_name = "SHARE", conflicts_with = "measured")]
    spread: Option<Ratio>,
    /// Directory of the same experiment, measured before: pairs vary as they did there.
    #[arg(long, value_name = "DIR")]
    measured: Option<PathBuf>,
}

pub(super) fn run(args: &PlanArgs, session: &Session) -> Result<Exit, CommandError> {
    if is_experiment(&args.file) {
        return outlook(args, session);
    }
    args.experiment.refuse(&args.file)?;
    let loaded = provided(read_scenario(&args.file)?, args.provider, args.kubernetes)?;
    let mut plan = Plan::new(loaded, args.seed)?;
    plan.provider_override = args.provider.map(Into::into);
    plan.kubernetes_override = args.kubernetes;
    warn(&plan.warnings(), session);
    match session.global.output {
        Output::Json => print_json(&plan.view())?,
        Output::Text => print(&plan.view().to_string())?,
    }
    Ok(Exit::Pass)
}

fn outlook(args: &PlanArgs, session: &Session) -> Result<Exit, CommandError> {
    if args.provider.is_some() {
        return Err(CommandError::usage(
            "the arms of an experiment are measured on local processes, so --provider has no effect",
        ));
    }
    let own = &args.experiment;
    let choice = Choice { arms: &own.arms, rounds: own.rounds, seed: args.seed };
    let experiment = read_experiment(&args.file, &choice, |task: &Task<'_>| {
        if task.experiment.spec.load.traces.is_some() {
            collector::prepare(task).map(drop)
        } else {
            api_server::plan(task).map(drop)
        }
    })?;
    let spread = match (own.spread, &own.measured) {
        (Some(spread), _) => Spread::Given(spread.get()),
        (None, Some(directory)) => Spread::Measured(Box::new(found::measured(directory)?)),
        (None, None) => Spread::MadeUp,
    };
    let outlook = Outlook::new(&experiment, &spread)?;
    match session.global.output {
        Output::Json => print_json(&outlook)?,
        Output::Text => print(&outlook.to_string())?,
    }
    Ok(Exit::Pass)
}

/// Whether a file says that it is an experiment. What cannot be read is none, and told by whoever reads it.
fn is_experiment(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("kind:")).any(|kind| kind.trim() == "Experiment")
}

// === impl ExperimentArgs ===

impl ExperimentArgs {
    /// Refuses options that say nothing of a scenario.
    fn refuse(&self, file: &Path) -> Result<(), CommandError> {
        let given = [
            ("--arm", !self.arms.is_empty()),
            ("--rounds", self.rounds.is_some()),
            ("--spread", self.spread.is_some()),
            ("--measured", self.measured.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(CommandError::usage(format!(
                "{option} is for experiments, and {} is none",
                file.display()
            ))
            .help("an experiment begins with `apiVersion: spangate/v1alpha1` and `kind: Experiment`")),
            None => Ok(()),
        }
    }
}
