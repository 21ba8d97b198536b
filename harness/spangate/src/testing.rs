//! A made-up run whose truth is known, for tests that falsify it.
//!
//! Every request is a create; even ones went through a slow mutating webhook, every third one had a slow
//! etcd transaction. The spans are those of a real create with webhooks (`docs/span-contract.md`).

use std::collections::BTreeMap;

use spangate_inject::{Answer, Held, Injection, Target};
use spangate_load::{Outcome, RequestRecord, Verb};
use spangate_scenario::{Scenario, model::Identity};
use spangate_trace::{
    Capture, Kind, Span, SpanId, Status, TraceContext, TraceId, UnixNanos, Value, contract,
};

use crate::evidence::{
    Evidence, Facts, Generator,
    stalls::{Stall, Stalls},
};

pub(crate) mod collected;

/// The fault that every second create meets.
pub(crate) const SLOW_WEBHOOK: &str = "slow-mutate";
/// The fault that every third create meets.
pub(crate) const SLOW_ETCD: &str = "slow-writes";

const LOAD_START: u64 = 1_000_000_000_000;
const MS: u64 = 1_000_000;

/// A made-up run.
pub(crate) struct Run {
    requests: Vec<RequestRecord>,
    injections: Vec<Injection>,
    spans: Vec<Span>,
    stalls: Vec<Stall>,
    realtime: bool,
}

/// A request of the ledger that was answered at once.
pub(crate) fn request() -> RequestRecord {
    RequestRecord {
        arrival: 0,
        step: 0,
        entry: 0,
        stage: 0,
        identity: Identity::admin(),
        sent: None,
        verb: Verb::Create,
        resource: "configmaps".into(),
        subresource: None,
        name: None,
        method: "POST".into(),
        target: "/api/v1/namespaces/spangate-load/configmaps".to_owned(),
        intended: UnixNanos(LOAD_START),
        started: UnixNanos(LOAD_START),
        ended: UnixNanos(LOAD_START),
        outcome: Outcome::Status(201),
        audit_id: None,
        retry_after: None,
        received_bytes: 0,
    }
}

/// An internal span of the API server.
pub(crate) fn span(name: &str, id: u8, start: u64, end: u64) -> Span {
    Span {
        trace_id: TraceId::new([1; 16]),
        span_id: SpanId::new([id; 8]),
        parent: None,
        name: name.into(),
        kind: Kind::Internal,
        start: UnixNanos(start),
        end: UnixNanos(end),
        attributes: BTreeMap::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: Status::Unset,
        status_message: String::new(),
        scope: "k8s.io/component-base/tracing".into(),
        service: contract::APISERVER.into(),
    }
}

// === impl Run ===

impl Run {
    /// `n` creates, 10 ms apart.
    pub(crate) fn of_creates(n: u64) -> Self {
        let mut run = Self {
            requests: Vec::new(),
            injections: Vec::new(),
            spans: Vec::new(),
            stalls: Vec::new(),
            realtime: true,
        };
        (0..n).for_each(|i| run.create(i));
        run
    }

    /// The trace id of a request.
    pub(crate) fn trace(i: u64) -> TraceId {
        let mut bytes = [0xab; 16];
        bytes[8..].copy_from_slice(&i.to_be_bytes());
        TraceId::new(bytes)
    }

    fn create(&mut self, i: u64) {
        let sent = TraceContext::sampled(Self::trace(i), SpanId::new([0x99; 8]));
        let start = LOAD_START + i * 10 * MS;
        // A few microseconds of jitter, so that no two requests are alike.
        let jitter = (i * 7919) % 97 * 1_000;
        let webhook = if i.is_multiple_of(2) { 150 * MS } else { 0 };
        let etcd = MS + jitter + if i.is_multiple_of(3) { 80 * MS } else { 0 };
        let mut at = start + MS;
        let mut add = |name: &str, id: u8, parent: u8, kind: Kind, from: u64, to: u64| {
            self.spans.push(Span {
                trace_id: sent.trace_id,
                parent: Some(SpanId::new([parent; 8])),
                kind,
                ..span(name, id, from, to)
            });
        };
        if webhook > 0 {
            let end = at + webhook + 700_000;
            add(contract::MUTATING_WEBHOOK, 7, 6, Kind::Internal, at, end);
            add("HTTP POST", 8, 7, Kind::Client, at + 100_000, end - 100_000);
        }
        at += if webhook > 0 { webhook + MS } else { 0 };
        add("Create etcd3", 9, 6, Kind::Internal, at, at + etcd + 200_000);
        add("etcdserverpb.KV/Txn", 10, 9, Kind::Client, at + 100_000, at + etcd + 100_000);
        let end = at + etcd + MS;
        add("Create", 6, 5, Kind::Internal, start + 500_000, end - 60_000);
        for (name, id, parent) in [
            ("authorization", 5, 4),
            ("priorityandfairness", 4, 3),
            ("constrainedimpersonation", 3, 2),
            ("audit", 2, 1),
        ] {
            add(
                name,
                id,
                parent,
                Kind::Internal,
                start + u64::from(id) * 10_000,
                end - u64::from(id) * 10_000,
            );
        }
        add("POST /api/v1/namespaces/{:namespace}/configmaps", 1, 0x99, Kind::Server, start, end);
        if webhook > 0 {
            let span = self.spans.iter_mut().rev().find(|s| s.span_id == SpanId::new([7; 8]));
            let name = Value::String(contract::webhook_name(SLOW_WEBHOOK));
            span.expect("just added").attributes.insert(contract::WEBHOOK_ATTRIBUTE.to_owned(), name);
            let received = start + MS + 300_000;
            let target = Target::Webhook {
                uid: i.to_string(),
                operation: "CREATE".to_owned(),
                resource: "configmaps".to_owned(),
                namespace: "spangate-load".to_owned(),
                name: format!("cm-{i}"),
            };
            self.inject(
                SLOW_WEBHOOK,
                i,
                TraceContext { span_id: SpanId::new([8; 8]), ..sent },
                target,
                received,
                webhook,
                0,
            );
        }
        if i.is_multiple_of(3) {
            let target = Target::Etcd { rpc: "KV/Txn".to_owned(), key: format!("/registry/configmaps/{i}") };
            let parent = TraceContext { span_id: SpanId::new([10; 8]), ..sent };
            self.inject(SLOW_ETCD, i, parent, target, at + 200_000, 80 * MS, MS + jitter - 300_000);
        }
        self.requests.push(RequestRecord {
            arrival: i,
            sent: Some(sent),
            name: Some(format!("cm-{i}")),
            intended: UnixNanos(start - 200_000),
            started: UnixNanos(start - 100_000),
            ended: UnixNanos(end + 100_000),
            ..request()
        });
    }

    #[expect(clippy::too_many_arguments, reason = "one call notes one entry of the ledger")]
    fn inject(
        &mut self,
        fault: &str,
        call: u64,
        parent: TraceContext,
        target: Target,
        received: u64,
        held: u64,
        rest: u64,
    ) {
        self.injections.push(Injection {
            fault: fault.to_owned(),
            call,
            target,
            parent: Some(parent),
            received: UnixNanos(received),
            answered: UnixNanos(received + held + rest),
            held: Some(Held { from: UnixNanos(received), to: UnixNanos(received + held) }),
            answer: Answer::Genuine,
        });
    }

    /// The finished evidence.
    pub(crate) fn evidence(self) -> Evidence {
        let load_end = self.requests.iter().map(|request| request.ended).max().unwrap_or_default();
        let planned = self.requests.len() as u64;
        let facts = Facts {
            load_start: UnixNanos(LOAD_START),
            load_end,
            realtime: self.realtime,
            generator: Generator { planned, started: planned, ..Generator::default() },
            stalls: Stalls::new(2, self.stalls),
            ..Facts::default()
        };
        Evidence::new(scenario(), self.requests, self.injections, Capture::from_spans(self.spans), facts)
    }

    fn position(&self, i: u64, name: &str) -> usize {
        let trace = Self::trace(i);
        let found = self.spans.iter().position(|s| s.trace_id == trace && s.name.starts_with(name));
        found.expect("the made-up trace has such a span")
    }

    /// The span `name` of request `i` never arrived.
    pub(crate) fn without_span(mut self, i: u64, name: &str) -> Self {
        self.spans.remove(self.position(i, name));
        self
    }

    /// The span `name` of request `i` arrived changed.
    pub(crate) fn edited(mut self, i: u64, name: &str, edit: impl FnOnce(&mut Span)) -> Self {
        let position = self.position(i, name);
        edit(&mut self.spans[position]);
        self
    }

    /// The span `name` of request `i` ended later.
    pub(crate) fn stretched(self, i: u64, name: &str, nanos: u64) -> Self {
        self.edited(i, name, |span| span.end.0 += nanos)
    }

    /// The machine stalled for `nanos`, from `before` nanoseconds before the end of the span `name` of request
    /// `i` on.
    pub(crate) fn stalled(mut self, i: u64, name: &str, before: u64, nanos: u64) -> Self {
        let from = UnixNanos(self.spans[self.position(i, name)].end.0 - before);
        self.stalls.push(Stall { from, to: UnixNanos(from.0 + nanos) });
        self
    }

    /// There was no real-time scheduling.
    pub(crate) fn without_realtime(mut self) -> Self {
        self.realtime = false;
        self
    }

    /// The span `name` of request `i` has another parent.
    pub(crate) fn reparented(self, i: u64, name: &str, parent: SpanId) -> Self {
        self.edited(i, name, |span| span.parent = Some(parent))
    }

    /// The span `name` of request `i` hangs under the span `parent`.
    pub(crate) fn reparented_under(self, i: u64, name: &str, parent: &str) -> Self {
        let trace = Self::trace(i);
        let parent = self.spans.iter().find(|s| s.trace_id == trace && &*s.name == parent);
        let parent = parent.expect("the made-up trace has such a span").span_id;
        self.reparented(i, name, parent)
    }

    /// The span `name` of request `i` arrived twice, under two ids.
    pub(crate) fn duplicated(mut self, i: u64, name: &str) -> Self {
        let mut copy = self.spans[self.position(i, name)].clone();
        copy.span_id = SpanId::new([0xdd; 8]);
        self.spans.push(copy);
        self
    }

    /// The ledger says that request `i` was sent with the flag 00.
    pub(crate) fn unsampled(mut self, i: usize) -> Self {
        if let Some(sent) = &mut self.requests[i].sent {
            sent.sampled = false;
        }
        self
    }

    /// The fault ledger claims more time than was held.
    pub(crate) fn lying_by(mut self, fault: &str, nanos: u64) -> Self {
        for injection in self.injections.iter_mut().filter(|it| it.fault == fault) {
            injection.answered.0 += nanos;
            if let Some(held) = &mut injection.held {
                held.to.0 += nanos;
            }
        }
        self
    }

    /// The fault ledger lacks the call of request `i`.
    pub(crate) fn without_injection(mut self, fault: &str, i: u64) -> Self {
        self.injections.retain(|it| it.fault != fault || it.call != i);
        self
    }

    /// The fault ledger names the one fault where the other acted.
    pub(crate) fn swapped_faults(mut self) -> Self {
        for injection in &mut self.injections {
            let other = if injection.fault == SLOW_ETCD { SLOW_WEBHOOK } else { SLOW_ETCD };
            other.clone_into(&mut injection.fault);
        }
        self
    }

    /// Only the requests that a fault touched.
    pub(crate) fn only_touched_by(mut self, fault: &str) -> Self {
        let touched: Vec<u64> =
            self.injections.iter().filter(|it| it.fault == fault).map(|it| it.call).collect();
        self.requests.retain(|request| touched.contains(&request.arrival));
        self
    }
}

/// The scenario of the made-up run.
pub(crate) fn scenario() -> Scenario {
    let text = include_str!("testing/scenario.yaml");
    spangate_scenario::parse("scenario.yaml", text).expect("the scenario of the tests is valid")
}
