//! The phases of many requests in a few numbers.

use std::{collections::BTreeMap, time::Duration};

use crate::{Phase, PhaseTimes, stats};

/// One phase of many requests.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseSummary {
    /// The phase.
    pub phase: Phase,
    /// How many requests had it on their path; the mean and the percentiles are over these.
    pub n: usize,
    /// The mean time.
    pub mean: Duration,
    /// The median time.
    pub p50: Duration,
    /// The 90th percentile of the time.
    pub p90: Duration,
    /// The 99th percentile of the time.
    pub p99: Duration,
    /// Its part of the whole time of all requests, those without it included: from 0 to 1.
    pub share: f64,
}

/// Sums up the phases of many requests, by the name of the phase.
pub fn summarise<'t>(requests: impl IntoIterator<Item = &'t PhaseTimes>) -> Vec<PhaseSummary> {
    let mut times = BTreeMap::<&Phase, Vec<Duration>>::new();
    let mut whole = Duration::ZERO;
    for request in requests {
        whole += request.total;
        for (phase, time) in &request.by_phase {
            times.entry(phase).or_default().push(*time);
        }
    }
    times.into_iter().map(|(phase, times)| PhaseSummary::new(phase.clone(), times, whole)).collect()
}

// === impl PhaseSummary ===

impl PhaseSummary {
    fn new(phase: Phase, mut times: Vec<Duration>, whole: Duration) -> Self {
        times.sort_unstable();
        let sum: Duration = times.iter().sum();
        let quantile = |q| stats::quantile(&times, q).copied().unwrap_or_default();
        Self {
            phase,
            n: times.len(),
            mean: sum.div_f64(times.len().max(1) as f64),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            share: if whole.is_zero() { 0.0 } else { sum.as_secs_f64() / whole.as_secs_f64() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_phase_counts_where_it_was_on_the_path() {
        let with = PhaseTimes {
            total: ms(40),
            by_phase: vec![(Phase::etcd("KV/Txn"), ms(30)), (Phase::Server, ms(10))],
        };
        let without = PhaseTimes { total: ms(20), by_phase: vec![(Phase::Server, ms(20))] };
        let summary = summarise([&with, &without]);
        assert_eq!(summary.len(), 2);
        let etcd = &summary[0];
        assert_eq!((&etcd.phase, etcd.n, etcd.mean, etcd.p99), (&Phase::etcd("KV/Txn"), 1, ms(30), ms(30)));
        let server = &summary[1];
        assert_eq!((server.n, server.mean, server.p50, server.p90), (2, ms(15), ms(10), ms(20)));
        assert!((etcd.share - 0.5).abs() < 1e-12 && (server.share - 0.5).abs() < 1e-12);
    }

    #[test]
    fn no_requests_have_no_phases() {
        assert_eq!(summarise([]), []);
    }
}
