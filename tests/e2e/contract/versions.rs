//! What differs between releases, on the oldest and the newest that are built here: 1.34 and 1.37.

use std::{collections::BTreeSet, path::Path, sync::LazyLock, time::Duration};

use spangate_cluster::{Assets, AssetsEnv, ControlPlane, ControlPlaneConfig, Lifetime};
use spangate_load::Verb;
use spangate_scenario::model::{Cluster, Identity, TraceFlag};
use spangate_sink::{Sink, SinkConfig};
use spangate_trace::{Kind, Span, contract};

use super::{callers::QUIET, observed::Observed};
use crate::harness::{alone, plan, root, run_plan};

pub(crate) const OLDEST: &str = "1.34.4";
const NEWEST: &str = "1.37.2";

/// The load, from the root of the repository.
pub(crate) const LOAD: &str = "tests/e2e/contract/versions.yaml";

/// Attributes of SERVER spans: their names in 1.34, and in 1.37.
pub(crate) const HTTP: [(&str, &str); 7] = [
    ("http.method", "http.request.method"),
    ("http.status_code", "http.response.status_code"),
    ("http.scheme", "url.scheme"),
    ("http.response_content_length", "http.response.body.size"),
    ("net.protocol.version", "network.protocol.version"),
    ("net.host.name", "server.address"),
    ("net.sock.peer.addr", "network.peer.address"),
];
/// Attributes of calls of etcd in 1.34 only.
pub(crate) const RPC_BEFORE: [&str; 4] =
    ["rpc.system", "rpc.service", "rpc.grpc.status_code", "net.sock.peer.addr"];
/// Attributes of calls of etcd in 1.37 only.
pub(crate) const RPC_SINCE: [&str; 3] = ["rpc.system.name", "rpc.response.status_code", "server.address"];
/// Spans of 1.37 only.
pub(crate) const SPANS_SINCE: [&str; 4] =
    ["Get etcd3", "cacher.Watch", "constrainedimpersonation", "etcdserverpb.KV/RangeStream"];

/// The same load on both.
static OLD: LazyLock<Observed> = LazyLock::new(|| observe(OLDEST));
static NEW: LazyLock<Observed> = LazyLock::new(|| observe(NEWEST));

fn observe(version: &str) -> Observed {
    let mut plan = plan(&root().join(LOAD));
    version.clone_into(&mut plan.scenario.spec.cluster.kubernetes);
    Observed::run(plan)
}

/// The keys of all attributes of the spans that `is_one` picks.
pub(crate) fn keys(observed: &Observed, is_one: impl Fn(&Span) -> bool) -> BTreeSet<&str> {
    let spans = observed.under_load().map(|(_, span)| span).filter(|span| is_one(span));
    spans.flat_map(|span| span.attributes.keys().map(|key| &**key)).collect()
}

pub(crate) fn names(observed: &Observed) -> BTreeSet<&str> {
    observed.under_load().map(|(_, span)| &*span.name).collect()
}

pub(crate) fn is_server(span: &Span) -> bool {
    span.kind == Kind::Server
}

pub(crate) fn is_rpc(span: &Span) -> bool {
    span.name.starts_with(contract::ETCD_PREFIX)
}

/// How many spans of watches have a parent that never came.
pub(crate) fn orphans(observed: &Observed) -> usize {
    let watches = observed.asked(Verb::Watch, "configmaps");
    let traces = watches.iter().map(|watch| watch.sent.unwrap().trace_id);
    let traces = traces.filter_map(|trace| observed.index.by_trace(trace));
    let sent: BTreeSet<_> = watches.iter().map(|watch| watch.sent.unwrap().span_id).collect();
    let of_watch = |row: &usize| observed.spans[*row].parent.is_none_or(|parent| !sent.contains(&parent));
    traces.flat_map(|trace| trace.orphans().collect::<Vec<_>>()).filter(of_watch).count()
}

/// A privileged caller is the parent of its SERVER spans, and any other is linked to by a root.
pub(crate) fn assert_only_the_privileged_are_followed(observed: &Observed) {
    for request in observed.sent(&Identity::admin(), TraceFlag::Sampled) {
        let server = &observed.spans[observed.server(request)];
        assert_eq!(server.parent, request.sent.map(|sent| sent.span_id), "{request:?}");
    }
    for request in observed.sent(&Identity::unprivileged(), TraceFlag::Sampled) {
        let server = &observed.spans[observed.server(request)];
        let links: Vec<_> = server.links.iter().map(|link| Some(link.span_id)).collect();
        assert_eq!((server.parent, links), (None, vec![request.sent.map(|sent| sent.span_id)]));
    }
}

/// Scenario: SERVER spans of both releases.
/// Guarantees: 1.34 has the names of the old semantic conventions and 1.37 those of the new, none both; `http.target` and
/// `audit-id` are in both, since Kubernetes itself adds them.
#[test]
fn http_attributes_were_renamed() {
    let (old, new) = (keys(&OLD, is_server), keys(&NEW, is_server));
    for (before, since) in HTTP {
        assert!(old.contains(before) && !old.contains(since), "{OLDEST}: {before}, {since}: {old:?}");
        assert!(new.contains(since) && !new.contains(before), "{NEWEST}: {before}, {since}: {new:?}");
    }
    // There was nothing like it.
    assert!(!old.contains("url.path") && new.contains("url.path"), "{old:?}, {new:?}");
    for key in ["http.target", contract::AUDIT_ID, "user_agent.original"] {
        assert!(old.contains(key) && new.contains(key), "{key}: {old:?}, {new:?}");
    }
}

/// Scenario: the API server's calls of etcd in both releases.
/// Guarantees: the names of the attributes, and the events of the messages, are those of the release; the names of the
/// spans are the same.
#[test]
fn rpc_attributes_were_renamed() {
    let (old, new) = (keys(&OLD, is_rpc), keys(&NEW, is_rpc));
    assert!(RPC_BEFORE.iter().all(|key| old.contains(key) && !new.contains(key)), "{old:?}, {new:?}");
    assert!(RPC_SINCE.iter().all(|key| new.contains(key) && !old.contains(key)), "{old:?}, {new:?}");
    for (observed, messages) in [(&*OLD, true), (&*NEW, false)] {
        let mut calls = observed.under_load().filter(|(_, span)| is_rpc(span));
        let has_messages = calls.any(|(_, span)| span.events.iter().any(|event| &*event.name == "message"));
        assert_eq!(has_messages, messages);
        assert!(names(observed).contains("etcdserverpb.KV/Txn"));
    }
}

/// Scenario: the same operations on both releases.
/// Guarantees: the spans that only one of them has.
#[test]
fn reads_and_watches_got_spans() {
    let (old, new) = (names(&OLD), names(&NEW));
    for name in SPANS_SINCE {
        assert!(new.contains(name) && !old.contains(name), "{name}: {old:?}, {new:?}");
    }
    assert!(old.contains("impersonation") && !new.contains("impersonation"), "{old:?}, {new:?}");
    for name in ["Create", "Create etcd3", "Get", "List", "cacher.GetList", contract::AUDIT] {
        assert!(old.contains(name) && new.contains(name), "{name}: {old:?}, {new:?}");
    }
}

/// Scenario: watches on both releases.
/// Guarantees: 1.34 leaves a read of etcd behind whose parent never comes, the `List` of the watch; 1.37 does not.
#[test]
fn a_watch_no_longer_leaves_an_orphan() {
    let (old, new) = (orphans(&OLD), orphans(&NEW));
    assert!(old > 0 && new == 0, "{old} on {OLDEST}, {new} on {NEWEST}");
}

/// Scenario: both kinds of caller send a sampled traceparent to both releases.
/// Guarantees: since 1.33 a privileged one is followed and any other becomes a link of a root.
#[test]
fn both_follow_the_privileged_only() {
    for observed in [&*OLD, &*NEW] {
        assert_only_the_privileged_are_followed(observed);
    }
}

/// Scenario: 1.34 is started with the gate `APIServerTracing` on, and off.
/// Guarantees: on is fine there, where 1.37 does not start; off is refused, since the gate is locked.
#[test]
fn the_gate_is_locked_before_it_goes() {
    let with_gate = |on| {
        let mut plan = plan(&root().join(QUIET));
        OLDEST.clone_into(&mut plan.scenario.spec.cluster.kubernetes);
        plan.scenario.spec.cluster.api_server.feature_gates.insert("APIServerTracing".to_owned(), on);
        run_plan(plan).map(|(report, _)| report.status)
    };
    assert_eq!(with_gate(true), Ok(spangate::verdict::Status::Pass));
    let error = with_gate(false).expect_err("it must not start");
    assert!(
        error.contains("cannot set feature gate APIServerTracing to false, feature is locked to true"),
        "{error}"
    );
}

/// Scenario: both releases are given a configuration of each version of its API.
/// Guarantees: all are read, and spans come; with a version that there is not, neither starts.
#[test]
fn both_read_every_version_of_the_configuration() {
    let assets = Assets::new(AssetsEnv::from_process());
    for kubernetes in [OLDEST, NEWEST] {
        for version in ["v1", "v1beta1", "v1alpha1"] {
            let dir = tempfile::tempdir().unwrap();
            let came = alone(exports(&assets, kubernetes, version, dir.path()));
            assert_eq!(came, Ok(true), "{kubernetes} with a configuration of {version}");
        }
        let dir = tempfile::tempdir().unwrap();
        let error = alone(exports(&assets, kubernetes, "v2", dir.path())).expect_err("it must not start");
        assert!(error.contains("apiserver.config.k8s.io/v2"), "{error}");
    }
}

/// Whether spans come of an API server that is given a configuration of this version, or why it does not start.
async fn exports(assets: &Assets, kubernetes: &str, version: &str, dir: &Path) -> Result<bool, String> {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let file = dir.join("given.yaml");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/{version}\nkind: TracingConfiguration\nendpoint: \"{}\"\n\
         samplingRatePerMillion: 1000000\n",
        sink.grpc_addr()
    );
    std::fs::write(&file, text).unwrap();
    let mut cluster = Cluster { kubernetes: kubernetes.to_owned(), ..Cluster::default() };
    let given = ("tracing-config-file".to_owned(), file.display().to_string());
    cluster.api_server.extra_args.extend([given]);
    let kube_apiserver = assets.ensure(&assets.wanted_kube_apiserver(&cluster).unwrap(), &()).unwrap();
    let etcd = assets.ensure(&assets.wanted_etcd(&cluster, kube_apiserver.version).unwrap(), &()).unwrap();
    let config = ControlPlaneConfig {
        kube_apiserver,
        etcd,
        dir: dir.join("control-plane"),
        cluster,
        otlp: Some(sink.grpc_addr().to_string()),
        lifetime: Lifetime::WithParent,
    };
    let plane = ControlPlane::start(&config, &()).await.map_err(|error| error.to_string())?;
    let mut changed = sink.store().changed();
    let waited =
        tokio::time::timeout(Duration::from_secs(20), changed.wait_for(|_| !sink.store().is_empty()));
    let came = waited.await.is_ok();
    plane.stop(Duration::ZERO).await;
    Ok(came)
}
