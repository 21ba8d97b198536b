//! What a figure is called, how it is shown, and whether it may be held against that of another machine.

use super::Metric;
use crate::text;

// === impl Metric ===

impl Metric {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 19] = [
        Self::CpuPerRequest,
        Self::Rss,
        Self::ResponseP50,
        Self::ResponseP90,
        Self::ResponseP99,
        Self::SpansPerRequest,
        Self::BytesPerRequest,
        Self::RunQueueWait,
        Self::ContextSwitches,
        Self::ReadPerRequest,
        Self::WrittenPerRequest,
        Self::Pss,
        Self::CollectorCpuPerSpan,
        Self::CollectorRss,
        Self::Loss,
        Self::Refused,
        Self::QueueFull,
        Self::LagP50,
        Self::LagP99,
    ];

    /// What an experiment is about, the first of them that was measured.
    pub const MAIN: [Self; 2] = [Self::CpuPerRequest, Self::CollectorCpuPerSpan];

    /// The key that it has in files.
    pub const fn key(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "cpuPerRequest",
            Self::Rss => "rss",
            Self::ResponseP50 => "responseP50",
            Self::ResponseP90 => "responseP90",
            Self::ResponseP99 => "responseP99",
            Self::SpansPerRequest => "spansPerRequest",
            Self::BytesPerRequest => "bytesPerRequest",
            Self::RunQueueWait => "runQueueWait",
            Self::ContextSwitches => "contextSwitches",
            Self::ReadPerRequest => "readPerRequest",
            Self::WrittenPerRequest => "writtenPerRequest",
            Self::Pss => "pss",
            Self::CollectorCpuPerSpan => "collectorCpuPerSpan",
            Self::CollectorRss => "collectorRss",
            Self::Loss => "loss",
            Self::Refused => "refused",
            Self::QueueFull => "queueFull",
            Self::LagP50 => "lagP50",
            Self::LagP99 => "lagP99",
        }
    }

    /// Its name, for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU per request",
            Self::Rss => "peak RSS",
            Self::ResponseP50 => "response p50",
            Self::ResponseP90 => "response p90",
            Self::ResponseP99 => "response p99",
            Self::SpansPerRequest => "spans per request",
            Self::BytesPerRequest => "bytes per request",
            Self::RunQueueWait => "run-queue wait per request",
            Self::ContextSwitches => "context switches per request",
            Self::ReadPerRequest => "read per request",
            Self::WrittenPerRequest => "written per request",
            Self::Pss => "PSS",
            Self::CollectorCpuPerSpan => "Collector CPU per span",
            Self::CollectorRss => "Collector peak RSS",
            Self::Loss => "spans lost",
            Self::Refused => "spans refused",
            Self::QueueFull => "queue full",
            Self::LagP50 => "Collector lag p50",
            Self::LagP99 => "Collector lag p99",
        }
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Rss | Self::Pss | Self::CollectorRss => {
                format!("{:.1} MiB", value / f64::from(1_u32 << 20))
            }
            Self::SpansPerRequest | Self::ContextSwitches => format!("{value:.2}"),
            Self::BytesPerRequest | Self::ReadPerRequest | Self::WrittenPerRequest => format!("{value:.0} B"),
            Self::Loss | Self::Refused | Self::QueueFull => text::percent(value),
            Self::CpuPerRequest
            | Self::RunQueueWait
            | Self::ResponseP50
            | Self::ResponseP90
            | Self::ResponseP99
            | Self::CollectorCpuPerSpan
            | Self::LagP50
            | Self::LagP99 => text::float(value * 1e9),
        }
    }

    /// Whether the figure is the same on every machine, because it counts what was made and not how long it took.
    pub const fn travels(self) -> bool {
        matches!(self, Self::SpansPerRequest | Self::BytesPerRequest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_file() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.key());
        }
    }

    #[test]
    fn values_have_their_unit() {
        let shown = [
            (Metric::CpuPerRequest, 0.00162, "1.62ms"),
            (Metric::Rss, 314_572_800.0, "300.0 MiB"),
            (Metric::SpansPerRequest, 9.0, "9.00"),
            (Metric::BytesPerRequest, 4123.4, "4123 B"),
            (Metric::Loss, 0.001, "0.10%"),
        ];
        for (metric, value, text) in shown {
            assert_eq!(metric.show(value), text);
        }
    }
}
