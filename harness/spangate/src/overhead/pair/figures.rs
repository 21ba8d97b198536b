//! The figures of two servers that ran at the same time, of the same time.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    bench::experiment::figures::{between, in_common},
    evidence::Evidence,
    measure::Beside,
    overhead::Metric,
};

/// The part of the requests of one side that the other one has to have answered in the same time.
const LEAST_ALIKE: f64 = 0.95;

/// Requests, the figures of them, and what went on beside them.
pub(super) type Figures = (u64, BTreeMap<Metric, f64>, Option<Beside>);

/// What both sides measured in the time in which both were loaded and warm, or why it does not count.
pub(super) fn both(
    sides: [&Evidence; 2],
    warm_up: Duration,
    length: Duration,
) -> Result<[Figures; 2], String> {
    let (from, to) = in_common(&sides, warm_up, length)?;
    let [base, head] = sides.map(|side| {
        let (times, figures) = between(side, from, to)?;
        // The other side cannot be told from strangers.
        let beside = side.usage.beside(from, to).map(|it| Beside { others: None, ..it });
        Ok::<Figures, String>((times.len() as u64, figures, beside))
    });
    let (base, head) =
        (base.map_err(|why| format!("base: {why}"))?, head.map_err(|why| format!("head: {why}"))?);
    let (fewer, more) = (base.0.min(head.0), base.0.max(head.0));
    if (fewer as f64) < LEAST_ALIKE * more as f64 {
        return Err(format!("one answered {fewer} requests and the other {more}"));
    }
    Ok([base, head])
}

#[cfg(test)]
mod tests {
    use spangate_load::Outcome;

    use super::*;
    use crate::{
        measure::{HostTimes, Measurements, Sample, Usage},
        testing::Run,
    };

    /// Ten seconds of 100 requests a second that take 1 ms each, and a server that takes `cpu` nanoseconds for each.
    fn evidence(cpu: u64, late: Duration) -> Evidence {
        let mut evidence = Run::of_creates(2).evidence();
        evidence.facts.load_start = evidence.facts.load_start + late;
        let start = evidence.facts.load_start;
        let request = evidence.requests[0].clone();
        evidence.requests = (0..1_000_u32)
            .map(|n| {
                let mut request = request.clone();
                request.intended = start + Duration::from_millis(10) * n;
                request.ended = request.intended + Duration::from_millis(1);
                request
            })
            .collect();
        let sample = |tenth: u32| Sample {
            at: start + Duration::from_millis(100) * tenth,
            host: Some(HostTimes { total: 20 * u64::from(tenth), idle: 0, steal: 0 }),
            processes: BTreeMap::from([(
                Measurements::API_SERVER.to_owned(),
                Usage { cpu_nanos: 10 * cpu * u64::from(tenth), peak_rss: 300 << 20, ..Usage::default() },
            )]),
            ..Sample::default()
        };
        let samples = (0..=110).map(sample).collect();
        evidence.with_usage(Measurements(samples))
    }

    const LENGTH: Duration = Duration::from_secs(10);
    const WARM_UP: Duration = Duration::from_secs(2);

    #[test]
    fn figures_are_of_the_time_that_both_were_loaded() {
        let (base, head) = (evidence(1_000_000, Duration::ZERO), evidence(1_100_000, Duration::from_secs(1)));
        let [(n, base, beside), (_, head, _)] = both([&base, &head], WARM_UP, LENGTH).unwrap();
        assert!((695..=705).contains(&n), "{n}");
        assert!((base[&Metric::CpuPerRequest] - 1e-3).abs() < 1e-5, "{base:?}");
        assert!((head[&Metric::CpuPerRequest] - 1.1e-3).abs() < 1e-5, "{head:?}");
        assert!((base[&Metric::ResponseP99] - 1e-3).abs() < 1e-9);
        assert_eq!(beside.map(|it| (it.stolen, it.others)), Some((Some(0.0), None)));
    }

    #[test]
    fn what_went_wrong_does_not_count() {
        let good = evidence(1_000_000, Duration::ZERO);
        let late = evidence(1_000_000, Duration::from_secs(6));
        assert!(both([&good, &late], WARM_UP, LENGTH).unwrap_err().starts_with("one load began 6.00s"));

        let mut failing = evidence(1_000_000, Duration::ZERO);
        failing.requests.iter_mut().skip(500).take(50).for_each(|it| it.outcome = Outcome::Timeout);
        let told = both([&good, &failing], WARM_UP, LENGTH).unwrap_err();
        assert!(told.starts_with("head: 50 requests failed"), "{told}");

        let mut stolen = evidence(1_000_000, Duration::ZERO);
        for sample in &mut stolen.usage.0 {
            let host = sample.host.as_mut().unwrap();
            host.steal = host.total / 20;
        }
        assert!(both([&stolen, &good], WARM_UP, LENGTH).unwrap_err().contains("took 5.00% of the time"));

        let mut slow = evidence(1_000_000, Duration::ZERO);
        slow.requests.retain(|request| request.intended.0 % 20_000_000 != 0);
        assert!(both([&good, &slow], WARM_UP, LENGTH).unwrap_err().contains("and the other"));
    }
}
