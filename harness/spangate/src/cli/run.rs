//! `spangate run`: runs scenarios one after the other and judges each.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use spangate_cluster::VersionSpec;
use spangate_load::Summary;
use spangate_scenario::{
    Loaded,
    model::{self, Provider},
};

use super::{
    Output, ProviderName, Session, colour, existing::ExistingArgs, print, print_json, terminal, warn,
};
use crate::{
    error::CommandError,
    exit::Exit,
    plan::{CollectorOverride, Plan},
    report::{
        Report, latencies,
        list::{BrokenRun, Entry, ReportList},
        summary,
    },
    run::{self, RunOptions, directory::RunDirectory},
    verdict::Status,
};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Seed of every random choice, in place of the scenario's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Directory in which each run makes its own.
    #[arg(long, value_name = "DIR", default_value = RunDirectory::ROOT, overrides_with = "out")]
    out: PathBuf,
    /// Record to replay, in place of the scenario's; of the same kind.
    #[arg(long, value_name = "PATH")]
    record: Option<PathBuf>,
    /// Where the control plane comes from, in place of the scenario's choice.
    #[arg(long, value_enum, value_name = "PROVIDER")]
    provider: Option<ProviderName>,
    /// Kubernetes version, such as 1.37 or 1.37.2, in place of the scenario's.
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<VersionSpec>,
    /// Config of kind to complete, in place of the scenario's.
    #[arg(long, value_name = "PATH")]
    kind_config: Option<PathBuf>,
    /// kube-apiserver to start, in place of the one that would be looked up.
    #[arg(long, value_name = "PATH")]
    kube_apiserver: Option<PathBuf>,
    /// etcd to start, in place of the one that would be looked up.
    #[arg(long, value_name = "PATH")]
    etcd: Option<PathBuf>,
    /// Collector to start, in place of the one that would be looked up.
    #[arg(long, value_name = "PATH")]
    otelcol: Option<PathBuf>,
    /// Configuration of the Collector, in place of the scenario's; relative to where you are.
    #[arg(long, value_name = "PATH")]
    collector_config: Option<PathBuf>,
    #[command(flatten)]
    existing: ExistingArgs,
}

/// Reads a scenario, or says everything that is wrong with it.
pub(super) fn read_scenario(path: &Path) -> Result<Loaded, CommandError> {
    spangate_scenario::read(path).map_err(|error| {
        if !matches!(error, spangate_scenario::ReadError::Invalid(_)) {
            return CommandError::usage("there is no scenario to read").because(error);
        }
        let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(error));
        CommandError::usage(format!("{} is not a valid scenario", path.display()))
    })
}

/// The scenario with another provider or version of Kubernetes, if there is one.
pub(super) fn provided(
    mut loaded: Loaded,
    provider: Option<ProviderName>,
    kubernetes: Option<VersionSpec>,
) -> Result<Loaded, CommandError> {
    if provider.is_none() && kubernetes.is_none() {
        return Ok(loaded);
    }
    let cluster = &mut loaded.scenario.spec.cluster;
    cluster.provider = provider.map_or(cluster.provider, Into::into);
    if let Some(version) = kubernetes {
        if let Some(image) = cluster.kind.image.as_ref().filter(|_| cluster.provider == Provider::Kind) {
            let message = format!("{} names the image {image}, which has its version", loaded.path.display());
            return Err(CommandError::usage(message).help("leave out --kubernetes, or name another image"));
        }
        cluster.kubernetes = version.to_string();
    }
    let findings = spangate_scenario::validate(&loaded.scenario);
    if findings.is_empty() {
        return Ok(loaded);
    }
    let lines = findings.iter().map(|finding| {
        let help = finding.help.as_ref().map(|help| format!(" ({help})"));
        format!("{}: {}{}", finding.path, finding.message, help.unwrap_or_default())
    });
    let model::Cluster { provider, kubernetes: version, .. } = &loaded.scenario.spec.cluster;
    let version = kubernetes.map(|_| format!(" with Kubernetes {version}")).unwrap_or_default();
    let message = format!("{} cannot run on the provider {provider}{version}", loaded.path.display());
    Err(CommandError::usage(message).help(lines.collect::<Vec<_>>().join("\n")))
}

/// Refuses options that the provider of the scenario has no use for.
fn suited(loaded: Loaded, args: &RunArgs) -> Result<Loaded, CommandError> {
    let provider = loaded.scenario.spec.cluster.provider;
    let given = [
        ("--kube-apiserver", args.kube_apiserver.is_some(), Provider::Local),
        ("--etcd", args.etcd.is_some(), Provider::Local),
        ("--kind-config", args.kind_config.is_some(), Provider::Kind),
    ];
    if provider == Provider::Existing && args.kubernetes.is_some() {
        let message = format!("{} runs on a cluster that has its version already", loaded.path.display());
        return Err(CommandError::usage(message).help("leave out --kubernetes"));
    }
    match given.into_iter().find(|(_, given, of)| *given && *of != provider) {
        Some((option, _, of)) => {
            let message = format!(
                "{option} is for the provider {of}, and {} runs on {provider}",
                loaded.path.display()
            );
            Err(CommandError::usage(message).help("leave it out, or choose another --provider"))
        }
        None => Ok(loaded),
    }
}

/// The scenario with another config of kind, if there is one.
fn with_kind_config(mut loaded: Loaded, config: Option<&Path>) -> Result<Loaded, CommandError> {
    if let Some(config) = config {
        // Here a relative path is one from where the user is.
        let path = std::path::absolute(config).map_err(|error| {
            CommandError::usage(format!("{} is no path", config.display())).because(error)
        })?;
        loaded.scenario.spec.cluster.kind.config_file = Some(path);
    }
    Ok(loaded)
}

/// The scenario with another Collector or configuration of it, if there is one.
fn collecting(mut loaded: Loaded, args: &RunArgs) -> Result<Loaded, CommandError> {
    if args.otelcol.is_none() && args.collector_config.is_none() {
        return Ok(loaded);
    }
    let Some(collector) = &mut loaded.scenario.spec.collector else {
        let message = format!("the scenario {} has no Collector", loaded.path.display());
        return Err(CommandError::usage(message).help("leave out --otelcol and --collector-config"));
    };
    let image = collector.container.as_ref().and_then(|container| container.image.as_ref());
    if let Some(image) = image.filter(|_| args.otelcol.is_some()) {
        let message =
            format!("the scenario {} runs the Collector of the image {image}", loaded.path.display());
        return Err(CommandError::usage(message).help("leave out --otelcol"));
    }
    collector.binary = args.otelcol.clone().or(collector.binary.take());
    if let Some(config) = &args.collector_config {
        // Here a relative path is one from where the user is.
        let path = std::path::absolute(config).map_err(|error| {
            CommandError::usage(format!("{} is no path", config.display())).because(error)
        })?;
        collector.config = None;
        collector.config_file = Some(path);
    }
    Ok(loaded)
}

/// The scenario with another record, if there is one.
fn replaying(mut loaded: Loaded, record: Option<&Path>) -> Result<Loaded, CommandError> {
    let Some(record) = record else { return Ok(loaded) };
    // Here a relative path is one from where the user is.
    let record = std::path::absolute(record)
        .map_err(|error| CommandError::usage(format!("{} is no path", record.display())).because(error))?;
    let Some(replay) = &mut loaded.scenario.spec.load.replay else {
        let message =
            format!("--record is for loads that are replays, and that of {} is none", loaded.path.display());
        return Err(CommandError::usage(message));
    };
    let place = if replay.audit.is_some() { &mut replay.audit } else { &mut replay.ledger };
    *place = Some(record);
    Ok(loaded)
}

pub(super) async fn run(args: RunArgs, session: &Session) -> Result<Exit, CommandError> {
    let provider = args.existing.provider(args.provider)?;
    // All files are read before the first one runs: a typo in the last one should not cost the others' time.
    let mut plans = Vec::new();
    let mut outcome = Outcome { exit: Exit::Pass, entries: Vec::new() };
    for file in &args.files {
        let loaded = read_scenario(file)
            .and_then(|loaded| provided(loaded, provider, args.kubernetes))
            .and_then(|loaded| suited(loaded, &args))
            .and_then(|loaded| with_kind_config(loaded, args.kind_config.as_deref()))
            .and_then(|loaded| replaying(loaded, args.record.as_deref()))
            .and_then(|loaded| collecting(loaded, &args))
            .and_then(|loaded| args.existing.settle(loaded, &args.files));
        match loaded.and_then(|(loaded, existing)| Ok((Plan::new(loaded, args.seed)?, existing))) {
            Ok((mut plan, existing)) => {
                if let Some(existing) = &existing
                    && let Err(error) = ExistingArgs::check_senders(&plan, existing)
                {
                    outcome.broken(file.display().to_string(), error);
                    continue;
                }
                plan.existing = existing;
                plan.record_override.clone_from(&args.record);
                plan.collector_override =
                    CollectorOverride { binary: args.otelcol.clone(), config: args.collector_config.clone() };
                plan.provider_override = args.provider.map(Into::into);
                plan.kubernetes_override = args.kubernetes;
                let binaries = &mut plan.scenario.spec.cluster.binaries;
                binaries.kube_apiserver = args.kube_apiserver.clone().or(binaries.kube_apiserver.take());
                binaries.etcd = args.etcd.clone().or(binaries.etcd.take());
                plans.push(plan);
            }
            Err(error) => outcome.broken(file.display().to_string(), error),
        }
    }
    if outcome.exit != Exit::Pass {
        plans.clear();
    }
    let options = RunOptions { out: args.out, together: None };
    for plan in plans {
        let name = plan.scenario.metadata.name.clone();
        match one(plan, &options, session).await {
            Ok(report) => outcome.judged(report),
            Err(error) => outcome.broken(name, error),
        }
        if session.cancel.is_cancelled() {
            break;
        }
    }
    let several = args.files.len() > 1;
    match (session.global.output, outcome.entries.as_slice()) {
        (Output::Json, [one]) if !several => print_json(one)?,
        (Output::Json, _) => print_json(&ReportList::new(outcome.entries))?,
        (Output::Text, entries) if several => print(&counts(args.files.len(), entries))?,
        (Output::Text, _) => {}
    }
    Ok(outcome.exit)
}

/// What became of all files.
struct Outcome {
    exit: Exit,
    entries: Vec<Entry>,
}

// === impl Outcome ===

impl Outcome {
    fn judged(&mut self, report: Report) {
        self.exit = self.exit.worst(report.exit());
        self.entries.push(Entry::Judged(Box::new(report)));
    }

    fn broken(&mut self, scenario: String, error: CommandError) {
        self.entries.push(Entry::Broken(BrokenRun::new(scenario, &error)));
        self.exit = self.exit.worst(super::fail(error));
    }
}

fn counts(files: usize, entries: &[Entry]) -> String {
    let judged = |wanted: Option<Status>| {
        let reports = entries.iter().filter_map(|entry| match entry {
            Entry::Judged(report) => Some(report.status),
            Entry::Broken(_) => None,
        });
        reports.filter(|status| wanted.is_none_or(|wanted| wanted == *status)).count()
    };
    format!(
        "\n{files} scenarios: {} passed, {} failed, {} inconclusive, {} not run\n",
        judged(Some(Status::Pass)),
        judged(Some(Status::Fail)),
        judged(Some(Status::Inconclusive)),
        files - judged(None),
    )
}

async fn one(plan: Plan, options: &RunOptions, session: &Session) -> Result<Report, CommandError> {
    let text = session.global.output == Output::Text;
    if text {
        print(&format!("{} (seed {})\n", plan.scenario.metadata.name, plan.scenario.spec.seed))?;
    }
    warn(&plan.warnings(), session);
    let (events, shown) = terminal::show(session.global.quiet);
    let outcome = run::run(plan, options, events, session.cancel.clone()).await;
    // The view goes first, so that its bar does not mix with what follows.
    terminal::until_shown(shown, &session.cancel).await;
    let (report, directory) = outcome?;
    if text {
        let style = summary::Style { colour: colour(), verbose: session.global.verbose > 0 };
        print(&summary::summary(&report, directory.path(), style))?;
        // Only requests have latencies; traces that are sent as they are have none.
        if style.verbose && directory.file(RunDirectory::SUMMARY).exists() {
            let load: Summary = directory.read_json(RunDirectory::SUMMARY).map_err(|error| {
                CommandError::environment("the summary of the load cannot be read").because(error)
            })?;
            print(&latencies::table(&load.latencies))?;
        }
        print(&format!("{}\n", directory.path().display()))?;
    }
    Ok(report)
}
