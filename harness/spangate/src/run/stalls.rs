//! Watches beside the load whether the machine runs threads that are due (docs/adr/0008).
//!
//! One thread on each CPU sleeps and notes when it wakes too late. With real-time scheduling it stands one
//! priority above everything else of the run, so it sees only what keeps a CPU from the run as a whole. An
//! ordinary thread waits for the API server and the harness too, so what it sees excuses nothing.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};
use spangate_trace::Clock;

use super::priority::Realtime;
use crate::evidence::stalls::{Stall, Stalls};

/// Time between two wake-ups.
const NAP: Duration = Duration::from_micros(500);
/// Lateness from which on it is a stall. Ordinary wake-ups take a tenth of it.
const THRESHOLD: Duration = Duration::from_millis(1);
/// CPUs that are watched at most: each costs a hundredth of its time.
const CPUS: usize = 16;

/// Watches until it is stopped or dropped.
pub(super) struct StallMonitor {
    stop: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<Vec<Stall>>>,
}

// === impl StallMonitor ===

impl StallMonitor {
    /// Watches the CPUs that this process may use, above all of its threads if they have real-time scheduling.
    pub(super) fn start(clock: Clock, realtime: Option<&Realtime>) -> Self {
        let mut monitor = Self { stop: Arc::default(), watchers: Vec::new() };
        let Ok(usable) = sched_getaffinity(None) else { return monitor };
        for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| usable.is_set(*cpu)).take(CPUS) {
            if let Err(why) = monitor.watch(cpu, clock, realtime) {
                tracing::warn!(why, "stalls of the machine are not watched");
                return Self { stop: Arc::default(), watchers: Vec::new() };
            }
        }
        monitor
    }

    fn watch(&mut self, cpu: usize, clock: Clock, realtime: Option<&Realtime>) -> Result<(), String> {
        let (started, starts) = mpsc::channel();
        let stop = Arc::clone(&self.stop);
        let watcher = thread::Builder::new()
            .name(format!("spangate-cpu-{cpu}"))
            .spawn(move || {
                let _ = started.send(pin(cpu));
                watch(&clock, &stop)
            })
            .map_err(|error| error.to_string())?;
        self.watchers.push(watcher);
        let thread = starts.recv().map_err(|error| error.to_string())??;
        realtime.map_or(Ok(()), |realtime| realtime.raise_monitor(thread))
    }

    /// Ends the watch, and gives what was seen.
    pub(super) fn stop(mut self) -> Stalls {
        self.stop.store(true, Ordering::Relaxed);
        let watchers = mem::take(&mut self.watchers);
        let cpus = watchers.len() as u64;
        // A watcher has nothing in it that could panic.
        let seen = watchers.into_iter().filter_map(|watcher| watcher.join().ok()).flatten().collect();
        Stalls::new(cpus, seen)
    }
}

impl Drop for StallMonitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Binds this thread to a CPU, and gives its number.
fn pin(cpu: usize) -> Result<Pid, String> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).map_err(|error| format!("cannot run on CPU {cpu} only: {error}"))?;
    Ok(gettid())
}

fn watch(clock: &Clock, stop: &AtomicBool) -> Vec<Stall> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let due = Instant::now() + NAP;
        thread::sleep(NAP);
        let now = Instant::now();
        if now.saturating_duration_since(due) > THRESHOLD {
            seen.push(Stall { from: clock.at(due), to: clock.at(now) });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cpu_is_watched_and_a_stall_is_longer_than_the_threshold() {
        let stalls = StallMonitor::start(Clock::new(), None).stop();
        let usable = thread::available_parallelism().unwrap().get();
        assert!(stalls.cpus > 0 && stalls.cpus <= usable as u64, "{stalls:?}");
        assert!(stalls.kept.iter().all(|stall| stall.time() > THRESHOLD), "{stalls:?}");
    }

    #[test]
    fn a_monitor_that_is_dropped_watches_no_longer() {
        let monitor = StallMonitor::start(Clock::new(), None);
        let stop = Arc::downgrade(&monitor.stop);
        drop(monitor);
        let deadline = Instant::now() + Duration::from_secs(10);
        while stop.strong_count() > 0 {
            assert!(Instant::now() < deadline, "a watcher goes on");
            thread::yield_now();
        }
    }
}
