//! What one process has used, from procfs (`proc_pid_status(5)`, and Documentation/scheduler/sched-stats.rst of Linux).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// What a process has used since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Time on a CPU, in nanoseconds, all threads together.
    pub cpu_nanos: u64,
    /// Time in which a thread could have run and did not, in nanoseconds, all threads together.
    pub wait_nanos: u64,
    /// How often a thread was put on a CPU.
    pub slices: u64,
    /// Memory that is resident now, in bytes.
    pub rss: u64,
    /// The most memory that was ever resident, in bytes.
    pub peak_rss: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads what a process uses, again and again.
///
/// The scheduler's counts are of threads. Those of a thread that has ended are gone, so the last ones that were read of
/// it count: what it did after that, up to one pace of the reader, is not seen.
#[derive(Debug)]
pub struct Meter {
    directory: PathBuf,
    /// What each thread had at the last reading.
    threads: BTreeMap<String, Scheduled>,
    /// What threads had that have ended.
    ended: Scheduled,
}

/// The scheduler's counts of a thread (`/proc/PID/task/TID/schedstat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Scheduled {
    cpu_nanos: u64,
    wait_nanos: u64,
    slices: u64,
}

// === impl Meter ===

impl Meter {
    /// Reads the process `pid`.
    pub fn new(pid: u32) -> Self {
        Self {
            directory: Path::new("/proc").join(pid.to_string()),
            threads: BTreeMap::new(),
            ended: Scheduled::default(),
        }
    }

    /// What the process has used by now.
    ///
    /// # Errors
    ///
    /// When the process has ended, or procfs does not show it, or not its scheduler's counts.
    pub fn read(&mut self) -> io::Result<Usage> {
        let mut now = BTreeMap::new();
        for entry in fs::read_dir(self.directory.join("task"))? {
            let entry = entry?;
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let counts = Scheduled::parse(&text).ok_or_else(|| unreadable("schedstat"))?;
            now.insert(entry.file_name().to_string_lossy().into_owned(), counts);
        }
        if now.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        for (thread, last) in &self.threads {
            // A thread that is new and has an old number has less than the old one.
            if now.get(thread).is_none_or(|counts| counts.cpu_nanos < last.cpu_nanos) {
                self.ended = self.ended.plus(*last);
            }
        }
        let all = now.values().fold(self.ended, |sum, counts| sum.plus(*counts));
        let status = fs::read_to_string(self.directory.join("status"))?;
        let kib = |key| field(&status, key).ok_or_else(|| unreadable("status"));
        let usage = Usage {
            cpu_nanos: all.cpu_nanos,
            wait_nanos: all.wait_nanos,
            slices: all.slices,
            rss: 1024 * kib("VmRSS:")?,
            peak_rss: 1024 * kib("VmHWM:")?,
            threads: now.len() as u64,
        };
        self.threads = now;
        Ok(usage)
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} of the process is not as expected"))
}

/// The number after a key of `status`.
fn field(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}

// === impl Scheduled ===

impl Scheduled {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { cpu_nanos: next()?, wait_nanos: next()?, slices: next()? })
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            cpu_nanos: self.cpu_nanos + other.cpu_nanos,
            wait_nanos: self.wait_nanos + other.wait_nanos,
            slices: self.slices + other.slices,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        hint::black_box,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    fn burn(time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            black_box(start.elapsed());
        }
    }

    #[test]
    fn the_scheduler_counts_are_read() {
        let counts = Scheduled { cpu_nanos: 12, wait_nanos: 34, slices: 5 };
        assert_eq!(Scheduled::parse("12 34 5\n"), Some(counts));
        assert_eq!(Scheduled::parse("12 34"), None);
        assert_eq!(field("Name: a\nVmRSS:\t  123 kB\n", "VmRSS:"), Some(123));
    }

    #[test]
    fn a_process_that_works_is_seen_to() {
        let mut meter = Meter::new(std::process::id());
        let before = meter.read().unwrap();
        let start = Instant::now();
        burn(Duration::from_millis(60));
        let after = meter.read().unwrap();
        // Other tests of this process may work beside this one.
        assert!(after.cpu_nanos > before.cpu_nanos, "{before:?} {after:?}");
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert!(after.peak_rss >= after.rss && after.rss > 0 && after.threads >= 1, "{after:?}");
    }

    #[test]
    fn what_a_thread_did_counts_when_it_has_ended() {
        let mut meter = Meter::new(std::process::id());
        let (begun, go_on) = (
            std::sync::Arc::new(std::sync::Barrier::new(2)),
            std::sync::Arc::new(std::sync::Barrier::new(2)),
        );
        let (there, on) = (begun.clone(), go_on.clone());
        let worker = thread::spawn(move || {
            burn(Duration::from_millis(50));
            there.wait();
            on.wait();
        });
        begun.wait();
        let with = meter.read().unwrap();
        go_on.wait();
        worker.join().unwrap();
        let without = meter.read().unwrap();
        assert!(without.cpu_nanos >= with.cpu_nanos, "{with:?} {without:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Meter::new(u32::MAX).read().is_err());
    }
}
