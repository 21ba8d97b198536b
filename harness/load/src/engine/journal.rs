//! Where everything that happens is noted: counted at once, and told in batches.
//!
//! To tell somebody on another thread of each request by itself would wake that thread for each of them, which
//! takes as long as to send one. So records leave the thread of the load in batches, and are told one by one by a
//! task beside those who listen.

use std::sync::{Mutex, MutexGuard};

use spangate_trace::UnixNanos;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::{
    abort::Sample,
    summary::{Note, Tally},
};
use crate::{LoadEvent, Outcome, RequestRecord};

/// Counts and tells.
#[derive(Debug)]
pub(super) struct Journal {
    start: UnixNanos,
    /// Whether samples are asked for.
    sampled: bool,
    page: Mutex<Page>,
}

#[derive(Debug)]
struct Page {
    tally: Tally,
    /// What happened since the last sample.
    sample: Sample,
    /// What is yet to be told.
    untold: Vec<Box<RequestRecord>>,
    /// Where to; nowhere once the journal is closed.
    batches: Option<UnboundedSender<Batch>>,
}

/// Records on their way to those who listen.
pub(super) type Batch = Vec<Box<RequestRecord>>;

/// Records that are told at once.
const BATCH: usize = 256;

// === impl Journal ===

impl Journal {
    /// Of a load that begins at `start`. Samples are taken only if they are asked for.
    pub(super) fn new(start: UnixNanos, batches: UnboundedSender<Batch>, sampled: bool) -> Self {
        let page = Page {
            tally: Tally::new(start),
            sample: Sample::default(),
            untold: Vec::with_capacity(BATCH),
            batches: Some(batches),
        };
        Self { start, sampled, page: Mutex::new(page) }
    }

    pub(super) fn note(&self, note: Note) {
        let mut page = self.page();
        page.tally.add(&note);
        if self.sampled {
            page.sample.add(&note);
        }
        if let Note::Request(record) = note {
            page.untold.push(record);
            if page.untold.len() == BATCH {
                page.tell();
            }
        }
    }

    /// Tells what has not been told. Somebody calls it often enough for those who look on.
    pub(super) fn flush(&self) {
        self.page().tell();
    }

    /// What happened since the last call.
    pub(super) fn sample(&self) -> Sample {
        std::mem::take(&mut self.page().sample)
    }

    /// Ends the journal and its batches; gives what was counted.
    pub(super) fn close(&self) -> Tally {
        let mut page = self.page();
        page.tell();
        page.batches = None;
        std::mem::replace(&mut page.tally, Tally::new(self.start))
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().expect("nothing panics while it holds this lock")
    }
}

// === impl Page ===

impl Page {
    fn tell(&mut self) {
        let Some(batches) = self.batches.as_ref().filter(|_| !self.untold.is_empty()) else { return };
        // A caller who has gone away does not stop the load.
        let _ = batches.send(std::mem::replace(&mut self.untold, Vec::with_capacity(BATCH)));
    }
}

/// Tells of each record, until the journal is closed.
pub(super) async fn tell(mut batches: UnboundedReceiver<Batch>, events: UnboundedSender<LoadEvent>) {
    while let Some(batch) = batches.recv().await {
        for record in batch {
            let _ = events.send(LoadEvent::Request(record));
        }
    }
}

// === impl Sample ===

impl Sample {
    fn add(&mut self, note: &Note) {
        match note {
            Note::Began { .. } => self.started += 1,
            Note::Request(record) if record.outcome == Outcome::Shed => {}
            Note::Request(record) => {
                self.ended += 1;
                self.failed += u64::from(record.outcome.is_failure());
                self.response.record(record.ended.since(record.intended));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn everything_is_told_once_and_counted_once() {
        let (sender, mut batches) = unbounded_channel();
        let journal = Journal::new(UnixNanos(0), sender, true);
        let note = |outcome| journal.note(Note::Request(Box::new(testing::record(outcome))));
        journal.note(Note::Began { at: UnixNanos(5), lag: Duration::ZERO });
        (0..BATCH - 1).for_each(|_| note(Outcome::Status(200)));
        assert!(batches.try_recv().is_err(), "a single record wakes whoever waits for them");
        note(Outcome::Status(503));
        assert_eq!(batches.try_recv().unwrap().len(), BATCH);
        note(Outcome::Shed);
        journal.flush();
        journal.flush();
        assert_eq!(batches.len(), 1, "an empty batch was told");
        note(Outcome::Timeout);
        let sample = journal.sample();
        assert_eq!((sample.started, sample.ended, sample.failed), (1, BATCH as u64 + 1, 2));
        assert_eq!(sample.response.count(), BATCH as u64 + 1);
        assert_eq!(journal.sample(), Sample::default());
        let tally = journal.close();
        let summary = tally.summary(&crate::Schedule::new(&testing::load(Vec::new()), 7));
        assert_eq!((summary.started, summary.shed, summary.requests), (1, 1, BATCH as u64 + 1));
        // What was untold is told at the end, which ends the telling.
        let (events, mut told) = unbounded_channel();
        tell(batches, events).await;
        let mut outcomes = Vec::new();
        while let Some(LoadEvent::Request(record)) = told.recv().await {
            outcomes.push(record.outcome);
        }
        assert_eq!(outcomes, [Outcome::Shed, Outcome::Timeout]);
    }
}
