//! What to send.

use schemars::{JsonSchema, Schema, transform::Transform};
use serde::{Deserialize, Serialize};

use super::Traffic;
use crate::units::Duration;

mod abort;
mod arrivals;
mod client;
mod identity;
mod mix;
mod operation;
mod population;
mod replay;
mod sizes;
mod users;
mod watchers;

pub use abort::AbortRule;
pub use arrivals::{Arrivals, Ramp, Shape, Spike, Stage, Steps};
pub use client::{ClientOptions, Encoding, Protocol, RetryAfter};
pub use identity::{Identity, IdentitySpec, Impersonate};
pub use mix::{MixEntry, TraceFlag, Weight};
pub use operation::{
    CreateOperation, DeleteOperation, GetOperation, KubectlStep, ListOperation, PatchOperation, PatchType,
    PutOperation, Resource, Scope, UpdateOperation, WatchListOperation, WatchOperation,
};
pub use population::{Population, PopulationEntry};
pub use replay::Replay;
pub use sizes::{SizeDistribution, Sizes};
pub use users::{Session, Users};
pub use watchers::{WatchMode, Watchers};

/// What to send: exactly one of `arrivals`, `users`, `replay` and `traces`, and what they need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = exactly_one_of(Self::SOURCES))]
pub struct Load {
    /// Open loop: operations start at times that were fixed before the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// Closed loop: users who wait for an answer before they go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Users>,
    /// What was once sent, sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Traces shaped like those of an API server, sent to the Collector without one. No control plane is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traffic>,
    /// What each arrival does, and each step of users without sessions: one of these, chosen by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<MixEntry>,
    /// Clients that watch a collection from before the load until after it. They are told apart by their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watchers: Vec<Watchers>,
    /// Senders beside `admin` and `unprivileged`, for `as` to name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<IdentitySpec>,
    /// The namespace that the operations work in; made for the run and removed after it.
    pub namespace: String,
    /// Objects of each resource that exist before load starts, for reads and changes, where `prepare` does not
    /// say otherwise.
    pub objects: u32,
    /// What is made before load starts, and removed after it.
    pub prepare: Population,
    /// How the load reaches the API server.
    pub client: ClientOptions,
    /// Operations that may be under way at once; an arrival beyond it is shed and counted.
    pub max_in_flight: u32,
    /// Time after which an operation is given up.
    pub timeout: Duration,
    /// When the load is given up; each of the rules is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub abort_on: Vec<AbortRule>,
}

/// Says in a schema that exactly one of these keys is there.
fn exactly_one_of(keys: &[&str]) -> impl Transform {
    let one = |key: &&str| serde_json::json!({"required": [key]});
    let forms: serde_json::Value = keys.iter().map(one).collect();
    move |schema: &mut Schema| {
        schema.insert("oneOf".to_owned(), forms.clone());
    }
}

/// Those of `keys` that are given, as the truth values of the same order say.
fn given(keys: &[&'static str], is_given: &[bool]) -> Vec<&'static str> {
    keys.iter().zip(is_given).filter(|(_, given)| **given).map(|(key, _)| *key).collect()
}

// === impl Load ===

impl Default for Load {
    fn default() -> Self {
        Self {
            arrivals: None,
            users: None,
            replay: None,
            traces: None,
            mix: Vec::new(),
            watchers: Vec::new(),
            identities: Vec::new(),
            namespace: "spangate-load".to_owned(),
            objects: 10,
            prepare: Population::default(),
            client: ClientOptions::default(),
            max_in_flight: 1000,
            timeout: Duration::from_secs(60),
            abort_on: Vec::new(),
        }
    }
}

impl Load {
    /// The keys of which a load has exactly one.
    pub const SOURCES: &'static [&'static str] = &["arrivals", "users", "replay", "traces"];

    /// Every mix entry, wherever it stands: of the load, of stages, of sessions.
    pub fn entries(&self) -> impl Iterator<Item = &MixEntry> {
        let stages = self.arrivals.iter().flat_map(|arrivals| &arrivals.stages);
        let sessions = self.users.iter().flat_map(|users| &users.sessions);
        self.mix
            .iter()
            .chain(stages.filter_map(|stage| stage.mix.as_ref()).flatten())
            .chain(sessions.flat_map(|session| &session.steps))
    }

    /// The keys of the sources that are given; one, once the scenario is checked.
    pub fn sources(&self) -> Vec<&'static str> {
        let is_given =
            [self.arrivals.is_some(), self.users.is_some(), self.replay.is_some(), self.traces.is_some()];
        given(Self::SOURCES, &is_given)
    }

    /// For how long load is sent; nothing when only the records of a replay can tell.
    pub fn length(&self) -> Option<Duration> {
        let arrivals = || self.arrivals.as_ref().filter(|arrivals| arrivals.is_whole()).map(Arrivals::total);
        let users = || self.users.as_ref().map(|users| users.duration.get());
        let replay = || self.replay.as_ref()?.duration.map(Duration::get);
        let traces = || self.traces.as_ref().map(|traffic| traffic.length().get());
        arrivals().or_else(users).or_else(replay).or_else(traces).map(Duration::from)
    }

    /// The names of the parts that requests of the ledger belong to, by the ledger's number: stages, or the users'
    /// sessions. A load without such parts has one, `load`.
    pub fn stage_labels(&self) -> Vec<String> {
        let stages = self.arrivals.iter().flat_map(|arrivals| arrivals.stages.iter().enumerate());
        let sessions = self.users.iter().flat_map(|users| &users.sessions);
        let labels: Vec<_> = stages
            .map(|(index, stage)| stage.label(index))
            .chain(sessions.map(|session| session.name.clone()))
            .collect();
        if labels.is_empty() { vec!["load".to_owned()] } else { labels }
    }

    /// The namespaces that prepared objects are spread over: the load's own, and further ones with its name and
    /// a number from 2 on.
    pub fn namespaces(&self) -> impl Iterator<Item = String> {
        let further = (2..=self.prepare.namespaces).map(|number| format!("{}-{number}", self.namespace));
        std::iter::once(self.namespace.clone()).chain(further)
    }

    /// Objects of `resource` that exist before load starts, if any operation needs them.
    pub fn pool(&self, resource: Resource) -> u32 {
        let mut entries = self.prepare.objects.iter().filter(|entry| entry.resource == resource);
        entries.next().map_or(self.objects, |entry| entry.count)
    }

    /// Whether the API server makes the `traceparent` of `identity` the parent of its spans: for members of
    /// `system:masters`, also when they act as somebody else, since tracing comes before impersonation
    /// (`DefaultBuildHandlerChain` of `k8s.io/apiserver/pkg/server/config.go`).
    pub fn honours_parent_of(&self, identity: &Identity) -> bool {
        let spec = self.identities.iter().find(|spec| spec.name == *identity);
        identity.as_str() == Identity::ADMIN || spec.is_some_and(|spec| spec.impersonate.is_some())
    }
}
