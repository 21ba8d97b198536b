//! Carries out arrivals: request after request, each with its record.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use spangate_scenario::model::{Identity, RetryAfter, TraceFlag};
use spangate_trace::{TraceContext, UnixNanos};
use tokio::time::{self, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{
    Site,
    exchange::{Progress, exchange},
    journal::Journal,
    source::Task,
    summary::Note,
};
use crate::{
    Arrival, Outcome, RequestRecord,
    request::{Reply, Request},
};

/// Carries out arrivals.
#[derive(Debug)]
pub(super) struct Worker {
    site: Arc<Site>,
    journal: Arc<Journal>,
    cancel: CancellationToken,
}

/// What ends an operation before it is over.
struct Ends<'a, 'w> {
    cancelled: Pin<&'a mut WaitForCancellationFuture<'w>>,
    deadline: Pin<&'a mut Sleep>,
}

/// What the ledger says of a request that was under way when the run was cancelled.
const GIVEN_UP: &str = "given up: the run was cancelled";

// === impl Worker ===

impl Worker {
    /// What it does is noted in `journal`, and given up when `cancel` is cancelled.
    pub(super) fn new(site: Arc<Site>, journal: Arc<Journal>, cancel: CancellationToken) -> Self {
        Self { site, journal, cancel }
    }

    pub(super) fn arrivals(&self) -> impl Iterator<Item = Arrival> + Send + use<> {
        self.site.schedule.arrivals()
    }

    pub(super) fn max_in_flight(&self) -> u32 {
        self.site.load.max_in_flight
    }

    pub(super) fn instant(&self, time: UnixNanos) -> Instant {
        self.site.clock.instant(time)
    }

    /// Notes that `arrival` was not started, as the record of its first request.
    pub(super) fn shed(&self, arrival: &Arrival, intended: UnixNanos) {
        let Some(mut task) = self.task(arrival) else { return };
        let Some(request) = task.operation.next(None) else { return };
        let now = self.site.clock.now();
        let mut record = record(arrival, 0, task.identity, &request, None, intended);
        (record.started, record.ended, record.outcome) = (now, now, Outcome::Shed);
        self.journal.note(Note::Request(Box::new(record)));
    }

    /// Does what `arrival` is to do.
    ///
    /// Returns when it is done, was given up after the scenario's timeout, or the run was cancelled. Where it runs
    /// does not matter, but the thread of the load costs least.
    pub(super) async fn perform(&self, arrival: Arrival, intended: UnixNanos) {
        let begun = self.site.clock.now();
        self.journal.note(Note::Began { at: begun, lag: begun.since(intended) });
        let Some(mut task) = self.task(&arrival) else { return };
        let Some(mut request) = task.operation.next(None) else { return };
        let cancelled = pin!(self.cancel.cancelled());
        let deadline = pin!(time::sleep(self.site.load.timeout.get() + task.hold));
        let mut ends = Ends { cancelled, deadline };
        let mut intended = intended;
        for step in 0.. {
            let sender = (task.identity, task.traceparent);
            let (record, reply) = self.request(&arrival, step, sender, &request, intended, &mut ends).await;
            intended = record.ended;
            let wait = self.wait(&record);
            self.journal.note(Note::Request(Box::new(record)));
            let Some(reply) = reply else { return };
            if let Some(wait) = wait {
                // The same request is to start again then.
                intended = intended + wait;
                if !self.pause(intended, &mut ends).await {
                    return;
                }
            } else {
                let Some(next) = task.operation.next(Some(&reply)) else { return };
                request = next;
            }
        }
    }

    /// Sends one request; gives its record, and the answer if there was one.
    async fn request(
        &self,
        arrival: &Arrival,
        step: u32,
        (identity, traceparent): (&Identity, TraceFlag),
        request: &Request,
        intended: UnixNanos,
        ends: &mut Ends<'_, '_>,
    ) -> (RequestRecord, Option<Reply>) {
        let (trace_id, span_id) = self.site.schedule.ids(arrival.number, step);
        let sent = match traceparent {
            TraceFlag::Sampled => Some(TraceContext::sampled(trace_id, span_id)),
            TraceFlag::Unsampled => Some(TraceContext::unsampled(trace_id, span_id)),
            TraceFlag::None => None,
        };
        let mut record = record(arrival, step, identity, request, sent, intended);
        let mut progress = Progress::default();
        let (outcome, reply) = if self.cancel.is_cancelled() {
            (Outcome::Error(GIVEN_UP.to_owned()), None)
        } else {
            let sender = self.site.senders.of(identity, arrival.number);
            let clock = &self.site.clock;
            let exchanged = exchange(sender.client, clock, request, sent, sender.headers, &mut progress);
            // An answer that is there counts, whatever else is.
            tokio::select! {
                biased;
                answer = exchanged => match answer {
                    Ok(reply) => (Outcome::Status(reply.status.as_u16()), Some(reply)),
                    Err(reason) => (Outcome::Error(reason), None),
                },
                () = &mut ends.cancelled => (Outcome::Error(GIVEN_UP.to_owned()), None),
                () = &mut ends.deadline => (Outcome::Timeout, None),
            }
        };
        record.ended = self.site.clock.now();
        // What was never handed to a connection waited for one all the time.
        record.started = progress.started.unwrap_or(record.ended);
        record.outcome = outcome;
        record.audit_id = progress.audit_id;
        record.retry_after = progress.retry_after;
        record.received_bytes = progress.received;
        (record, reply)
    }

    /// How long to wait before the request of `record` is sent again, if it is.
    fn wait(&self, record: &RequestRecord) -> Option<Duration> {
        let honoured = self.site.load.client.retry_after == RetryAfter::Honour;
        let seconds = record.retry_after.filter(|_| honoured && record.outcome == Outcome::Status(429))?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// Waits until `time`; false when the operation ends before.
    async fn pause(&self, time: UnixNanos, ends: &mut Ends<'_, '_>) -> bool {
        let until = time::Instant::from_std(self.site.clock.instant(time));
        if until >= ends.deadline.deadline() {
            return false;
        }
        tokio::select! {
            biased;
            () = &mut ends.cancelled => false,
            () = time::sleep_until(until) => true,
        }
    }

    /// What `arrival` is to do.
    fn task(&self, arrival: &Arrival) -> Option<Task<'_>> {
        self.site.source.task(arrival, &self.site.setting)
    }
}

/// The record of a request that is yet to be sent.
fn record(
    arrival: &Arrival,
    step: u32,
    identity: &Identity,
    request: &Request,
    sent: Option<TraceContext>,
    intended: UnixNanos,
) -> RequestRecord {
    RequestRecord {
        arrival: arrival.number,
        step,
        entry: arrival.entry,
        stage: arrival.stage,
        identity: identity.clone(),
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
        retry_after: None,
        received_bytes: 0,
    }
}
