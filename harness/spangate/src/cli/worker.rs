//! `spangate worker`: sends a part of a scenario's load to an API server that is there already.

use std::{fmt::Write, path::PathBuf, str::FromStr};

use clap::Args;
use serde_json::json;
use spangate_load::{Endpoint, Shard, Summary};

use super::{Output, Session, print, print_json, run::read_scenario, terminal, warn};
use crate::{
    error::CommandError,
    exit::Exit,
    plan::Plan,
    report::latencies,
    worker::{self, Access, CredentialFiles, Order, Reach, StartAt},
};

#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    /// Scenario file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which part of the load: worker I of N, from 0; `auto/N` takes I from `JOB_COMPLETION_INDEX`.
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    shard: Part,
    /// When the load begins: a time that all workers are given, such as 2026-01-31T12:00:00Z; for a worker that is
    /// alone also a while from now, such as +5s.
    #[arg(long, value_name = "TIME")]
    start_at: StartAt,
    /// Directory for what the worker leaves.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of every random choice, in place of the scenario's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Let the first worker make the objects that the load needs; all may be given this.
    #[arg(long)]
    prepare: bool,
    /// Let the first worker remove everything when the load is over, or could not begin; all may be given this.
    #[arg(long)]
    cleanup: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// How the API server is reached.
#[derive(Debug, Args)]
struct ServerArgs {
    /// Kubeconfig of the API server.
    #[arg(long, value_name = "PATH", required_unless_present = "endpoint", conflicts_with_all = ["endpoint", "ca"])]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig, in place of the current one.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
    /// Context of the kubeconfig for who sends as `unprivileged`. Its user has the name by which the API server knows
    /// it; `spangate cluster up` writes the context spangate-user.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    unprivileged_context: Option<String>,
    /// URL of the API server, such as `https://kubernetes.default.svc`.
    #[arg(long, value_name = "URL", requires = "ca")]
    endpoint: Option<Endpoint>,
    /// Certificates that the server's may be signed by, in PEM.
    #[arg(long, value_name = "PATH", requires = "endpoint")]
    ca: Option<PathBuf>,
    /// Client certificate, in PEM.
    #[arg(long, value_name = "PATH", requires_all = ["endpoint", "key"], conflicts_with = "token_file")]
    cert: Option<PathBuf>,
    /// Private key of the client certificate, in PEM.
    #[arg(long, value_name = "PATH", requires = "cert")]
    key: Option<PathBuf>,
    /// File with a bearer token, read once.
    #[arg(long, value_name = "PATH", requires = "endpoint")]
    token_file: Option<PathBuf>,
}

/// A part of the load, or the number of parts of which the environment names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Named(Shard),
    Auto { of: u32 },
}

/// Set in the pods of an Indexed Job (`batchv1.JobCompletionIndexAnnotation` has the same number).
const INDEX: &str = "JOB_COMPLETION_INDEX";

pub(super) async fn run(args: WorkerArgs, session: &Session) -> Result<Exit, CommandError> {
    let shard = args.shard.resolve(std::env::var(INDEX).ok().as_deref())?;
    let plan = Plan::new(read_scenario(&args.file)?, args.seed)?;
    warn(&plan.warnings(), session);
    let access = Access::read(&args.server.reach()?)?;
    let WorkerArgs { start_at: start, out, prepare, cleanup, .. } = args;
    let order = Order { shard, access, start, out, prepare, cleanup };
    let (events, shown) = terminal::show(session.global.quiet);
    let worked = worker::work(plan, &order, &events, &session.cancel).await;
    // The view goes first, so that its bar does not mix with what follows.
    drop(events);
    let _ = shown.await;
    let summary = worked?;
    match session.global.output {
        Output::Json => print_json(&json!({
            "shard": shard,
            "planned": summary.planned,
            "started": summary.started,
            "shed": summary.shed,
            "notStarted": summary.not_started,
            "requests": summary.requests,
            "aborted": summary.aborted,
            "bottleneck": summary.bottleneck,
            "directory": order.out,
        }))?,
        Output::Text => {
            let table = latencies::table(&summary.latencies);
            print(&format!("worker {shard}: {}\n{table}{}\n", told(&summary), order.out.display()))?;
        }
    }
    Ok(Exit::Pass)
}

/// What a load came to: a line, and another for what spoils it.
pub(super) fn told(summary: &Summary) -> String {
    let Summary { planned, started, shed, not_started, requests, errors, timeouts, .. } = summary;
    let mut text = format!("{started} of {planned} operations started, {requests} requests");
    let trouble = [
        (shed, "shed"),
        (not_started, "not started"),
        (errors, "without an answer"),
        (timeouts, "timed out"),
    ];
    for (count, what) in trouble {
        if *count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    if let Some(aborted) = &summary.aborted {
        let _ = write!(text, "\nthe load was given up: {}, it was {}", aborted.rule, aborted.observed);
    }
    if let Some(bottleneck) = &summary.bottleneck {
        let _ = write!(text, "\nthe generator was the bottleneck: {bottleneck}");
    }
    text
}

// === impl ServerArgs ===

impl ServerArgs {
    fn reach(self) -> Result<Reach, CommandError> {
        let Self { kubeconfig, context, unprivileged_context, endpoint, ca, cert, key, token_file } = self;
        match (kubeconfig, endpoint, ca) {
            (Some(path), ..) => Ok(Reach::Kubeconfig { path, context, unprivileged: unprivileged_context }),
            (None, Some(endpoint), Some(ca)) => {
                let credential = match (cert, key, token_file) {
                    (Some(certificate), Some(key), _) => CredentialFiles::Certificate { certificate, key },
                    (_, _, Some(token)) => CredentialFiles::Token(token),
                    _ => {
                        return Err(CommandError::usage("nothing says who the worker is at --endpoint")
                            .help("give --cert and --key, or --token-file"));
                    }
                };
                Ok(Reach::Files { endpoint, ca, credential })
            }
            _ => Err(CommandError::usage("nothing says where the API server is")
                .help("give --kubeconfig, or --endpoint and --ca")),
        }
    }
}

// === impl Part ===

impl Part {
    /// The shard; `index` is what the environment says.
    fn resolve(self, index: Option<&str>) -> Result<Shard, CommandError> {
        let of = match self {
            Self::Named(shard) => return Ok(shard),
            Self::Auto { of } => of,
        };
        let wrong = |message: String| {
            CommandError::usage(message).help(format!(
                "{INDEX} is set in the pods of a Job with completionMode: Indexed; N is its completions"
            ))
        };
        let index =
            index.ok_or_else(|| wrong(format!("--shard auto/{of} needs {INDEX}, which is not set")))?;
        let shard = index.parse().ok().and_then(|index| Shard::new(index, of));
        shard.ok_or_else(|| wrong(format!("{INDEX} is {index:?}, which is no worker of {of}")))
    }
}

impl FromStr for Part {
    type Err = spangate_load::ParseShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("auto/") {
            // As the first shard of so many, for what is wrong with the number.
            Some(of) => format!("0/{of}").parse().map(|shard: Shard| Self::Auto { of: shard.of() }),
            None => text.parse().map(Self::Named),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_or_comes_from_the_environment() {
        let shard = |text: &str| text.parse::<Shard>().unwrap();
        assert_eq!("1/3".parse(), Ok(Part::Named(shard("1/3"))));
        let auto: Part = "auto/3".parse().unwrap();
        assert_eq!(auto.resolve(Some("2")).unwrap(), shard("2/3"));
        for (index, message) in
            [(None, "is not set"), (Some("3"), "no worker of 3"), (Some("x"), "no worker of 3")]
        {
            let told = auto.resolve(index).unwrap_err().to_string();
            assert!(told.contains(message), "{told}");
        }
        for wrong in ["auto", "auto/0", "auto/x", "3/3"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
