//! The ledgers of a worker, written as they grow.
//!
//! Nothing is kept in memory, so a load of any length takes none. What is noted goes on to the terminal.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    time::{Duration, Instant},
};

use serde::Serialize;
use spangate_load::LoadEvent;
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    event::{Event, Events},
    run::directory::{DirectoryError, RunDirectory},
};

/// Longest time that a note stays in memory only, while others come.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

struct Ledgers {
    requests: BufWriter<File>,
    watched: BufWriter<File>,
}

/// Writes what is noted until nobody notes any more. When it cannot be written, `broken` is cancelled, and the task
/// ends with the reason.
pub(super) fn write(
    directory: &RunDirectory,
    mut inbox: UnboundedReceiver<LoadEvent>,
    events: Events,
    broken: CancellationToken,
) -> Result<JoinHandle<io::Result<()>>, DirectoryError> {
    let open = |name| directory.open_new(name).map(BufWriter::new);
    let mut ledgers =
        Ledgers { requests: open(RunDirectory::REQUESTS)?, watched: open(RunDirectory::EVENTS)? };
    Ok(tokio::task::spawn_blocking(move || {
        let written = ledgers.take(&mut inbox, &events);
        if written.is_err() {
            broken.cancel();
        }
        written
    }))
}

// === impl Ledgers ===

impl Ledgers {
    fn take(&mut self, inbox: &mut UnboundedReceiver<LoadEvent>, events: &Events) -> io::Result<()> {
        let mut flushed = Instant::now();
        while let Some(event) = inbox.blocking_recv() {
            match event {
                LoadEvent::Prepared { done, total } => {
                    let done = Some((done as u64, total as u64));
                    events.send(Event::Progress { what: "objects made".to_owned(), done });
                }
                LoadEvent::Request(request) => {
                    line(&mut self.requests, &request)?;
                    events.send(Event::Request(request));
                }
                LoadEvent::Watched(watched) => {
                    line(&mut self.watched, &watched)?;
                    events.send(Event::Watched(watched));
                }
            }
            if flushed.elapsed() >= FLUSH_EVERY {
                self.flush()?;
                flushed = Instant::now();
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.requests.flush()?;
        self.watched.flush()
    }
}

fn line(file: &mut BufWriter<File>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn what_is_noted_is_written_and_passed_on() {
        let root = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(root.path()).unwrap();
        let (events, mut shown) = Events::channel();
        let (notes, inbox) = mpsc::unbounded_channel();
        let task = write(&directory, inbox, events, CancellationToken::new()).unwrap();
        let request = testing::request();
        notes.send(LoadEvent::Request(Box::new(request.clone()))).unwrap();
        notes.send(LoadEvent::Prepared { done: 1, total: 2 }).unwrap();
        drop(notes);
        task.await.unwrap().unwrap();
        let written: Vec<spangate_load::RequestRecord> =
            directory.read_lines(RunDirectory::REQUESTS).unwrap();
        assert_eq!(written, [request]);
        assert!(matches!(shown.recv().await, Some(Event::Request(_))));
        assert!(matches!(shown.recv().await, Some(Event::Progress { done: Some((1, 2)), .. })));
    }

    /// Scenario: the ledger is on a device that is full.
    /// Guarantees: the load is told to end, and the reason is kept.
    #[tokio::test]
    async fn a_full_disk_ends_the_load() {
        let root = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(root.path()).unwrap();
        std::os::unix::fs::symlink("/dev/full", directory.file(RunDirectory::REQUESTS)).unwrap();
        let (events, _shown) = Events::channel();
        let (notes, inbox) = mpsc::unbounded_channel();
        let broken = CancellationToken::new();
        let task = write(&directory, inbox, events, broken.clone()).unwrap();
        let request = testing::request();
        // More than a buffer holds.
        for _ in 0..100 {
            let _ = notes.send(LoadEvent::Request(Box::new(request.clone())));
        }
        broken.cancelled().await;
        drop(notes);
        assert_eq!(task.await.unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
