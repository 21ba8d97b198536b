//! What both configurations cost.

use serde::{Deserialize, Serialize};
use spangate_trace::stats::{Bootstrap, Estimate, median};

use super::observe::{LaneRound, Round};

/// Something that costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cost {
    /// CPU nanoseconds of the Collector's process for each span that it took, its start included.
    CpuPerSpan,
    /// The most memory that was ever resident, in bytes.
    PeakRss,
    /// Bytes that it sent.
    BytesOut,
    /// The most traces that its tail samplers had in memory.
    TracesInMemory,
}

/// What both configurations cost: medians of all rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CostRow {
    /// What.
    pub cost: Cost,
    /// Of the old configuration.
    pub base: f64,
    /// Of the new one.
    pub head: f64,
    /// The median of the rounds' ratios of new to old, with the interval of the bootstrap; nothing where the old one
    /// costs nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Estimate>,
    /// Rounds that the ratio is made from.
    pub rounds: u64,
}

// === impl Cost ===

impl Cost {
    /// Everything that is told.
    pub const ALL: [Self; 4] = [Self::CpuPerSpan, Self::PeakRss, Self::BytesOut, Self::TracesInMemory];

    /// What it is called.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CpuPerSpan => "CPU per span",
            Self::PeakRss => "peak RSS",
            Self::BytesOut => "bytes out",
            Self::TracesInMemory => "traces in memory",
        }
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::CpuPerSpan => crate::text::float(value),
            Self::PeakRss | Self::BytesOut => format!("{:.1} MiB", value / f64::from(1_u32 << 20)),
            Self::TracesInMemory => format!("{value:.0}"),
        }
    }

    /// What a lane cost in a round; nothing where it cannot be told.
    fn of(self, lane: &LaneRound) -> Option<f64> {
        let facts = &lane.facts;
        if lane.crashed() || facts.untold.is_some() || lane.taken == 0 {
            return None;
        }
        Some(match self {
            Self::CpuPerSpan => facts.telemetry.cpu_seconds * 1e9 / lane.taken as f64,
            Self::PeakRss => facts.peak_rss as f64,
            Self::BytesOut => lane.bytes_out as f64,
            Self::TracesInMemory => lane.traces_in_memory as f64,
        })
    }
}

/// What everything costs. Both lanes of a round ran at the same time, so that what else the machine did cancels in
/// their ratio.
pub(crate) fn rows(rounds: &[Round]) -> Vec<CostRow> {
    Cost::ALL.into_iter().map(|cost| row(cost, rounds)).collect()
}

fn row(cost: Cost, rounds: &[Round]) -> CostRow {
    let both = |round: &Round| Some((cost.of(&round.base)?, cost.of(&round.head)?));
    let pairs: Vec<(f64, f64)> = rounds.iter().filter_map(both).collect();
    let method = Bootstrap::default();
    let middle = |values: Vec<f64>| median(&values, &method).map_or(0.0, |estimate| estimate.value);
    let costing = pairs.iter().filter(|(base, _)| *base > 0.0);
    let ratios: Vec<f64> = costing.map(|(base, head)| head / base).collect();
    CostRow {
        cost,
        base: middle(pairs.iter().map(|(base, _)| *base).collect()),
        head: middle(pairs.iter().map(|(_, head)| *head).collect()),
        ratio: median(&ratios, &method),
        rounds: ratios.len() as u64,
    }
}
