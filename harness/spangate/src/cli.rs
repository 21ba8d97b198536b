//! The command line.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use miette::Report as Diagnosis;
use spangate_scenario::model::Provider;
use tokio_util::sync::CancellationToken;

use crate::{error::CommandError, exit::Exit};

mod assets;
mod baseline;
mod bench;
mod check;
mod cluster;
mod collector;
mod existing;
mod gate;
mod history;
mod live;
mod merge;
mod phases;
mod plan;
mod rbac;
mod run;
mod schema;
mod show;
mod terminal;
mod validate;
mod worker;

/// Proves what a Kubernetes API server's traces say.
///
/// A scenario starts a control plane with tracing on, breaks it in known ways, sends load, captures the spans and
/// holds them against what really happened.
#[derive(Debug, Parser)]
#[command(name = "spangate", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0 pass · 1 an expectation failed · 2 usage or invalid scenario · 3 the environment could not be had
  4 inconclusive · 5 regression, or a gate that is red · 70 a bug of Spangate · 130 interrupted";

/// Options of every command.
#[derive(Debug, Clone, Args)]
struct Global {
    /// Form of what is printed on standard output.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
    /// Print nothing but results and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Show more: passed checks without a bound, latencies of a run; debug logs on standard error with -vv.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and judge them.
    ///
    /// Exits with 0 if all pass, 1 if one fails, 2 if a scenario or a configuration is invalid, 3 if the environment could
    /// not be had (a Collector that refuses its configuration included), 4 if one is inconclusive.
    Run(run::RunArgs),
    /// Report every mistake of scenario files; starts nothing.
    Validate(validate::ValidateArgs),
    /// Show what a scenario would start and send, with every default resolved; of an experiment, what it would measure, how
    /// long that takes, and how small a difference would show.
    Plan(plan::PlanArgs),
    /// Print the rights that runs of scenarios need on a cluster that is there already, for `kubectl apply -f -`.
    Rbac(rbac::RbacArgs),
    /// Judge a saved run again.
    Check(check::CheckArgs),
    /// Draw a trace of a saved run as a waterfall.
    Show(show::ShowArgs),
    /// Show where the API server spent the time of the requests of a saved run.
    Phases(phases::PhasesArgs),
    /// Where the binaries come from.
    #[command(subcommand)]
    Assets(assets::AssetsCommand),
    /// Print a generated file: a JSON Schema or the scenario reference.
    Schema(schema::SchemaArgs),
    /// Keep control planes for play.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Look at the configuration of an OpenTelemetry Collector.
    #[command(subcommand)]
    Collector(collector::CollectorCommand),
    /// Send a part of a scenario's load to an API server that is there already.
    Worker(worker::WorkerArgs),
    /// Join what the workers of one load left into what one worker would have left.
    Merge(merge::MergeArgs),
    /// Measure what tracing costs.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Whether a change makes things worse.
    ///
    /// With --baseline, figures that were measured are held against figures that were saved: exits with 0 when every rule
    /// holds, 5 when one is broken, 4 when one cannot be decided.
    Gate(gate::GateArgs),
    /// Keep figures to hold others against.
    #[command(subcommand)]
    Baseline(baseline::BaselineCommand),
    /// Show figures over time, and where they changed for good.
    History(history::HistoryArgs),
}

/// Where a control plane comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProviderName {
    /// etcd and kube-apiserver as child processes on loopback.
    Local,
    /// A cluster that the real kind makes in Docker.
    Kind,
    /// A cluster that is there already, by its kubeconfig.
    Existing,
}

impl std::convert::From<ProviderName> for Provider {
    fn from(name: ProviderName) -> Self {
        match name {
            ProviderName::Local => Self::Local,
            ProviderName::Kind => Self::Kind,
            ProviderName::Existing => Self::Existing,
        }
    }
}

/// What a command asks of the world.
struct Session {
    global: Global,
    cancel: CancellationToken,
}

/// Which saved run a command reads.
#[derive(Debug, Clone, Args)]
struct From {
    /// Directory of the run; by default the newest one in target/spangate.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// Runs the command of this process.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Pass };
        }
    };
    log(cli.global.verbose);
    // Before any other handler: the users of a closed loop would take Ctrl-C from it.
    spangate_load::keep_ctrl_c();
    // One provider for every TLS connection; an earlier choice of the host program stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(CommandError::environment("cannot start the async runtime").because(error));
        }
    };
    let outcome = runtime.block_on(async {
        let session = Session { global: cli.global, cancel: CancellationToken::new() };
        tokio::spawn(cancel_on_signal(session.cancel.clone()));
        // Boxed, since it holds whatever the largest of all commands does.
        Box::pin(dispatch(cli.command, &session)).await
    });
    // Tasks that still run have lost their purpose; what they started ends with their handles.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome.unwrap_or_else(fail)
}

async fn dispatch(command: Command, session: &Session) -> Result<Exit, CommandError> {
    match command {
        // Boxed, since it holds a whole plan.
        Command::Run(args) => Box::pin(run::run(args, session)).await,
        Command::Bench(command) => bench::run(command, session).await,
        Command::Validate(args) => validate::run(&args, session),
        Command::Plan(args) => plan::run(&args, session),
        Command::Rbac(args) => rbac::run(&args, session),
        Command::Check(args) => check::run(&args, session),
        Command::Show(args) => show::run(&args, session),
        Command::Phases(args) => phases::run(&args, session),
        Command::Assets(command) => assets::run(command, session).await,
        Command::Schema(args) => schema::run(&args),
        Command::Cluster(command) => cluster::run(command, session).await,
        Command::Collector(command) => collector::run(&command, session),
        Command::Worker(args) => worker::run(args, session).await,
        Command::Merge(args) => merge::run(&args, session),
        Command::Gate(args) => gate::run(args, session).await,
        Command::Baseline(command) => baseline::run(command, session),
        Command::History(args) => history::run(&args, session),
    }
}

/// Ctrl-C and SIGTERM end a command in order; a second one ends it at once.
async fn cancel_on_signal(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if cancel.is_cancelled() {
            std::process::exit(Exit::Interrupted.code().into());
        }
        cancel.cancel();
    }
}

fn log(verbose: u8) {
    let default = match verbose {
        0 | 1 => "spangate=warn",
        2 => {
            "spangate=debug,spangate_cluster=debug,spangate_sink=debug,spangate_inject=debug,spangate_load=debug"
        }
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SPANGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

fn fail(error: CommandError) -> Exit {
    let exit = error.exit();
    let _ = writeln!(io::stderr(), "{:?}", Diagnosis::new(error));
    exit
}

/// Warns on standard error, unless nothing but results and errors is wanted.
fn warn(warnings: &[String], session: &Session) {
    if !session.global.quiet {
        for warning in warnings {
            let _ = writeln!(io::stderr(), "warning: {warning}");
        }
    }
}

/// Prints a result on standard output. A reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::environment("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Prints a result as pretty JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CommandError::bug("cannot write the result as JSON").because(error))?;
    print(&format!("{text}\n"))
}

/// Whether standard output takes colours: a terminal, and `NO_COLOR` is not set (no-color.org).
fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
