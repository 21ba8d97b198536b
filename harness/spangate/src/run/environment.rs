//! The environment of a run: sink, control plane, and the injectors between them.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spangate_cluster::{
    Assets, ControlPlaneConfig, Found, Lifetime, LocalApiServer, LocalEtcd, Pki, PkiError, StartError,
    Wanted, pki, progress,
};
use spangate_inject::{EtcdProxyHandle, Injection, WebhookConfig, WebhookHandle, WebhookServer};
use spangate_load::{ClientIdentity, Endpoint};
use spangate_scenario::model::{self, Fault, WebhookFault};
use spangate_sink::{Sink, SinkConfig, SinkHandle};
use spangate_trace::{Clock, TraceId, UnixNanos};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{sleep, timeout},
};

use super::{
    api::Administrator,
    collector_on_kind,
    directory::RunDirectory,
    etcd_proxy,
    existing::Guest,
    kind::{Ready, Surroundings},
    priority::Realtime,
    servers::{Processes, Servers},
    webhook_service,
};
use crate::{
    collector::running::{Places, RunningCollector},
    error::CommandError,
    event::{Event, Events, Step},
    existing::{Existing, Whose},
    measure::{Follow, Measurements},
    plan::Plan,
    report::Component,
};

/// How long the exporter may take beyond one flush delay until the probe's span is there: its connection is
/// made with the first export.
const FIRST_SPAN_PATIENCE: Duration = Duration::from_secs(20);
/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// Where the control plane has its files, in the directory of the run.
const FILES: &str = "control-plane";
/// The logs among them.
const LOGS: [&str; 4] = ["etcd.log", "kube-apiserver.log", "kind.log", "node.log"];

/// Everything that runs beside the load. Dropping it ends all of it.
pub(super) struct Environment {
    /// Where spans arrive in the end.
    pub(super) sink: SinkHandle,
    /// The Collector before it, if the scenario has one.
    pub(super) collector: Option<RunningCollector>,
    /// The processes whose use of the machine is recorded.
    pub(super) follow: Follow,
    /// The control plane; none where the load is synthetic traces.
    pub(super) cluster: Option<Cluster>,
    /// What ran, for the report.
    pub(super) components: Vec<Component>,
    realtime: Option<Realtime>,
}

/// The control plane, and the injectors between its parts.
pub(super) struct Cluster {
    /// The API server as its administrator sees it.
    pub(super) administrator: Administrator,
    /// The webhooks, if the scenario has any.
    pub(super) webhooks: Option<WebhookHandle>,
    /// Time from the start of the control plane to the first span.
    pub(super) to_first_span: Duration,
    proxy: Option<EtcdProxyHandle>,
    servers: Servers,
    /// Whether `admin` is kubeadm's administrator.
    as_cluster_admin: bool,
}

/// Where the notes of a run go.
pub(super) struct Notes {
    /// The time line of all ledgers.
    pub(super) clock: Clock,
    /// The fault ledger.
    pub(super) injections: UnboundedSender<Injection>,
}

/// Finds a binary, or else downloads or builds it (`build`: builds it in any case).
pub(crate) async fn fetch(
    assets: &Assets,
    wanted: Wanted,
    build: bool,
    events: &Events,
) -> Result<Found, CommandError> {
    let (assets, to) = (assets.clone(), forward(events));
    let name = wanted.component.to_string();
    let fetched = tokio::task::spawn_blocking(move || {
        if build { assets.build(&wanted, &to) } else { assets.ensure(&wanted, &to) }
    });
    match fetched.await {
        Ok(found) => found
            .map_err(|error| CommandError::environment(format!("there is no usable {name}")).because(error)),
        Err(panic) => Err(CommandError::bug(format!("the search for {name} broke off")).because(panic)),
    }
}

/// Turns what the cluster crate tells into events of the run: what changes often is progress, what is said
/// once is a note.
pub(crate) fn forward(events: &Events) -> impl Fn(progress::Event) + Send + Sync + use<> {
    let events = events.clone();
    move |event| {
        use progress::Event as Told;
        let text = event.to_string();
        events.send(match event {
            Told::Downloading { done, total: Some(total), .. } => {
                Event::Progress { what: text, done: Some((done, total)) }
            }
            Told::Looking { .. }
            | Told::Building { .. }
            | Told::Working { .. }
            | Told::Downloading { .. }
            | Told::Starting { .. } => Event::Progress { what: text, done: None },
            _ => Event::Note(text),
        });
    }
}

// === impl Environment ===

impl Environment {
    /// Starts everything, and returns when a first span has come all the way.
    pub(super) async fn start(
        plan: &Plan,
        assets: &Assets,
        directory: &RunDirectory,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
        if let Some(existing) = plan.existing.as_ref().filter(|_| plan.synthetic.is_none()) {
            return Self::start_as_guest(plan, existing, notes, events).await;
        }
        if plan.on_existing() {
            let message = "nobody says which cluster the scenario is to run on";
            return Err(CommandError::usage(message)
                .help("only `spangate run` runs on a cluster that is there already"));
        }
        if plan.on_kind() {
            return Self::start_on_kind(plan, assets, directory, notes, events).await;
        }
        events.step(Step::Binaries);
        let mut binaries = Vec::new();
        for wanted in plan.wanted(assets)? {
            binaries.push(fetch(assets, wanted, false, events).await?);
        }
        let components = binaries.iter().map(component).collect();
        let mut binary = |component| {
            let place = binaries.iter().position(|found| found.component == component)?;
            Some(binaries.swap_remove(place))
        };
        let sink = Sink::start(SinkConfig { clock: notes.clock, ..SinkConfig::default() })
            .await
            .map_err(|error| CommandError::environment("the trace sink does not start").because(error))?;
        // Before real-time scheduling: the Collector must not keep from the CPU what is timed.
        let collector = match (&plan.collector, binary(spangate_cluster::Component::Otelcol)) {
            (Some(configuration), Some(binary)) => {
                events.step(Step::Collector);
                let model = plan.scenario.spec.collector.clone().unwrap_or_default();
                let (files, logs) = (directory.file(FILES), directory.file(RunDirectory::LOGS));
                let tell = forward(events);
                let started = RunningCollector::start(
                    configuration,
                    &model,
                    &binary,
                    Places { files: &files, logs: &logs },
                    &sink,
                    notes.clock,
                    &tell,
                );
                Some(started.await?)
            }
            _ => None,
        };
        let follow = Follow::default();
        let api_server = binary(spangate_cluster::Component::KubeApiserver);
        let etcd = binary(spangate_cluster::Component::Etcd);
        let Some((api_server, etcd)) = api_server.zip(etcd) else {
            return Ok(Self { sink, collector, follow, cluster: None, components, realtime: None });
        };
        // Only now: a build of the binaries must not keep the whole machine from everybody else.
        let realtime = realtime(events);
        let receiver = collector.as_ref().map_or(&sink, RunningCollector::tap);
        let cluster =
            Cluster::start(plan, (api_server, etcd), directory, receiver, realtime.as_ref(), notes, events)
                .await?;
        Ok(Self { sink, collector, follow, cluster: Some(cluster), components, realtime })
    }

    /// Follows the processes that run now: those of the control plane, the Collector, and this one.
    pub(super) async fn follow(&self) {
        let mut now = vec![(Measurements::HARNESS, Some(std::process::id()))];
        if let Some(cluster) = &self.cluster {
            now.extend(cluster.servers.pids().into_iter().map(|(name, pid)| (name, Some(pid))));
        }
        if let Some(collector) = &self.collector {
            now.push((Measurements::COLLECTOR, collector.pid().await));
        }
        for (name, pid) in now {
            if let Some(pid) = pid {
                self.follow.process(name, pid);
            }
        }
    }

    /// As [`start`](Self::start), with a kind cluster.
    async fn start_on_kind(
        plan: &Plan,
        assets: &Assets,
        directory: &RunDirectory,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
        events.step(Step::Binaries);
        let model = &plan.scenario.spec.cluster;
        let otelcol = collector_on_kind::binary(plan, assets, events).await?;
        let gateway = webhook_service::binary(plan, assets, events).await?;
        let ready = Ready::find(model, assets, events).await?;
        let files = std::path::absolute(directory.file(FILES))
            .map_err(|error| CommandError::environment("the run has no directory").because(error))?;
        events.step(Step::KindCluster);
        let start = Instant::now();
        let network = ready.network(&Ready::name_of_run(), false, &files).await?;
        let here = SocketAddr::new(network.gateway(), 0);
        // Nodes reach this machine at that address and not at loopback; nobody else does.
        let sink =
            Sink::start(SinkConfig { clock: notes.clock, grpc: here, http: here, ..SinkConfig::default() })
                .await
                .map_err(|error| {
                    CommandError::environment("the trace sink does not start").because(error).help(
                        "Docker's engine must be on this machine itself, not in a virtual one or elsewhere",
                    )
                })?;
        let tap = match &otelcol {
            Some(_) => Some(RunningCollector::early_tap(here, notes.clock).await?),
            None => None,
        };
        let proxy = etcd_proxy::on_kind(plan, here.ip(), notes).await?;
        // Where the load is traces, the API server's own have no business among them.
        let otlp = plan.synthetic.is_none().then(|| tap.as_ref().unwrap_or(&sink).grpc_addr().to_string());
        let around = Surroundings {
            base: plan.kind_config.as_deref(),
            otlp: otlp.as_deref(),
            etcd_proxy: proxy.as_ref(),
        };
        let servers = ready.start(network, model, around, &files, events).await?;
        let proxy = proxy.map(|proxy| proxy.handle);
        let collector = match otelcol.as_ref().zip(tap) {
            Some((binary, tap)) => {
                let logs = directory.file(RunDirectory::LOGS);
                let parts = (tap, &sink, logs.as_path());
                Some(collector_on_kind::start(plan, &servers, binary, parts, notes, events).await?)
            }
            None => None,
        };
        // Only now: nobody else should wait for kind and its Docker clients.
        let realtime = realtime(events);
        raise(realtime.as_ref(), Realtime::raise_run, events);
        let processes = servers.processes().unwrap_or_default();
        if let Some(Err(why)) = realtime.as_ref().map(|realtime| realtime.raise_pods(&processes)) {
            let note = format!("no real-time scheduling on the node, so timings are less certain: {why}");
            events.send(Event::Note(note));
        }
        let names = [here.ip().to_string(), webhook_service::host()];
        let pki = Pki::generate_for(&names.each_ref().map(String::as_str)).map_err(no_certificates)?;
        let servers = Servers::Kind(Box::new(servers));
        let receiver = collector.as_ref().map_or(&sink, RunningCollector::tap);
        let cluster = Cluster::of(plan, servers, proxy, receiver, (pki, here), start, notes, events).await?;
        if let (Some(gateway), Some(webhooks), Servers::Kind(servers)) =
            (&gateway, &cluster.webhooks, &cluster.servers)
        {
            let client = cluster.administrator.client();
            webhook_service::start(servers, client, gateway, webhooks, realtime.as_ref(), events).await?;
        }
        raise(realtime.as_ref(), Realtime::raise_injectors, events);
        let components = ready.components().into_iter().chain(otelcol.as_ref().map(component)).collect();
        let follow = Follow::default();
        Ok(Self { sink, collector, follow, cluster: Some(cluster), components, realtime })
    }

    /// As [`start`](Self::start), on a cluster that is there already.
    async fn start_as_guest(
        plan: &Plan,
        existing: &Existing,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
        let sink = SinkConfig { clock: notes.clock, grpc: existing.otlp_listen, ..SinkConfig::default() };
        let sink = Sink::start(sink).await.map_err(|error| {
            CommandError::environment("the trace sink does not start")
                .because(error)
                .help("it must be where the API server exports to: see --otlp-listen")
        })?;
        // What somebody else runs keeps the priority that it has; what is kept for runs is lent ours.
        let processes =
            if let Whose::Kept { processes, .. } = &existing.whose { processes.as_slice() } else { &[] };
        let mut realtime = if processes.is_empty() { None } else { realtime(events) };
        raise(realtime.as_ref(), Realtime::raise_run, events);
        if let Some(Err(why)) = realtime.as_mut().map(|realtime| realtime.lend(processes)) {
            let note = format!("no real-time scheduling for the cluster, so timings are less certain: {why}");
            events.send(Event::Note(note));
        }
        let start = Instant::now();
        let guest = Guest::enter(plan, existing, &sink, events).await?;
        let to_first_span = start.elapsed();
        let listen = existing.webhook_listen.unwrap_or(LOOPBACK);
        let pki = Pki::generate_for(&[&listen.ip().to_string()]).map_err(no_certificates)?;
        let webhooks = webhooks(plan, &pki, listen, notes).await?;
        let (administrator, components) = (guest.administrator(), guest.components());
        let servers = Servers::Existing(Box::new(guest));
        let cluster =
            Cluster { administrator, webhooks, to_first_span, proxy: None, servers, as_cluster_admin: false };
        raise(realtime.as_ref(), Realtime::raise_injectors, events);
        let follow = Follow::default();
        Ok(Self { sink, collector: None, follow, cluster: Some(cluster), components, realtime })
    }

    /// A group of who sends as `admin`, where it had to be found out.
    pub(super) fn admin_group(&self) -> Option<&str> {
        self.guest().map(Guest::admin_group)
    }

    /// What marks all that the load makes; the name of the scenario, where nobody else makes anything.
    pub(super) fn run_label<'e>(&'e self, plan: &'e Plan) -> &'e str {
        self.guest().map_or(&plan.scenario.metadata.name, Guest::label)
    }

    fn guest(&self) -> Option<&Guest> {
        self.cluster.as_ref()?.servers.access().err()
    }

    /// Where spans arrive first: at the Collector, if there is one.
    pub(super) fn receiver(&self) -> &SinkHandle {
        self.collector.as_ref().map_or(&self.sink, RunningCollector::tap)
    }

    /// The real-time scheduling of harness and control plane, if they have it.
    pub(super) fn realtime(&self) -> Option<&Realtime> {
        self.realtime.as_ref()
    }

    /// Lets the faults act from `start` on.
    pub(super) fn arm(&self, start: UnixNanos) {
        self.cluster.iter().for_each(|cluster| cluster.arm(start));
    }

    /// Lets the faults act no longer.
    pub(super) fn disarm(&self) {
        self.cluster.iter().for_each(Cluster::disarm);
    }

    /// Waits until a process of the control plane ends, which none should.
    pub(super) async fn broken(&self) -> CommandError {
        match &self.cluster {
            Some(cluster) => cluster.broken().await,
            None => std::future::pending().await,
        }
    }

    /// Ends everything and keeps the logs; certificates, keys and data are removed.
    pub(super) async fn stop(self, directory: &RunDirectory) {
        if let Some(collector) = &self.collector {
            collector.save_log().await;
        }
        if let Some(cluster) = self.cluster {
            cluster.stop(directory).await;
        }
        if let Some(collector) = self.collector {
            collector.shutdown().await;
        }
        self.sink.shutdown().await;
        tidy(directory);
    }
}

// === impl Cluster ===

impl Cluster {
    /// Starts the control plane, which exports to `receiver`, and returns when a first span has come there.
    async fn start(
        plan: &Plan,
        (api_server_binary, etcd_binary): (Found, Found),
        directory: &RunDirectory,
        receiver: &SinkHandle,
        realtime: Option<&Realtime>,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
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
    async fn of(
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
    pub(super) fn target(&self) -> (Endpoint, String, ClientIdentity, ClientIdentity) {
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
    pub(super) fn api_server_pid(&self) -> Option<u32> {
        let pids = self.servers.pids();
        pids.into_iter().find(|(name, _)| *name == Measurements::API_SERVER).map(|(_, pid)| pid)
    }

    fn arm(&self, start: UnixNanos) {
        self.webhooks.iter().for_each(|webhooks| webhooks.arm(start));
        self.proxy.iter().for_each(|proxy| proxy.arm(start));
    }

    fn disarm(&self) {
        self.webhooks.iter().for_each(WebhookHandle::disarm);
        self.proxy.iter().for_each(EtcdProxyHandle::disarm);
    }

    fn broken(&self) -> impl Future<Output = CommandError> + Send + use<> {
        self.servers.broken()
    }

    async fn stop(self, directory: &RunDirectory) {
        self.servers.stop(self.proxy, &directory.file(FILES)).await;
        if let Some(webhooks) = self.webhooks {
            webhooks.shutdown().await;
        }
    }
}

/// Removes the files that killed runs left beside this one: there are private keys among them. Their processes
/// have ended with them.
pub(super) fn sweep(directory: &RunDirectory) {
    for left in directory.abandoned().filter(|left| left.file(FILES).exists()) {
        tracing::info!(run = %left.path().display(), "removing what a killed run left");
        tidy(&left);
    }
}

/// Keeps the logs of the control plane and removes its certificates, keys and data, as far as there are any.
pub(super) fn tidy(directory: &RunDirectory) {
    let files = directory.file(FILES);
    for log in LOGS {
        let kept = directory.file(RunDirectory::LOGS).join(log);
        match fs::rename(files.join(log), &kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, log = %kept.display(), "cannot keep a log");
            }
            _ => {}
        }
    }
    match fs::remove_dir_all(&files) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, files = %files.display(), "cannot remove the files of the control plane");
        }
        _ => {}
    }
}

/// Real-time scheduling for this process, or a word on why not.
fn realtime(events: &Events) -> Option<Realtime> {
    let asked = Realtime::ask();
    asked
        .inspect_err(|why| {
            let note = format!("no real-time scheduling, so timings are less certain: {why}");
            events.send(Event::Note(note));
        })
        .ok()
}

pub(super) fn no_certificates(error: PkiError) -> CommandError {
    CommandError::environment("the certificates cannot be made").because(error)
}

/// Takes a step up in real-time scheduling, if there is any, and says when that fails.
fn raise(realtime: Option<&Realtime>, step: impl FnOnce(&Realtime) -> Result<(), String>, events: &Events) {
    if let Some(Err(why)) = realtime.map(step) {
        events.send(Event::Note(format!("only one real-time priority, so timings are less certain: {why}")));
    }
}

fn not_started(directory: &RunDirectory) -> impl Fn(StartError) -> CommandError {
    let logs = directory.file(RunDirectory::LOGS);
    move |error| {
        CommandError::environment("the control plane does not start").because(error.with_logs_in(&logs))
    }
}

/// A binary as reports name it.
pub(crate) fn component(found: &Found) -> Component {
    Component {
        name: found.component.to_string(),
        version: found.version.to_string(),
        source: found.source.to_string(),
    }
}

/// This machine and nobody else, at any port.
pub(super) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Starts the webhook server, if a fault needs it. It is registered later.
async fn webhooks(
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

/// Waits for `time`, and not at all when it has passed.
pub(super) async fn sleep_until(clock: &Clock, time: UnixNanos) {
    sleep(time.since(clock.now())).await;
}
