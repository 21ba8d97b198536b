//! The generator's eye on itself: whether what was measured is the server's doing or its own.
//!
//! How late operations start depends on nothing but the generator and its machine. So it is the first sign; the
//! time that the thread of the load computed, and the time that it waited for a core, say why.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What the thread of the load did with its time, as shares of one core.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorLoad {
    /// Computing, over the whole load.
    pub cpu: f64,
    /// Computing, in the busiest second.
    pub peak_cpu: f64,
    /// Waiting for a core that others had, in the worst second.
    pub peak_wait: f64,
}

/// What says whether the generator was the bottleneck.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Signs {
    /// How late operations started, which 99 of 100 do not exceed.
    pub(super) lag: Duration,
    /// Response time which 99 of 100 requests do not exceed.
    pub(super) response: Duration,
    /// Operations that were not started because too many were under way.
    pub(super) shed: u64,
    pub(super) load: GeneratorLoad,
}

/// Times of a thread, since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ThreadTimes {
    /// On a core.
    pub(super) cpu: Duration,
    /// Ready to run, without a core.
    pub(super) wait: Duration,
}

/// Folds the times of a thread into shares.
#[derive(Debug)]
pub(super) struct Meter {
    first: (Duration, ThreadTimes),
    last: (Duration, ThreadTimes),
    load: GeneratorLoad,
}

/// Starts that are later than this are not what was asked for.
pub(super) const LATE: Duration = Duration::from_millis(50);
/// A thread that has no more than a tenth of its time left is at its end.
const BUSY: f64 = 0.9;
/// The time over which peaks are taken.
const WINDOW: Duration = Duration::from_secs(1);

/// Why the generator was the bottleneck; `None` if it was not.
///
/// It was when operations started late, and that makes up most of the response times; or when its thread had no
/// time left and operations were shed: answers that nobody had time to read held their places. Operations that are
/// shed by a generator with time left are the server's doing.
pub(super) fn bottleneck(signs: &Signs) -> Option<String> {
    let Signs { lag, response, shed, load } = *signs;
    let (busy, starved) = (load.peak_cpu >= BUSY, load.peak_cpu + load.peak_wait >= BUSY);
    let late = lag > LATE && lag * 2 > response;
    let late = late.then(|| format!("1 of 100 operations started {:.1} ms late or more", millis(lag)));
    let shed = (shed > 0 && busy).then(|| format!("{shed} operations were shed"));
    let what = late.or(shed)?;
    let percent = |share: f64| share * 100.0;
    Some(if busy {
        format!(
            "{what} while the thread of the load computed {:.0}% of a second: lower the rate, or spread the load \
             over several workers",
            percent(load.peak_cpu)
        )
    } else if starved {
        format!(
            "{what} while the thread of the load waited {:.0}% of a second for a core: stop what else runs on \
             this machine, or move the load to another",
            percent(load.peak_wait)
        )
    } else {
        format!(
            "{what}: the machine did not let the load run in time; look for what stops it, such as a VM that pauses"
        )
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

// === impl GeneratorLoad ===

impl GeneratorLoad {
    /// The higher of each share.
    pub(super) fn worst(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            peak_cpu: self.peak_cpu.max(other.peak_cpu),
            peak_wait: self.peak_wait.max(other.peak_wait),
        }
    }
}

// === impl ThreadTimes ===

impl ThreadTimes {
    /// Those of this thread. A kernel without `CONFIG_SCHED_INFO` tells of no waits.
    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        let stat = fs::read_to_string("/proc/thread-self/schedstat");
        Self {
            cpu: Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default()),
            wait: stat.ok().and_then(|stat| waited(&stat)).unwrap_or_default(),
        }
    }
}

/// The second of three numbers: nanoseconds on a core, nanoseconds without one, and the number of slices. The first
/// lags by up to a tick (`Documentation/scheduler/sched-stats.rst` of Linux).
fn waited(schedstat: &str) -> Option<Duration> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

// === impl Meter ===

impl Meter {
    /// Counts from `times` at `at`, which is any time line's.
    pub(super) fn new(at: Duration, times: ThreadTimes) -> Self {
        Self { first: (at, times), last: (at, times), load: GeneratorLoad::default() }
    }

    /// Takes the times at `at`; peaks are taken over a second or more.
    pub(super) fn read(&mut self, at: Duration, times: ThreadTimes) {
        let (since, before) = self.first;
        self.load.cpu = share(times.cpu.saturating_sub(before.cpu), at.saturating_sub(since));
        let (since, before) = self.last;
        let took = at.saturating_sub(since);
        if took >= WINDOW {
            let cpu = share(times.cpu.saturating_sub(before.cpu), took);
            let wait = share(times.wait.saturating_sub(before.wait), took);
            self.load.peak_cpu = self.load.peak_cpu.max(cpu);
            self.load.peak_wait = self.load.peak_wait.max(wait);
            self.last = (at, times);
        }
    }

    /// What the thread did. A load shorter than a second has no peak but its mean.
    pub(super) fn load(&self) -> GeneratorLoad {
        GeneratorLoad { peak_cpu: self.load.peak_cpu.max(self.load.cpu), ..self.load }
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Signs = Signs {
        lag: Duration::from_millis(1),
        response: Duration::from_millis(20),
        shed: 0,
        load: GeneratorLoad { cpu: 0.4, peak_cpu: 0.5, peak_wait: 0.1 },
    };

    fn load(peak_cpu: f64, peak_wait: f64) -> GeneratorLoad {
        GeneratorLoad { cpu: 0.4, peak_cpu, peak_wait }
    }

    #[test]
    fn a_generator_that_keeps_up_is_no_bottleneck() {
        assert_eq!(bottleneck(&GOOD), None);
        // All of a core is fine as long as everything starts in time.
        assert_eq!(bottleneck(&Signs { load: load(1.0, 0.0), ..GOOD }), None);
        // Late starts that hardly show in the response times measure nothing wrong.
        let (lag, response) = (Duration::from_millis(30), Duration::from_millis(500));
        assert_eq!(bottleneck(&Signs { lag, response, ..GOOD }), None);
    }

    #[test]
    fn what_a_slow_server_sheds_is_its_own_fault() {
        assert_eq!(bottleneck(&Signs { shed: 1000, ..GOOD }), None);
    }

    #[test]
    fn late_starts_are_the_generators_fault_and_it_says_whose_in_turn() {
        let late = Signs { lag: Duration::from_millis(400), response: Duration::from_millis(420), ..GOOD };
        for (load, reason) in [
            (load(0.99, 0.0), "computed 99% of a second"),
            (load(0.3, 0.65), "waited 65% of a second for a core"),
            (load(0.3, 0.1), "look for what stops it"),
        ] {
            let why = bottleneck(&Signs { load, ..late }).unwrap();
            assert!(
                why.starts_with("1 of 100 operations started 400.0 ms late") && why.contains(reason),
                "{why}"
            );
        }
    }

    #[test]
    fn a_generator_without_time_sheds_by_its_own_fault() {
        let why = bottleneck(&Signs { shed: 7, load: load(0.97, 0.0), ..GOOD }).unwrap();
        assert!(why.starts_with("7 operations were shed while the thread of the load computed 97%"), "{why}");
    }

    #[test]
    fn times_become_shares_of_the_seconds_between_them() {
        let at = |seconds, cpu, wait| {
            let times = ThreadTimes { cpu: Duration::from_millis(cpu), wait: Duration::from_millis(wait) };
            (Duration::from_secs(seconds), times)
        };
        let (start, times) = at(10, 500, 0);
        let mut meter = Meter::new(start, times);
        for (at, times) in [at(11, 1300, 50), at(14, 1600, 350)] {
            meter.read(at, times);
        }
        let GeneratorLoad { cpu, peak_cpu, peak_wait } = meter.load();
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(near(cpu, 0.275) && near(peak_cpu, 0.8) && near(peak_wait, 0.1), "{:?}", meter.load());
    }

    #[test]
    fn this_thread_has_times() {
        assert_eq!(waited("1500 20 3\n"), Some(Duration::from_nanos(20)));
        assert_eq!(waited("0"), None);
        assert!(ThreadTimes::now().cpu > Duration::ZERO);
    }
}
