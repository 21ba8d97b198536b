//! Times in which the machine did not run a thread that was due.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spangate_trace::UnixNanos;

use crate::text;

/// The stalls of a run, from the arming of the faults to the end of the load.
///
/// They are seen by one thread on each CPU that does nothing but wake up twice in a millisecond: the hiccup
/// meter of [jHiccup](https://github.com/giltene/jHiccup), for a whole machine. With real-time scheduling those
/// threads stand above everything that the run starts, so a stall is the machine's (its hypervisor, its kernel,
/// its share for ordinary threads) and not that of a busy API server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stalls {
    /// CPUs that were watched; with none, nothing is known.
    pub cpus: u64,
    /// Stalls, those of several CPUs at once counted as one.
    pub count: u64,
    /// Their time in all, in microseconds.
    pub total_us: u64,
    /// The longest one, in microseconds.
    pub longest_us: u64,
    /// The longest of them, at most [`Self::KEPT`], in the order of time.
    pub kept: Vec<Stall>,
}

/// A time in which a CPU did not run a thread that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stall {
    /// When the thread was due, in nanoseconds since the Unix epoch.
    #[schemars(with = "u64")]
    pub from: UnixNanos,
    /// When it ran.
    #[schemars(with = "u64")]
    pub to: UnixNanos,
}

// === impl Stalls ===

impl Stalls {
    /// Stalls that are kept one by one.
    pub const KEPT: usize = 1000;

    /// What `cpus` watched CPUs saw, in any order.
    pub fn new(cpus: u64, mut seen: Vec<Stall>) -> Self {
        seen.sort_unstable();
        let mut kept: Vec<Stall> = Vec::new();
        for stall in seen {
            match kept.last_mut() {
                Some(last) if stall.from <= last.to => last.to = last.to.max(stall.to),
                _ => kept.push(stall),
            }
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (count, total) = (kept.len() as u64, kept.iter().map(Stall::time).sum());
        kept.sort_by_key(|stall| std::cmp::Reverse(stall.time()));
        kept.truncate(Self::KEPT);
        let longest = kept.first().map_or(Duration::ZERO, Stall::time);
        kept.sort_unstable();
        Self { cpus, count, total_us: micros(total), longest_us: micros(longest), kept }
    }

    /// How much of the time between `from` and `to` lies in stalls.
    pub fn overlap(&self, from: UnixNanos, to: UnixNanos) -> Duration {
        self.kept.iter().map(|stall| stall.to.min(to).since(stall.from.max(from))).sum()
    }
}

impl fmt::Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("never stalled");
        }
        let text = |micros| text::duration(Duration::from_micros(micros));
        let (total, longest) = (text(self.total_us), text(self.longest_us));
        let times = if self.count == 1 { "once".to_owned() } else { format!("{} times", self.count) };
        write!(f, "stalled {times}, {total} in all, longest {longest}")
    }
}

// === impl Stall ===

impl Stall {
    /// How long it was.
    pub fn time(&self) -> Duration {
        self.to.since(self.from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stall(from: u64, to: u64) -> Stall {
        Stall { from: UnixNanos(from), to: UnixNanos(to) }
    }

    fn any_stalls() -> impl Strategy<Value = Vec<Stall>> {
        let one = (0_u64..200, 1_u64..20).prop_map(|(from, time)| stall(from, from + time));
        prop::collection::vec(one, 0..20)
    }

    #[test]
    fn stalls_of_several_cpus_at_once_are_one() {
        let (a, b, c) = (stall(1_000, 5_000), stall(4_000, 9_000), stall(20_000, 22_000));
        let stalls = Stalls::new(2, vec![c, b, a]);
        assert_eq!((stalls.count, stalls.total_us, stalls.longest_us), (2, 10, 8));
        assert_eq!(stalls.kept, [stall(1_000, 9_000), c]);
    }

    #[test]
    fn the_longest_are_kept_and_all_are_counted() {
        let kept = Stalls::KEPT as u64;
        // Every other one is longer, and there are too many of the short ones.
        let seen = (0..2 * kept).map(|i| stall(i * 10_000, i * 10_000 + 1_000 + i % 2 * 4_000)).collect();
        let stalls = Stalls::new(1, seen);
        assert_eq!((stalls.count, stalls.total_us), (2 * kept, kept * 6));
        assert_eq!(stalls.kept.len(), Stalls::KEPT);
        assert!(stalls.kept.is_sorted() && stalls.kept.iter().all(|stall| stall.time().as_micros() == 5));
    }

    #[test]
    fn text_forms() {
        assert_eq!(Stalls::new(2, Vec::new()).to_string(), "never stalled");
        let one = Stalls::new(2, vec![stall(0, 8_900_000)]);
        assert_eq!(one.to_string(), "stalled once, 8.90ms in all, longest 8.90ms");
        let two = Stalls::new(2, vec![stall(0, 8_900_000), stall(50_000_000, 51_100_000)]);
        assert_eq!(two.to_string(), "stalled 2 times, 10.0ms in all, longest 8.90ms");
    }

    proptest! {
        /// Instant by instant, the overlap is what any one of the CPUs saw.
        #[test]
        fn the_overlap_is_that_of_the_union(seen in any_stalls(), from in 0_u64..220, time in 0_u64..100) {
            let covered = (from..from + time)
                .filter(|at| seen.iter().any(|stall| (stall.from.0..stall.to.0).contains(at)))
                .count();
            let stalls = Stalls::new(2, seen);
            let overlap = stalls.overlap(UnixNanos(from), UnixNanos(from + time));
            prop_assert_eq!(overlap, Duration::from_nanos(covered as u64));
        }
    }
}
