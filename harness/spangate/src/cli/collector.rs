//! `spangate collector`: what an OpenTelemetry Collector will do with its configuration.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use spangate_scenario::{
    Diagnostics,
    collector::{self, CheckOptions, Finding, Report, Severity},
    file::MAX_BYTES,
    units,
};

use super::{Output, Session, print, print_json};
use crate::{collector::asked::Asked, error::CommandError, exit::Exit};

#[derive(Debug, Subcommand)]
pub(super) enum CollectorCommand {
    /// Say what will go wrong with Collector configurations, before one runs.
    ///
    /// Errors keep the Collector from starting; warnings are things that it does otherwise than one would think;
    /// notes are good to know. The exit code is 1 if there are errors or warnings.
    ///
    /// If there is a Collector on this machine, it is asked too whether it takes the configuration (`otelcol
    /// validate`), which finds misspelt keys and values of a wrong type. Nothing is started, downloaded or built.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Collector configurations; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// New traces in a second; by default what `expected_new_traces_per_sec` says.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    traces_per_second: Option<f64>,
    /// How long the longest request takes; by default 1s, Kubernetes' objective for most calls.
    #[arg(long, value_name = "DURATION")]
    longest_request: Option<units::Duration>,
    /// How long the API server keeps spans before it sends them; by default 5s.
    #[arg(long, value_name = "DURATION")]
    batch_flush: Option<units::Duration>,
    /// The API server's samplingRatePerMillion.
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    head_sampling_rate_per_million: Option<u32>,
    /// Trace ids are counted up and not drawn.
    #[arg(long)]
    sequential_ids: bool,
    /// Collector to ask, in place of the one that is looked up.
    #[arg(long, value_name = "PATH")]
    otelcol: Option<PathBuf>,
}

pub(super) fn run(command: &CollectorCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        CollectorCommand::Check(args) => check(args, session),
    }
}

fn check(args: &CheckArgs, session: &Session) -> Result<Exit, CommandError> {
    let options = options(args);
    let asked = Asked::locate(args.otelcol.clone())?;
    let mut exit = Exit::Pass;
    let mut results = Vec::new();
    for file in &args.files {
        let stdin = file == Path::new("-");
        let name = if stdin { "standard input".to_owned() } else { file.display().to_string() };
        let text = text(file, stdin).map_err(|error| {
            let help = "a configuration is a file of UTF-8 text";
            CommandError::usage(format!("cannot read {name}")).because(error).help(help)
        })?;
        let (shown, findings, fails) = match collector::parse(&name, &text) {
            Ok(config) => {
                let mut findings = collector::check(&config, &options);
                if let Some(asked) = &asked {
                    findings.extend(asked.refused(&config, &findings)?);
                    findings.sort_by_key(|finding| finding.span.start);
                }
                let fails = findings.iter().any(|finding| finding.severity > Severity::Note);
                (shown(Report::new(&config, findings.clone()), &findings), json!(findings), fails)
            }
            Err(diagnostics) => {
                let findings = unreadable(&diagnostics);
                (format!("{:?}\n", miette::Report::new(diagnostics)), findings, true)
            }
        };
        if fails {
            exit = exit.worst(Exit::Failed);
        }
        if session.global.output == Output::Text && (fails || !session.global.quiet) {
            print(&shown)?;
        }
        results.push(json!({"file": file, "asked": asked.as_ref().map(Asked::name), "findings": findings}));
    }
    if asked.is_none() && session.global.output == Output::Text && !session.global.quiet {
        print(NOBODY_ASKED)?;
    }
    if session.global.output == Output::Json {
        print_json(&results)?;
    }
    Ok(exit)
}

/// What a user should know where only the rules were used.
const NOBODY_ASKED: &str = "no Collector was asked, so misspelt keys and values of a wrong type may be left: \
                            `spangate assets build otelcol` makes one\n";

fn options(args: &CheckArgs) -> CheckOptions {
    let default = CheckOptions::default();
    let or = |given: Option<units::Duration>, default: Duration| given.map_or(default, units::Duration::get);
    CheckOptions {
        traces_per_second: args.traces_per_second,
        longest_request: or(args.longest_request, default.longest_request),
        batch_flush: or(args.batch_flush, default.batch_flush),
        head_sampling_rate_per_million: args.head_sampling_rate_per_million,
        sequential_ids: args.sequential_ids,
    }
}

/// The text of a file, or of standard input; one byte more than may be, so that what is longer is told.
fn text(file: &Path, stdin: bool) -> io::Result<String> {
    let mut text = String::new();
    let most = MAX_BYTES as u64 + 1;
    if stdin {
        io::stdin().lock().take(most).read_to_string(&mut text)?;
    } else {
        fs::File::open(file)?.take(most).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The findings with the lines they are about, or one line that there are none.
fn shown(report: Report, findings: &[Finding]) -> String {
    if findings.is_empty() { format!("{report}\n") } else { format!("{:?}\n", miette::Report::new(report)) }
}

/// What keeps a file from being read at all, in the form of findings.
fn unreadable(diagnostics: &Diagnostics) -> Value {
    let problems = diagnostics.problems().iter().map(|problem| {
        json!({
            "rule": "unreadable",
            "severity": Severity::Error,
            "line": problem.line(),
            "column": problem.column(),
            "path": problem.path().to_string(),
            "message": problem.to_string(),
            "why": "the Collector cannot read it",
            "fix": problem.advice().unwrap_or_default(),
            "scenario": null,
        })
    });
    problems.collect()
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a rate is a number above 0".to_owned())
}
