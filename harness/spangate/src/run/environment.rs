//! The environment of a run: sink, control plane, and the injectors between them.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
};

use spangate_cluster::{Assets, Found, Jaeger, PkiError, Wanted, progress};
use spangate_inject::Injection;
use spangate_sink::{Sink, SinkConfig, SinkHandle};
use spangate_trace::{Clock, UnixNanos};
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

use self::beside::{Backends, Beside};
pub(crate) use self::beside::{elsewhere, prune};
pub(super) use self::cluster::Cluster;
use super::{
    directory::RunDirectory,
    existing::{Guest, Left},
    priority::Realtime,
};
use crate::{
    collector::running::RunningCollector,
    error::CommandError,
    event::{Event, Events, Step},
    measure::{Follow, Measurements},
    plan::Plan,
    report::Component,
};

mod as_guest;
mod beside;
mod cluster;
mod on_kind;

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
    /// What stores traces and metrics beside the sink.
    pub(super) backends: Backends,
    /// The processes whose use of the machine is recorded.
    pub(super) follow: Follow,
    /// The control plane; none where the load is synthetic traces.
    pub(super) cluster: Option<Cluster>,
    /// What ran, for the report.
    pub(super) components: Vec<Component>,
    realtime: Option<Realtime>,
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
        // Before anything is built that would be of no use without Docker.
        let beside = Beside::find(plan, directory, notes.clock, events).await?;
        let mut binaries = Vec::new();
        for wanted in plan.wanted(assets)? {
            binaries.push(fetch(assets, wanted, false, events).await?);
        }
        let components = binaries.iter().map(component).chain(beside.components()).collect();
        let mut binary = |component| {
            let place = binaries.iter().position(|found| found.component == component)?;
            Some(binaries.swap_remove(place))
        };
        // Before real-time scheduling: the Collector and backends must not keep from the CPU what is timed.
        let jaeger = beside.jaeger(binary(spangate_cluster::Component::Jaeger)).await?;
        let to = jaeger.as_ref().map(Jaeger::otlp);
        let sink = Sink::start(SinkConfig { clock: notes.clock, forward: to, ..SinkConfig::default() })
            .await
            .map_err(|error| CommandError::environment("the trace sink does not start").because(error))?;
        let collector = beside.collector(binary(spangate_cluster::Component::Otelcol), &sink).await?;
        let prometheus = binary(spangate_cluster::Component::Prometheus);
        let prometheus = beside.prometheus(prometheus, collector.as_ref()).await?;
        let backends = Backends { jaeger, prometheus };
        let follow = Follow::default();
        let api_server = binary(spangate_cluster::Component::KubeApiserver);
        let etcd = binary(spangate_cluster::Component::Etcd);
        let Some((api_server, etcd)) = api_server.zip(etcd) else {
            return Ok(Self { sink, collector, backends, follow, cluster: None, components, realtime: None });
        };
        // Only now: a build of the binaries must not keep the whole machine from everybody else.
        let realtime = realtime(events);
        let receiver = collector.as_ref().map_or(&sink, RunningCollector::tap);
        let cluster =
            Cluster::start(plan, (api_server, etcd), directory, receiver, realtime.as_ref(), notes, events)
                .await?;
        Ok(Self { sink, collector, backends, follow, cluster: Some(cluster), components, realtime })
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

    /// Gives etcd and the API server their priorities once more: whoever starts beside them puts all threads of this process
    /// where it needs them, and what is started meanwhile inherits that.
    pub(super) fn raise_again(&self, events: &Events) {
        let Some(cluster) = &self.cluster else { return };
        let named = |(name, pid): (&str, u32)| (pid, name.to_owned());
        let processes: Vec<(u32, String)> = cluster.servers.pids().into_iter().map(named).collect();
        raise(self.realtime(), |realtime| realtime.raise_pods(&processes), events);
    }

    /// Puts the load above the API server, unless something is injected whose time it could stand in the way of: what
    /// collects garbage on every CPU would make it late.
    pub(super) fn raise_load(&self, events: &Events) {
        let injects = |cluster: &Cluster| cluster.webhooks.is_some() || cluster.proxy.is_some();
        if !self.cluster.as_ref().is_some_and(injects) {
            raise(self.realtime(), Realtime::raise_load, events);
        }
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

    /// Removes what the run made on a cluster that is not ours, and gives what is left of it.
    pub(super) async fn leave(&self, broke_off: bool) -> Option<Left> {
        match self.guest() {
            Some(guest) => guest.leave(broke_off).await,
            None => None,
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
        // Boxed, since it is held beside all else that is being ended.
        Box::pin(self.backends.stop()).await;
        tidy(directory);
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

/// Waits for `time`, and not at all when it has passed.
pub(super) async fn sleep_until(clock: &Clock, time: UnixNanos) {
    sleep(time.since(clock.now())).await;
}
