//! The figures of one unit, and what is drawn of it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use spangate_load::Outcome;
use spangate_sink::PassageOutcome;
use spangate_trace::{UnixNanos, stats};

use super::Found;
use crate::{
    evidence::Evidence,
    measure::{Measurements, Usage},
    overhead::Metric,
    text,
};

/// The part of the requests that may fail: those who write to one object at once are told so.
const MOST_FAILED: f64 = 0.01;
/// The part of the requests that has to be answered in the time that is measured.
const LEAST_DONE: f64 = 0.99;
/// The part of the time that the machine below may take.
const MOST_STOLEN: f64 = 0.02;
/// The 99th percentile of how late requests may start, in microseconds.
const MOST_LATE_US: u64 = 10_000;
/// The least time that has to be common to all that run at once.
const LEAST_IN_COMMON: Duration = Duration::from_secs(3);
/// Time beyond one flush delay after which a span that has ended has come to the sink.
const MARGIN_NANOS: u64 = 300_000_000;
/// Seconds between two points of a time line.
const POINT: f64 = 0.5;

/// What is drawn of a unit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Latencies in seconds: at least this share of all is below each.
    pub curve: Vec<(f64, f64)>,
    /// What the process under test used.
    pub line: Vec<Point>,
    /// The columns of the OpenTelemetry testbed, for a Collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub testbed: Option<Testbed>,
}

/// A point of a time line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Seconds from the start of the load.
    pub at: f64,
    /// The share of one CPU that was used since the point before.
    pub cpu: f64,
    /// Resident memory, in bytes.
    pub rss: f64,
}

/// What the OpenTelemetry testbed prints of a test (`testbed/testbed/results.go` of the contrib repository).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Testbed {
    /// How long spans were sent, in seconds.
    pub seconds: f64,
    /// The share of one CPU, on average.
    pub cpu_avg: f64,
    /// The most of it between two points.
    pub cpu_max: f64,
    /// Resident memory in bytes, on average.
    pub ram_avg: f64,
    /// The most of it.
    pub ram_max: f64,
    /// Spans that were sent.
    pub sent: u64,
    /// Spans that came out; one that was sent twice counts twice.
    pub received: u64,
    /// How late one export in a hundred was sent at least, in seconds: the Collector did not take them as fast.
    pub late: f64,
}

/// The shares at which latencies are drawn.
fn shares() -> impl Iterator<Item = f64> {
    (1..=90)
        .map(|percent| f64::from(percent) / 100.0)
        .chain((1..=40).map(|step| 1.0 - 10_f64.powf(-1.0 - f64::from(step) / 20.0)))
}

/// Latencies at every share that so many of them can tell: `seconds` is sorted.
pub(super) fn curve(seconds: &[f64]) -> Vec<(f64, f64)> {
    let told = |share: &f64| (1.0 - share) * seconds.len() as f64 >= 1.0;
    shares().filter(told).filter_map(|share| Some((share, *stats::quantile(seconds, share)?))).collect()
}

/// What a process used, from the first reading to the last; times count from `start`.
pub(super) fn line(usage: &Measurements, process: &str, start: UnixNanos) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let mut last: Option<(f64, u64)> = None;
    for sample in &usage.0 {
        let Some(used) = sample.processes.get(process) else { continue };
        let at = (i128::from(sample.at.0) - i128::from(start.0)) as f64 / 1e9;
        match last {
            Some((before, _)) if at - before < POINT => {}
            Some((before, cpu)) => {
                let cpu = used.cpu_nanos.saturating_sub(cpu) as f64 / 1e9 / (at - before);
                points.push(Point { at, cpu, rss: used.rss as f64 });
                last = Some((at, used.cpu_nanos));
            }
            None => last = Some((at, used.cpu_nanos)),
        }
    }
    points
}

/// The most memory of a process that was resident from `from` to `to`, in bytes.
pub(super) fn most_rss(usage: &Measurements, process: &str, from: UnixNanos, to: UnixNanos) -> Option<f64> {
    let within = usage.0.iter().filter(|sample| (from..=to).contains(&sample.at));
    within.filter_map(|sample| Some(sample.processes.get(process)?.rss)).max().map(|bytes| bytes as f64)
}

/// CPU time of a process from `from` to `to` in seconds, without what it uses at rest by the second span of time; or why
/// nothing is known of it.
pub(super) fn own_cpu(
    usage: &Measurements,
    process: &str,
    (from, to): (UnixNanos, UnixNanos),
    rest: Option<(UnixNanos, UnixNanos)>,
) -> Result<f64, String> {
    let used = |from, to| {
        let read = |at| usage.cpu_at(process, at);
        let nanos = read(from).zip(read(to)).map(|(before, after)| after.saturating_sub(before));
        let nanos = nanos
            .ok_or_else(|| format!("what {process} used was not read: its /proc cannot be seen from here"))?;
        Ok::<_, String>(nanos as f64 / 1e9)
    };
    let at_rest = match rest.map(|(from, to)| (from, to, to.since(from).as_secs_f64())) {
        // What it uses at rest was to be measured: where it was not, nothing is known of the rest.
        Some((from, to, seconds)) if seconds > 0.0 => used(from, to)? / seconds,
        _ => 0.0,
    };
    let own = used(from, to)? - at_rest * to.since(from).as_secs_f64();
    if own <= 0.0 {
        return Err(format!("{process} used no more CPU time than at rest: it was not quiet then"));
    }
    Ok(own)
}

/// Why a unit does not count that ran beside one which does not.
pub(super) fn beside_one_that_fails(arm: &str) -> String {
    format!("{arm}, at the same time, does not")
}

/// The time in which all of these runs were loaded and warm, and their use was read.
pub fn in_common(
    runs: &[&Evidence],
    warm_up: Duration,
    length: Duration,
) -> Result<(UnixNanos, UnixNanos), String> {
    let starts = || runs.iter().map(|run| run.facts.load_start);
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else {
        return Err("nothing ran".to_owned());
    };
    // A load is over with its last answer, which may be there before the last interval between arrivals is.
    let read = runs.iter().filter_map(|run| run.usage.last()).min();
    let (from, end) = (last + warm_up, first + length);
    let to = read.map_or(end, |read| read.min(end));
    if last > first && (to <= from || to.since(from) < LEAST_IN_COMMON) {
        return Err(format!("one load began {} after the other", text::duration(last.since(first))));
    }
    Ok((from, to))
}

/// The figures of a unit with an API server in that time, or why it does not count.
pub fn of_api_server(evidence: &Evidence, (from, to): (UnixNanos, UnixNanos)) -> Result<Found, String> {
    let facts = &evidence.facts;
    if let Some(rest) = facts.rest.as_ref().filter(|rest| !rest.quiet) {
        let waited = text::duration(Duration::from_secs_f64(rest.seconds));
        // What it was at then, and is no more under load, would be taken off.
        return Err(format!(
            "the API server was not quiet after {waited}: {} of a CPU",
            text::percent(rest.share)
        ));
    }
    let (times, figures) = between(evidence, from, to)?;
    let line = line(&evidence.usage, Measurements::API_SERVER, facts.load_start);
    let series = Series { curve: curve(&times), line, testbed: None };
    let beside = evidence.usage.beside(from, to);
    Ok(Found { n: times.len() as u64, figures, beside, series })
}

/// Response times of a part of the time in seconds, sorted, and the figures of it, or why they do not count.
pub(crate) fn between(
    evidence: &Evidence,
    from: UnixNanos,
    to: UnixNanos,
) -> Result<(Vec<f64>, BTreeMap<Metric, f64>), String> {
    let (facts, usage) = (&evidence.facts, &evidence.usage);
    if let Some(why) = &facts.generator.bottleneck {
        return Err(format!("the load was late: {why}"));
    }
    let late = facts.generator.start_lag_p99_us;
    if late > MOST_LATE_US {
        let late = text::nanos(late * 1000);
        return Err(format!("the load was late: one request in a hundred by {late} or more"));
    }
    if let Some(stolen) = usage.stolen_between(from, to).filter(|stolen| *stolen > MOST_STOLEN) {
        return Err(format!("the machine below took {} of the time for others", text::percent(stolen)));
    }
    let within = |at: UnixNanos| (from..to).contains(&at);
    let mut times = Vec::new();
    let (mut failed, mut planned) = (0_u64, 0_u64);
    for request in &evidence.requests {
        planned += u64::from(within(request.intended));
        match request.outcome {
            _ if !within(request.ended) => {}
            Outcome::Status(status) if status < 400 => {
                times.push(request.ended.since(request.intended).as_secs_f64());
            }
            _ => failed += 1,
        }
    }
    let n = times.len() as u64;
    if failed as f64 > MOST_FAILED * n as f64 {
        return Err(format!("{failed} requests failed, and {n} did not"));
    }
    if (n as f64) < LEAST_DONE * planned as f64 || n == 0 {
        return Err(format!("only {n} of {planned} requests were answered in time"));
    }
    times.sort_unstable_by(f64::total_cmp);
    let server = Measurements::API_SERVER;
    let rest = facts.rest.as_ref().map(|rest| (rest.from, rest.to));
    let cpu = own_cpu(usage, server, (from, to), rest)?;
    let mut figures = BTreeMap::from([(Metric::CpuPerRequest, cpu / n as f64)]);
    figures.extend(most_rss(usage, server, from, to).map(|rss| (Metric::Rss, rss)));
    for (metric, share) in
        [(Metric::ResponseP50, 0.5), (Metric::ResponseP90, 0.9), (Metric::ResponseP99, 0.99)]
    {
        figures.extend(stats::quantile(&times, share).map(|time| (metric, *time)));
    }
    figures.extend(traffic(evidence, from, to));
    figures.extend(machine(usage, server, (from, to), n));
    figures.extend(collector(evidence, from, to));
    Ok((times, figures))
}

/// Spans and bytes of a request, by the spans that have surely come: those of the last flush delay are left out.
fn traffic(evidence: &Evidence, from: UnixNanos, to: UnixNanos) -> Vec<(Metric, f64)> {
    let flush = evidence.scenario.spec.cluster.tracing.batch.schedule_delay.get();
    let flush = u64::try_from(flush.as_nanos()).unwrap_or(u64::MAX).saturating_add(MARGIN_NANOS);
    let to = UnixNanos(to.0.saturating_sub(flush));
    if to <= from {
        return Vec::new();
    }
    let within = |at: UnixNanos| (from..to).contains(&at);
    let requests = evidence.requests.iter().filter(|request| within(request.ended)).count();
    let spans = evidence.capture.rows().iter().filter(|row| within(row.end)).count();
    let per_request = spans as f64 / requests.max(1) as f64;
    let sink = &evidence.facts.sink;
    let bytes_of_a_span = sink.bytes as f64 / sink.stored.max(1) as f64;
    vec![(Metric::SpansPerRequest, per_request), (Metric::BytesPerRequest, per_request * bytes_of_a_span)]
}

/// What else a process asked of the machine for a request, as far as it could be read: why CPU and response times are what they
/// are.
fn machine(
    usage: &Measurements,
    process: &str,
    (from, to): (UnixNanos, UnixNanos),
    n: u64,
) -> Vec<(Metric, f64)> {
    let per_request = |count: fn(&Usage) -> Option<u64>| {
        let (before, after) = (usage.count_at(process, from, count)?, usage.count_at(process, to, count)?);
        Some(after.saturating_sub(before) as f64 / n as f64)
    };
    let figures = [
        (Metric::RunQueueWait, per_request(|usage| Some(usage.wait_nanos)).map(|nanos| nanos / 1e9)),
        (Metric::ContextSwitches, per_request(|usage| Some(usage.slices))),
        (Metric::ReadPerRequest, per_request(|usage| Some(usage.traffic?.read))),
        (Metric::WrittenPerRequest, per_request(|usage| Some(usage.traffic?.written))),
        (Metric::Pss, usage.pss(process).map(|bytes| bytes as f64)),
    ];
    figures.into_iter().filter_map(|(metric, value)| Some((metric, value?))).collect()
}

/// The figures of the Collector behind the API server, if there is one.
fn collector(evidence: &Evidence, from: UnixNanos, to: UnixNanos) -> Vec<(Metric, f64)> {
    let Some(passed) = &evidence.passed else { return Vec::new() };
    let (usage, process) = (&evidence.usage, Measurements::COLLECTOR);
    let within = || passed.passages.iter().filter(|passage| (from..to).contains(&passage.sent));
    let spans: u64 = within().map(|passage| passage.spans).sum();
    let refused = within().map(|passage| match &passage.outcome {
        PassageOutcome::Accepted { rejected } => *rejected,
        PassageOutcome::Refused { .. } | PassageOutcome::Failed { .. } => passage.spans,
    });
    let refused = (spans > 0).then(|| (Metric::Refused, refused.sum::<u64>() as f64 / spans as f64));
    let cpu = own_cpu(usage, process, (from, to), None).ok().filter(|_| spans > 0);
    let cpu = cpu.map(|cpu| (Metric::CollectorCpuPerSpan, cpu / spans as f64));
    let rss = most_rss(usage, process, from, to).map(|rss| (Metric::CollectorRss, rss));
    cpu.into_iter().chain(rss).chain(refused).collect()
}

#[cfg(test)]
mod tests {
    use spangate_scenario::{Experiment, experiment};

    use super::*;
    use crate::{
        evidence::Rest,
        measure::{Border, Detail, HostTimes, Sample, Traffic},
        testing::Run,
    };

    /// Twenty seconds of 100 requests a second, of which the first ten are the warm-up.
    fn spec() -> Experiment {
        let text = "{apiVersion: spangate/v1alpha1, kind: Experiment, metadata: {name: e}, spec: {reference: a, \
                    warmUp: 10s, load: {arrivals: {rate: 100/s, for: 20s}, mix: [{get: {resource: pods}}]}, \
                    arms: [{name: a}, {name: b}]}}";
        experiment::parse("e", text).unwrap()
    }

    /// A server that takes 2 ms for a request and a tenth of a CPU at rest; responses take 4 ms.
    fn evidence(experiment: &Experiment) -> Evidence {
        let mut evidence = Run::of_creates(2).evidence();
        evidence.scenario.spec.load = experiment.spec.load.clone();
        let start = evidence.facts.load_start;
        let request = evidence.requests[0].clone();
        evidence.requests = (0..2000)
            .map(|n| {
                let mut request = request.clone();
                request.intended = start + Duration::from_millis(10) * n;
                request.ended = request.intended + Duration::from_millis(4);
                request
            })
            .collect();
        let second = |n: u64| UnixNanos(start.0 + n * 1_000_000_000 - 5_000_000_000);
        evidence.facts.rest =
            Some(Rest { quiet: true, seconds: 1.0, share: 0.1, from: second(1), to: second(4) });
        let samples = (0..=26).map(|n| Sample {
            at: second(n),
            host: Some(HostTimes { total: 200 * n, idle: 100 * n, steal: 0 }),
            processes: BTreeMap::from([(
                Measurements::API_SERVER.to_owned(),
                Usage {
                    cpu_nanos: 100_000_000 * n + 200_000_000 * n.saturating_sub(5),
                    wait_nanos: 5_000_000 * n,
                    slices: 300 * n,
                    rss: 300 + n,
                    peak_rss: 999,
                    traffic: Some(Traffic { read: 40_000 * n, written: 90_000 * n }),
                    ..Usage::default()
                },
            )]),
            border: (n == 25).then_some(Border::LoadEnd),
            details: BTreeMap::from([(
                Measurements::API_SERVER.to_owned(),
                Detail { pss: (n == 25).then_some(77), ..Detail::default() },
            )]),
            ..Sample::default()
        });
        let samples = samples.collect();
        evidence.with_usage(Measurements(samples))
    }

    fn time(experiment: &Experiment, runs: &[&Evidence]) -> Result<(UnixNanos, UnixNanos), String> {
        let spec = &experiment.spec;
        in_common(runs, spec.warm_up.get(), spec.load.length().unwrap().get())
    }

    fn figures(experiment: &Experiment, evidence: &Evidence) -> Result<Found, String> {
        of_api_server(evidence, time(experiment, &[evidence])?)
    }

    /// Scenario: two that ran at the same time, the second of which began a second later, and one that began far too late.
    /// Guarantees: the time is that in which both were warm, and one that hardly overlaps does not count.
    #[test]
    fn what_ran_at_once_is_measured_in_the_same_time() {
        let spec = spec();
        let first = evidence(&spec);
        let after = |seconds: u64| {
            let mut later = evidence(&spec);
            later.facts.load_start = later.facts.load_start + Duration::from_secs(seconds);
            later
        };
        let (from, to) = time(&spec, &[&first, &after(1)]).unwrap();
        assert_eq!(from, first.facts.load_start + Duration::from_secs(11));
        assert_eq!(to, first.facts.load_start + Duration::from_secs(20));
        let apart = time(&spec, &[&after(8), &first]).unwrap_err();
        assert_eq!(apart, "one load began 8.00s after the other");
    }

    #[test]
    fn figures_are_those_of_the_requests_alone() {
        let spec = spec();
        let found = figures(&spec, &evidence(&spec)).unwrap();
        let figure = |metric| found.figures[&metric];
        assert!((figure(Metric::CpuPerRequest) - 0.002).abs() < 1e-5, "{found:#?}");
        assert!((figure(Metric::ResponseP99) - 0.004).abs() < 1e-9, "{found:#?}");
        // 100 requests a second.
        let of_machine = [
            Metric::RunQueueWait,
            Metric::ContextSwitches,
            Metric::ReadPerRequest,
            Metric::WrittenPerRequest,
        ];
        for (metric, value) in of_machine.into_iter().zip([5e-5, 3.0, 400.0, 900.0]) {
            assert!((figure(metric) / value - 1.0).abs() < 0.01, "{metric:?}: {}", figure(metric));
        }
        assert!((figure(Metric::Pss) - 77.0).abs() < 1e-9, "{found:#?}");
        // 20 s after the load began the 25th second is over; what was at the start of the process is left out.
        assert!((figure(Metric::Rss) - 325.0).abs() < 1e-9, "{found:#?}");
        assert!((990..=1000).contains(&found.n));
        let line = &found.series.line;
        assert!((line[2].cpu - 0.1).abs() < 1e-6 && (line[20].cpu - 0.3).abs() < 1e-6, "{line:?}");
        assert!(found.series.curve.iter().all(|(share, _)| *share < 0.9991), "{:?}", found.series.curve);
    }

    #[test]
    fn what_was_disturbed_does_not_count() {
        let spec = spec();
        let broken = |falsify: &dyn Fn(&mut Evidence)| {
            let mut evidence = evidence(&spec);
            falsify(&mut evidence);
            figures(&spec, &evidence).unwrap_err()
        };
        let late = broken(&|evidence| evidence.facts.generator.start_lag_p99_us = 20_000);
        assert_eq!(late, "the load was late: one request in a hundred by 20.0ms or more");
        let busy = broken(&|evidence| {
            let rest = evidence.facts.rest.as_mut().unwrap();
            (rest.quiet, rest.seconds, rest.share) = (false, 12.0, 0.31);
        });
        assert_eq!(busy, "the API server was not quiet after 12.0s: 31.0% of a CPU");
        let idle = broken(&|evidence| {
            for (n, sample) in (0..).zip(&mut evidence.usage.0) {
                sample.processes.get_mut(Measurements::API_SERVER).unwrap().cpu_nanos =
                    100_000_000 * u64::min(n, 8);
            }
        });
        assert_eq!(idle, "kube-apiserver used no more CPU time than at rest: it was not quiet then");
        let failed = broken(&|evidence| {
            evidence.requests.iter_mut().skip(1500).take(20).for_each(|it| it.outcome = Outcome::Timeout);
        });
        assert!(failed.starts_with("20 requests failed"), "{failed}");
        let few = broken(&|evidence| {
            evidence.requests.iter_mut().skip(1500).take(20).for_each(|it| it.ended = UnixNanos(u64::MAX));
        });
        assert!(few.starts_with("only 980 of 1000"), "{few}");
        let stolen = broken(&|evidence| {
            for (n, sample) in (0..).zip(&mut evidence.usage.0) {
                sample.host.as_mut().unwrap().steal = 10 * n;
            }
        });
        assert_eq!(stolen, "the machine below took 5.00% of the time for others");
        let short = broken(&|evidence| evidence.usage.0.truncate(10));
        assert!(short.contains("only 0 of 0"), "{short}");
        let unread = broken(&|evidence| evidence.usage.0.iter_mut().for_each(|it| it.processes.clear()));
        assert!(unread.contains("was not read"), "{unread}");
    }
}
