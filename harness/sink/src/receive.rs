//! What happens to an export, whichever protocol it came by.

use std::{
    borrow::Cow,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use spangate_scenario::{model::GrpcStatus, units::Ratio};
use spangate_trace::{Clock, UnixNanos};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    forward::Forward,
    misbehave::{Misbehaviour, MisdeedKind, Record, Rejections},
    store::{Receipt, Store},
    wire::{self, WireError},
};

/// Why a span with bad ids was not kept, for the eyes of the sender's developers.
const INVALID_IDS: &str =
    "a span needs a trace id of 16 bytes and a span id of 8, neither all zero, and a parent id of 0 or 8";
/// Why a span was not kept on purpose.
const DELIBERATE: &str = "rejected by a fault of the scenario";
/// What a refused client is told.
pub(crate) const REFUSED: &str = "refused by a fault of the scenario";

/// An export that was kept, and not sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When the whole of it was there.
    pub at: UnixNanos,
    /// The rows of the sink's store that hold its spans.
    pub rows: Range<u32>,
}

/// The receiving end that both protocols share.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) store: Arc<Store>,
    pub(crate) misbehaviour: watch::Sender<Option<Misbehaviour>>,
    pub(crate) record: Record,
    pub(crate) stop: CancellationToken,
    pub(crate) max_message_bytes: usize,
    /// Where what is kept goes on to, if anywhere.
    pub(crate) forward: OnceLock<Forward>,
    /// Whether everything is thrown away until there is somebody behind.
    awaiting: bool,
    rejections: Rejections,
    clock: Clock,
    arrivals: Mutex<Vec<Arrival>>,
}

/// What the client is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All spans but `rejected` were kept, for the reason that `message` gives.
    Accepted {
        /// Spans that were not.
        rejected: u64,
        /// Why.
        message: Cow<'static, str>,
    },
    /// Nothing was kept.
    Refused {
        /// The reason.
        status: GrpcStatus,
        /// The reason in words.
        message: Cow<'static, str>,
        /// When the client may try again.
        retry_after: Option<std::time::Duration>,
    },
    /// This was no export.
    Malformed(WireError),
}

// === impl Receiver ===

impl Receiver {
    /// A well-behaved receiver with an empty store.
    pub(crate) fn new(
        max_message_bytes: usize,
        clock: Clock,
        forward: Option<SocketAddr>,
        awaiting: bool,
    ) -> Self {
        Self {
            store: Arc::new(Store::new()),
            misbehaviour: watch::Sender::new(None),
            record: Record::new(clock),
            stop: CancellationToken::new(),
            max_message_bytes,
            forward: forward.map(|to| Forward::new(to, clock)).map_or_else(OnceLock::new, OnceLock::from),
            awaiting,
            rejections: Rejections::default(),
            clock,
            arrivals: Mutex::default(),
        }
    }

    /// Takes an export in.
    pub(crate) async fn receive(&self, export: &Bytes) -> Answer {
        let misbehaviour = self.misbehaviour.borrow().clone();
        let answer = match misbehaviour {
            None => self.take(export).await,
            Some(Misbehaviour::Delay(next)) => self.delay(export, next()).await,
            Some(Misbehaviour::Refuse { status, retry_after }) => self.store.refuse(export).map(|spans| {
                drop(self.record.begin(MisdeedKind::Refused(status), spans, spans));
                Answer::Refused { status, message: REFUSED.into(), retry_after }
            }),
            Some(Misbehaviour::PartialSuccess { rejected }) => self.keep_part(export, rejected),
            Some(Misbehaviour::Hang | Misbehaviour::Away) => self.hang(export).await,
        };
        answer.unwrap_or_else(Answer::Malformed)
    }

    /// Keeps an export, and sends it on where there is somebody behind.
    async fn take(&self, export: &Bytes) -> Result<Answer, WireError> {
        let forward = self.forward.get();
        if forward.is_none() && self.awaiting {
            wire::count(export)?;
            return Ok(Answer::Accepted { rejected: 0, message: Cow::Borrowed("") });
        }
        let at = self.clock.now();
        let receipt = self.store.append(export)?;
        let rows = u32::try_from(receipt.stored).expect("a request has fewer spans than bytes");
        let rows = receipt.first..receipt.first + rows;
        let Some(forward) = forward else {
            self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Arrival { at, rows });
            return Ok(Answer::of(receipt));
        };
        Ok(forward.send(export, rows, receipt.spans).await)
    }

    /// The exports that were kept and not sent on, in the order in which they were stored or nearly so.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn delay(&self, export: &Bytes, delay: std::time::Duration) -> Result<Answer, WireError> {
        let receipt = self.store.append(export)?;
        let _under_way = self.record.begin(MisdeedKind::Delayed, receipt.spans, 0);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.stop.cancelled() => {}
        }
        Ok(Answer::of(receipt))
    }

    fn keep_part(&self, export: &Bytes, share: Ratio) -> Result<Answer, WireError> {
        // Numbering needs the count, and the count a walk of its own: cheap next to a second lock.
        let first = self.rejections.number(wire::count(export).unwrap_or_default());
        let receipt = self.store.append_where(export, |span| !Rejections::rejects(first + span, share))?;
        drop(self.record.begin(MisdeedKind::PartiallyKept, receipt.spans, receipt.refused));
        Ok(Answer::of(receipt))
    }

    /// Answers when the sink ends, if the client is still there.
    async fn hang(&self, export: &[u8]) -> Result<Answer, WireError> {
        let spans = self.store.refuse(export)?;
        let _under_way = self.record.begin(MisdeedKind::Unanswered, spans, spans);
        self.stop.cancelled().await;
        Ok(Answer::Refused { status: GrpcStatus::Unavailable, message: REFUSED.into(), retry_after: None })
    }
}

// === impl Answer ===

impl Answer {
    fn of(receipt: Receipt) -> Self {
        let message = match (receipt.invalid, receipt.refused) {
            (0, 0) => "",
            (0, _) => DELIBERATE,
            _ => INVALID_IDS,
        };
        Self::Accepted { rejected: receipt.invalid + receipt.refused, message: message.into() }
    }
}
