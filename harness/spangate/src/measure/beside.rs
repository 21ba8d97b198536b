//! What went on beside a measurement: whether its figures are of the processes alone.

use serde::{Deserialize, Serialize};
use spangate_trace::UnixNanos;

use super::{Measurements, Sample};

/// What went on beside a measurement, as far as it could be read. Shares are of the time, or of all CPU time of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beside {
    /// CPU time that the machine below took for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stolen: Option<f64>,
    /// CPU time that processes used which are no part of the run, and the kernel for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<f64>,
    /// Time in which some thread, of the run or not, waited for a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<f64>,
    /// Time in which some thread waited for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_pressure: Option<f64>,
    /// Time in which some thread waited for a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_pressure: Option<f64>,
    /// The greatest load of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
}

/// Nanoseconds of a tick of `/proc/stat`: all of Linux counts a hundred a second there (`USER_HZ`).
const TICK: u64 = 10_000_000;

// === impl Beside ===

impl Beside {
    /// What went on between two readings.
    fn between(first: &Sample, last: &Sample) -> Self {
        let elapsed = last.at.since(first.at).as_secs_f64();
        let waited = |of: fn(&Sample) -> Option<u64>| {
            let micros = of(last)?.saturating_sub(of(first)?);
            (elapsed > 0.0).then(|| micros as f64 / 1e6 / elapsed)
        };
        Self {
            stolen: first.host.zip(last.host).map(|(before, after)| after.stolen_since(&before)),
            others: others(first, last),
            cpu_pressure: waited(|sample| sample.surroundings.cpu_pressure),
            memory_pressure: waited(|sample| sample.surroundings.memory_pressure),
            io_pressure: waited(|sample| sample.surroundings.io_pressure),
            load: None,
        }
    }
}

/// The part of all CPU time that was used by nobody who was read.
fn others(first: &Sample, last: &Sample) -> Option<f64> {
    let (before, after) = first.host.zip(last.host)?;
    let total = after.total.saturating_sub(before.total).checked_mul(TICK).filter(|total| *total > 0)?;
    let rest = |times: super::HostTimes| times.idle + times.steal;
    let free = rest(after).saturating_sub(rest(before)).saturating_mul(TICK);
    let own: u64 = last
        .processes
        .iter()
        .map(|(name, now)| {
            let then = first.processes.get(name).map_or(0, |then| then.cpu_nanos);
            now.cpu_nanos.saturating_sub(then)
        })
        .sum();
    Some(total.saturating_sub(free).saturating_sub(own) as f64 / total as f64)
}

// === impl Measurements ===

impl Measurements {
    /// What went on beside the processes between two times, by the readings within; nothing where there are not two of them.
    pub fn beside(&self, from: UnixNanos, to: UnixNanos) -> Option<Beside> {
        let within = || self.0.iter().filter(|sample| (from..=to).contains(&sample.at));
        let (first, last) = (within().next()?, within().next_back()?);
        if first.at == last.at {
            return None;
        }
        let load = within().filter_map(|sample| sample.surroundings.load).reduce(f64::max);
        Some(Beside { load, ..Beside::between(first, last) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::measure::{HostTimes, Surroundings, Usage};

    /// Ten seconds of two CPUs: they are busy for half of the time, the run uses 6 s of that, and the machine below takes 1 s.
    fn measured() -> Measurements {
        let sample = |second: u64| Sample {
            at: UnixNanos(second * 1_000_000_000),
            host: Some(HostTimes { total: 200 * second, idle: 90 * second, steal: 10 * second }),
            surroundings: Surroundings {
                load: Some(if second == 4 { 9.5 } else { 2.0 }),
                cpu_pressure: Some(250_000 * second),
                ..Surroundings::default()
            },
            processes: ["kube-apiserver", "spangate"]
                .map(|name| (name.to_owned(), Usage { cpu_nanos: 300_000_000 * second, ..Usage::default() }))
                .into(),
            ..Sample::default()
        };
        Measurements((0..=10).map(sample).collect())
    }

    #[test]
    fn what_others_use_is_told_from_what_the_run_uses() {
        let second = |second: u64| UnixNanos(second * 1_000_000_000);
        let beside = measured().beside(second(0), second(10)).unwrap();
        // Of 20 s of CPU time 10 were busy, of which the run used 6.
        assert!((beside.others.unwrap() - 0.2).abs() < 1e-9, "{beside:?}");
        assert!((beside.stolen.unwrap() - 0.05).abs() < 1e-9, "{beside:?}");
        assert!((beside.cpu_pressure.unwrap() - 0.25).abs() < 1e-9, "{beside:?}");
        assert_eq!((beside.load, beside.io_pressure), (Some(9.5), None));
        assert_eq!(measured().beside(second(3), second(3)), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_made_up() {
        let mut measured = measured();
        for sample in &mut measured.0 {
            sample.host = None;
            sample.surroundings = Surroundings::default();
            sample.processes = BTreeMap::new();
        }
        let beside = measured.beside(UnixNanos(0), UnixNanos(u64::MAX)).unwrap();
        assert_eq!(beside, Beside::default());
    }
}
