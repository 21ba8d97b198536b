//! Writes the ledgers as they grow: nothing that was recorded is lost when the run ends early.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::directory::RunDirectory;
use crate::event::{Event, Reporter};

/// Longest time that a note stays in memory only.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Writes the ledgers.
pub(super) struct Recorder {
    requests: BufWriter<File>,
    injections: BufWriter<File>,
    watched: BufWriter<File>,
    flushed: Instant,
    failure: Option<io::Error>,
}

// === impl Recorder ===

impl Recorder {
    /// Opens the ledgers in the directory of the run.
    pub(super) fn create(directory: &RunDirectory) -> io::Result<Self> {
        let open = |name| File::create(directory.file(name)).map(BufWriter::new);
        Ok(Self {
            requests: open(RunDirectory::REQUESTS)?,
            injections: open(RunDirectory::INJECTIONS)?,
            watched: open(RunDirectory::EVENTS)?,
            flushed: Instant::now(),
            failure: None,
        })
    }

    /// Writes what is left; an error if anything could not be written, now or earlier.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.failure.take() {
            Some(error) => Err(error),
            None => self.flush(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        [&mut self.requests, &mut self.injections, &mut self.watched].into_iter().try_for_each(Write::flush)
    }
}

impl Reporter for Recorder {
    /// Keeps the first failure for [`Recorder::finish`]: the run goes on, so that its faults are removed and
    /// its processes end, and is then reported as broken.
    fn event(&mut self, event: &Event) {
        if self.failure.is_some() {
            return;
        }
        let written = match event {
            Event::Request(request) => write_line(&mut self.requests, request),
            Event::Watched(watched) => write_line(&mut self.watched, watched),
            Event::Injection(injection) => write_line(&mut self.injections, injection),
            _ => Ok(()),
        };
        let due = self.flushed.elapsed() >= FLUSH_EVERY;
        let flushed = written.and_then(|()| if due { self.flush() } else { Ok(()) });
        self.failure = flushed.err();
    }
}

fn write_line(file: &mut BufWriter<File>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing;

    /// Scenario: a ledger is on a device that is full.
    /// Guarantees: the run is reported as broken by it, also when only the last flush finds out.
    #[test]
    fn a_full_disk_is_told_at_the_end() {
        for requests in [1, 200] {
            let root = tempfile::tempdir().unwrap();
            let directory = RunDirectory::at(root.path()).unwrap();
            symlink("/dev/full", directory.file(RunDirectory::REQUESTS)).unwrap();
            let mut recorder = Recorder::create(&directory).unwrap();
            (0..requests).for_each(|_| recorder.event(&Event::Request(Box::new(testing::request()))));
            assert_eq!(recorder.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }
}
