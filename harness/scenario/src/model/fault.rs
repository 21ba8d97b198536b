//! What to break, and when.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::units::{Duration, HINT, Ratio};

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// An admission webhook of ours that is slow or broken.
    Webhook(WebhookFault),
    /// RPCs between the API server and etcd that are slow or fail.
    Etcd(EtcdFault),
    /// A trace backend that is slow, refuses or is away.
    Sink(SinkFault),
    /// A Collector that ends, and is started again.
    Collector(CollectorFault),
}

/// An admission webhook of ours, registered for the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookFault {
    /// The fault's name: a DNS label. The webhook is registered as `<name>.spangate.dev`.
    pub name: String,
    /// Mutating or validating.
    #[serde(rename = "type")]
    pub webhook_type: WebhookType,
    /// Which requests the API server sends to it.
    pub rules: Vec<WebhookRule>,
    /// How the API server reaches it.
    #[serde(default)]
    pub via: Via,
    /// What the API server does when the call fails.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// How long the API server waits, 1 to 30 seconds.
    #[serde(default = "default_timeout_seconds", deserialize_with = "timeout_seconds")]
    #[schemars(range(min = 1, max = 30))]
    pub timeout_seconds: u8,
    /// CEL conditions that a request must meet as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_conditions: Vec<MatchCondition>,
    /// Whether a mutating webhook is called again when another one changed the object.
    #[serde(default)]
    pub reinvocation_policy: ReinvocationPolicy,
    /// How long a call is held before it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// What is answered.
    #[serde(default)]
    pub answer: WebhookAnswer,
    /// Share of the calls that are affected; the others are allowed at once.
    #[serde(default = "Ratio::one")]
    pub share: Ratio,
    /// Affects only calls for these operations; empty is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<AdmissionOperation>,
    /// Affects only calls for these resources (plural, lower case); empty is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Affects only calls for objects in these namespaces; empty is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Affects only calls in this part of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<Window>,
}

/// Mutating or validating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WebhookType {
    /// May change the object; called one after the other.
    Mutating,
    /// May only refuse the object; called in parallel.
    Validating,
}

/// How the API server reaches a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Via {
    /// By its URL.
    #[default]
    Url,
    /// By a Service with a pod behind it that passes the bytes on; only on kind.
    Service,
}

/// Which requests go to a webhook (`admissionregistration.k8s.io/v1`, `RuleWithOperations`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookRule {
    /// The operations.
    pub operations: Vec<AdmissionOperation>,
    /// The resources, plural and lower case, `pods/status` for subresources, `*` for all.
    pub resources: Vec<String>,
    /// The API groups.
    #[serde(default = "any")]
    pub api_groups: Vec<String>,
    /// The API versions.
    #[serde(default = "any")]
    pub api_versions: Vec<String>,
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

/// An admission operation, in the upper case of the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum AdmissionOperation {
    /// Creation.
    Create,
    /// Change, patches included.
    Update,
    /// Deletion.
    Delete,
    /// `exec`, `attach`, `portforward`, `proxy`.
    Connect,
    /// Any of them; only in rules.
    #[serde(rename = "*")]
    Any,
}

/// What the API server does when a webhook call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// Refuses the request.
    #[default]
    Fail,
    /// Goes on as if the webhook had allowed it.
    Ignore,
}

/// Whether a mutating webhook is called again when another one changed the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ReinvocationPolicy {
    /// Called once.
    #[default]
    Never,
    /// Called again.
    IfNeeded,
}

/// A CEL condition (`admissionregistration.k8s.io/v1`, `MatchCondition`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchCondition {
    /// Its name.
    pub name: String,
    /// A CEL expression over `object`, `oldObject`, `request` and `authorizer`.
    pub expression: String,
}

fn default_timeout_seconds() -> u8 {
    10
}

/// Reads anything, so that what is wrong is told the bounds of the webhook and not those of a byte.
fn timeout_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = u8;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 1 to 30")
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<u8, E> {
            u8::try_from(seconds).map_err(|_| E::custom(format!("must be 1 to 30, got {seconds}")))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u8, E> {
            let number = text.strip_suffix('s').unwrap_or(text).parse::<u8>();
            let hint = number.map_or_else(|_| String::new(), |number| format!("{HINT}`{number}`?"));
            Err(E::custom(format!("expected a whole number from 1 to 30, got `{text}`{hint}")))
        }
    }

    deserializer.deserialize_any(Visitor)
}

/// What a webhook answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WebhookAnswer {
    /// The request is allowed.
    #[default]
    Allow,
    /// The request is denied.
    Deny(Deny),
    /// An HTTP status without an `AdmissionReview`.
    Http(HttpFailure),
    /// A body that is not JSON.
    MalformedJson,
    /// An `AdmissionReview` for another request.
    WrongUid,
    /// The request is allowed with this JSON patch (RFC 6902); mutating webhooks only.
    Patch(Vec<BTreeMap<String, serde_json::Value>>),
    /// Nothing, until the API server gives up.
    Hold,
    /// The connection is closed with a TCP reset.
    Reset,
}

/// A denial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deny {
    /// The HTTP status that the caller gets.
    #[serde(default = "default_deny_code")]
    pub code: u16,
    /// The message that the caller gets.
    #[serde(default = "default_deny_message")]
    pub message: String,
}

fn default_deny_code() -> u16 {
    403
}

fn default_deny_message() -> String {
    "denied by spangate".to_owned()
}

/// An HTTP status in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpFailure {
    /// The status, 400 to 599.
    pub status: u16,
}

/// How long something is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Delay {
    /// Always the same.
    Fixed(Duration),
    /// Evenly spread.
    Uniform {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Normally distributed; negative values are zero.
    Normal {
        /// The mean.
        mean: Duration,
        /// The standard deviation.
        stddev: Duration,
    },
    /// Exponentially distributed.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Pareto distributed: `scale` is the shortest, a smaller `shape` has a heavier tail.
    Pareto {
        /// The shortest.
        scale: Duration,
        /// The tail index.
        shape: f64,
    },
}

/// A part of the run, counted from the start of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Start, from the start of load.
    #[serde(default)]
    pub from: Duration,
    /// End, from the start of load.
    pub to: Duration,
}

/// RPCs between the API server and etcd that are slow or fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcdFault {
    /// The fault's name: a DNS label.
    pub name: String,
    /// The RPC, without the package `etcdserverpb`. The API server reads with `KV/Range` and writes with
    /// `KV/Txn`.
    #[schemars(extend("enum" = crate::validate::ETCD_RPCS))]
    pub rpc: String,
    /// Affects only requests for keys with this prefix (`/registry/configmaps/`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// How long a call is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Whether the request or the response is held.
    #[serde(default)]
    pub hold: HeldSide,
    /// Answer with this gRPC status in place of etcd (`UNAVAILABLE`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<GrpcStatus>,
    /// Share of the calls that are affected.
    #[serde(default = "Ratio::one")]
    pub share: Ratio,
    /// Affects only calls in this part of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<Window>,
}

/// Which side of a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HeldSide {
    /// Before it reaches etcd.
    #[default]
    Request,
    /// After etcd answered.
    Response,
}

/// A gRPC status code by its canonical name (`grpc/doc/statuscodes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum GrpcStatus {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// A trace backend that is slow, refuses or is away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkFault {
    /// The fault's name: a DNS label.
    pub name: String,
    /// What it does instead of accepting spans.
    pub does: SinkMisbehaviour,
    /// Only in this part of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<Window>,
}

/// What the sink does instead of accepting spans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SinkMisbehaviour {
    /// Accepts, but answers late.
    Delay(Delay),
    /// Refuses with this gRPC status (over HTTP: the status that OTLP maps it to).
    Refuse {
        /// The status.
        status: GrpcStatus,
        /// When the client may try again (`RetryInfo`, `Retry-After`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<Duration>,
    },
    /// Accepts all but this share of the spans of a request, and says so (`partial_success`).
    PartialSuccess {
        /// Share of the spans that are rejected.
        rejected: Ratio,
    },
    /// Never answers.
    Hang,
    /// Is not there: connections are refused, open ones are closed.
    Away,
}

/// A Collector that ends, and is started again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorFault {
    /// The fault's name: a DNS label.
    pub name: String,
    /// How it ends.
    #[serde(default)]
    pub does: CollectorOutage,
    /// When it ends, and when it is started again.
    pub during: Window,
}

/// How a Collector ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CollectorOutage {
    /// It is asked to (SIGTERM), and sends on what it has.
    #[default]
    Stop,
    /// It is killed (SIGKILL), and what it has is lost.
    Kill,
}

// === impl Fault ===

impl Fault {
    /// The fault's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook(fault) => &fault.name,
            Self::Etcd(fault) => &fault.name,
            Self::Sink(fault) => &fault.name,
            Self::Collector(fault) => &fault.name,
        }
    }

    /// The part of the run in which it acts, when it is not all of it.
    pub fn during(&self) -> Option<Window> {
        match self {
            Self::Webhook(fault) => fault.during,
            Self::Etcd(fault) => fault.during,
            Self::Sink(fault) => fault.during,
            Self::Collector(fault) => Some(fault.during),
        }
    }
}
