//! Where everything that happens is noted: counted at once, and told in batches.
//!
//! To tell somebody on another thread of each request by itself would wake that thread for each of them, which
//! takes as long as to send one.

use std::sync::{Mutex, MutexGuard};

use spangate_trace::UnixNanos;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    abort::Sample,
    summary::{Note, Tally},
};
use crate::{LoadEvent, Outcome};

/// Counts and tells.
#[derive(Debug)]
pub(super) struct Journal {
    start: UnixNanos,
    events: UnboundedSender<LoadEvent>,
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
    untold: Vec<LoadEvent>,
}

/// Events that are told at once.
const BATCH: usize = 256;

// === impl Journal ===

impl Journal {
    /// Of a load that begins at `start`.
    pub(super) fn new(start: UnixNanos, events: UnboundedSender<LoadEvent>, sampled: bool) -> Self {
        let page =
            Page { tally: Tally::new(start), sample: Sample::default(), untold: Vec::with_capacity(BATCH) };
        Self { start, events, sampled, page: Mutex::new(page) }
    }

    pub(super) fn note(&self, note: Note) {
        let mut page = self.page();
        page.tally.add(&note);
        if self.sampled {
            page.sample.add(&note);
        }
        if let Note::Request(record) = note {
            page.untold.push(LoadEvent::Request(record));
            if page.untold.len() == BATCH {
                self.tell(&mut page);
            }
        }
    }

    /// Tells what has not been told. Somebody calls it often enough for those who look on.
    pub(super) fn flush(&self) {
        self.tell(&mut self.page());
    }

    /// What happened since the last call.
    pub(super) fn sample(&self) -> Sample {
        std::mem::take(&mut self.page().sample)
    }

    /// Ends the journal; gives what was counted.
    pub(super) fn close(&self) -> Tally {
        self.flush();
        std::mem::replace(&mut self.page().tally, Tally::new(self.start))
    }

    fn tell(&self, page: &mut Page) {
        for event in page.untold.drain(..) {
            // A caller who has gone away does not stop the load.
            let _ = self.events.send(event);
        }
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().expect("nothing panics while it holds this lock")
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

    #[test]
    fn everything_is_told_once_and_counted_once() {
        let (events, mut told) = unbounded_channel();
        let journal = Journal::new(UnixNanos(0), events, true);
        let note = |outcome| journal.note(Note::Request(Box::new(testing::record(outcome))));
        journal.note(Note::Began { at: UnixNanos(5), lag: Duration::ZERO });
        (0..BATCH - 1).for_each(|_| note(Outcome::Status(200)));
        assert!(told.try_recv().is_err(), "single events wake whoever waits for them");
        note(Outcome::Status(503));
        assert_eq!(told.len(), BATCH);
        note(Outcome::Shed);
        journal.flush();
        assert_eq!(told.len(), BATCH + 1);
        let sample = journal.sample();
        assert_eq!((sample.started, sample.ended, sample.failed), (1, BATCH as u64, 1));
        assert_eq!(sample.response.count(), BATCH as u64);
        assert_eq!(journal.sample(), Sample::default());
        let tally = journal.close();
        let summary = tally.summary(&crate::Schedule::new(&testing::load(Vec::new()), 7));
        assert_eq!((summary.started, summary.shed, summary.requests), (1, 1, BATCH as u64));
    }
}
