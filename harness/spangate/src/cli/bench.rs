//! `spangate bench`: what tracing costs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use spangate_scenario::{Experiment, model, units};

use super::{Output, Session, print, print_json, terminal};
use crate::{
    bench::{
        self, Design, DuetOptions, Operation,
        experiment::{self, ExperimentOptions, ExperimentReport, Task, api_server, stop::Stop},
    },
    error::CommandError,
    event::Events,
    exit::Exit,
    run::{self, directory::RunDirectory},
};

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Measure what tracing adds to a request, in one API server: blocks of traced and untraced requests take turns.
    ///
    /// Exits with 0, or with 4 if nothing can be said of an operation, or if equal blocks differ.
    Duet(DuetArgs),
    /// Measure what tracing costs: arms of an experiment, at once or in turns, the API server started anew for each unit.
    ///
    /// Exits with 0, or with 4 if an arm has fewer units than its intervals need.
    Overhead(OverheadArgs),
    /// Compare Collectors by synthetic traces: CPU a span, memory, loss, and how long spans take through them.
    ///
    /// Exits with 0, or with 4 if an arm has fewer units than its intervals need.
    Collector(CollectorArgs),
}

#[derive(Debug, Args)]
pub(super) struct OverheadArgs {
    /// The experiment [default: experiments/overhead.yaml].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    more: ExperimentArgs,
}

#[derive(Debug, Args)]
pub(super) struct CollectorArgs {
    /// The experiment [default: experiments/collector.yaml].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    more: ExperimentArgs,
}

#[derive(Debug, Args)]
struct ExperimentArgs {
    /// Measure only these arms and the reference.
    #[arg(long = "arm", value_name = "NAME")]
    arms: Vec<String>,
    /// How often each arm is measured, in place of what the experiment says.
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Seed, in place of the experiment's own.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Directory of a bench that broke off, to go on with; its experiment is used, and FILE must not differ from it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["arms", "rounds", "seed"])]
    resume: Option<PathBuf>,
    /// Directory in which the bench makes its own.
    #[arg(long, value_name = "DIR", default_value = RunDirectory::ROOT)]
    out: PathBuf,
    /// File for the report in Markdown; - is standard output.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DuetArgs {
    /// Operations; by default all.
    #[arg(value_name = "OPERATION")]
    operations: Vec<Operation>,
    /// Operations in a second.
    #[arg(long, value_name = "RATE", default_value = "200/s")]
    rate: units::Rate,
    /// Pairs of blocks for each operation.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pairs: u32,
    /// Length of a block.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    block: units::Duration,
    /// How long is sent before anything counts.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    warm_up: units::Duration,
    /// Seed of the order of blocks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Version of Kubernetes.
    #[arg(long, value_name = "VERSION", default_value = "1.37")]
    kubernetes: String,
    /// Directory in which the bench makes its own.
    #[arg(long, value_name = "DIR", default_value = RunDirectory::ROOT)]
    out: PathBuf,
    /// File for the report in Markdown; - is standard output.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

pub(super) async fn run(command: BenchCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        BenchCommand::Duet(args) => duet(args, session).await,
        BenchCommand::Overhead(args) => overhead(&args, session).await,
        BenchCommand::Collector(args) => collector(&args, session).await,
    }
}

async fn duet(args: DuetArgs, session: &Session) -> Result<Exit, CommandError> {
    one_output(args.markdown.as_deref(), session)?;
    let design = args.design();
    design.check()?;
    let operations =
        if args.operations.is_empty() { Operation::ALL.to_vec() } else { args.operations.clone() };
    let options = DuetOptions { out: args.out.clone(), repeat: args.repeat() };
    let (events, shown) = terminal::show(session.global.quiet);
    let each = async |operation: Operation, plan, options: &_| {
        let (events, shown) = terminal::show(session.global.quiet);
        events.send(crate::event::Event::Note(format!("measuring {}", operation.name())));
        let outcome = Box::pin(run::run(plan, options, events, session.cancel.clone())).await;
        // The view goes first, so that its bar does not mix with what follows.
        let _ = shown.await;
        outcome
    };
    let outcome = bench::run(&design, &operations, &options, &session.cancel, each, &events).await;
    drop::<Events>(events);
    let _ = shown.await;
    let (report, directory) = outcome?;
    let said = Said { text: report.text(), markdown: report.markdown() };
    said.say(args.markdown.as_deref(), &report, &directory, session)?;
    Ok(report.exit())
}

async fn overhead(args: &OverheadArgs, session: &Session) -> Result<Exit, CommandError> {
    let more = &args.more;
    one_output(more.markdown.as_deref(), session)?;
    let file = file(args.file.as_deref(), "experiments/overhead.yaml");
    let experiment = more.experiment(args.file.as_deref(), file, |task| api_server::plan(task).map(drop))?;
    let (events, shown) = terminal::show(session.global.quiet);
    let measure = async |tasks: &[Task<'_>]| {
        let (events, shown) = terminal::show(session.global.quiet);
        let outcomes = api_server::measure(tasks, &events, &session.cancel).await;
        // The view goes first, so that its bar does not mix with what follows.
        drop(events);
        let _ = shown.await;
        outcomes
    };
    let options = more.options(base(file), format!("spangate bench overhead {}", more.repeat(file)));
    let bench = experiment::run(experiment, &options, &session.cancel, measure, &events);
    let outcome = Box::pin(bench).await;
    drop::<Events>(events);
    let _ = shown.await;
    more.told(outcome?, session)
}

async fn collector(args: &CollectorArgs, session: &Session) -> Result<Exit, CommandError> {
    let more = &args.more;
    one_output(more.markdown.as_deref(), session)?;
    let file = file(args.file.as_deref(), "experiments/collector.yaml");
    let experiment =
        more.experiment(args.file.as_deref(), file, |task| experiment::collector::prepare(task).map(drop))?;
    let (events, shown) = terminal::show(session.global.quiet);
    let measure = async |tasks: &[Task<'_>]| {
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(experiment::collector::measure(*task, &events, &session.cancel).await);
        }
        outcomes
    };
    let options = more.options(base(file), format!("spangate bench collector {}", more.repeat(file)));
    let bench = experiment::run(experiment, &options, &session.cancel, measure, &events);
    let outcome = Box::pin(bench).await;
    drop::<Events>(events);
    let _ = shown.await;
    more.told(outcome?, session)
}

/// Refuses two forms of a report on standard output.
fn one_output(markdown: Option<&Path>, session: &Session) -> Result<(), CommandError> {
    if markdown == Some(Path::new("-")) && session.global.output == Output::Json {
        return Err(CommandError::usage("--markdown - and --output json both want standard output"));
    }
    Ok(())
}

/// The experiment's file: that of the command line, or else ours.
fn file<'f>(given: Option<&'f Path>, default: &'f str) -> &'f Path {
    given.unwrap_or_else(|| Path::new(default))
}

/// The directory that the files of an experiment are relative to.
fn base(file: &Path) -> PathBuf {
    file.parent().unwrap_or_else(|| Path::new("")).to_owned()
}

/// What the command line says of an experiment in place of its file.
pub(super) struct Choice<'c> {
    /// The arms beside the reference; all of them where it names none.
    pub(super) arms: &'c [String],
    /// How often each is measured.
    pub(super) rounds: Option<u32>,
    /// The seed.
    pub(super) seed: Option<u64>,
}

/// Reads an experiment and everything that it names, so that a mistake in the last arm costs no time; `check` looks at a unit
/// of each arm.
pub(super) fn read_experiment(
    file: &Path,
    choice: &Choice<'_>,
    check: impl Fn(&Task<'_>) -> Result<(), CommandError>,
) -> Result<Experiment, CommandError> {
    let mut experiment = super::gate::read(file, spangate_scenario::experiment::parse)?;
    let spec = &mut experiment.spec;
    spec.rounds = choice.rounds.unwrap_or(spec.rounds);
    spec.seed = choice.seed.unwrap_or(spec.seed);
    for name in choice.arms {
        if !spec.arms.iter().any(|arm| arm.name == *name) {
            return Err(CommandError::usage(format!("{} has no arm `{name}`", file.display())));
        }
    }
    if !choice.arms.is_empty() {
        spec.arms.retain(|arm| arm.name == spec.reference || choice.arms.contains(&arm.name));
    }
    if spec.rounds == 0 {
        return Err(CommandError::usage("no round tells nothing: measure one or more"));
    }
    Stop::check(spec)?;
    let base = base(file);
    for arm in &experiment.spec.arms {
        let task = Task { experiment: &experiment, arm, round: 1, directory: Path::new(""), base: &base };
        check(&task)?;
    }
    // So that the experiment is whole in its own directory, and its hash knows all of it.
    let spec = &mut experiment.spec;
    for collector in spec.arms.iter_mut().map(|arm| &mut arm.collector).chain([&mut spec.collector]) {
        collector.as_mut().map_or(Ok(()), |collector| inline(collector, &base))?;
    }
    Ok(experiment)
}

/// Puts the configuration of a Collector in place of the name of its file.
fn inline(collector: &mut model::Collector, base: &Path) -> Result<(), CommandError> {
    let Some(file) = collector.config_file.take() else { return Ok(()) };
    let path = base.join(file);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| CommandError::usage(format!("cannot read {}", path.display())).because(error))?;
    collector.config = Some(text);
    Ok(())
}

/// A report in the forms that the command line has.
struct Said {
    text: String,
    markdown: String,
}

// === impl Said ===

impl Said {
    /// Writes the forms that were asked for to where they go.
    fn say(
        &self,
        markdown: Option<&Path>,
        report: &impl serde::Serialize,
        directory: &RunDirectory,
        session: &Session,
    ) -> Result<(), CommandError> {
        let markdown_here = markdown == Some(Path::new("-"));
        match markdown {
            Some(_) if markdown_here => print(&self.markdown)?,
            Some(file) => std::fs::write(file, &self.markdown).map_err(|error| {
                CommandError::environment(format!("cannot write {}", file.display())).because(error)
            })?,
            None => {}
        }
        match session.global.output {
            Output::Json => print_json(report),
            Output::Text if markdown_here => Ok(()),
            Output::Text => print(&format!("{}{}\n", self.text, directory.path().display())),
        }
    }
}

// === impl ExperimentArgs ===

impl ExperimentArgs {
    /// Reads the experiment and everything that it names. Nothing where a bench is gone on with, and no file was given.
    fn experiment(
        &self,
        given: Option<&Path>,
        file: &Path,
        check: impl Fn(&Task<'_>) -> Result<(), CommandError>,
    ) -> Result<Option<Experiment>, CommandError> {
        if self.resume.is_some() && given.is_none() {
            return Ok(None);
        }
        let choice = Choice { arms: &self.arms, rounds: self.rounds, seed: self.seed };
        read_experiment(file, &choice, check).map(Some)
    }

    fn options(&self, base: PathBuf, repeat: String) -> ExperimentOptions {
        ExperimentOptions { out: self.out.clone(), resume: self.resume.clone(), base, repeat }
    }

    /// The words behind the command that do this again.
    fn repeat(&self, file: &Path) -> String {
        let word = |text: &str| crate::plan::shell_word(text);
        if let Some(directory) = &self.resume {
            return word(&directory.join(experiment::rounds::EXPERIMENT).display().to_string());
        }
        let mut words = vec![word(&file.display().to_string())];
        words.extend(self.arms.iter().map(|arm| format!("--arm {}", word(arm))));
        words.extend(self.rounds.map(|rounds| format!("--rounds {rounds}")));
        words.extend(self.seed.map(|seed| format!("--seed {seed}")));
        words.join(" ")
    }

    fn told(
        &self,
        (report, directory): (ExperimentReport, RunDirectory),
        session: &Session,
    ) -> Result<Exit, CommandError> {
        let said = Said { text: report.text(), markdown: report.markdown() };
        said.say(self.markdown.as_deref(), &report, &directory, session)?;
        Ok(report.exit())
    }
}

// === impl DuetArgs ===

impl DuetArgs {
    fn design(&self) -> Design {
        Design {
            rate: self.rate.get(),
            block: self.block.get(),
            pairs: self.pairs,
            warm_up: self.warm_up.get(),
            seed: self.seed,
            kubernetes: self.kubernetes.clone(),
        }
    }

    /// The command that does this again.
    fn repeat(&self) -> String {
        let operations: Vec<&str> = self.operations.iter().map(|it| it.name()).collect();
        let mut command = format!("spangate bench duet {}", operations.join(" ")).trim_end().to_owned();
        for (option, value) in [
            ("rate", self.rate.to_string()),
            ("pairs", self.pairs.to_string()),
            ("block", self.block.to_string()),
            ("warm-up", self.warm_up.to_string()),
            ("seed", self.seed.to_string()),
            ("kubernetes", crate::plan::shell_word(&self.kubernetes)),
        ] {
            command = format!("{command} --{option} {value}");
        }
        command
    }
}
