//! What the whole machine does, from `/proc/stat` (`proc_stat(5)`): whether a measurement can be believed.

use std::{fs, io};

use serde::{Deserialize, Serialize};

/// What the CPUs have done since the machine was started, in ticks, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostTimes {
    /// All of their time.
    pub total: u64,
    /// Time in which there was nothing to do.
    pub idle: u64,
    /// Time that the machine below took for others while this one had something to do.
    pub steal: u64,
}

// === impl HostTimes ===

impl HostTimes {
    /// What the CPUs have done by now.
    pub fn read() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat is not as expected"))
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice already.
        let [.., idle, waiting, _, _, steal] = ticks.get(..8)? else { return None };
        Some(Self { total: ticks[..8].iter().sum(), idle: idle + waiting, steal: *steal })
    }

    /// The part of the time since `before` that the machine below took for others.
    pub fn stolen_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        self.steal.saturating_sub(before.steal) as f64 / total.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read() {
        let text = "cpu  100 1 50 800 9 2 3 35 7 0\ncpu0 1 2 3\n";
        let times = HostTimes::parse(text).unwrap();
        assert_eq!(times, HostTimes { total: 1000, idle: 809, steal: 35 });
        assert_eq!(HostTimes::parse("cpu0 1 2 3"), None);
        let later = HostTimes { total: 1200, idle: 900, steal: 45 };
        assert!((later.stolen_since(&times) - 0.05).abs() < 1e-12);
        assert!(HostTimes::read().unwrap().total > 0);
    }
}
