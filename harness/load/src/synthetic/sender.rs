//! Sends synthetic traces over OTLP/gRPC and keeps the ledger of it.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use spangate_trace::{Clock, UnixNanos};
use tokio_util::sync::CancellationToken;

pub use self::{
    counts::{Counts, Delivery},
    target::{ParseTargetError, Target},
};
use super::{
    Synthetic,
    batch::Batch,
    ledger::{Book, SentExport},
    order::InOrder,
    trace::SyntheticTrace,
};
use crate::engine::timer::Timer;

mod counts;
mod export;
mod link;
mod target;

use export::{Exported, Exporter};

/// The shortest wait for spans to come: those that are due within it go together.
const QUANTUM: Duration = Duration::from_micros(250);

/// How to send.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// The receiver.
    pub target: Target,
    /// Spans in a request, at most; at least one.
    pub batch_spans: usize,
    /// How long a span waits for others that fill its request.
    pub flush_every: Duration,
    /// Requests under way on the connection, at most; at least one.
    pub in_flight: usize,
    /// How long a request may take, connecting included.
    pub timeout: Duration,
    /// How often a request that failed, or was refused with a status that OTLP calls retryable, is sent again.
    pub retries: u32,
    /// How long to wait before that.
    pub retry_after: Duration,
}

/// When spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At their times, whatever the receiver does. Where too many requests are under way, spans are sent later, and
    /// that is counted.
    Planned,
    /// In the order of their times, as fast as the receiver takes them.
    Unthrottled,
}

/// Sends over one connection, which is opened when it is first needed, and again after it broke.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    exporter: Exporter,
    clock: Clock,
}

/// What keeps a sender from sending.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SenderError {
    /// The receiver cannot be reached.
    #[error("cannot connect to the OTLP receiver {target}: does it listen there?")]
    Connect {
        /// The receiver.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The receiver does not speak HTTP/2.
    #[error("the OTLP receiver {target} does not speak HTTP/2 without TLS")]
    Http2 {
        /// The receiver.
        target: String,
        /// Why.
        #[source]
        source: h2::Error,
    },
    /// The kernel gives no timer.
    #[error("the kernel gives no timer to wait with")]
    Timer(#[source] io::Error),
}

/// One run of a sender.
struct Run<'s, I: Iterator<Item = SyntheticTrace>> {
    sender: &'s Sender,
    synthetic: &'s Synthetic,
    pace: Pace,
    origin: UnixNanos,
    order: InOrder<I>,
    batch: Batch,
    /// When the first span of the batch was to be sent.
    oldest: Duration,
    /// When the last one was.
    newest: Duration,
    book: Book,
    /// By number; those under way are missing.
    exports: Vec<Option<SentExport>>,
    counts: Counts,
}

// === impl SenderConfig ===

impl SenderConfig {
    /// 512 spans a request or 200 ms, eight requests under way, ten seconds for each, no retries.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            batch_spans: 512,
            flush_every: Duration::from_millis(200),
            in_flight: 8,
            timeout: Duration::from_secs(10),
            retries: 0,
            retry_after: Duration::from_secs(1),
        }
    }
}

// === impl Sender ===

impl Sender {
    /// A sender that notes times by `clock`.
    pub fn new(config: SenderConfig, clock: Clock) -> Self {
        Self { exporter: Exporter::new(&config), config, clock }
    }

    /// Opens the connection, for whoever wants to know beforehand whether anybody listens.
    pub async fn connect(&self) -> Result<(), SenderError> {
        self.exporter.link.open().await.map(drop)
    }

    /// Sends all traces of `synthetic`, and returns when every request is over.
    ///
    /// `origin` is when traffic begins: ids do not depend on it, times do. With [`Pace::Planned`] it is now, or soon.
    /// When `stop` is cancelled, what is in the batch is still sent, and requests under way are waited for. A receiver
    /// that refuses or is away is no error but counted.
    pub async fn send(
        &self,
        synthetic: &Synthetic,
        pace: Pace,
        origin: UnixNanos,
        stop: &CancellationToken,
    ) -> Result<Delivery, SenderError> {
        let timer = Timer::new().map_err(SenderError::Timer)?;
        let run = Run {
            sender: self,
            synthetic,
            pace,
            origin,
            order: InOrder::new(synthetic.traces()),
            batch: Batch::new(Arc::clone(synthetic.templates())),
            oldest: Duration::ZERO,
            newest: Duration::ZERO,
            book: Book::default(),
            exports: Vec::new(),
            counts: Counts::default(),
        };
        Ok(run.send(&timer, stop).await)
    }
}

// === impl Run ===

impl<I: Iterator<Item = SyntheticTrace>> Run<'_, I> {
    async fn send(mut self, timer: &Timer, stop: &CancellationToken) -> Delivery {
        let config = &self.sender.config;
        let began = self.sender.clock.now();
        let (most, limit) = (config.batch_spans.max(1), config.in_flight.max(1));
        let mut under_way = FuturesUnordered::new();
        let mut stopped = pin!(stop.cancelled());
        loop {
            let next = self.fill(most, stop.is_cancelled());
            if self.batch.spans() >= most || self.is_over(next) {
                if self.batch.spans() == 0 {
                    break;
                }
                if under_way.len() >= limit {
                    self.wait_for_room(&mut under_way).await;
                }
                let is_whole = self.batch.spans() >= most || next.is_none();
                let due = if is_whole { self.newest } else { self.flush_at() };
                under_way.push(self.dispatch(due));
                continue;
            }
            let until = self.wake_at(next);
            tokio::select! {
                biased;
                () = &mut stopped, if !stop.is_cancelled() => {}
                Some(export) = under_way.next(), if !under_way.is_empty() => self.over(export),
                () = timer.until(self.sender.clock.instant(until)) => {}
            }
        }
        while let Some(export) = under_way.next().await {
            self.over(export);
        }
        let ended = self.sender.clock.now();
        let exports: Vec<_> = self.exports.into_iter().flatten().collect();
        Delivery { began, ended, traces: self.book.close(&exports), exports, counts: self.counts }
    }

    /// Takes spans that are due into the batch; gives the time of the next one that is not in it.
    fn fill(&mut self, most: usize, stopped: bool) -> Option<Duration> {
        let classes = (self.synthetic.classes(), self.origin);
        let export = self.exports.len() as u64;
        let now = self.sender.clock.now();
        loop {
            let at = if stopped { None } else { self.order.next_at() }?;
            let is_due = self.pace == Pace::Unthrottled || self.origin + at <= now;
            if !is_due || self.batch.spans() >= most {
                return Some(at);
            }
            if self.batch.spans() == 0 {
                self.oldest = at;
            }
            self.newest = at;
            let (batch, book) = (&mut self.batch, &mut self.book);
            self.order.take(|trace, send| {
                let bytes = batch.push(trace, send, classes.1);
                book.note(trace, bytes, export, classes);
            });
        }
    }

    /// Whether nothing more comes into the batch, full or not. `next` is the time of the next span.
    fn is_over(&self, next: Option<Duration>) -> bool {
        let waited =
            || self.pace == Pace::Planned && self.origin + self.flush_at() <= self.sender.clock.now();
        next.is_none() || self.batch.spans() > 0 && waited()
    }

    /// When the batch is sent if it is not full before.
    fn flush_at(&self) -> Duration {
        self.oldest + self.sender.config.flush_every
    }

    /// When there is something to do again.
    fn wake_at(&self, next: Option<Duration>) -> UnixNanos {
        let soon = self.sender.clock.now() + QUANTUM;
        let next = next.map(|next| (self.origin + next).max(soon));
        let flush = (self.batch.spans() > 0).then(|| self.origin + self.flush_at());
        [next, flush].into_iter().flatten().min().unwrap_or(soon)
    }

    /// Waits until one more request may be under way.
    async fn wait_for_room<F>(&mut self, under_way: &mut FuturesUnordered<F>)
    where
        F: Future<Output = SentExport>,
    {
        let began = self.sender.clock.now();
        if let Some(export) = under_way.next().await {
            self.over(export);
        }
        self.counts.waits += 1;
        self.counts.waited += self.sender.clock.now().since(began);
    }

    /// Sends the batch, which was due at `due`.
    fn dispatch(&mut self, due: Duration) -> impl Future<Output = SentExport> + use<I> {
        let Sender { exporter, clock, .. } = self.sender;
        let (exporter, clock) = (exporter.clone(), *clock);
        let spans = u32::try_from(self.batch.spans()).unwrap_or(u32::MAX);
        let message = self.batch.take_message();
        let (number, due) = (self.exports.len() as u64, self.origin + due);
        self.exports.push(None);
        async move {
            let bytes = (message.len() - Batch::PREFIX) as u64;
            let Exported { at, ended, retries, outcome } = exporter.export(message, &clock).await;
            SentExport { number, due, at, ended, spans, bytes, retries, outcome }
        }
    }

    /// Notes a request that is over.
    fn over(&mut self, export: SentExport) {
        self.counts.add(&export, self.pace);
        if let Some(place) = usize::try_from(export.number).ok().and_then(|place| self.exports.get_mut(place))
        {
            *place = Some(export);
        }
    }
}

#[cfg(test)]
mod tests;
