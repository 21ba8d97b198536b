//! Where everything that happens is noted: counted at once, and told in batches.
//!
//! To tell somebody on another thread of each request by itself would wake that thread for each of them, which
//! takes as long as to send one. So records leave the thread of the load in batches, and are told one by one by a
//! task beside those who listen.
//!
//! Memory that one thread takes and another gives back makes both of them wait for the allocator, again and again. So
//! the records of a batch are in one piece, and so are their texts; whoever tells of them makes their own.

use std::{
    mem::take,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

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
    untold: Batch,
    /// Where to; nowhere once the journal is closed.
    batches: Option<UnboundedSender<Batch>>,
}

/// Records on their way to those who listen.
#[derive(Debug)]
pub(super) struct Batch {
    /// Their texts are empty.
    records: Vec<RequestRecord>,
    /// The texts of all records, one after the other.
    texts: String,
    /// How long each of them is.
    lengths: Vec<usize>,
}

/// Records that are told at once.
const BATCH: usize = 256;
/// Bytes of the texts of most records: a name, a path and an id.
const TEXTS: usize = 160;

// === impl Journal ===

impl Journal {
    /// Of a load that begins at `start`. Samples are taken only if they are asked for.
    pub(super) fn new(start: UnixNanos, batches: UnboundedSender<Batch>, sampled: bool) -> Self {
        let page = Page {
            tally: Tally::new(start),
            sample: Sample::default(),
            untold: Batch::new(),
            batches: Some(batches),
        };
        Self { start, sampled, page: Mutex::new(page) }
    }

    /// An arrival was started, so much too late.
    pub(super) fn began(&self, at: UnixNanos, lag: Duration) {
        self.page().count(&Note::Began { at, lag }, self.sampled);
    }

    /// A request is over, or an arrival was shed.
    pub(super) fn ended(&self, record: RequestRecord) {
        let mut page = self.page();
        page.count(&Note::Request(&record), self.sampled);
        page.untold.push(record);
        if page.untold.records.len() == BATCH {
            page.tell();
        }
    }

    /// Tells what has not been told. Somebody calls it often enough for those who look on.
    pub(super) fn flush(&self) {
        self.page().tell();
    }

    /// What happened since the last call.
    pub(super) fn sample(&self) -> Sample {
        take(&mut self.page().sample)
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
    fn count(&mut self, note: &Note<'_>, sampled: bool) {
        self.tally.add(note);
        if sampled {
            self.sample.add(note);
        }
    }

    fn tell(&mut self) {
        let Some(batches) = self.batches.as_ref().filter(|_| !self.untold.records.is_empty()) else { return };
        // A caller who has gone away does not stop the load.
        let _ = batches.send(std::mem::replace(&mut self.untold, Batch::new()));
    }
}

// === impl Batch ===

impl Batch {
    fn new() -> Self {
        Self {
            records: Vec::with_capacity(BATCH),
            texts: String::with_capacity(BATCH * TEXTS),
            lengths: Vec::with_capacity(BATCH * 3),
        }
    }

    fn push(&mut self, mut record: RequestRecord) {
        for text in texts(&mut record) {
            self.texts.push_str(text);
            self.lengths.push(text.len());
            drop(take(text));
        }
        self.records.push(record);
    }

    /// The records with their texts, in the order in which they came.
    fn records(&mut self) -> impl Iterator<Item = RequestRecord> {
        let (mut rest, mut lengths) = (self.texts.as_str(), self.lengths.iter());
        self.records.drain(..).map(move |mut record| {
            for text in texts(&mut record) {
                let length = lengths.next().expect("each text of a record was put down with its length");
                let (own, others) = rest.split_at(*length);
                own.clone_into(text);
                rest = others;
            }
            record
        })
    }
}

/// The texts that records usually have; that of an error stays where it is.
fn texts(record: &mut RequestRecord) -> impl Iterator<Item = &mut String> {
    let RequestRecord { name, target, audit_id, .. } = record;
    name.iter_mut().chain([target]).chain(audit_id)
}

/// Tells of each record, until the journal is closed.
pub(super) async fn tell(mut batches: UnboundedReceiver<Batch>, events: UnboundedSender<LoadEvent>) {
    while let Some(mut batch) = batches.recv().await {
        for record in batch.records() {
            let _ = events.send(LoadEvent::Request(Box::new(record)));
        }
    }
}

// === impl Sample ===

impl Sample {
    fn add(&mut self, note: &Note<'_>) {
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
    use proptest::prelude::*;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn everything_is_told_once_and_counted_once() {
        let (sender, mut batches) = unbounded_channel();
        let journal = Journal::new(UnixNanos(0), sender, true);
        let note = |outcome| journal.ended(testing::record(outcome));
        journal.began(UnixNanos(5), Duration::ZERO);
        (0..BATCH - 1).for_each(|_| note(Outcome::Status(200)));
        assert!(batches.try_recv().is_err(), "a single record wakes whoever waits for them");
        note(Outcome::Status(503));
        assert_eq!(batches.try_recv().unwrap().records().count(), BATCH);
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

    proptest! {
        #[test]
        fn records_leave_a_batch_as_they_came(
            texts in prop::collection::vec(
                (any::<Option<String>>(), any::<String>(), any::<Option<String>>()), 0..20,
            ),
        ) {
            let record = |(name, target, audit_id)| {
                RequestRecord { name, target, audit_id, ..testing::record(Outcome::Error("x".to_owned())) }
            };
            let records: Vec<_> = texts.into_iter().map(record).collect();
            let mut batch = Batch::new();
            records.iter().cloned().for_each(|record| batch.push(record));
            prop_assert_eq!(batch.records().collect::<Vec<_>>(), records);
        }
    }
}
