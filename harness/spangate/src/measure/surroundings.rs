//! What else the machine does: its load, who waits for what (Documentation/accounting/psi.rst of Linux), and its network.

use std::fs;

use serde::{Deserialize, Serialize};

/// What goes on around the processes that are measured, as far as it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Surroundings {
    /// Threads that ran, could have run or waited for a disk, on average over the last minute (`proc_loadavg(5)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Time in which some thread waited for a CPU, in microseconds since the machine was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<u64>,
    /// The same of those that waited for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_pressure: Option<u64>,
    /// The same of those that waited for a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_pressure: Option<u64>,
    /// Bytes that all interfaces of this process's network have received; what stays on the machine counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
    /// Packets that they have received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_packets: Option<u64>,
}

// === impl Surroundings ===

impl Surroundings {
    /// What can be read now. A kernel without pressure stall information, or a container that hides it, has none.
    pub fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).ok();
        let pressure = |of: &str| pressure(&file(&format!("/proc/pressure/{of}"))?);
        let received = file("/proc/net/dev").and_then(|text| received(&text));
        Self {
            load: file("/proc/loadavg").and_then(|text| text.split_whitespace().next()?.parse().ok()),
            cpu_pressure: pressure("cpu"),
            memory_pressure: pressure("memory"),
            io_pressure: pressure("io"),
            received_bytes: received.map(|(bytes, _)| bytes),
            received_packets: received.map(|(_, packets)| packets),
        }
    }
}

/// The total of the line `some`, in microseconds.
fn pressure(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// Bytes and packets that all interfaces have received (`proc_pid_net(5)`).
fn received(text: &str) -> Option<(u64, u64)> {
    let counts = text.lines().filter_map(|line| {
        let (_, counts) = line.split_once(':')?;
        let mut counts = counts.split_whitespace().map(str::parse::<u64>);
        Some((counts.next()?.ok()?, counts.next()?.ok()?))
    });
    counts.reduce(|sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let text = "some avg10=10.05 avg60=11.07 avg300=7.00 total=16592632334\nfull avg10=0.00 total=7\n";
        assert_eq!(pressure(text), Some(16_592_632_334));
        assert_eq!(pressure("full total=7\n"), None);
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets errs|bytes packets errs\n    lo: 100 2 0 100 2 0\n  \
                    eth0:50 1 0 7 3 0\n";
        assert_eq!(received(text), Some((150, 3)));
        assert_eq!(received("Inter-|   Receive\n"), None);
        assert!(Surroundings::read().load.is_some());
    }
}
