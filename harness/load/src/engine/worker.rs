//! Carries out arrivals: request after request, each with its record.

use std::{
    borrow::Cow,
    future::poll_fn,
    mem::take,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use spangate_scenario::model::{Identity, RetryAfter, TraceFlag};
use spangate_trace::{TraceContext, UnixNanos};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    Site,
    ends::{End, Ends},
    exchange::{Progress, exchange},
    journal::Journal,
    source::Task,
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

/// One request of an operation.
struct Step<'a> {
    arrival: Arrival,
    /// Its number within the operation.
    number: u32,
    identity: &'a Identity,
    traceparent: TraceFlag,
    intended: UnixNanos,
}

/// What came of a request.
struct Done {
    ended: UnixNanos,
    /// The answer, if there was one.
    reply: Option<Reply>,
    /// How long to wait before the same request is sent again, if it is.
    again: Option<Duration>,
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
        let Some(mut request) = task.operation.next(None) else { return };
        let now = self.site.clock.now();
        let step = Step {
            arrival: *arrival,
            number: 0,
            identity: task.identity,
            traceparent: task.traceparent,
            intended,
        };
        let record = RequestRecord { started: now, ended: now, ..step.record(&mut request, true, None) };
        self.journal.ended(record);
    }

    /// Does what `arrival` is to do.
    ///
    /// Returns when it is done, was given up after the scenario's timeout, or the run was cancelled. Where it runs
    /// does not matter, but the thread of the load costs least.
    pub(super) async fn perform(&self, arrival: Arrival, intended: UnixNanos) {
        self.perform_until(arrival, intended, &mut self.ends()).await;
    }

    /// What ends operations that this carries out one after the other.
    pub(super) fn ends(&self) -> Ends {
        Ends::new(&self.cancel, time::Instant::now() + self.site.load.timeout.get())
    }

    /// As [`Worker::perform`], for one who carries out many arrivals.
    pub(super) async fn perform_until(&self, arrival: Arrival, intended: UnixNanos, ends: &mut Ends) {
        let now = Instant::now();
        let begun = self.site.clock.at(now);
        let lag = begun.since(intended);
        let _under_way = self.site.gauge.begin(lag);
        self.journal.began(begun, lag);
        let Some(mut task) = self.task(&arrival) else { return };
        let Some(mut request) = task.operation.next(None) else { return };
        ends.begin(time::Instant::from_std(now) + self.site.load.timeout.get() + task.hold);
        let mut step =
            Step { arrival, number: 0, identity: task.identity, traceparent: task.traceparent, intended };
        loop {
            let Done { ended, reply, again } = self.request(&step, &mut request, ends).await;
            let Some(reply) = reply else { return };
            step.number += 1;
            step.intended = ended;
            if let Some(wait) = again {
                step.intended = ended + wait;
                if !self.pause(step.intended, ends).await {
                    return;
                }
            } else {
                let Some(next) = task.operation.next(Some(&reply)) else { return };
                request = next;
            }
        }
    }

    /// Sends one request and notes it. One that is not to be sent again is spent.
    async fn request(&self, step: &Step<'_>, request: &mut Request, ends: &mut Ends) -> Done {
        let (trace_id, span_id) = self.site.schedule.ids(step.arrival.number, step.number);
        let sent = match step.traceparent {
            TraceFlag::Sampled => Some(TraceContext::sampled(trace_id, span_id)),
            TraceFlag::Unsampled => Some(TraceContext::unsampled(trace_id, span_id)),
            TraceFlag::None => None,
        };
        let mut progress = Progress::default();
        let (outcome, reply) = if self.cancel.is_cancelled() {
            (Outcome::Error(GIVEN_UP.to_owned()), None)
        } else {
            let sender = self.site.senders.of(step.identity, step.arrival.number);
            let clock = &self.site.clock;
            let exchanged = exchange(sender.client, clock, request, sent, sender.headers, &mut progress);
            // An answer that is there counts, whatever else is.
            tokio::select! {
                biased;
                answer = exchanged => match answer {
                    Ok(reply) => (Outcome::Status(reply.status.as_u16()), Some(reply)),
                    Err(reason) => (Outcome::Error(reason), None),
                },
                end = poll_fn(|context| ends.poll(context)) => match end {
                    End::Cancelled => (Outcome::Error(GIVEN_UP.to_owned()), None),
                    End::Timeout => (Outcome::Timeout, None),
                },
            }
        };
        let ended = self.site.clock.now();
        let again = self.again(&outcome, progress.retry_after);
        let record = RequestRecord {
            // What was never handed to a connection waited for one all the time.
            started: progress.started.unwrap_or(ended),
            ended,
            outcome,
            audit_id: progress.audit_id,
            retry_after: progress.retry_after,
            received_bytes: progress.received,
            ..step.record(request, again.is_none(), sent)
        };
        self.journal.ended(record);
        Done { ended, reply, again }
    }

    /// How long to wait before a request that ended like this is sent again, if it is.
    fn again(&self, outcome: &Outcome, retry_after: Option<u32>) -> Option<Duration> {
        let honoured = self.site.load.client.retry_after == RetryAfter::Honour;
        let seconds = retry_after.filter(|_| honoured && *outcome == Outcome::Status(429))?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// Waits until `time`; false when the operation ends before.
    async fn pause(&self, time: UnixNanos, ends: &mut Ends) -> bool {
        let until = time::Instant::from_std(self.site.clock.instant(time));
        if until >= ends.deadline() {
            return false;
        }
        tokio::select! {
            biased;
            _ = poll_fn(|context| ends.poll(context)) => false,
            () = time::sleep_until(until) => true,
        }
    }

    /// What `arrival` is to do.
    fn task(&self, arrival: &Arrival) -> Option<Task<'_>> {
        self.site.source.task(arrival, &self.site.setting)
    }
}

/// The methods of the load are known beforehand, so their names need no memory.
fn method(method: &Method) -> Cow<'static, str> {
    match *method {
        Method::GET => "GET".into(),
        Method::POST => "POST".into(),
        Method::PUT => "PUT".into(),
        Method::PATCH => "PATCH".into(),
        Method::DELETE => "DELETE".into(),
        _ => method.to_string().into(),
    }
}

// === impl Step ===

impl Step<'_> {
    /// The record of its request before it is sent. A request that is over gives its texts away.
    fn record(&self, request: &mut Request, over: bool, sent: Option<TraceContext>) -> RequestRecord {
        let (name, target) = if over {
            (take(&mut request.name), take(&mut request.target))
        } else {
            (request.name.clone(), request.target.clone())
        };
        RequestRecord {
            arrival: self.arrival.number,
            step: self.number,
            entry: self.arrival.entry,
            stage: self.arrival.stage,
            identity: self.identity.clone(),
            sent,
            verb: request.verb,
            resource: request.resource.into(),
            subresource: request.subresource.map(Cow::Borrowed),
            name,
            method: method(&request.method),
            target,
            intended: self.intended,
            started: self.intended,
            ended: self.intended,
            outcome: Outcome::Shed,
            audit_id: None,
            retry_after: None,
            received_bytes: 0,
        }
    }
}
