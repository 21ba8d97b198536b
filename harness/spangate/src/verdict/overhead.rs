//! `overhead`: what processes used of the machine, for each request or span.

use std::time::Duration;

use spangate_load::Outcome;
use spangate_scenario::{
    model::Overhead,
    units::{self, Bound, Size},
};
use spangate_trace::{
    UnixNanos,
    stats::{self, Bootstrap, Estimate},
};

use super::{Check, Verdict};
use crate::{evidence::Case, measure::Measurements, text};

/// The shortest window: several readings make one.
const WINDOW: Duration = Duration::from_millis(500);
/// Windows that an interval needs at least, and those that are made at most.
const FEWEST: u64 = 6;
const MOST: u64 = 60;

pub(super) fn judge(expect: &Overhead, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new("overhead");
    if case.usage.0.is_empty() {
        verdict.undecided("what the processes used was not recorded");
        return verdict;
    }
    if let Some(bounds) = &expect.api_server {
        let done = answered(case);
        cpu(&Use::of_api_server(&done), bounds.cpu_per_request.as_ref(), case, &mut verdict);
        rss(Measurements::API_SERVER, bounds.rss.as_ref(), case, &mut verdict);
    }
    if let Some(bounds) = &expect.collector {
        let done = sent(case);
        cpu(&Use::of_collector(&done), bounds.cpu_per_span.as_ref(), case, &mut verdict);
        rss(Measurements::COLLECTOR, bounds.rss.as_ref(), case, &mut verdict);
    }
    if let Some(stolen) = case.usage.stolen() {
        verdict.checks.push(Check::told("time that the machine below took", text::percent(stolen), 1));
    }
    verdict
}

/// Whose CPU time is looked at, and by what.
struct Use<'d> {
    process: &'static str,
    unit: &'static str,
    /// When how many were done.
    done: &'d [(UnixNanos, u64)],
}

// === impl Use ===

impl<'d> Use<'d> {
    const fn of_api_server(done: &'d [(UnixNanos, u64)]) -> Self {
        Self { process: Measurements::API_SERVER, unit: "request", done }
    }

    const fn of_collector(done: &'d [(UnixNanos, u64)]) -> Self {
        Self { process: Measurements::COLLECTOR, unit: "span", done }
    }
}

/// Requests of the ledger that reached the API server, by their ends.
fn answered(case: &Case<'_>) -> Vec<(UnixNanos, u64)> {
    let sent =
        case.requests.iter().filter(|request| !matches!(request.outcome, Outcome::Shed | Outcome::Error(_)));
    sent.map(|request| (request.ended, 1)).collect()
}

/// Spans that the Collector was sent, those that it refused included: they cost too.
fn sent(case: &Case<'_>) -> Vec<(UnixNanos, u64)> {
    let passages = case.passed.iter().flat_map(|passed| &passed.passages);
    passages.map(|passage| (passage.sent, passage.spans)).collect()
}

/// Compares CPU time for each of what was done.
fn cpu(of: &Use<'_>, bound: Option<&Bound<units::Duration>>, case: &Case<'_>, verdict: &mut Verdict) {
    let Some(bound) = bound else { return };
    let what = format!("CPU of {} per {}", of.process, of.unit);
    let (from, to) = (case.facts.load_start, case.usage.last().unwrap_or(case.facts.load_end));
    let done = of.done.iter().filter(|(at, _)| (from..=to).contains(at));
    let n = usize::try_from(done.map(|(_, n)| n).sum::<u64>()).unwrap_or(usize::MAX);
    let count = (to.since(from).as_nanos() / WINDOW.as_nanos()).try_into().unwrap_or(MOST).min(MOST);
    if count < FEWEST {
        let least = WINDOW * u32::try_from(FEWEST).unwrap_or(u32::MAX);
        verdict.undecided(format!("{what}: the run has to last {} to tell it", text::duration(least)));
        return;
    }
    let Some(estimate) = per_unit(of, case, (from, to), count) else {
        verdict.undecided(format!("{what}: it was not read, or nothing was done (n={n})"));
        return;
    };
    // Time that the machine below took while a thread was on a CPU may be counted as the thread's own.
    let own = 1.0 - case.usage.stolen().unwrap_or_default().min(1.0);
    let [value, low, high] = [estimate.value, estimate.low * own, estimate.high];
    let holds = bound.holds(&time(value));
    let interval = format!("{} to {} (95%)", text::float(low), text::float(high));
    let check = Check::bound(&what, text::float(value), bound.to_string(), n, holds).with_interval(interval);
    if [low, high].iter().all(|end| bound.holds(&time(*end)) == holds) {
        verdict.check(check);
    } else {
        verdict.checks.push(check);
        verdict.undecided(format!("{what}: the bound is within its interval; send more, or for longer"));
    }
}

/// CPU time in nanoseconds for each of what was done, over `count` windows.
fn per_unit(
    of: &Use<'_>,
    case: &Case<'_>,
    (from, to): (UnixNanos, UnixNanos),
    count: u64,
) -> Option<Estimate> {
    let windows = case.usage.windows(of.process, from, to, count)?;
    let within = |from: UnixNanos, to: UnixNanos| -> u64 {
        of.done.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, n)| n).sum()
    };
    let pairs: Vec<(f64, f64)> = windows
        .iter()
        .map(|window| (window.cpu_nanos as f64, within(window.from, window.to) as f64))
        .collect();
    stats::ratio(&pairs, &Bootstrap::default())
}

fn time(nanos: f64) -> units::Duration {
    let time = Duration::try_from_secs_f64(nanos.max(0.0) / 1e9).unwrap_or(Duration::MAX);
    units::Duration::from(time)
}

/// Compares the most memory that was resident.
fn rss(process: &str, bound: Option<&Bound<Size>>, case: &Case<'_>, verdict: &mut Verdict) {
    let Some(bound) = bound else { return };
    let what = format!("peak RSS of {process}");
    let Some(peak) = case.usage.peak_rss(process) else {
        verdict.undecided(format!("{what}: it was not read"));
        return;
    };
    let holds = bound.holds(&Size(peak));
    let observed = format!("{:.1} MiB", peak as f64 / f64::from(1 << 20));
    verdict.check(Check::bound(what, observed, bound.to_string(), 1, holds));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use spangate_scenario::model::{ApiServerOverhead, Expectation};

    use super::*;
    use crate::{
        evidence::Evidence,
        measure::{HostTimes, Sample, Usage},
        testing::Run,
        verdict::{Status, judge_one},
    };

    /// Evidence of a server that uses so much time a second, read ten times a second for ten seconds; ten requests end in
    /// each of them.
    fn evidence(cpu_nanos_per_second: u64, steal: u64) -> Evidence {
        let mut evidence = Run::of_creates(10).evidence();
        let start = evidence.facts.load_start;
        let request = evidence.requests[0].clone();
        evidence.requests = (0..100)
            .map(|n| {
                let mut request = request.clone();
                request.ended = UnixNanos(start.0 + 50_000_000 + n * 100_000_000);
                request
            })
            .collect();
        let reading = |n: u64| {
            let cpu_nanos = 7 + n * cpu_nanos_per_second / 10;
            let usage = Usage { cpu_nanos, peak_rss: 300 << 20, ..Usage::default() };
            Sample {
                at: UnixNanos(start.0 + n * 100_000_000),
                host: Some(HostTimes { total: n * 20, idle: 0, steal: n * steal }),
                processes: BTreeMap::from([(Measurements::API_SERVER.to_owned(), usage)]),
                ..Sample::default()
            }
        };
        evidence.with_usage(Measurements((0..=100).map(reading).collect()))
    }

    fn verdict(evidence: &Evidence, cpu: &str, rss: &str) -> Verdict {
        let api_server = ApiServerOverhead {
            cpu_per_request: Some(cpu.parse().unwrap()),
            rss: Some(rss.parse().unwrap()),
        };
        let expect = Overhead { api_server: Some(api_server), collector: None };
        judge_one(&Expectation::Overhead(expect), &Case::new(evidence))
    }

    #[test]
    fn what_a_request_costs_is_told() {
        // 20 ms a second are 2 ms for each of ten requests.
        let green = verdict(&evidence(20_000_000, 0), "< 2.1ms", "< 301MiB");
        assert_eq!(green.status, Status::Pass, "{green:#?}");
        assert_eq!((green.checks[0].observed.as_str(), green.checks[0].n), ("2.00ms", 100));
        assert_eq!(green.checks[1].observed, "300.0 MiB");
    }

    #[test]
    fn what_costs_more_is_caught() {
        assert_eq!(verdict(&evidence(22_000_000, 0), "< 2.1ms", "< 301MiB").status, Status::Fail);
        assert_eq!(verdict(&evidence(20_000_000, 0), "< 2.1ms", "< 299MiB").status, Status::Fail);
    }

    #[test]
    fn what_cannot_be_told_is_not_green() {
        let mut uneven = evidence(20_000_000, 0);
        for (n, sample) in uneven.usage.0.iter_mut().enumerate() {
            let usage = sample.processes.get_mut(Measurements::API_SERVER).unwrap();
            usage.cpu_nanos = n as u64 * 2_000_000 + if n > 50 { 20_000_000 } else { 0 };
        }
        let open = verdict(&uneven, "< 2.25ms", "< 301MiB");
        assert_eq!(open.status, Status::Inconclusive, "{open:#?}");
        // 2.2 ms, of which a twentieth may have been somebody else's.
        let stolen = verdict(&evidence(22_000_000, 1), "< 2.1ms", "< 301MiB");
        assert_eq!(stolen.status, Status::Inconclusive, "{stolen:#?}");
        let unread = Run::of_creates(10).evidence();
        assert_eq!(verdict(&unread, "< 2.1ms", "< 301MiB").status, Status::Inconclusive);
    }
}
