//! `spangate gate`: whether what is new is worse than what was.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use spangate_scenario::{Diagnostics, gate, model};

use super::{Output, Session, colour, print, print_json, terminal, warn};
use crate::{
    collector::Configuration,
    error::CommandError,
    exit::Exit,
    gate::{self as gates, GateOptions, GatePlan, Order, markdown, plan, summary::summary},
    plan::shell_word,
    report::summary::Style,
    run::directory::RunDirectory,
};

mod overhead;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct GateArgs {
    #[command(subcommand)]
    command: Option<GateCommand>,
    #[command(flatten)]
    baseline: overhead::BaselineArgs,
}

#[derive(Debug, Subcommand)]
enum GateCommand {
    /// Run two configurations of a Collector side by side on the same traffic, and judge the new one.
    Sampling(SamplingArgs),
    /// Run two API servers at the same time under the same load, and judge what the new configuration costs.
    Overhead(overhead::OverheadArgs),
    /// Try the gate on overhead on machines that are made up: how often it is red of nothing, and how often it sees a burn.
    ///
    /// Exits with 0, or with 5 if more gates are red of nothing than it says, or fewer than 99 of 100 of a burn.
    SelfTest(overhead::SelfTestArgs),
}

#[derive(Debug, Args)]
pub(super) struct SamplingArgs {
    /// The old configuration of the Collector.
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// The new one.
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    /// What is sent, with the keys of `load.traces` in a scenario; by default errors, slow traces, late spans and
    /// ordinary traces.
    #[arg(long, value_name = "FILE")]
    traffic: Option<PathBuf>,
    /// The rules (`kind: GateRules`); by default errors and slow traces are all kept, no class shrinks, nothing is
    /// refused or dropped too early, and cost does not grow.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// How often both are run, with fresh Collectors.
    #[arg(long, value_name = "N", default_value_t = plan::ROUNDS)]
    rounds: u32,
    /// Seed of the traffic, in place of its own.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// File for the report in Markdown; - is standard output.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Directory in which the gate makes its own.
    #[arg(long, value_name = "DIR", default_value = RunDirectory::ROOT)]
    out: PathBuf,
    /// Version of the Collector, such as 0.161.
    #[arg(long, value_name = "VERSION", default_value = model::Collector::DEFAULT_VERSION)]
    collector_version: String,
    /// Collector to start, in place of the one that would be looked up.
    #[arg(long, value_name = "PATH")]
    otelcol: Option<PathBuf>,
}

pub(super) async fn run(args: GateArgs, session: &Session) -> Result<Exit, CommandError> {
    match args.command {
        Some(GateCommand::Sampling(args)) => sampling(args, session).await,
        Some(GateCommand::Overhead(args)) => overhead::run(&args, session).await,
        Some(GateCommand::SelfTest(args)) => overhead::self_test(&args, session),
        None => overhead::against_baseline(&args.baseline, session),
    }
}

async fn sampling(args: SamplingArgs, session: &Session) -> Result<Exit, CommandError> {
    let markdown_here = args.markdown.as_deref() == Some(Path::new("-"));
    if markdown_here && session.global.output == Output::Json {
        return Err(CommandError::usage("--markdown - and --output json both want standard output"));
    }
    let repeat = args.repeat();
    let (markdown_file, out) = (args.markdown.clone(), args.out.clone());
    let plan = Arc::new(args.plan()?);
    let text = session.global.output == Output::Text && !markdown_here;
    warn(&plan.warnings(), session);
    let (events, shown) = terminal::show(session.global.quiet);
    let options = GateOptions { out, repeat };
    let outcome = Box::pin(gates::run(plan, &options, events, session.cancel.clone())).await;
    // The view goes first, so that its bar does not mix with what follows.
    let _ = shown.await;
    let (report, directory) = outcome?;
    write_markdown(markdown_file.as_deref(), || markdown::markdown(&report))?;
    if session.global.output == Output::Json {
        print_json(&report)?;
    } else if text {
        let style = Style { colour: colour(), verbose: session.global.verbose > 0 };
        print(&format!("{}{}\n", summary(&report, style), directory.path().display()))?;
    }
    Ok(report.exit())
}

// === impl SamplingArgs ===

impl SamplingArgs {
    /// Reads all files, so that a mistake in the last one costs no time.
    fn plan(self) -> Result<GatePlan, CommandError> {
        let base = Configuration::from_file(&self.base)?;
        let head = Configuration::from_file(&self.head)?;
        let mut traffic = match &self.traffic {
            Some(file) => read(file, gate::parse_traffic)?,
            None => plan::built_in_traffic(),
        };
        traffic.seed = self.seed.unwrap_or(traffic.seed);
        let classes: Vec<&str> = traffic.classes.iter().map(|class| class.name.as_str()).collect();
        let rules = match &self.rules {
            Some(file) => read(file, |name, text| gate::parse_rules(name, text, &classes))?,
            None => gate::GateRules::default_for(&traffic.classes),
        };
        let (version, binary) = (self.collector_version, self.otelcol);
        GatePlan::new(Order { base, head, traffic, rules, rounds: self.rounds, version, binary })
    }

    /// The command that does this again.
    fn repeat(&self) -> String {
        let mut words = vec!["spangate gate sampling".to_owned()];
        let mut option = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{name} {}", shell_word(&value))));
        };
        let path = |path: &Path| path.display().to_string();
        option("base", Some(path(&self.base)));
        option("head", Some(path(&self.head)));
        option("traffic", self.traffic.as_deref().map(path));
        option("rules", self.rules.as_deref().map(path));
        option("rounds", (self.rounds != plan::ROUNDS).then(|| self.rounds.to_string()));
        option("seed", self.seed.map(|seed| seed.to_string()));
        let version = &self.collector_version;
        option("collector-version", (version != model::Collector::DEFAULT_VERSION).then(|| version.clone()));
        option("otelcol", self.otelcol.as_deref().map(path));
        words.join(" ")
    }
}

/// Writes the report in Markdown where the user wants it.
fn write_markdown(file: Option<&Path>, page: impl FnOnce() -> String) -> Result<(), CommandError> {
    match file {
        Some(file) if file == Path::new("-") => print(&page()),
        Some(file) => std::fs::write(file, page()).map_err(|error| {
            CommandError::environment(format!("cannot write {}", file.display())).because(error)
        }),
        None => Ok(()),
    }
}

/// Reads a file of ours, or says everything that is wrong with it.
pub(super) fn read<T>(
    file: &Path,
    parse: impl FnOnce(&str, &str) -> Result<T, Diagnostics>,
) -> Result<T, CommandError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CommandError::usage(format!("cannot read {}", file.display())).because(error))?;
    parse(&file.display().to_string(), &text).map_err(|diagnostics| {
        let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(diagnostics));
        CommandError::usage(format!("{} is not valid", file.display()))
    })
}
