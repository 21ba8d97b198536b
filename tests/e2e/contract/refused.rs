//! Requests that are refused before they reach a handler: by authentication (401) and by authorization (403).
//!
//! A run of a scenario has no such requests, since its callers are known and have rights. So the parts of a
//! run are put together here: privileged requests come with the certificate of a foreign authority, the others
//! from a user whom nobody has given rights.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
    time::Duration,
};

use spangate_cluster::{
    Assets, AssetsEnv, ControlPlaneConfig, Identity as Certificate, Lifetime, LocalApiServer, LocalEtcd, Pki,
};
use spangate_load::{ClientIdentity, Endpoint, Engine, EngineConfig, LoadEvent, Outcome, RequestRecord};
use spangate_scenario::{model::Identity, units::PerMillion};
use spangate_sink::{Sink, SinkConfig, Store};
use spangate_trace::{Capture, Clock, Kind, TraceId, TraceIndex, contract};
use tokio::{sync::mpsc::unbounded_channel, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{callers::QUIET, observed::FILTERS};
use crate::harness::{alone, plan, root};

/// Time after which spans that are missing will not come.
const PATIENCE: Duration = Duration::from_secs(20);

static REFUSED: LazyLock<Refused> = LazyLock::new(|| alone(Refused::run()));

/// What was sent and what was captured.
struct Refused {
    requests: Vec<RequestRecord>,
    capture: Capture,
    /// How it came about.
    arrivals: Arrivals,
}

/// In what state traces were seen while spans arrived.
#[derive(Default)]
struct Arrivals {
    /// Those that were there without a SERVER span.
    before_server: HashSet<TraceId>,
    /// The number of spans of the others when their SERVER span was first seen.
    with_server: HashMap<TraceId, usize>,
}

// === impl Refused ===

impl Refused {
    async fn run() -> Self {
        let mut plan = plan(&root().join(QUIET));
        let tracing = &mut plan.scenario.spec.cluster.tracing;
        tracing.sampling_rate_per_million = PerMillion::new(1_000_000);
        // Less than the spans of a request, so that most requests are spread over several exports.
        tracing.batch.max_export_batch_size = Some(5);
        let assets = Assets::new(AssetsEnv::from_process());
        let wanted = plan.wanted(&assets).unwrap();
        let [etcd, kube_apiserver] = wanted.as_slice() else { panic!("{wanted:?} is no control plane") };
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let sink = Sink::start(SinkConfig { clock, ..SinkConfig::default() }).await.unwrap();
        let config = ControlPlaneConfig {
            kube_apiserver: assets.ensure(kube_apiserver, &()).unwrap(),
            etcd: assets.ensure(etcd, &()).unwrap(),
            dir: dir.path().to_owned(),
            cluster: plan.scenario.spec.cluster.clone(),
            otlp: Some(sink.grpc_addr().to_string()),
            lifetime: Lifetime::WithParent,
        };
        let (pki, foreign) = (Pki::generate().unwrap(), Pki::generate().unwrap());
        let etcd = LocalEtcd::start(&config.etcd_config(), &()).await.unwrap();
        let server = LocalApiServer::start(&config.api_server_config(etcd.url()), &pki, &()).await.unwrap();

        let (events, mut told) = unbounded_channel();
        let identity = |certificate: &Certificate| {
            ClientIdentity::certificate("whoever", &certificate.cert_pem, &certificate.key_pem)
        };
        let address = server.address();
        let engine = Engine::new(EngineConfig {
            endpoint: Endpoint { host: address.ip().to_string(), port: address.port() },
            ca_pem: server.access().ca_pem.clone(),
            admin: identity(&foreign.admin),
            unprivileged: identity(&pki.user),
            load: plan.scenario.spec.load.clone(),
            schedule: plan.schedule.clone(),
            replay: plan.replay.clone(),
            clock,
            events,
            run_label: "refused".to_owned(),
        })
        .unwrap();
        let (store, over) = (sink.store(), CancellationToken::new());
        let load = async {
            engine.run(clock.now(), CancellationToken::new()).await;
            let mut requests = Vec::new();
            while let Ok(LoadEvent::Request(request)) = told.try_recv() {
                requests.push(*request);
            }
            let capture = arrived(&store, &requests).await;
            over.cancel();
            (requests, capture)
        };
        let ((requests, capture), arrivals) = tokio::join!(load, watch(&store, &over));
        server.stop(Duration::ZERO).await;
        etcd.stop(Duration::ZERO).await;
        sink.shutdown().await;
        Self { requests, capture, arrivals }
    }

    /// The requests with this status.
    fn with_status(&self, identity: &Identity, status: u16) -> Vec<&RequestRecord> {
        let of_identity: Vec<_> = self.requests.iter().filter(|it| it.identity == *identity).collect();
        assert!(!of_identity.is_empty());
        for request in &of_identity {
            assert_eq!(request.outcome, Outcome::Status(status), "{request:?}");
        }
        of_identity
    }
}

/// Looks at every trace after every export, until `over`.
async fn watch(store: &Store, over: &CancellationToken) -> Arrivals {
    let mut arrivals = Arrivals::default();
    let mut changed = store.changed();
    loop {
        let going_on = over.run_until_cancelled(changed.changed()).await.is_some();
        let capture = store.snapshot();
        let index = TraceIndex::new(&capture);
        for trace in index.traces() {
            if trace.rows().any(|row| contract::is_server_span(&capture, index.row(row))) {
                arrivals.with_server.entry(trace.id()).or_insert(trace.len());
            } else {
                arrivals.before_server.insert(trace.id());
            }
        }
        if !going_on {
            return arrivals;
        }
    }
}

/// Waits until every request has left its `SerializeObject`, and the spans around it.
async fn arrived(store: &Store, requests: &[RequestRecord]) -> Capture {
    let mut changed = store.changed();
    let all = async {
        loop {
            let capture = store.snapshot();
            if missing(&capture, requests).is_empty() {
                return capture;
            }
            changed.changed().await.unwrap();
        }
    };
    let whole = timeout(PATIENCE, all).await;
    whole.unwrap_or_else(|_| panic!("nothing whole came of {:#?}", missing(&store.snapshot(), requests)))
}

/// The requests without a `SerializeObject` below a root.
fn missing<'r>(capture: &Capture, requests: &'r [RequestRecord]) -> Vec<&'r RequestRecord> {
    let index = TraceIndex::new(capture);
    let below_a_root = |row: usize| index.ancestors(row).last().is_some_and(|top| !index.is_orphan(top));
    let missing = |request: &&RequestRecord| !serializations(capture, request).into_iter().any(below_a_root);
    requests.iter().filter(missing).collect()
}

/// The spans that wrote the answer to a request.
fn serializations(capture: &Capture, request: &RequestRecord) -> Vec<usize> {
    let Some(name) = capture.names().find(contract::SERIALIZATION[0]) else { return Vec::new() };
    let rows = capture.rows().iter().enumerate().filter(|(_, row)| row.name == name).map(|(row, _)| row);
    rows.filter(|row| capture.span(*row).text(contract::AUDIT_ID) == request.audit_id.as_deref()).collect()
}

/// Scenario: a caller whom the API server does not know sends a sampled traceparent, an unsampled one, or none.
/// Guarantees: there is no SERVER span of the request; only `authentication` arrives, as the root of a trace
/// that is not the caller's, and `SerializeObject` below it, whatever the flag.
#[test]
fn a_401_has_no_server_span() {
    let capture = &REFUSED.capture;
    let index = TraceIndex::new(capture);
    for request in REFUSED.with_status(&Identity::admin(), 401) {
        let [row] = serializations(capture, request)[..] else { panic!("{request:?}") };
        let trace = index.trace_of(row);
        let names: Vec<_> = trace.rows().map(|row| &**capture.names().get(index.row(row).name)).collect();
        assert_eq!(names, [contract::AUTHENTICATION, contract::SERIALIZATION[0]]);
        assert_eq!(trace.roots().count(), 1);
        assert!(request.sent.is_none_or(|sent| index.by_trace(sent.trace_id).is_none()), "{request:?}");
        let servers = contract::server_spans(capture).map(|row| capture.span(row));
        let of_request = servers.filter(|span| span.text(contract::AUDIT_ID) == request.audit_id.as_deref());
        assert_eq!(of_request.count(), 0, "{request:?}");
    }
}

/// Scenario: a caller without rights asks for an object.
/// Guarantees: there is no handler; `SerializeObject` stands below `authorization`, and above that are the
/// other filters and the SERVER span with the status 403.
#[test]
fn a_403_ends_at_authorization() {
    let capture = &REFUSED.capture;
    let index = TraceIndex::new(capture);
    for request in REFUSED.with_status(&Identity::unprivileged(), 403) {
        let [row] = serializations(capture, request)[..] else { panic!("{request:?}") };
        let above: Vec<usize> = index.ancestors(row).collect();
        let names: Vec<_> = above.iter().map(|row| &**capture.names().get(index.row(*row).name)).collect();
        assert_eq!(names[..FILTERS.len()], FILTERS.iter().rev().copied().collect::<Vec<_>>());
        let [server] = above[FILTERS.len()..] else { panic!("{names:?}") };
        let server = capture.span(server);
        assert_eq!((server.kind, server.int("http.response.status_code")), (Kind::Server, Some(403)));
        assert_eq!(index.subtree(row).count(), 1);
        assert_eq!(index.trace_of(row).len(), names.len() + 1);
    }
}

/// Scenario: the exporter sends fewer spans at a time than a request has.
/// Guarantees: when a SERVER span arrives, all others of its trace are there, although some came in earlier
/// exports; so a capture is complete once the SERVER spans are.
#[test]
fn the_server_span_is_in_the_last_export_of_its_trace() {
    let (capture, arrivals) = (&REFUSED.capture, &REFUSED.arrivals);
    let index = TraceIndex::new(capture);
    let mut spread = 0;
    for request in REFUSED.with_status(&Identity::unprivileged(), 403) {
        let [row] = serializations(capture, request)[..] else { panic!("{request:?}") };
        let trace = index.trace_of(row);
        assert_eq!(arrivals.with_server.get(&trace.id()), Some(&trace.len()), "{request:?}");
        spread += usize::from(arrivals.before_server.contains(&trace.id()));
    }
    assert!(spread > 0, "no trace came in more than one export");
}
