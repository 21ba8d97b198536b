//! Everything that a verdict may look at: the scenario, the ledgers, the capture and the facts of the run.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::OnceLock,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spangate_inject::Injection;
use spangate_load::{RequestRecord, WatchRecord, synthetic::SentTrace};
use spangate_scenario::{Scenario, model::RequestFilter};
use spangate_sink::Passage;
use spangate_trace::{
    Capture, PhaseTimes, Phases, TraceId, TraceIndex, UnixNanos, contract, select::Context,
};

use self::stalls::Stalls;
use crate::{
    backends::jaeger::StoredTrace,
    collector::{Configuration, facts::CollectorFacts},
    measure::Measurements,
};

pub mod stalls;

/// Everything that a verdict may look at.
pub struct Evidence {
    /// What was asked for.
    pub scenario: Scenario,
    /// The request ledger.
    pub requests: Vec<RequestRecord>,
    /// The fault ledger.
    pub injections: Vec<Injection>,
    /// The watch ledger.
    pub watched: Vec<WatchRecord>,
    /// The spans.
    pub capture: Capture,
    /// What else is known of the run.
    pub facts: Facts,
    /// What the Collector made of the spans, if there was one; [`Self::capture`] is then what it was given.
    pub passed: Option<Passed>,
    /// The ledger of synthetic traces.
    pub traces: Vec<SentTrace>,
    /// What the processes used of the machine, if it was recorded.
    pub usage: Measurements,
    /// The traces that Jaeger had in the end, if it was asked.
    pub stored: Option<Vec<StoredTrace>>,
    /// The names of the load's stages.
    stages: Vec<String>,
}

/// What a Collector made of the spans that it was given.
#[derive(Clone)]
pub struct Passed {
    /// The spans that reached the sink.
    pub kept: Capture,
    /// The exports that it was given, and what it answered.
    pub passages: Vec<Passage>,
    /// Its configuration.
    pub configuration: Configuration,
}

/// Evidence with its indexes, as the judges use it.
pub struct Case<'e> {
    evidence: &'e Evidence,
    /// The spans by trace.
    pub index: TraceIndex<'e>,
    /// What our own requests carried.
    pub context: Context,
    /// What [`Case::phases`] gives, with the request's place in the ledger. Several judges ask for it.
    phases: OnceLock<Vec<(usize, PhaseTimes)>>,
    /// SERVER spans that are nobody's children, by their audit id.
    audited: OnceLock<HashMap<String, usize>>,
}

/// What is known of a run besides ledgers and spans.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// When load started, in nanoseconds since the Unix epoch: time zero of every window.
    #[schemars(with = "u64")]
    pub load_start: UnixNanos,
    /// When the last operation was over.
    #[schemars(with = "u64")]
    pub load_end: UnixNanos,
    /// Whether harness and control plane had real-time scheduling. Without it, timings depend on what else the
    /// machine did.
    pub realtime: bool,
    /// How the generator kept to its schedule.
    pub generator: Generator,
    /// What was sent, where the load was synthetic traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<TraceTotals>,
    /// How the API server came to rest before the load, where the run waited for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// What the sink counted.
    pub sink: SinkFacts,
    /// When the sink misbehaved, and when spans came again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// When the machine stalled.
    #[serde(default)]
    pub stalls: Stalls,
    /// What is known of the Collector, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<CollectorFacts>,
    /// A group of who sent as `admin`, where the API server was asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_group: Option<String>,
}

/// How an API server came to rest after its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rest {
    /// Whether it was as quiet as was asked for.
    pub quiet: bool,
    /// Seconds until then, or until that was given up.
    pub seconds: f64,
    /// The share of one CPU that it last used.
    pub share: f64,
    /// From here on what it used at rest was measured, until the load.
    #[schemars(with = "u64")]
    pub from: UnixNanos,
    /// The end of that.
    #[schemars(with = "u64")]
    pub to: UnixNanos,
}

/// How the generator kept to its schedule.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generator {
    /// Records of a replay that could not be sent, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// Operations in the schedule.
    pub planned: u64,
    /// Operations that were started.
    pub started: u64,
    /// Operations that were not started because too many were under way.
    pub shed: u64,
    /// Median lag of a start behind its schedule, in microseconds.
    pub start_lag_p50_us: u64,
    /// 99th percentile of it.
    pub start_lag_p99_us: u64,
    /// Longest lag.
    pub start_lag_max_us: u64,
    /// Why the generator, and not the server, set the pace, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
    /// Why the load was given up, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<Aborted>,
}

/// Why a load was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aborted {
    /// The bound that held.
    pub rule: String,
    /// What was observed.
    pub observed: String,
    /// Observations behind it.
    pub n: u64,
    /// Seconds from the start of the load.
    pub after_seconds: f64,
}

/// What was sent of synthetic traces, and what the Collector answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraceTotals {
    /// Traces of which something was sent.
    pub traces: u64,
    /// Spans that were sent.
    pub spans: u64,
    /// Spans that were accepted.
    pub accepted: u64,
    /// Exports that were sent later than they were due, since too many were under way.
    pub late_exports: u64,
}

/// What the sink counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkFacts {
    /// Exports that arrived.
    pub exports: u64,
    /// Spans that arrived.
    pub received: u64,
    /// Spans that were refused, on purpose or for being malformed.
    pub refused: u64,
    /// Spans that were kept.
    pub stored: u64,
    /// Bytes of the exports that were kept.
    #[serde(default)]
    pub bytes: u64,
}

/// A time in which the sink misbehaved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outage {
    /// The fault.
    pub fault: String,
    /// Its start.
    #[schemars(with = "u64")]
    pub from: UnixNanos,
    /// Its end: from here on the sink accepted again.
    #[schemars(with = "u64")]
    pub to: UnixNanos,
    /// When the first span was stored after its end.
    #[schemars(with = "Option<u64>")]
    pub first_span: Option<UnixNanos>,
}

// === impl Facts ===

impl Facts {
    /// How much of the time between `from` and `to` the machine kept from the run. Without real-time scheduling
    /// nobody knows: what watched for stalls then waited for the run itself too.
    pub fn stalled(&self, from: UnixNanos, to: UnixNanos) -> Duration {
        if self.realtime { self.stalls.overlap(from, to) } else { Duration::ZERO }
    }
}

// === impl Evidence ===

impl Evidence {
    /// Puts the evidence together. What was found out of who sent wins over what the scenario says.
    pub fn new(
        mut scenario: Scenario,
        requests: Vec<RequestRecord>,
        injections: Vec<Injection>,
        capture: Capture,
        facts: Facts,
    ) -> Self {
        let stages = scenario.spec.load.stage_labels();
        scenario.spec.cluster.admin_group =
            facts.admin_group.clone().or(scenario.spec.cluster.admin_group.take());
        let (watched, passed, traces) = (Vec::new(), None, Vec::new());
        let (usage, stored) = (Measurements::default(), None);
        Self {
            scenario,
            requests,
            injections,
            watched,
            capture,
            facts,
            passed,
            traces,
            usage,
            stored,
            stages,
        }
    }

    /// With what the Collector made of the spans.
    #[must_use]
    pub fn with_passed(self, passed: Option<Passed>) -> Self {
        Self { passed, ..self }
    }

    /// With what the processes used of the machine.
    #[must_use]
    pub fn with_usage(self, usage: Measurements) -> Self {
        Self { usage, ..self }
    }

    /// With the traces that Jaeger had.
    #[must_use]
    pub fn with_stored(self, stored: Option<Vec<StoredTrace>>) -> Self {
        Self { stored, ..self }
    }

    /// With the ledger of synthetic traces.
    #[must_use]
    pub fn with_traces(self, traces: Vec<SentTrace>) -> Self {
        Self { traces, ..self }
    }

    /// With what the watchers received.
    #[must_use]
    pub fn with_watched(self, watched: Vec<WatchRecord>) -> Self {
        Self { watched, ..self }
    }

    /// The name of the stage that a request belongs to.
    pub fn stage(&self, request: &RequestRecord) -> Option<&str> {
        self.stages.get(usize::try_from(request.stage).ok()?).map(String::as_str)
    }

    /// The requests that a filter picks.
    pub fn select<'a>(&'a self, filter: &'a RequestFilter) -> impl Iterator<Item = &'a RequestRecord> {
        self.requests.iter().filter(move |request| self.matches(filter, request))
    }

    /// Whether a filter picks this request.
    pub fn matches(&self, filter: &RequestFilter, request: &RequestRecord) -> bool {
        let status = match request.outcome {
            spangate_load::Outcome::Status(status) => Some(u64::from(status)),
            _ => None,
        };
        filter.verb.as_ref().is_none_or(|verb| *verb == request.verb.to_string())
            && filter.resource.as_ref().is_none_or(|resource| *resource == request.resource)
            && filter.identity.as_ref().is_none_or(|identity| *identity == request.identity)
            && filter.stage.as_ref().is_none_or(|stage| self.stage(request) == Some(stage))
            && filter.status.as_ref().is_none_or(|bound| status.is_some_and(|s| bound.holds(&s)))
            && filter.during.is_none_or(|window| {
                let at = request.intended.since(self.facts.load_start);
                at >= window.from.get() && at < window.to.get()
            })
    }
}

// === impl Case ===

impl<'e> Case<'e> {
    /// Indexes the evidence.
    pub fn new(evidence: &'e Evidence) -> Self {
        let sent = evidence.requests.iter().filter_map(|request| request.sent);
        let context = Context {
            traces: sent.clone().map(|sent| sent.trace_id).collect(),
            sent: sent.map(|sent| (sent.trace_id, sent.span_id)).collect(),
        };
        Self {
            evidence,
            index: TraceIndex::new(&evidence.capture),
            context,
            phases: OnceLock::new(),
            audited: OnceLock::new(),
        }
    }

    /// The traced requests of the ledger, and where their time went.
    pub fn phases(&self) -> impl Iterator<Item = (&RequestRecord, &PhaseTimes)> {
        let phases = self.phases.get_or_init(|| {
            let mut phases = Phases::new(&self.index);
            let requests = self.requests.iter().enumerate();
            requests
                .filter_map(|(place, request)| Some((place, phases.of(self.server_span(request)?))))
                .collect()
        });
        phases.iter().map(|(place, times)| (&self.requests[*place], times))
    }

    /// The trace with the SERVER span of a request.
    pub fn trace_of(&self, request: &RequestRecord) -> Option<TraceId> {
        self.server_span(request).map(|row| self.capture.rows()[row].trace_id)
    }

    /// The row of the SERVER span of a request: its child, or where the API server began a trace of its own, the one
    /// with its audit id.
    fn server_span(&self, request: &RequestRecord) -> Option<usize> {
        self.child(request).or_else(|| self.audited().get(request.audit_id.as_ref()?).copied())
    }

    fn audited(&self) -> &HashMap<String, usize> {
        self.audited.get_or_init(|| {
            contract::server_spans(&self.capture)
                .filter(|row| !self.capture.rows()[*row].parent.is_valid())
                .filter_map(|row| Some((self.capture.span(row).text(contract::AUDIT_ID)?.to_owned(), row)))
                .collect()
        })
    }

    /// The row of the SERVER span that a sampled request was the parent of.
    fn child(&self, request: &RequestRecord) -> Option<usize> {
        let sent = request.sent.filter(|sent| sent.sampled)?;
        let rows = self.capture.rows();
        self.index.by_trace(sent.trace_id)?.rows().find(|row| {
            contract::is_server_span(&self.capture, &rows[*row]) && rows[*row].parent == sent.span_id
        })
    }
}

impl Deref for Case<'_> {
    type Target = Evidence;

    fn deref(&self) -> &Evidence {
        self.evidence
    }
}
