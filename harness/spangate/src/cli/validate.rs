//! `spangate validate`: every mistake of every file at once.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Output, Session, print, print_json};
use crate::{error::CommandError, exit::Exit};

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &ValidateArgs, session: &Session) -> Result<Exit, CommandError> {
    let mut exit = Exit::Pass;
    let mut results = Vec::new();
    for file in &args.files {
        let error = spangate_scenario::read(file).err();
        if let Some(error) = &error {
            exit = Exit::Usage;
            results.push(json!({"file": file, "valid": false, "problems": problems(error)}));
        } else {
            results.push(json!({"file": file, "valid": true, "problems": []}));
        }
        match (session.global.output, error) {
            (Output::Json, _) => {}
            (Output::Text, None) if session.global.quiet => {}
            (Output::Text, None) => print(&format!("{}: valid\n", file.display()))?,
            (Output::Text, Some(error)) => print(&format!("{:?}\n", miette::Report::new(error)))?,
        }
    }
    if session.global.output == Output::Json {
        print_json(&results)?;
    }
    Ok(exit)
}

fn problems(error: &spangate_scenario::ReadError) -> Vec<serde_json::Value> {
    match error {
        spangate_scenario::ReadError::Invalid(diagnostics) => diagnostics
            .problems()
            .iter()
            .map(|problem| {
                json!({
                    "line": problem.line(),
                    "column": problem.column(),
                    "path": problem.path().to_string(),
                    "message": problem.to_string(),
                    "help": problem.advice(),
                })
            })
            .collect(),
        other => vec![json!({"message": other.to_string()})],
    }
}
