//! What `spangate run` is told of a cluster that is there already.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use clap::Args;
use spangate_cluster::{Play, kind::KindClusterConfig, mark, tracing_config};
use spangate_scenario::{
    Loaded,
    model::{Fault, Identity, Provider},
};

use super::{ProviderName, cluster};
use crate::{
    error::CommandError,
    existing::{Existing, OTLP_LISTEN, Whose, unsuitable},
    plan::{Plan, shell_word},
    run::kind,
    worker::Access,
};

/// Options for the provider existing.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "An existing cluster")]
pub(super) struct ExistingArgs {
    /// Run on the control plane that `spangate cluster up NAME` has started, and leave it as it was.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kubeconfig", "context", "allow_context", "otlp_listen", "unprivileged_context"])]
    reuse: Option<String>,
    /// Kubeconfig of the cluster; by default the one that kubectl takes.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig, in place of the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Allow to send load to the cluster of this context, and to make and remove namespaces there.
    #[arg(long, value_name = "NAME")]
    allow_context: Option<String>,
    /// Context of the kubeconfig for who sends as `unprivileged`.
    #[arg(long, value_name = "NAME")]
    unprivileged_context: Option<String>,
    /// Where to receive what the API server, or its Collector, exports: OTLP/gRPC without TLS [default: 127.0.0.1:4317]
    #[arg(long, value_name = "IP:PORT")]
    otlp_listen: Option<SocketAddr>,
    /// Address of this machine at which the API server reaches webhooks, for scenarios that have some; port 0 is any.
    #[arg(long, value_name = "IP:PORT")]
    webhook_listen: Option<SocketAddr>,
}

// === impl ExistingArgs ===

impl ExistingArgs {
    /// The provider that follows from the options.
    pub(super) fn provider(&self, named: Option<ProviderName>) -> Result<Option<ProviderName>, CommandError> {
        match (self.reuse.is_some(), named) {
            (true, None | Some(ProviderName::Existing)) => Ok(Some(ProviderName::Existing)),
            (true, Some(_)) => Err(CommandError::usage("--reuse and --provider name two clusters")
                .help("leave out --provider: what `spangate cluster up` has started is found by its name")),
            (false, named) => Ok(named),
        }
    }

    /// The cluster of a scenario that is to run on an existing one, and the scenario as it is run there. `files` are
    /// those of the command.
    pub(super) fn settle(
        &self,
        mut loaded: Loaded,
        files: &[PathBuf],
    ) -> Result<(Loaded, Option<Existing>), CommandError> {
        let spec = &loaded.scenario.spec;
        if spec.cluster.provider != Provider::Existing {
            let given = [
                ("--kubeconfig", self.kubeconfig.is_some()),
                ("--context", self.context.is_some()),
                ("--allow-context", self.allow_context.is_some()),
                ("--unprivileged-context", self.unprivileged_context.is_some()),
                ("--otlp-listen", self.otlp_listen.is_some()),
                ("--webhook-listen", self.webhook_listen.is_some()),
            ];
            return match given.into_iter().find(|(_, given)| *given) {
                Some((option, _)) => {
                    let message = format!(
                        "{option} is for an existing cluster, and {} makes its own",
                        loaded.path.display()
                    );
                    Err(CommandError::usage(message).help("add --provider existing, or leave it out"))
                }
                None => Ok((loaded, None)),
            };
        }
        let existing = match &self.reuse {
            Some(name) => self.kept(name, &loaded)?,
            None => self.named(&loaded, files)?,
        };
        let webhooks = loaded.scenario.spec.faults.iter().any(|fault| matches!(fault, Fault::Webhook(_)));
        if webhooks && existing.webhook_listen.is_none() {
            let message =
                format!("{} has webhooks, and the API server must reach them", loaded.path.display());
            return Err(CommandError::usage(message)
                .help("name an address of this machine that it reaches with --webhook-listen IP:PORT"));
        }
        existing.move_in(&mut loaded.scenario);
        Ok((loaded, Some(existing)))
    }

    /// Refuses a plan that sends as somebody whom nobody has named, also where only a replayed record says so: the API server
    /// would take them for `system:anonymous`.
    pub(super) fn check_senders(plan: &Plan, existing: &Existing) -> Result<(), CommandError> {
        let is_sent = plan.preparation.identities.contains(&Identity::unprivileged());
        if is_sent && existing.access.unprivileged.is_none() {
            let message = format!(
                "{} sends as `unprivileged`, and nobody says who that is",
                plan.scenario.metadata.name
            );
            return Err(CommandError::usage(message).help("name a context with --unprivileged-context"));
        }
        Ok(())
    }

    /// The cluster of a kubeconfig, if it may be used.
    fn named(&self, loaded: &Loaded, files: &[PathBuf]) -> Result<Existing, CommandError> {
        let (access, context) = Access::by_kubeconfig(
            self.kubeconfig.as_deref(),
            self.context.as_deref(),
            self.unprivileged_context.as_deref(),
        )?;
        let existing = Existing {
            options: self.options(&context),
            access,
            context,
            otlp_listen: self.otlp_listen.unwrap_or(OTLP_LISTEN),
            webhook_listen: self.webhook_listen,
            whose: Whose::Theirs,
            mark: mark(),
        };
        match &self.allow_context {
            Some(allowed) if *allowed == existing.context => Ok(existing),
            Some(allowed) => Err(CommandError::usage(format!(
                "--allow-context allows {allowed:?}, and the run would be on {:?}",
                existing.context
            ))
            .help("name the context with --context too, or allow the other one")),
            None => Err(not_allowed(&existing, loaded, files)),
        }
    }

    /// A cluster that was started to be kept.
    fn kept(&self, name: &str, loaded: &Loaded) -> Result<Existing, CommandError> {
        let play = Play::from_process().map_err(cluster::refused)?;
        let local = play.list().map_err(cluster::refused)?.into_iter().find(|cluster| cluster.name == name);
        let (kubeconfig, tracing, running, whose) = if let Some(cluster) = local {
            let processes = cluster.state.processes.iter().map(|process| (process.pid, process.name.clone()));
            let whose = Whose::Kept { controllers: false, processes: processes.collect() };
            let kubeconfig = cluster.state.kubeconfig.clone().unwrap_or_default();
            (kubeconfig, cluster.dir.join("tracing.yaml"), cluster.running, whose)
        } else {
            let on_kind = cluster::on_kind()?.into_iter().find(|(known, _)| known == name);
            let (_, standing) = on_kind.ok_or_else(|| {
                CommandError::usage(format!("no cluster {name} is up"))
                    .help(format!("start it with `spangate cluster up {name}`"))
            })?;
            let kubeconfig = cluster::kind_kubeconfig(&standing);
            let tracing = KindClusterConfig::tracing_file(kubeconfig.parent().unwrap_or(Path::new("")));
            let processes = standing.processes(&kind::docker()?).unwrap_or_default();
            (kubeconfig, tracing, standing.running, Whose::Kept { controllers: true, processes })
        };
        if !running {
            return Err(CommandError::environment(format!("the cluster {name} does not run any more"))
                .help(format!("end it with `spangate cluster down {name}`, and start it again")));
        }
        let (otlp_listen, rate) = exports(&tracing)?;
        if let Some(why) = unsuitable(&loaded.scenario.spec.cluster, rate) {
            let message = format!("{} cannot run on the cluster {name}: {why}", loaded.path.display());
            return Err(CommandError::usage(message)
                .help("start another with `spangate cluster up --sampling-rate-per-million N`, or run it on its own"));
        }
        let unprivileged = Some(spangate_cluster::pki::USER);
        let admin = loaded.scenario.spec.cluster.admin_group.as_deref();
        let admin = admin.filter(|group| *group == spangate_scenario::model::Cluster::CLUSTER_ADMINS);
        let admin = admin.map(|_| spangate_cluster::pki::CLUSTER_ADMIN);
        let (access, context) = Access::by_kubeconfig(Some(&kubeconfig), admin, unprivileged)?;
        let mut options = vec![("reuse", name.to_owned())];
        options.extend(self.webhook_listen.map(|address| ("webhook-listen", address.to_string())));
        let webhook_listen = self.webhook_listen.unwrap_or(SocketAddr::new(otlp_listen.ip(), 0));
        Ok(Existing {
            access,
            context,
            otlp_listen,
            webhook_listen: Some(webhook_listen),
            whose,
            mark: mark(),
            options,
        })
    }

    /// The options that name the cluster, for the command that repeats the run.
    fn options(&self, context: &str) -> Vec<(&'static str, String)> {
        let path =
            |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        [
            ("kubeconfig", self.kubeconfig.as_ref().map(path)),
            ("context", Some(context.to_owned())),
            ("allow-context", Some(context.to_owned())),
            ("unprivileged-context", self.unprivileged_context.clone()),
            ("otlp-listen", self.otlp_listen.map(|address| address.to_string())),
            ("webhook-listen", self.webhook_listen.map(|address| address.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// Where the API server of a kept cluster exports to, and its sampling rate.
fn exports(file: &Path) -> Result<(SocketAddr, Option<spangate_scenario::units::PerMillion>), CommandError> {
    let unknown = || CommandError::environment(format!("{} does not say where spans go", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| unknown().because(error))?;
    let (endpoint, rate) = tracing_config::read(&text).ok_or_else(unknown)?;
    let addresses = endpoint.to_socket_addrs().map_err(|error| unknown().because(error))?;
    let address = addresses.into_iter().next().ok_or_else(unknown)?;
    Ok((address, rate))
}

/// What would be done, and how it is allowed.
fn not_allowed(existing: &Existing, loaded: &Loaded, files: &[PathBuf]) -> CommandError {
    let spec = &loaded.scenario.spec;
    let webhooks = spec.faults.iter().any(|fault| matches!(fault, Fault::Webhook(_)));
    let webhooks = if webhooks { " and webhooks that are called for them alone" } else { "" };
    let options = existing.options.iter().map(|(name, value)| format!(" --{name} {}", shell_word(value)));
    let files = files.iter().map(|file| format!(" {}", shell_word(&file.display().to_string())));
    let (files, options) = (files.collect::<String>(), options.collect::<String>());
    CommandError::usage(format!(
        "nothing is sent to {} (context {}) unless that is allowed",
        existing.server(),
        existing.context
    ))
    .help(format!(
        "the run would make namespaces spangate-load-*{webhooks}, send its load there, and remove all of it again. The \
         rights that it takes: spangate rbac{files}\nIt is allowed with: spangate run{files} --provider existing{options}"
    ))
}
