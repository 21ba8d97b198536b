//! `spangate validate`: every mistake of every file at once.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use spangate_scenario::{
    Loaded, ReadError,
    collector::{CheckOptions, Severity},
    read, read_from,
};

use super::{Output, Session, print, print_json, warn};
use crate::{
    collector::Configuration,
    error::CommandError,
    exit::Exit,
    plan::{broken_lines, cel_mistakes, read_replay},
};

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Scenario files; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &ValidateArgs, session: &Session) -> Result<Exit, CommandError> {
    let mut exit = Exit::Pass;
    let mut results = Vec::new();
    for file in &args.files {
        let stdin = file == Path::new("-");
        let name = if stdin { Path::new("standard input") } else { file };
        let read = if stdin { read_from(io::stdin().lock(), name) } else { read(file) };
        let mut warnings = Vec::new();
        let (text, problems) = match read {
            Ok(loaded) => {
                warnings.extend(of_record(&loaded));
                let mut mistakes = cel_mistakes(&loaded.scenario);
                match of_collector(&loaded) {
                    Ok(remarks) => warnings.extend(remarks),
                    Err(error) => mistakes.push(error.chain()),
                }
                let text: Vec<String> =
                    mistakes.iter().map(|mistake| format!("{}: {mistake}\n", name.display())).collect();
                (text.concat(), mistakes.iter().map(|mistake| json!({"message": mistake})).collect())
            }
            Err(error) => {
                let problems = problems(&error);
                (format!("{:?}\n", miette::Report::new(error)), problems)
            }
        };
        if !problems.is_empty() {
            exit = Exit::Usage;
        }
        match session.global.output {
            Output::Json => {}
            Output::Text if !problems.is_empty() => print(&text)?,
            Output::Text if session.global.quiet => {}
            Output::Text => print(&format!("{}: valid\n", name.display()))?,
        }
        warn(&warnings, session);
        results.push(json!({
            "file": file,
            "valid": problems.is_empty(),
            "problems": problems,
            "warnings": warnings,
        }));
    }
    if session.global.output == Output::Json {
        print_json(&results)?;
    }
    Ok(exit)
}

/// What is amiss with the record that a valid scenario replays. It is another file, so the scenario stays valid.
fn of_record(loaded: &Loaded) -> Option<String> {
    let name = loaded.path.display();
    match read_replay(&loaded.scenario, &loaded.path)? {
        Ok(replay) => broken_lines(&replay),
        Err(error) => {
            let message = format!("the load of {name} cannot be replayed as things are");
            Some(CommandError::usage(message).because(error).chain())
        }
    }
}

/// What is likely to go wrong with the Collector of a scenario. A configuration that is none, or cannot take what the
/// scenario sends, is a mistake of the scenario wherever it is written.
fn of_collector(loaded: &Loaded) -> Result<Vec<String>, CommandError> {
    let Some(collector) = &loaded.scenario.spec.collector else { return Ok(Vec::new()) };
    let configuration = Configuration::read(collector, loaded.path.parent().unwrap_or(Path::new("")))?;
    let errors = configuration.remarks(&CheckOptions::default(), Severity::Error);
    configuration.suits(&loaded.scenario)?;
    Ok(errors)
}

fn problems(error: &ReadError) -> Vec<serde_json::Value> {
    match error {
        ReadError::Invalid(diagnostics) => diagnostics
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
        other => {
            let cause = std::error::Error::source(other).map(ToString::to_string);
            vec![json!({"message": other.to_string(), "cause": cause})]
        }
    }
}
