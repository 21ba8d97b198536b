//! What one process has used, from procfs (`proc_pid_status(5)`, and Documentation/scheduler/sched-stats.rst of Linux).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::CgroupUsage;

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
    /// What went through its calls, where that may be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
}

/// Bytes that went through calls of `read` and `write` and their kind (`proc_pid_io(5)`). Programs in Go use these for
/// connections and files alike, so that it is all that kube-apiserver, etcd and the Collector are sent and send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that were written.
    pub written: u64,
}

/// What is too dear to be read at every pace: the kernel walks all of the process's memory for it, and all of its threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// Memory that is resident, each page that others have too by its part, in bytes; none where it may not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pss: Option<u64>,
    /// How often a thread that is still there left its CPU because it waited.
    pub voluntary_switches: u64,
    /// How often such a thread had to leave it.
    pub involuntary_switches: u64,
    /// What its control group has used, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupUsage>,
}

/// Reads what a process uses, again and again.
///
/// The scheduler's counts are of threads. Those of a thread that has ended are gone, so the last ones that were read of
/// it count: what it did after that, up to one pace of the reader, is not seen.
#[derive(Debug)]
pub struct Meter {
    pid: u32,
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
            pid,
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
            let text = match fs::read_to_string(entry.path().join("schedstat")) {
                Ok(text) => text,
                // It has ended since it was listed.
                Err(error) if is_gone(&error) => continue,
                // Whoever cannot be read now would count as ended, and once more when it can.
                Err(error) => return Err(error),
            };
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
            traffic: fs::read_to_string(self.directory.join("io"))
                .ok()
                .and_then(|text| Traffic::parse(&text)),
        };
        self.threads = now;
        Ok(usage)
    }

    /// What is too dear to be read again and again.
    ///
    /// # Errors
    ///
    /// When the process has ended, or procfs does not show it.
    pub fn detail(&self) -> io::Result<Detail> {
        let mut detail = Detail { cgroup: CgroupUsage::of(self.pid), ..Detail::default() };
        for entry in fs::read_dir(self.directory.join("task"))? {
            let Ok(text) = fs::read_to_string(entry?.path().join("status")) else { continue };
            let switches = |key| field(&text, key).unwrap_or_default();
            detail.voluntary_switches += switches("voluntary_ctxt_switches:");
            detail.involuntary_switches += switches("nonvoluntary_ctxt_switches:");
        }
        let memory = fs::read_to_string(self.directory.join("smaps_rollup"));
        detail.pss = memory.ok().and_then(|text| field(&text, "Pss:")).map(|kib| 1024 * kib);
        Ok(detail)
    }
}

/// Whether a thread was not there any more when it was read.
fn is_gone(error: &io::Error) -> bool {
    let no_such_process = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(no_such_process)
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} of the process is not as expected"))
}

/// The number after a key of `status`.
fn field(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}

// === impl Traffic ===

impl Traffic {
    fn parse(text: &str) -> Option<Self> {
        Some(Self { read: field(text, "rchar:")?, written: field(text, "wchar:")? })
    }

    /// This and that of another process.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self { read: self.read + other.read, written: self.written + other.written }
    }
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
        let traffic = Traffic { read: 6976, written: 12 };
        assert_eq!(Traffic::parse("rchar: 6976\nwchar: 12\nsyscr: 10\n"), Some(traffic));
    }

    #[test]
    fn details_are_of_this_process() {
        let meter = Meter::new(std::process::id());
        let before = meter.detail().unwrap();
        let pss = before.pss.expect("a process may read its own");
        let rss = Meter::new(std::process::id()).read().unwrap().peak_rss;
        assert!(pss > 0 && pss < 2 * rss, "{pss} {rss}");
        // This thread waits for the other one.
        thread::spawn(|| burn(Duration::from_millis(5))).join().unwrap();
        assert!(meter.detail().unwrap().voluntary_switches > before.voluntary_switches, "{before:?}");
        assert!(Meter::new(u32::MAX).detail().is_err());
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
    fn only_what_is_gone_has_ended() {
        let of = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(is_gone(&of(rustix::io::Errno::SRCH)) && is_gone(&of(rustix::io::Errno::NOENT)));
        assert!(!is_gone(&of(rustix::io::Errno::MFILE)) && !is_gone(&of(rustix::io::Errno::ACCESS)));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Meter::new(u32::MAX).read().is_err());
    }
}
