//! Reads the processes of a run at a steady pace.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use spangate_trace::Clock;

use super::{HostTimes, Measurements, Meter, Sample, Usage};

/// Time between two readings: five of them in the shortest window.
const PACE: Duration = Duration::from_millis(100);

/// The processes that are read. A process that takes another one's place goes on where that one ended.
#[derive(Debug, Clone, Default)]
pub struct Follow(Arc<Mutex<BTreeMap<String, Followed>>>);

#[derive(Debug)]
struct Followed {
    pid: u32,
    meter: Meter,
    /// What processes had used that were here before.
    before: Usage,
    /// What was read last.
    last: Usage,
}

/// Reads until it is stopped or dropped.
#[derive(Debug)]
pub struct Recorder {
    stop: Option<Sender<()>>,
    reading: Option<JoinHandle<Vec<Sample>>>,
}

// === impl Follow ===

impl Follow {
    /// Reads the process `pid` from now on under a name. Nothing changes where it is read already.
    pub fn process(&self, name: &str, pid: u32) {
        let mut all = self.all();
        if all.get(name).is_some_and(|followed| followed.pid == pid) {
            return;
        }
        let before = all.get(name).map_or_else(Usage::default, Followed::so_far);
        let followed = Followed { pid, meter: Meter::new(pid), before, last: Usage::default() };
        all.insert(name.to_owned(), followed);
    }

    fn read(&self) -> BTreeMap<String, Usage> {
        let mut all = self.all();
        // Of a process that has ended the last reading stands.
        all.iter_mut()
            .map(|(name, followed)| {
                followed.last = followed.meter.read().unwrap_or(followed.last);
                (name.clone(), followed.so_far())
            })
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Followed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Followed ===

impl Followed {
    fn so_far(&self) -> Usage {
        Usage {
            cpu_nanos: self.before.cpu_nanos + self.last.cpu_nanos,
            wait_nanos: self.before.wait_nanos + self.last.wait_nanos,
            slices: self.before.slices + self.last.slices,
            peak_rss: self.before.peak_rss.max(self.last.peak_rss),
            ..self.last
        }
    }
}

// === impl Recorder ===

impl Recorder {
    /// Begins to read. It reads nothing where no thread can be started, which is told in the log.
    pub fn start(clock: Clock, follow: Follow) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let read = move || Sample { at: clock.now(), host: HostTimes::read().ok(), processes: follow.read() };
        // Before it returns, so that no time from now on is before the first reading.
        let first = read();
        let reading = thread::Builder::new().name("spangate-usage".to_owned()).spawn(move || {
            let mut samples = vec![first];
            let mut due = Instant::now() + PACE;
            // The end of the channel is an end too.
            while stopped.recv_timeout(due.saturating_duration_since(Instant::now()))
                == Err(RecvTimeoutError::Timeout)
            {
                samples.push(read());
                due = (due + PACE).max(Instant::now());
            }
            samples.push(read());
            samples
        });
        if let Err(error) = &reading {
            tracing::warn!(%error, "what the processes use is not recorded");
        }
        Self { stop: Some(stop), reading: reading.ok() }
    }

    /// Reads a last time, and gives all that was read.
    pub fn stop(mut self) -> Measurements {
        drop(self.stop.take());
        let samples = self.reading.take().map(JoinHandle::join);
        Measurements(samples.and_then(Result::ok).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that works until it is killed.
    fn busy() -> Child {
        Command::new("/bin/sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap()
    }

    /// Waits until a process has used so much that it was read in between, and gives what it has used.
    fn worked(child: &Child) -> u64 {
        let mut meter = Meter::new(child.id());
        loop {
            let used = meter.read().unwrap().cpu_nanos;
            if used > 3 * u64::try_from(PACE.as_nanos()).unwrap() {
                return used;
            }
            thread::yield_now();
        }
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Scenario: a process that works is followed, is killed, and another one takes its place.
    /// Guarantees: what they used never becomes less, and both count.
    #[test]
    fn a_process_that_takes_anothers_place_goes_on() {
        let follow = Follow::default();
        let first = busy();
        follow.process("busy", first.id());
        let recorder = Recorder::start(Clock::new(), follow.clone());
        let of_first = worked(&first);
        end(first);
        let second = busy();
        follow.process("busy", second.id());
        let of_second = worked(&second);
        let measured = recorder.stop();
        end(second);
        let cpu: Vec<u64> = measured.0.iter().map(|sample| sample.processes["busy"].cpu_nanos).collect();
        assert!(cpu.is_sorted() && cpu.len() >= 4, "{cpu:?}");
        // What the first one did since it was read last is not seen.
        let seen = cpu.last().unwrap() + 2 * u64::try_from(PACE.as_nanos()).unwrap();
        assert!(seen >= of_first + of_second, "{cpu:?} {of_first} {of_second}");
        assert!(measured.0.iter().all(|sample| sample.host.is_some()));
    }
}
