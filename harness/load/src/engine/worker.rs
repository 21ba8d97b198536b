//! Carries out arrivals: request after request, each with its record.

use std::{sync::Arc, time::Instant};

use spangate_scenario::model::{MixEntry, TraceFlag};
use spangate_trace::{TraceContext, UnixNanos};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{self, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Site,
    exchange::{Progress, exchange},
    summary::Note,
};
use crate::{
    Arrival, Kind, Operation, Outcome, RequestRecord,
    request::{Reply, Request},
};

/// Carries out arrivals.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    site: Arc<Site>,
    notes: UnboundedSender<Note>,
    cancel: CancellationToken,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(site: Arc<Site>, notes: UnboundedSender<Note>, cancel: CancellationToken) -> Self {
        Self { site, notes, cancel }
    }

    pub(super) fn arrivals(&self) -> impl Iterator<Item = Arrival> + '_ {
        self.site.schedule.arrivals()
    }

    pub(super) fn max_in_flight(&self) -> usize {
        // A semaphore counts no further than an eighth of the address space.
        usize::try_from(self.site.load.max_in_flight).unwrap_or(usize::MAX >> 3)
    }

    pub(super) fn instant(&self, time: UnixNanos) -> Instant {
        self.site.clock.instant(time)
    }

    /// Notes that `arrival` was not started, as the record of its first request.
    pub(super) fn shed(&self, arrival: &Arrival, intended: UnixNanos) {
        let Some((_, mut operation)) = self.operation(arrival) else { return };
        let Some(request) = operation.next(None) else { return };
        let now = self.site.clock.now();
        let mut record = self.record(arrival, 0, &request, None, intended);
        (record.started, record.ended, record.outcome) = (now, now, Outcome::Shed);
        self.note(Note::Request(Box::new(record)));
    }

    /// Does what `arrival` is to do.
    pub(super) async fn perform(&self, arrival: Arrival, intended: UnixNanos) {
        let begun = self.site.clock.now();
        self.note(Note::Began { at: begun, lag: begun.since(intended) });
        let Some((kind, mut operation)) = self.operation(&arrival) else { return };
        let deadline = time::Instant::now() + self.site.load.timeout.get() + kind.hold();
        let mut intended = intended;
        let mut reply = None;
        for step in 0.. {
            let Some(request) = operation.next(reply.as_ref()) else { return };
            let (record, answer) = self.request(&arrival, step, &request, intended, deadline).await;
            intended = record.ended;
            self.note(Note::Request(Box::new(record)));
            if answer.is_none() {
                return;
            }
            reply = answer;
        }
    }

    /// Sends one request; gives its record, and the answer if there was one.
    async fn request(
        &self,
        arrival: &Arrival,
        step: u32,
        request: &Request,
        intended: UnixNanos,
        deadline: time::Instant,
    ) -> (RequestRecord, Option<Reply>) {
        let entry = self.entry(arrival);
        let (trace_id, span_id) = self.site.schedule.ids(arrival.number, step);
        let sent = match entry.traceparent {
            TraceFlag::Sampled => Some(TraceContext::sampled(trace_id, span_id)),
            TraceFlag::Unsampled => Some(TraceContext::unsampled(trace_id, span_id)),
            TraceFlag::None => None,
        };
        let mut record = self.record(arrival, step, request, sent, intended);
        let client = self.site.client(&entry.identity);
        let entered = self.site.clock.now();
        let mut progress = Progress::default();
        let exchanged = exchange(client, &self.site.clock, request, sent, &mut progress);
        let (outcome, reply) = tokio::select! {
            biased;
            () = self.cancel.cancelled() => (Outcome::Error("given up: the run was cancelled".to_owned()), None),
            answer = timeout_at(deadline, exchanged) => match answer {
                Ok(Ok(reply)) => (Outcome::Status(reply.status.as_u16()), Some(reply)),
                Ok(Err(reason)) => (Outcome::Error(reason), None),
                Err(_) => (Outcome::Timeout, None),
            },
        };
        record.ended = self.site.clock.now();
        record.started = progress.started.unwrap_or(entered);
        record.outcome = outcome;
        record.audit_id = progress.audit_id;
        record.received_bytes = progress.received;
        (record, reply)
    }

    /// The record of a request that is yet to be sent.
    fn record(
        &self,
        arrival: &Arrival,
        step: u32,
        request: &Request,
        sent: Option<TraceContext>,
        intended: UnixNanos,
    ) -> RequestRecord {
        RequestRecord {
            arrival: arrival.number,
            step,
            entry: arrival.entry,
            stage: arrival.stage,
            identity: self.entry(arrival).identity.clone(),
            sent,
            verb: request.verb,
            resource: request.resource.to_owned(),
            subresource: request.subresource.map(str::to_owned),
            name: request.name.clone(),
            method: request.method.to_string(),
            target: request.target.clone(),
            intended,
            started: intended,
            ended: intended,
            outcome: Outcome::Shed,
            audit_id: None,
            received_bytes: 0,
        }
    }

    fn entry(&self, arrival: &Arrival) -> &MixEntry {
        &self.site.load.mix[arrival.entry]
    }

    fn operation(&self, arrival: &Arrival) -> Option<(Kind<'_>, Operation)> {
        let kind = Kind::of(self.entry(arrival))?;
        Some((kind, Operation::new(kind, arrival, &self.site.setting)))
    }

    fn note(&self, note: Note) {
        self.notes.send(note).expect("notes are taken until every worker is gone");
    }
}
