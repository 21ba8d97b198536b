//! `spangate schema`: the generated files, as they are committed.

use clap::{Args, ValueEnum};
use spangate_scenario::{reference, schema};

use super::print;
use crate::{error::CommandError, exit::Exit, overhead::rules::rules_schema, report::schema::report_schema};

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Which file.
    #[arg(value_enum, default_value_t)]
    of: Of,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Of {
    /// schemas/scenario.schema.json
    #[default]
    Scenario,
    /// schemas/experiment.schema.json
    Experiment,
    /// schemas/gate-rules.schema.json
    GateRules,
    /// schemas/overhead-rules.schema.json
    OverheadRules,
    /// schemas/report.schema.json
    Report,
    /// docs/scenario-reference.md
    Reference,
}

pub(super) fn run(args: &SchemaArgs) -> Result<Exit, CommandError> {
    let text = match args.of {
        Of::Scenario => schema::text(&schema::scenario_schema()),
        Of::Experiment => schema::text(&schema::experiment_schema()),
        Of::GateRules => schema::text(&schema::gate_rules_schema()),
        Of::OverheadRules => schema::text(&rules_schema()),
        Of::Report => report_schema(),
        Of::Reference => reference::reference(),
    };
    print(&text).map(|()| Exit::Pass)
}
