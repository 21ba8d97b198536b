//! A Collector in a pod of a kind cluster, kept running by a kubelet.
//!
//! As a `DaemonSet` it listens on the node itself, in the network of the API server; as a Deployment it is reached through a
//! Service of the type `NodePort`. Either way the tap sends to an address of the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::TryStreamExt as _;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{
    Api, Client,
    api::{DynamicObject, LogParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use spangate_cluster::kind::KindNode;
use spangate_scenario::{
    collector::Role,
    model::{self, CollectorOutage, Workload},
};
use spangate_sink::SinkHandle;
use spangate_trace::{Clock, UnixNanos};
use tokio::{
    net::TcpStream,
    sync,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::life::{Ended, Life};
use super::{
    Configuration, Wired,
    facts::Crash,
    running::{GRACE, State, TAIL, lock},
};
use crate::{
    error::CommandError,
    pods::{self, LOOK_EVERY, NAMESPACE, PATIENCE, request},
};

mod life;
mod manifest;

pub(crate) use manifest::NAME;

/// A Collector in a pod. The pod goes with its cluster.
pub(crate) struct PodCollector {
    client: Client,
    node: KindNode,
    kind: Workload,
    log: PathBuf,
    watching: JoinHandle<()>,
    /// The pods that were seen to go, by their uids.
    gone: sync::watch::Receiver<BTreeSet<String>>,
}

/// What a Collector in a pod is made from.
pub(crate) struct PodConfig<'p> {
    /// Its configuration.
    pub(crate) configuration: &'p Configuration,
    /// What the scenario says of it.
    pub(crate) model: &'p model::Collector,
    /// Its image, which every node has.
    pub(crate) image: &'p str,
    /// The API server, as its administrator.
    pub(crate) client: Client,
    /// The node with the API server.
    pub(crate) node: &'p KindNode,
    /// The address of that node.
    pub(crate) address: IpAddr,
    /// Where it sends to: at an address that nodes reach.
    pub(crate) sink: &'p SinkHandle,
    /// The directory of its log.
    pub(crate) logs: &'p Path,
}

/// The ports that Collectors have by convention.
const GRPC: u16 = 4317;
const HTTP: u16 = 4318;
const TELEMETRY: u16 = 8888;
const PROMETHEUS: u16 = 8889;
/// The first of all other ports.
const OTHERS: u16 = 14300;
/// Time after which a watch is opened again that broke.
const AGAIN: Duration = Duration::from_millis(500);
/// How long after a pod is gone it may take to hear so.
const HEARD: Duration = Duration::from_secs(5);
/// How long a connection to it may take.
const CONNECT: Duration = Duration::from_secs(1);

// === impl PodCollector ===

impl PodCollector {
    /// Starts the pod, and gives where its Collector is reached when all its receivers listen. From then on its ends are
    /// noted in `state`.
    pub(super) async fn start(
        config: PodConfig<'_>,
        state: &Arc<Mutex<State>>,
        clock: Clock,
    ) -> Result<(Self, Wired), CommandError> {
        let PodConfig { configuration, model, image, client, node, address, sink, logs } = config;
        let kind = model.kind.unwrap_or_default();
        let mut wired = configuration.wire_to(sink, Path::new(manifest::FILES), &mut ports())?;
        let workload = manifest::workload(model, image, &wired, GRACE.as_secs());
        pods::namespace(&client).await?;
        pods::create::<ConfigMap>(&client, manifest::config_map(&wired.yaml)).await?;
        let node_ports = match kind {
            Workload::DaemonSet => {
                pods::create::<DaemonSet>(&client, workload).await?;
                BTreeMap::new()
            }
            Workload::Deployment => {
                pods::create::<Deployment>(&client, workload).await?;
                node_ports(&pods::create(&client, manifest::service(&manifest::ports(&wired))).await?)
            }
        };
        wired.reached_at(|listening| {
            let port = node_ports.get(&listening.port()).copied().unwrap_or(listening.port());
            SocketAddr::new(address, port)
        });
        let (going, gone) = sync::watch::channel(BTreeSet::new());
        let watching = tokio::spawn(watch(pods::pods(&client), Arc::clone(state), clock, going));
        let log = logs.join(spangate_cluster::LocalCollector::LOG);
        let this = Self { client, node: node.clone(), kind, log, watching, gone };
        this.ready(&wired).await?;
        Ok((this, wired))
    }

    /// Ends the pod, and returns when it is gone: whether all that was known of it was heard, to the last.
    pub(super) async fn take_away(&self, how: CollectorOutage) -> Result<bool, CommandError> {
        self.save_log().await;
        let look = || async {
            let pods = pods::pods(&self.client).list(&pods::selected(NAME)).await;
            Ok::<_, CommandError>(pods.map_err(request("look for the Collector's pod"))?.items)
        };
        let there: BTreeSet<String> = look().await?.into_iter().filter_map(|pod| pod.metadata.uid).collect();
        if how == CollectorOutage::Kill {
            // Before its pod is told to end, which a kubelet always asks for kindly.
            let node = self.node.clone();
            let killed = tokio::task::spawn_blocking(move || node.kill(NAME)).await;
            killed
                .map_err(broke_off)?
                .map_err(|error| CommandError::environment("cannot kill the Collector").because(error))?;
        }
        self.set_presence(false).await?;
        let gone = async {
            while !look().await?.is_empty() {
                sleep(LOOK_EVERY).await;
            }
            Ok::<_, CommandError>(())
        };
        timeout(PATIENCE, gone).await.map_err(|_| {
            let still = format!("its pod was still there after {} s", PATIENCE.as_secs());
            CommandError::environment("cannot end the Collector").help(still)
        })??;
        // How a container ended is told before its pod goes, and both by the same watch.
        let mut gone = self.gone.clone();
        let heard = gone.wait_for(|gone| there.is_subset(gone));
        Ok(matches!(timeout(HEARD, heard).await, Ok(Ok(_))))
    }

    /// Has another pod made, and returns when its Collector receives.
    pub(super) async fn bring_back(&self, wired: &Wired) -> Result<(), CommandError> {
        self.set_presence(true).await?;
        self.ready(wired).await
    }

    /// The number that its process has on this machine, where it is seen from here.
    pub(super) async fn pid(&self) -> Option<u32> {
        let node = self.node.clone();
        let processes = tokio::task::spawn_blocking(move || node.processes()).await.ok()?.ok()?;
        processes.into_iter().find(|(_, name)| name == NAME).map(|(pid, _)| pid)
    }

    /// Where its log is kept.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Keeps what the kubelet has of the log of the pod that is there, if one is: that of the process that runs, and of
    /// the one before it.
    pub(super) async fn save_log(&self) {
        let (node, log) = (self.node.clone(), self.log.clone());
        let saved = tokio::task::spawn_blocking(move || -> Result<(), String> {
            let text = node.pod_log(NAMESPACE, NAME).map_err(|error| error.to_string())?;
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
            let written = file.as_mut().map(|file| file.write_all(text.as_bytes()));
            written.map(drop).map_err(|error| error.to_string())
        });
        match saved.await {
            // What there was of a pod that is gone was saved before it went.
            Ok(Err(error)) if !self.log.exists() => {
                tracing::warn!(%error, log = %self.log.display(), "cannot keep the Collector's log");
            }
            _ => {}
        }
    }

    async fn set_presence(&self, there: bool) -> Result<(), CommandError> {
        let kind = match self.kind {
            Workload::DaemonSet => kube::api::ApiResource::erase::<DaemonSet>(&()),
            Workload::Deployment => kube::api::ApiResource::erase::<Deployment>(&()),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), NAMESPACE, &kind);
        let patch = Patch::Merge(manifest::presence(self.kind, there));
        let patched = api.patch(NAME, &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(request("change the Collector's workload"))
    }

    /// Waits until the pod is ready and all that its Collector listens on is reached from here.
    async fn ready(&self, wired: &Wired) -> Result<(), CommandError> {
        let has_ended = |pod: &Pod| !Life::default().see(pod).ended.is_empty();
        if let Err(pod) = pods::ready(&self.client, NAME, has_ended).await {
            return Err(self.unready(pod.as_deref()).await);
        }
        let reached = async {
            while !listening(wired).await {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, reached).await.map_err(|_| {
            CommandError::environment("the Collector's pod is ready and not reached from here")
                .help("look for a firewall between this machine and the network of the cluster")
        })
    }

    /// Why the pod is not ready.
    async fn unready(&self, pod: Option<&Pod>) -> CommandError {
        let ended = pod.and_then(|pod| Some((pod, Life::default().see(pod).ended.pop()?)));
        let why = match &ended {
            Some((pod, ended)) => {
                let said = tail(&pods::pods(&self.client), pod, ended.replaced).await;
                format!("{}; the last lines of its log:\n{said}", how(ended))
            }
            None => pods::waiting(pod),
        };
        CommandError::environment(format!("the Collector does not start in its pod: {why}"))
            .help("`spangate collector check` says what of a configuration a Collector does not take")
    }
}

impl Drop for PodCollector {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Notes each end of the container that nobody asked for, when it is ready again, and which pods are gone.
async fn watch(
    pods: Api<Pod>,
    state: Arc<Mutex<State>>,
    clock: Clock,
    gone: sync::watch::Sender<BTreeSet<String>>,
) {
    let mut life = Life::default();
    loop {
        // Of all that is there now, and from then on.
        if let Ok(events) = pods.watch(&WatchParams::default().labels(&format!("app={NAME}")), "0").await {
            let mut events = std::pin::pin!(events);
            while let Ok(Some(event)) = events.try_next().await {
                match event {
                    WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                        note(&mut life, &pod, &pods, &state, clock).await;
                    }
                    // With the last that was known of it.
                    WatchEvent::Deleted(pod) => {
                        note(&mut life, &pod, &pods, &state, clock).await;
                        gone.send_modify(|gone| gone.extend(pod.metadata.uid));
                    }
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
                }
            }
        }
        sleep(AGAIN).await;
    }
}

async fn note(life: &mut Life, pod: &Pod, pods: &Api<Pod>, state: &Mutex<State>, clock: Clock) {
    let (now, news) = (clock.now(), life.see(pod));
    for ended in &news.ended {
        let ending = lock(state).ending;
        if ending.is_some_and(|since| was_asked_for(ended, since)) {
            continue;
        }
        let log = tail(pods, pod, ended.replaced).await;
        let (reason, status) = (Some(ended.reason.clone()), how(ended));
        let crash = Crash { at: ended.at, status, reason, back: None, log };
        lock(state).crashes.push(crash);
    }
    if news.ready {
        lock(state).crashes.iter_mut().filter(|crash| crash.back.is_none()).for_each(|crash| {
            crash.back = Some(now);
        });
    }
}

/// As exactly as kubelets tell when a container ended.
const SECOND: Duration = Duration::from_secs(1);
/// Why the kubelet says that a container ended which wanted more memory than it has.
const OOM_KILLED: &str = "OOMKilled";

/// Whether a container has ended because it was asked to at this time: what ran out of memory has not, nor what ended in an
/// earlier second. Kubelets tell no more than the second, and tell it late.
fn was_asked_for(ended: &Ended, since: UnixNanos) -> bool {
    let earlier = ended.at.is_some_and(|at| at + SECOND <= since);
    ended.reason != OOM_KILLED && !earlier
}

/// The end of a container in words.
fn how(ended: &Ended) -> String {
    match ended.exit_code {
        Some(code) => format!("{} (exit code {code})", ended.reason),
        None => ended.reason.clone(),
    }
}

/// The end of what a container said, as far as it is kept.
async fn tail(pods: &Api<Pod>, pod: &Pod, replaced: bool) -> String {
    let lines = i64::try_from(TAIL).ok();
    let params = LogParams { previous: replaced, tail_lines: lines, ..LogParams::default() };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    pods.logs(name, &params).await.unwrap_or_else(|error| format!("(its log cannot be had: {error})"))
}

/// Hands out the ports that everybody expects, and others to what else there is.
fn ports() -> impl FnMut(Role) -> SocketAddr {
    let mut taken = Vec::new();
    move |role| {
        let expected = match role {
            Role::OtlpGrpc => Some(GRPC),
            Role::OtlpHttp => Some(HTTP),
            Role::Telemetry => Some(TELEMETRY),
            Role::Prometheus => Some(PROMETHEUS),
            _ => None,
        };
        let free = expected
            .into_iter()
            .chain(OTHERS..=u16::MAX)
            .find(|port| !taken.contains(port))
            .unwrap_or(OTHERS);
        taken.push(free);
        // Of the node, or of the pod; either is reached on the network of the cluster only.
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, free))
    }
}

/// The ports of a node by those of the pods behind them.
fn node_ports(service: &Service) -> BTreeMap<u16, u16> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let port = |number: i32| u16::try_from(number).ok();
    ports.filter_map(|it| Some((port(it.port)?, port(it.node_port?)?))).collect()
}

/// Whether all that a Collector listens on is reached from here.
async fn listening(wired: &Wired) -> bool {
    for address in wired.receivers.iter().chain([&wired.metrics]) {
        if !matches!(timeout(CONNECT, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return false;
        }
    }
    true
}

fn broke_off(panic: tokio::task::JoinError) -> CommandError {
    CommandError::bug("work on the Collector's pod broke off").because(panic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a container that was asked to end did so; another ended seconds before, and one ran out of memory.
    /// Guarantees: only the first is excused.
    #[test]
    fn only_what_was_asked_for_is_excused() {
        let second = |at: u64| UnixNanos(at * 1_000_000_000);
        let ended = |reason: &str, at| Ended {
            reason: reason.to_owned(),
            exit_code: None,
            at: Some(second(at)),
            replaced: false,
        };
        let asked = second(10) + Duration::from_millis(700);
        assert!(was_asked_for(&ended("Error", 10), asked) && was_asked_for(&ended("Completed", 11), asked));
        assert!(!was_asked_for(&ended("Error", 9), asked));
        assert!(!was_asked_for(&ended(OOM_KILLED, 11), asked));
    }

    #[test]
    fn the_first_of_each_role_gets_the_port_that_everybody_expects() {
        let mut next = ports();
        let roles = [Role::OtlpGrpc, Role::OtlpHttp, Role::OtlpGrpc, Role::Receiver, Role::Telemetry];
        assert_eq!(roles.map(|role| next(role).port()), [4317, 4318, 14300, 14301, 8888]);
    }
}
