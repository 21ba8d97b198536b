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

use super::{Border, Detail, HostTimes, Measurements, Meter, Sample, Surroundings, Usage};

/// Time between two readings: five of them in the shortest window.
const PACE: Duration = Duration::from_millis(100);

/// The processes that are read. A process that takes another one's place goes on where that one ended.
#[derive(Debug, Clone, Default)]
pub struct Follow(Arc<Mutex<BTreeMap<String, Followed>>>);

#[derive(Debug)]
struct Followed {
    pid: u32,
    meter: Meter,
    /// What processes had used that were here before, if there were any.
    before: Option<Usage>,
    /// What was read last; nothing until it could be read.
    last: Option<Usage>,
}

/// Reads until it is stopped or dropped.
#[derive(Debug)]
pub struct Recorder {
    borders: Option<Sender<Border>>,
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
        let before = all.get(name).and_then(Followed::so_far);
        all.insert(name.to_owned(), Followed { pid, meter: Meter::new(pid), before, last: None });
    }

    fn read(&self) -> BTreeMap<String, Usage> {
        let mut all = self.all();
        // Of a process that has ended the last reading stands. One that could never be read has used something all the same,
        // so that nothing is better than zero.
        all.iter_mut()
            .filter_map(|(name, followed)| {
                followed.last = followed.meter.read().ok().or(followed.last);
                Some((name.clone(), followed.so_far()?))
            })
            .collect()
    }

    fn details(&self) -> BTreeMap<String, Detail> {
        let all = self.all();
        all.iter()
            .filter_map(|(name, followed)| Some((name.clone(), followed.meter.detail().ok()?)))
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Followed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Followed ===

impl Followed {
    fn so_far(&self) -> Option<Usage> {
        let (Some(before), Some(last)) = (self.before, self.last) else { return self.last.or(self.before) };
        Some(Usage {
            cpu_nanos: before.cpu_nanos + last.cpu_nanos,
            wait_nanos: before.wait_nanos + last.wait_nanos,
            slices: before.slices + last.slices,
            peak_rss: before.peak_rss.max(last.peak_rss),
            traffic: before.traffic.zip(last.traffic).map(|(before, last)| before.plus(last)),
            ..last
        })
    }
}

// === impl Recorder ===

impl Recorder {
    /// Begins to read. It reads nothing where no thread can be started, which is told in the log.
    pub fn start(clock: Clock, follow: Follow) -> Self {
        let (borders, come) = mpsc::channel::<Border>();
        let read = move |border: Option<Border>| {
            let sample = Sample {
                at: clock.now(),
                host: HostTimes::read().ok(),
                surroundings: Surroundings::read(),
                processes: follow.read(),
                border,
                details: BTreeMap::new(),
            };
            // After the rest, which is of the time that was noted.
            let details = if border.is_some() { follow.details() } else { BTreeMap::new() };
            Sample { details, ..sample }
        };
        // Before it returns, so that no time from now on is before the first reading.
        let first = read(Some(Border::Start));
        let reading = thread::Builder::new().name("spangate-usage".to_owned()).spawn(move || {
            let mut samples = vec![first];
            let mut due = Instant::now() + PACE;
            loop {
                match come.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(border) => samples.push(read(Some(border))),
                    Err(RecvTimeoutError::Timeout) => {
                        samples.push(read(None));
                        due = (due + PACE).max(Instant::now());
                    }
                    // Nobody will stop it by another word.
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            samples.push(read(Some(Border::End)));
            samples
        });
        if let Err(error) = &reading {
            tracing::warn!(%error, "what the processes use is not recorded");
        }
        Self { borders: Some(borders), reading: reading.ok() }
    }

    /// Reads at once, and more closely: a phase of the run ends here.
    pub fn mark(&self, border: Border) {
        if let Some(borders) = &self.borders {
            // A reader that ended is told of in the log, and its readings are missing.
            let _ = borders.send(border);
        }
    }

    /// Reads a last time, and gives all that was read.
    pub fn stop(mut self) -> Measurements {
        drop(self.borders.take());
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

    /// Scenario: this process and one that is not there are followed, and a border is marked.
    /// Guarantees: the border is among the readings, between the first and the last one, with details; of the process that
    /// could never be read nothing is said, and not that it used nothing.
    #[test]
    fn borders_are_read_closely_and_what_cannot_be_read_is_left_out() {
        let follow = Follow::default();
        follow.process("own", std::process::id());
        follow.process("gone", u32::MAX);
        let recorder = Recorder::start(Clock::new(), follow);
        recorder.mark(Border::Load);
        let measured = recorder.stop();
        let borders: Vec<Border> = measured.0.iter().filter_map(|sample| sample.border).collect();
        assert_eq!(borders, [Border::Start, Border::Load, Border::End]);
        for sample in &measured.0 {
            assert_eq!(sample.border.is_some(), sample.details.contains_key("own"), "{sample:?}");
            assert!(
                sample.processes.contains_key("own") && !sample.processes.contains_key("gone"),
                "{sample:?}"
            );
        }
    }
}
