//! `spangate bench`: what tracing costs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use spangate_scenario::units;

use super::{Output, Session, print, print_json, terminal};
use crate::{
    bench::{self, Design, DuetOptions, Operation},
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
    }
}

async fn duet(args: DuetArgs, session: &Session) -> Result<Exit, CommandError> {
    let markdown_here = args.markdown.as_deref() == Some(Path::new("-"));
    if markdown_here && session.global.output == Output::Json {
        return Err(CommandError::usage("--markdown - and --output json both want standard output"));
    }
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
    match &args.markdown {
        Some(_) if markdown_here => print(&report.markdown())?,
        Some(file) => std::fs::write(file, report.markdown()).map_err(|error| {
            CommandError::environment(format!("cannot write {}", file.display())).because(error)
        })?,
        None => {}
    }
    match session.global.output {
        Output::Json => print_json(&report)?,
        Output::Text if markdown_here => {}
        Output::Text => print(&format!("{}{}\n", report.text(), directory.path().display()))?,
    }
    Ok(report.exit())
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
