//! What must be true of the run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AttributeMatch, Identity, Resource, TextMatch, Window};
use crate::units::{Bound, Duration, Ratio};

mod collector;
mod overhead;
mod sampling;

pub use collector::{Conserved, Kept, Restarts, SpanMetrics, SpanMetricsFrom, Stored};
pub use overhead::{ApiServerOverhead, CollectorOverhead, Overhead};
pub use sampling::{Roots, Sampling, Until};

/// One expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Expectation {
    /// Every injection is found again as a span of the right length.
    Injected(Injected),
    /// The fault explains the excess latency of the requests that it touched.
    Blame(Blame),
    /// Spans that a selector picks.
    Spans(Spans),
    /// Every request that had to be traced is there, whole, and no other.
    Complete(Complete),
    /// A sampler kept what it had to keep.
    Sampling(Sampling),
    /// No span is lost in the Collector without somebody counting it.
    Conserved(Conserved),
    /// Some traces that the Collector was given had to be kept, or had not to be.
    Kept(Kept),
    /// The metrics that the Collector makes of spans say what the spans say.
    SpanMetrics(SpanMetrics),
    /// Jaeger has every trace that reached the sink.
    Stored(Stored),
    /// The Collector's container ended by itself, and was started again.
    Restarts(Restarts),
    /// An expectation that must not be met: its verdict must be a failure.
    Fails(Box<Expectation>),
    /// Response times, from the intended start.
    Latency(Latency),
    /// Self time by phase of the API server.
    Phases(Phases),
    /// Requests by their answers.
    Requests(Requests),
    /// How the traces came back after the sink was away.
    Recovery(Recovery),
    /// How well the load was sent.
    Load(LoadExpectation),
    /// What processes use of the machine.
    Overhead(Overhead),
    /// What the watchers saw, and how soon.
    Watchers(WatchersExpectation),
}

/// Every injection is found again as a span of the right length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Injected {
    /// The fault.
    pub fault: String,
    /// Greatest difference between what was held and what the span shows.
    #[serde(default = "default_within")]
    pub within: Duration,
    /// Share of the injections that must be within; all must be found. Those are set aside, and counted, whose
    /// whole excess is explained by stalls of the machine that were seen just then.
    #[serde(default = "default_share")]
    pub share: Ratio,
}

fn default_within() -> Duration {
    Duration::from_millis(2)
}

fn default_share() -> Ratio {
    Ratio::new_unchecked(0.99)
}

/// The fault explains the excess latency of the requests that it touched.
///
/// They are compared with requests of the same operation on the same resource that it did not touch, so it
/// must spare some: by a `share` below 100%, or by `during`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blame {
    /// The fault.
    pub fault: String,
    /// Share of the excess that its component must explain.
    #[serde(default = "default_blame_share")]
    pub share: Bound<Ratio>,
}

fn default_blame_share() -> Bound<Ratio> {
    Bound::at_least(Ratio::new_unchecked(0.8))
}

/// Spans that a selector picks, and what must be true of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spans {
    /// Which spans.
    #[serde(rename = "where", default)]
    pub selector: SpanSelector,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Bound<u64>>,
    /// How many for each request of the ledger that was to be traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<Bound<u64>>,
    /// Percentiles of their duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Percentiles>,
    /// Attributes that every one of them must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, AttributeMatch>,
    /// A CEL expression that must be true of every one of them. `span` has the texts `name`, `kind`, `status`,
    /// `statusMessage`, `scope`, `service`, `traceId`, `spanId` and `parent` (a span id, null of a root), the
    /// numbers `durationMs` and `selfMs`, `attributes` (a map by key) and `events` (a list in which each has
    /// `name`, `offsetMs` from the span's start, and `attributes`):
    /// `span.events.exists(e, e.name == 'Request completed')`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel: Option<String>,
}

/// Picks spans; all that is given must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpanSelector {
    /// The span's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<TextMatch>,
    /// `server`, `client`, `internal`, `producer`, `consumer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<SpanKind>,
    /// The instrumentation scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<TextMatch>,
    /// The resource attribute `service.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<TextMatch>,
    /// `unset`, `ok` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SpanStatus>,
    /// Attributes by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, AttributeMatch>,
    /// Events that it must have, in this order, others between them allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventMatch>,
    /// Links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<LinkMatch>,
    /// A span of the capture that one of its links leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked: Option<Box<SpanSelector>>,
    /// Its duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Bound<Duration>>,
    /// Whether it has no parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<bool>,
    /// Whether its trace is one of a request of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ours: Option<bool>,
    /// Its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<SpanSelector>>,
    /// One of the spans above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ancestor: Option<Box<SpanSelector>>,
    /// One of its children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<Box<SpanSelector>>,
    /// A sibling that ended before it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<SpanSelector>>,
    /// A sibling that began after it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<SpanSelector>>,
    /// A span for which this does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<SpanSelector>>,
}

/// The kind of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are OTLP's")]
pub enum SpanKind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// The status of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are OTLP's")]
pub enum SpanStatus {
    Unset,
    Ok,
    Error,
}

/// An event of a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventMatch {
    /// Its name.
    pub name: TextMatch,
    /// Attributes by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, AttributeMatch>,
}

/// Links of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LinkMatch {
    /// None.
    None,
    /// At least one.
    Any,
    /// At least one to the `traceparent` of a request of ours.
    Request,
}

/// Every request that had to be traced is there, whole, and no other.
///
/// What had to happen follows from each request's identity and flag: a privileged sampled request is a child
/// of what was sent, an unsampled one is not there, an unprivileged one is a root with a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Complete {
    /// Requests without their SERVER span.
    pub missing: Bound<u64>,
    /// Requests with more than one SERVER span.
    pub duplicates: Bound<u64>,
    /// Spans of our traces whose parent is not there; those under a watch that is still open excepted.
    pub orphans: Bound<u64>,
    /// SERVER spans of requests that must not be traced.
    pub unexpected: Bound<u64>,
}

impl Default for Complete {
    fn default() -> Self {
        Self {
            missing: Bound::equal(0),
            duplicates: Bound::equal(0),
            orphans: Bound::equal(0),
            unexpected: Bound::equal(0),
        }
    }
}

/// Which requests of the ledger.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestFilter {
    /// What was asked, in the words of Kubernetes' RBAC and the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = crate::validate::VERBS))]
    pub verb: Option<String>,
    /// The resource, plural.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = Resource::ALL.map(Resource::plural)))]
    pub resource: Option<String>,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Bound<u64>>,
    /// Who sent it.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The stage, or the session of the user, that it belongs to; `load` where there are neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Only requests whose intended start lies in this part of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub during: Option<Window>,
}

/// Response times, from the intended start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Latency {
    /// Which requests.
    #[serde(rename = "where", default)]
    pub filter: RequestFilter,
    /// Bounds by percentile.
    pub is: Percentiles,
}

/// Bounds by percentile; at least one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Percentiles {
    /// The shortest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Bound<Duration>>,
    /// The median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<Bound<Duration>>,
    /// The 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90: Option<Bound<Duration>>,
    /// The 95th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<Bound<Duration>>,
    /// The 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<Bound<Duration>>,
    /// The longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Bound<Duration>>,
}

/// Phases for editors to propose; those with a name after the first word have more.
const PHASES: &[&str] = &[
    "etcd KV/Txn",
    "etcd KV/Range",
    "mutating slow-mutate",
    "validating slow-validate",
    "server",
    "authentication",
    "audit",
    "impersonation",
    "priority and fairness",
    "authorization",
    "handler",
    "cache",
    "storage",
    "encryption",
    "serialization",
    "proxy",
    "other",
];

/// Self time by phase of the API server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phases {
    /// Which requests.
    #[serde(rename = "where", default)]
    pub filter: RequestFilter,
    /// The phase, as `spangate phases` prints it: `etcd` and an RPC, `mutating` or `validating` and a webhook,
    /// or one of `server`, `authentication`, `audit`, `impersonation`, `priority and fairness`,
    /// `authorization`, `handler`, `cache`, `storage`, `encryption`, `serialization`, `proxy`, `other`.
    #[schemars(extend("examples" = PHASES))]
    pub phase: String,
    /// Percentiles of its self time per request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Percentiles>,
    /// Its share of the requests' whole time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Bound<Ratio>>,
}

/// Requests by their answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requests {
    /// Which requests.
    #[serde(rename = "where", default)]
    pub filter: RequestFilter,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Bound<u64>>,
    /// What share of the requests that the filter without `status` picks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Bound<Ratio>>,
}

/// How the traces came back after the sink was away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recovery {
    /// The sink fault.
    pub fault: String,
    /// Time from the sink's return to the first span that it receives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dark: Option<Bound<Duration>>,
    /// Share of all sampled requests whose SERVER span never arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Bound<Ratio>>,
}

/// How well the load was sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadExpectation {
    /// Operations that started, as a share of those planned; not for `users`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Bound<Ratio>>,
    /// Time from the intended start of an operation to its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_lag: Option<Percentiles>,
    /// Arrivals that found `maxInFlight` operations under way; not for `users`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shed: Option<Bound<u64>>,
    /// Share of the requests without an answer, or with a status of 500 and more or 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Bound<Ratio>>,
    /// Records of a replay that could not be sent; only for `replay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Bound<u64>>,
}

/// What the watchers saw, and how soon.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WatchersExpectation {
    /// Only those of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Time from the sending of a change to the receipt of its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Percentiles>,
    /// Changes that the API server acknowledged and whose event a watcher did not get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<Bound<u64>>,
    /// Watches that ended before the load and were opened again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reopened: Option<Bound<u64>>,
}
