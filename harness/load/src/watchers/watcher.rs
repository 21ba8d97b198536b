//! One watcher at work: sends what its [`Informer`] asks for, and tells of what comes.

use std::{
    collections::BTreeMap,
    fmt,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{
    StatusCode,
    header::{HeaderName, HeaderValue},
};
use spangate_scenario::model::{Identity, TraceFlag};
use spangate_trace::{Clock, TraceContext, UnixNanos};
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    NO_STAGE, WatchCounts, WatchEvent, WatchRecord, arrival,
    event::{Event, Object, Page},
    informer::{Ending, Informer},
    stream::Lines,
    wire::{self, Body},
};
use crate::{Client, LoadEvent, Outcome, RequestRecord, Schedule, Verb, engine::audit_id, request::Request};

/// One watcher.
pub(super) struct Watcher {
    /// Shared with few enough others.
    pub(super) client: Arc<Client>,
    /// Headers that say who sends.
    pub(super) headers: Arc<[(HeaderName, HeaderValue)]>,
    pub(super) clock: Clock,
    pub(super) schedule: Schedule,
    pub(super) events: UnboundedSender<LoadEvent>,
    /// Time for a page, for the head of a watch, and for its end beyond the time that it is held open.
    pub(super) limit: Duration,
    pub(super) name: Arc<str>,
    pub(super) index: u32,
    pub(super) entry: usize,
    pub(super) resource: &'static str,
    pub(super) identity: Identity,
    pub(super) flag: TraceFlag,
    pub(super) informer: Informer,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) counts: WatchCounts,
    /// When any watcher last received an event.
    pub(super) last_event: Arc<AtomicU64>,
    pub(super) stop: CancellationToken,
}

/// How a watcher stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// Its first request is not over.
    #[default]
    Beginning,
    /// Changes come.
    Open,
    /// Its last request ended like this; it will try again.
    Down(String),
}

/// What is known of a request before it is over. It outlives a request that is given up.
#[derive(Default)]
struct Progress {
    /// When it was handed to the connection.
    started: Option<UnixNanos>,
    status: Option<StatusCode>,
    audit_id: Option<String>,
    /// Bytes of the body.
    received: u64,
}

// === impl Watcher ===

impl Watcher {
    /// Watches until it is stopped; gives what it received.
    pub(super) async fn run(mut self) -> WatchCounts {
        for step in 0.. {
            let Some(ending) = self.request(step).await else { break };
            let wait = self.informer.ended(ending);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = sleep(wait) => {}
            }
        }
        self.counts
    }

    /// Sends one request and reads the answer to its end; `None` when it was stopped.
    async fn request(&mut self, step: u32) -> Option<Ending> {
        let request = self.informer.request();
        let (trace_id, span_id) = self.schedule.ids(arrival(self.index), step);
        let sent = match self.flag {
            TraceFlag::Sampled => Some(TraceContext::sampled(trace_id, span_id)),
            TraceFlag::Unsampled => Some(TraceContext::unsampled(trace_id, span_id)),
            TraceFlag::None => None,
        };
        let intended = self.clock.now();
        let mut progress = Progress::default();
        let cancel = self.stop.clone();
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            ended = self.exchange(step, &request, sent, &mut progress) => Some(ended),
        };
        let answered = progress.status.map(|status| Outcome::Status(status.as_u16()));
        let (outcome, ending) = match ended {
            Some(Ok(ending)) => (answered, Some(ending)),
            Some(Err(broken)) => (Some(broken), Some(Ending::Failed)),
            // To close a watch is its regular end.
            None => (answered.filter(|_| request.verb != Verb::List), None),
        };
        let outcome =
            outcome.unwrap_or_else(|| Outcome::Error("given up: the watchers were stopped".to_owned()));
        if ending.is_some_and(|ending| ending != Ending::Page) {
            self.down(&outcome);
        }
        self.tell(LoadEvent::Request(Box::new(RequestRecord {
            arrival: arrival(self.index),
            step,
            entry: self.entry,
            stage: NO_STAGE,
            identity: self.identity.clone(),
            sent,
            verb: request.verb,
            resource: self.resource.into(),
            subresource: None,
            name: None,
            method: request.method.to_string().into(),
            target: request.target,
            intended,
            started: progress.started.unwrap_or(intended),
            ended: self.clock.now(),
            outcome,
            audit_id: progress.audit_id,
            retry_after: None,
            received_bytes: progress.received,
        })));
        ending
    }

    /// The error is how the request ended.
    async fn exchange(
        &mut self,
        step: u32,
        request: &Request,
        sent: Option<TraceContext>,
        progress: &mut Progress,
    ) -> Result<Ending, Outcome> {
        let opened =
            wire::open(&self.client, &self.clock, request, sent, &self.headers, &mut progress.started);
        let response = within(self.limit, opened).await?.map_err(Outcome::Error)?;
        progress.status = Some(response.status());
        progress.audit_id = audit_id(response.headers());
        let mut body = response.into_body();
        if progress.status != Some(StatusCode::OK) {
            let gone = progress.status == Some(StatusCode::GONE);
            within(self.limit, whole(&mut body, progress)).await??;
            return Ok(if gone { Ending::Gone } else { Ending::Failed });
        }
        if request.verb == Verb::List {
            let page = within(self.limit, whole(&mut body, progress)).await??;
            self.page(step, &page).map_err(Outcome::Error)
        } else {
            let limit = self.informer.hold() + self.limit;
            within(limit, self.watch(step, &mut body, progress)).await?
        }
    }

    /// Takes a page of a list.
    fn page(&mut self, step: u32, body: &[u8]) -> Result<Ending, String> {
        let at = self.clock.now();
        let page = Page::parse(body)?;
        if self.informer.keeps_state() {
            page.items().iter().for_each(|object| self.record(step, at, WatchEvent::Added, object, true));
        }
        self.informer.page(&page);
        Ok(Ending::Page)
    }

    /// Takes the events of a watch until it ends.
    async fn watch(
        &mut self,
        step: u32,
        body: &mut Body,
        progress: &mut Progress,
    ) -> Result<Ending, Outcome> {
        let opened = Instant::now();
        if !self.informer.is_initial() {
            self.standing.send_replace(Standing::Open);
        }
        let mut lines = Lines::default();
        while let Some(piece) = next(body, progress).await? {
            let at = self.clock.now();
            if let ControlFlow::Break(ended) = lines.feed(&piece, |line| self.line(step, at, line)) {
                return ended.map_err(Outcome::Error);
            }
        }
        Ok(Ending::Closed(opened.elapsed()))
    }

    /// Takes one line of a watch; breaks with the end of the watch.
    fn line(&mut self, step: u32, at: UnixNanos, line: &[u8]) -> ControlFlow<Result<Ending, String>> {
        match Event::parse(line) {
            Ok(Event::Object(event, object)) => {
                let initial = self.informer.is_initial();
                self.informer.event(event, &object);
                self.record(step, at, event, &object, initial);
                if initial && !self.informer.is_initial() {
                    self.standing.send_replace(Standing::Open);
                }
                ControlFlow::Continue(())
            }
            Ok(Event::Error(status)) => {
                self.record(step, at, WatchEvent::Error, &Object::default(), self.informer.is_initial());
                tracing::debug!(watcher = %self.name, code = status.code, message = %status.message, "watch ended");
                let gone = status.code == StatusCode::GONE.as_u16();
                ControlFlow::Break(Ok(if gone { Ending::Gone } else { Ending::Failed }))
            }
            Err(reason) => ControlFlow::Break(Err(reason)),
        }
    }

    fn record(&mut self, step: u32, at: UnixNanos, event: WatchEvent, object: &Object<'_>, initial: bool) {
        let counts: &mut BTreeMap<_, _> = self.counts.entry(Arc::clone(&self.name)).or_default();
        *counts.entry(event).or_default() += 1;
        self.last_event.fetch_max(at.0, Ordering::Relaxed);
        self.tell(LoadEvent::Watched(Box::new(WatchRecord {
            watcher: Arc::clone(&self.name),
            index: self.index,
            step,
            at,
            event,
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            resource_version: object.resource_version().to_owned(),
            revision: object.revision(),
            initial,
        })));
    }

    fn down(&self, outcome: &Outcome) {
        let how = match outcome {
            Outcome::Status(status) => format!("its last request ended with status {status}"),
            Outcome::Error(reason) => format!("its last request failed: {reason}"),
            Outcome::Timeout | Outcome::Shed => "its last request was not answered in time".to_owned(),
        };
        self.standing.send_replace(Standing::Down(how));
    }

    /// A caller who has gone away does not stop the watcher.
    fn tell(&self, event: LoadEvent) {
        let _ = self.events.send(event);
    }
}

// === impl Standing ===

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("its first request is not over"),
            Self::Open => f.write_str("it is open"),
            Self::Down(how) => f.write_str(how),
        }
    }
}

async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> Result<T, Outcome> {
    timeout(limit, what).await.map_err(|_| Outcome::Timeout)
}

/// The whole of a body.
async fn whole(body: &mut Body, progress: &mut Progress) -> Result<Bytes, Outcome> {
    let mut whole = BytesMut::new();
    while let Some(piece) = next(body, progress).await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next piece of a body; `None` at its end.
async fn next(body: &mut Body, progress: &mut Progress) -> Result<Option<Bytes>, Outcome> {
    let piece = wire::next(body).await.map_err(Outcome::Error)?;
    progress.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
    Ok(piece)
}
