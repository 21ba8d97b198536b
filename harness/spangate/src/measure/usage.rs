//! What was recorded of a run's processes, and figures from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spangate_trace::UnixNanos;

use super::{Detail, HostTimes, Surroundings, Usage};

/// Where one phase of a run ends and the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Border {
    /// Everything has been started and prepared.
    Start,
    /// The API server is quiet; what it uses at rest is measured from here on.
    Rest,
    /// The load is about to begin.
    Load,
    /// The load is over.
    LoadEnd,
    /// The last span is through.
    End,
}

/// One reading of everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    /// When.
    pub at: UnixNanos,
    /// The machine, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostTimes>,
    /// What else goes on there.
    #[serde(default)]
    pub surroundings: Surroundings,
    /// What each process has used so far, by its name; several one after the other under one name are added up. One that
    /// could not be read so far is not there.
    pub processes: BTreeMap<String, Usage>,
    /// The border at which it was read, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub border: Option<Border>,
    /// What is read at borders alone, by the name of the process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Detail>,
}

/// The readings of a run, in the order of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measurements(pub Vec<Sample>);

/// A part of the time, and what was used in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub from: UnixNanos,
    /// When it was over.
    pub to: UnixNanos,
    /// CPU time that was used in it, in nanoseconds.
    pub cpu_nanos: u64,
}

// === impl Measurements ===

impl Measurements {
    /// The name of the API server.
    pub const API_SERVER: &'static str = "kube-apiserver";
    /// The name of etcd.
    pub const ETCD: &'static str = "etcd";
    /// The name of the Collector.
    pub const COLLECTOR: &'static str = "otelcol";
    /// The name of this process.
    pub const HARNESS: &'static str = "spangate";

    /// CPU time that a process had used at a time, in nanoseconds.
    pub fn cpu_at(&self, process: &str, at: UnixNanos) -> Option<u64> {
        self.count_at(process, at, |usage| Some(usage.cpu_nanos))
    }

    /// A count of a process at a time, between two readings in a straight line. Nothing outside of the readings.
    pub fn count_at(
        &self,
        process: &str,
        at: UnixNanos,
        count: impl Fn(&Usage) -> Option<u64>,
    ) -> Option<u64> {
        let of = |sample: &Sample| Some((sample.at.0, count(sample.processes.get(process)?)?));
        let mut readings = self.0.iter().filter_map(of);
        let mut before = readings.next().filter(|(time, _)| *time <= at.0)?;
        for after in readings {
            if after.0 >= at.0 {
                let used = u128::from(after.1.saturating_sub(before.1));
                let part = used * u128::from(at.0 - before.0) / u128::from((after.0 - before.0).max(1));
                return Some(before.1 + u64::try_from(part).ok()?);
            }
            before = after;
        }
        (before.0 == at.0).then_some(before.1)
    }

    /// `count` windows of the same length that fill the time from `from` to `to`. Nothing where the readings do not reach.
    pub fn windows(&self, process: &str, from: UnixNanos, to: UnixNanos, count: u64) -> Option<Vec<Window>> {
        let length = to.0.checked_sub(from.0)?;
        let part = |number: u64| u128::from(length) * u128::from(number) / u128::from(count);
        let border = |number: u64| UnixNanos(from.0 + u64::try_from(part(number)).unwrap_or(length));
        let mut windows = Vec::new();
        for number in 0..count {
            let (from, to) = (border(number), border(number + 1));
            let used = self.cpu_at(process, to)?.saturating_sub(self.cpu_at(process, from)?);
            windows.push(Window { from, to, cpu_nanos: used });
        }
        Some(windows)
    }

    /// The last reading.
    pub fn last(&self) -> Option<UnixNanos> {
        Some(self.0.last()?.at)
    }

    /// The most memory of a process that was ever resident, in bytes.
    pub fn peak_rss(&self, process: &str) -> Option<u64> {
        self.0.iter().filter_map(|sample| Some(sample.processes.get(process)?.peak_rss)).max()
    }

    /// Memory of a process that was resident when the load was over, each page that others have too by its part, in bytes.
    pub fn pss(&self, process: &str) -> Option<u64> {
        let end = self.0.iter().find(|sample| sample.border == Some(Border::LoadEnd))?;
        end.details.get(process)?.pss
    }

    /// The part of the time between two times that the machine below took for others, by the readings within it.
    pub fn stolen_between(&self, from: UnixNanos, to: UnixNanos) -> Option<f64> {
        let within = |sample: &&Sample| (from..=to).contains(&sample.at);
        let mut hosts = self.0.iter().filter(within).filter_map(|sample| sample.host);
        let first = hosts.next()?;
        Some(hosts.next_back()?.stolen_since(&first))
    }

    /// The part of the time between the first and the last reading that the machine below took for others.
    pub fn stolen(&self) -> Option<f64> {
        let mut hosts = self.0.iter().filter_map(|sample| sample.host);
        let first = hosts.next()?;
        Some(hosts.next_back()?.stolen_since(&first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(readings: &[(u64, u64)]) -> Measurements {
        let sample = |(at, cpu_nanos): &(u64, u64)| Sample {
            at: UnixNanos(*at),
            host: None,
            processes: BTreeMap::from([(
                "etcd".to_owned(),
                Usage { cpu_nanos: *cpu_nanos, peak_rss: 7 * at, ..Usage::default() },
            )]),
            ..Sample::default()
        };
        Measurements(readings.iter().map(sample).collect())
    }

    #[test]
    fn between_two_readings_the_line_is_straight() {
        let measured = measured(&[(100, 0), (200, 50), (300, 250)]);
        let at = |time| measured.cpu_at("etcd", UnixNanos(time));
        assert_eq!(
            [at(99), at(100), at(150), at(200), at(250), at(300), at(301)],
            [None, Some(0), Some(25), Some(50), Some(150), Some(250), None]
        );
        assert_eq!(measured.cpu_at("otelcol", UnixNanos(200)), None);
        assert_eq!(measured.peak_rss("etcd"), Some(2100));
    }

    #[test]
    fn windows_add_up() {
        let measured = measured(&[(0, 10), (100, 50), (400, 250)]);
        let windows = measured.windows("etcd", UnixNanos(0), UnixNanos(400), 4).unwrap();
        assert_eq!(windows.iter().map(|window| window.cpu_nanos).sum::<u64>(), 240);
        assert_eq!(windows[0].cpu_nanos, 40);
        assert_eq!(measured.windows("etcd", UnixNanos(0), UnixNanos(401), 4), None);
    }

    /// A reading of a run from before borders and surroundings were recorded.
    #[test]
    fn old_readings_are_read() {
        let line = r#"{"at":1,"host":{"total":10,"idle":5,"steal":0},"processes":{"etcd":{"cpuNanos":7,"waitNanos":1,
            "slices":1,"rss":1,"peakRss":1,"threads":1}}}"#;
        let sample: Sample = serde_json::from_str(line).unwrap();
        assert_eq!((sample.processes["etcd"].cpu_nanos, sample.border), (7, None));
        let again =
            serde_json::to_string(&Sample { border: Some(Border::LoadEnd), ..sample.clone() }).unwrap();
        assert!(again.contains(r#""border":"loadEnd""#), "{again}");
    }
}
