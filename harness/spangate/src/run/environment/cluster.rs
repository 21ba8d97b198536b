//! The control plane of a run, and the injectors between its parts.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spangate_cluster::{
    ControlPlaneConfig, Found, Lifetime, LocalApiServer, LocalEtcd, Pki, StartError, Version, pki,
};
use spangate_inject::{EtcdProxyHandle, WebhookConfig, WebhookHandle, WebhookServer};
use spangate_load::{ClientIdentity, Endpoint};
use spangate_scenario::model::{self, Fault, WebhookFault};
use spangate_sink::SinkHandle;
use spangate_trace::{TraceId, UnixNanos};
use tokio::time::timeout;

use super::{
    super::{
        api::Administrator,
        directory::RunDirectory,
        etcd_proxy,
        priority::Realtime,
        servers::{Processes, Servers},
    },
    FILES, LOOPBACK, Notes, forward, no_certificates, raise,
};
use crate::{
    error::CommandError,
    event::{Events, Step},
    measure::Measurements,
    plan::Plan,
};

/// How long the exporter may take beyond one flush delay until the probe's span is there: its connection is
/// made with the first export.
const FIRST_SPAN_PATIENCE: Duration = Duration::from_secs(20);
/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// The control plane, and the injectors between its parts.
pub(in crate::run) struct Cluster {
    /// The API server as its administrator sees it.
    pub(in crate::run) administrator: Administrator,
    /// The webhooks, if the scenario has any.
    pub(in crate::run) webhooks: Option<WebhookHandle>,
    /// Time from the start of the control plane to the first span.
    pub(in crate::run) to_first_span: Duration,
    pub(super) proxy: Option<EtcdProxyHandle>,
    pub(super) servers: Servers,
    /// Whether `admin` is kubeadm's administrator.
    pub(super) as_cluster_admin: bool,
}

// === impl Cluster ===

impl Cluster {
    /// Starts the control plane, which exports to `receiver`, and returns when a first span has come there.
    pub(super) async fn start(
        plan: &Plan,
        (api_server_binary, etcd_binary): (Found, Found),
        directory: &RunDirectory,
        receiver: &SinkHandle,
        realtime: Option<&Realtime>,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
        check_followed(api_server_binary.version, &plan.scenario.spec.cluster)?;
        events.step(Step::ControlPlane);
        let start = Instant::now();
        let config = ControlPlaneConfig {
            kube_apiserver: api_server_binary,
            etcd: etcd_binary,
            dir: directory.file(FILES),
            cluster: plan.scenario.spec.cluster.clone(),
            otlp: Some(receiver.grpc_addr().to_string()),
            lifetime: Lifetime::WithParent,
        };
        let pki = Pki::generate().map_err(no_certificates)?;
        let tell = forward(events);
        let etcd = LocalEtcd::start(&config.etcd_config(), &tell).await.map_err(not_started(directory))?;
        raise(realtime, Realtime::raise_run, events);
        let proxy = etcd_proxy::local(plan, &etcd, notes).await?;
        let etcd_url =
            proxy.as_ref().map_or_else(|| etcd.url().to_owned(), |p| format!("http://{}", p.addr()));
        let api_server = LocalApiServer::start(&config.api_server_config(&etcd_url), &pki, &tell)
            .await
            .map_err(not_started(directory))?;

        let servers = Servers::Local(Box::new(Processes { api_server, etcd }));
        let cluster = Self::of(plan, servers, proxy, receiver, (pki, LOOPBACK), start, notes, events).await?;
        raise(realtime, Realtime::raise_injectors, events);
        Ok(cluster)
    }

    /// Puts the injectors beside servers that were started at `start` and export to `receiver`, and returns when a first
    /// span has come there. Webhooks listen at an address that the API server reaches.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the parts of a cluster, from two ways to start one"
    )]
    pub(super) async fn of(
        plan: &Plan,
        servers: Servers,
        proxy: Option<EtcdProxyHandle>,
        receiver: &SinkHandle,
        (pki, listen): (Pki, SocketAddr),
        start: Instant,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
        events.step(Step::Tracing);
        let setup = |error| CommandError::environment("the API server cannot be used").because(error);
        let administrator = match servers.access() {
            Ok((access, _)) => Administrator::new(&access.kubeconfig()).await.map_err(setup)?,
            Err(guest) => guest.administrator(),
        };
        if plan.scenario.spec.cluster.tracing.enabled && plan.synthetic.is_none() {
            first_span(plan, receiver, &administrator, &servers).await?;
        }
        let to_first_span = start.elapsed();
        let webhooks = webhooks(plan, &pki, listen, notes).await?;
        let as_cluster_admin =
            plan.scenario.spec.cluster.admin_group.as_deref() == Some(model::Cluster::CLUSTER_ADMINS);
        Ok(Self { administrator, webhooks, to_first_span, proxy, servers, as_cluster_admin })
    }

    /// Where the load goes, and as whom.
    pub(in crate::run) fn target(&self) -> (Endpoint, String, ClientIdentity, ClientIdentity) {
        let (access, address) = match self.servers.access() {
            Ok(access) => access,
            Err(guest) => return guest.target(),
        };
        let identity = |user: &str, identity: &spangate_cluster::Identity| {
            ClientIdentity::certificate(user, &identity.cert_pem, &identity.key_pem)
        };
        let admin = match access.cluster_admin.as_ref().filter(|_| self.as_cluster_admin) {
            Some(admin) => identity(pki::CLUSTER_ADMIN, admin),
            None => identity(pki::ADMIN, &access.admin),
        };
        let endpoint = Endpoint { host: address.ip().to_string(), port: address.port() };
        (endpoint, access.ca_pem.clone(), admin, identity(pki::USER, &access.user))
    }

    /// The API server's process on this machine, if it can be seen from here.
    pub(in crate::run) fn api_server_pid(&self) -> Option<u32> {
        let pids = self.servers.pids();
        pids.into_iter().find(|(name, _)| *name == Measurements::API_SERVER).map(|(_, pid)| pid)
    }

    pub(super) fn arm(&self, start: UnixNanos) {
        self.webhooks.iter().for_each(|webhooks| webhooks.arm(start));
        self.proxy.iter().for_each(|proxy| proxy.arm(start));
    }

    pub(super) fn disarm(&self) {
        self.webhooks.iter().for_each(WebhookHandle::disarm);
        self.proxy.iter().for_each(EtcdProxyHandle::disarm);
    }

    pub(super) fn broken(&self) -> impl Future<Output = CommandError> + Send + use<> {
        self.servers.broken()
    }

    pub(super) async fn stop(self, directory: &RunDirectory) {
        self.servers.stop(self.proxy, &directory.file(FILES)).await;
        if let Some(webhooks) = self.webhooks {
            webhooks.shutdown().await;
        }
    }
}

/// Refuses an API server that makes a link of everybody's `traceparent`: a first span would be waited for in vain, and verdicts
/// look for spans in the traces of the requests.
fn check_followed(version: Version, cluster: &model::Cluster) -> Result<(), CommandError> {
    let (major, minor) = model::Cluster::FOLLOWED_SINCE;
    if !cluster.tracing.enabled || version.at_least(major, minor) {
        return Ok(());
    }
    let message =
        format!("Kubernetes {version} follows nobody's traceparent, so that no request is found again");
    Err(CommandError::environment(message).help(format!("take {major}.{minor} or later")))
}

fn not_started(directory: &RunDirectory) -> impl Fn(StartError) -> CommandError {
    let logs = directory.file(RunDirectory::LOGS);
    move |error| {
        CommandError::environment("the control plane does not start").because(error.with_logs_in(&logs))
    }
}

/// Starts the webhook server, if a fault needs it. It is registered later.
pub(super) async fn webhooks(
    plan: &Plan,
    pki: &Pki,
    listen: SocketAddr,
    notes: &Notes,
) -> Result<Option<WebhookHandle>, CommandError> {
    let faults: Vec<WebhookFault> = plan
        .scenario
        .spec
        .faults
        .iter()
        .filter_map(|fault| if let Fault::Webhook(fault) = fault { Some(fault.clone()) } else { None })
        .collect();
    if faults.is_empty() {
        return Ok(None);
    }
    let config = WebhookConfig {
        faults,
        certificate_pem: pki.webhook.cert_pem.clone(),
        key_pem: pki.webhook.key_pem.clone(),
        ca_pem: pki.ca_pem.clone(),
        seed: plan.scenario.spec.seed,
        clock: notes.clock,
        ledger: notes.injections.clone(),
        listen,
    };
    let started = WebhookServer::start(config).await;
    started
        .map(Some)
        .map_err(|error| CommandError::environment("the webhook server does not start").because(error))
}

/// Sends probes until the span of one is in the sink: a server that is ready need not be exporting.
async fn first_span(
    plan: &Plan,
    sink: &SinkHandle,
    administrator: &Administrator,
    servers: &Servers,
) -> Result<(), CommandError> {
    let store = sink.store();
    let limit = plan.scenario.spec.cluster.tracing.batch.schedule_delay.get() + FIRST_SPAN_PATIENCE;
    let probing = async {
        // Not of the run's seed: a probe must never have the trace id of a request.
        let mut random = ChaCha8Rng::seed_from_u64(u64::from(std::process::id()));
        let mut traces = Vec::new();
        loop {
            let trace = TraceId::new(random.random());
            if let Err(error) = administrator.probe(trace).await {
                break Err(CommandError::environment("the API server does not answer a probe").because(error));
            }
            traces.push(trace);
            let next = Instant::now() + PROBE_EVERY;
            let mut changed = store.changed();
            while Instant::now() < next {
                if traces.iter().any(|trace| store.has_server_span(*trace)) {
                    return Ok(());
                }
                let _ = timeout(next - Instant::now().min(next), changed.changed()).await;
            }
        }
    };
    if let Ok(answered) = timeout(limit, probing).await {
        return answered;
    }
    let log = servers.api_server_log();
    let said: Vec<&str> =
        log.lines().filter(|line| line.contains("traces export") || line.contains("racing")).collect();
    let said = said.iter().rev().take(5).rev().copied().collect::<Vec<_>>().join("\n");
    Err(CommandError::environment(format!(
        "the API server exports no spans: none came within {} s",
        limit.as_secs()
    ))
    .help(if said.is_empty() {
        "its log says nothing about tracing; was its tracing configuration replaced by extraArgs?".to_owned()
    } else {
        format!("its log says about tracing:\n{said}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_server_that_follows_nobody_is_refused() {
        let mut cluster = model::Cluster::default();
        assert!(check_followed(Version::new(1, 33, 0), &cluster).is_ok());
        let told = check_followed(Version::new(1, 32, 9), &cluster).unwrap_err().to_string();
        assert!(told.contains("Kubernetes 1.32.9 follows nobody's traceparent"), "{told}");
        cluster.tracing.enabled = false;
        assert!(check_followed(Version::new(1, 32, 9), &cluster).is_ok());
    }
}
