//! An entry of the fault ledger while its call is still going on.

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use http::HeaderMap;
use spangate_trace::{Clock, TraceContext, UnixNanos};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    hold::Timer,
    ledger::{Answer, Held, Injection, Target},
};

/// Where notes go, by which clock, and what holds calls.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) clock: Clock,
    pub(crate) timer: Timer,
    pub(crate) ledger: UnboundedSender<Injection>,
}

/// One call. The entry is written when this is dropped, so that a call is noted too when its caller goes away
/// and the future that served it is dropped in the middle.
#[derive(Debug)]
pub(crate) struct Note {
    recorder: Arc<Recorder>,
    /// `None` only once it is written.
    entry: Option<Injection>,
    /// Start of the hold that is going on.
    holding: Option<UnixNanos>,
}

/// The caller's position in its trace, when it sent a valid one.
pub(crate) fn trace_context(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(TraceContext::HEADER)?.to_str().ok()?.parse().ok()
}

// === impl Note ===

impl Note {
    /// Call number `call` of `fault`, received at `received`, answered as an unfaulted peer would.
    pub(crate) fn new(
        recorder: &Arc<Recorder>,
        fault: String,
        call: u64,
        target: Target,
        parent: Option<TraceContext>,
        received: UnixNanos,
    ) -> Self {
        let entry = Injection {
            fault,
            call,
            target,
            parent,
            received,
            answered: received,
            held: None,
            answer: Answer::Genuine,
        };
        Self { recorder: Arc::clone(recorder), entry: Some(entry), holding: None }
    }

    /// Sets what the call is answered.
    pub(crate) fn answer(&mut self, answer: Answer) {
        if let Some(entry) = &mut self.entry {
            entry.answer = answer;
        }
    }

    /// Holds the call; nothing is noted as held when there is no delay.
    pub(crate) async fn hold(&mut self, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        let from = self.recorder.clock.now();
        self.holding = Some(from);
        self.recorder.timer.hold(delay).await;
        self.holding = None;
        if let Some(entry) = &mut self.entry {
            entry.held = Some(Held { from, to: self.recorder.clock.now() });
        }
    }

    /// Holds the call until the future is dropped; a delay before it becomes part of the hold.
    pub(crate) async fn hold_until_dropped(&mut self) -> Infallible {
        let earlier = self.entry.as_ref().and_then(|entry| entry.held);
        self.holding = Some(earlier.map_or_else(|| self.recorder.clock.now(), |held| held.from));
        future::pending().await
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let Some(mut entry) = self.entry.take() else { return };
        entry.answered = self.recorder.clock.now();
        if let Some(from) = self.holding {
            entry.held = Some(Held { from, to: entry.answered });
            entry.answer = Answer::Held;
        }
        // Nobody reads the ledger any more once the run is over.
        let _ = self.recorder.ledger.send(entry);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    use super::*;

    fn note() -> (Note, UnboundedReceiver<Injection>) {
        let (ledger, entries) = mpsc::unbounded_channel();
        let recorder = Recorder { clock: Clock::new(), timer: Timer::start().unwrap(), ledger };
        let received = recorder.clock.now();
        let target = Target::Etcd { rpc: "KV/Txn".to_owned(), key: "/a".to_owned() };
        (Note::new(&Arc::new(recorder), "slow".to_owned(), 4, target, None, received), entries)
    }

    #[tokio::test]
    async fn a_held_call_is_noted_with_the_measured_hold() {
        let (mut note, mut entries) = note();
        note.hold(Duration::from_millis(2)).await;
        note.answer(Answer::Denied(403));
        drop(note);
        let entry = entries.recv().await.unwrap();
        let held = entry.held.unwrap();
        assert!(held.to.since(held.from) >= Duration::from_millis(2));
        assert!(entry.received <= held.from && held.to <= entry.answered);
        assert_eq!((entry.call, entry.answer), (4, Answer::Denied(403)));
    }

    #[tokio::test]
    async fn a_call_that_is_let_through_is_not_held() {
        let (mut note, mut entries) = note();
        note.hold(Duration::ZERO).await;
        drop(note);
        let entry = entries.recv().await.unwrap();
        assert_eq!((entry.held, entry.answer), (None, Answer::Genuine));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_ends_the_hold() {
        let (mut note, mut entries) = note();
        note.hold(Duration::from_millis(2)).await;
        let first = note.entry.as_ref().and_then(|entry| entry.held).unwrap();
        {
            let hold = note.hold_until_dropped();
            tokio::pin!(hold);
            assert!(futures::poll!(hold).is_pending());
        }
        drop(note);
        let entry = entries.recv().await.unwrap();
        assert_eq!(entry.answer, Answer::Held);
        assert_eq!(entry.held, Some(Held { from: first.from, to: entry.answered }));
        assert!(entry.answered > first.to);
    }
}
