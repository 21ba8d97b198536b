//! What a duet says: a pure function of its design and what was recorded.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use spangate_load::{Outcome, Verb};
use spangate_trace::{
    TraceId,
    stats::{self, Bootstrap, Estimate, effect::fewest, signed_rank},
};

use super::{
    design::{Block, Design, Operation, SETTLE},
    trouble::too_many_void,
};
use crate::{evidence::Evidence, measure::Measurements};

/// The part of a block's requests that has to be answered within it.
const LEAST_DONE: f64 = 0.9;
/// The part of a block's requests that may fail: those who write to one object at once are told so.
const MOST_FAILED: f64 = 0.01;
/// The part of a block's time that the machine below may take.
const STOLEN: f64 = 0.02;

/// What tracing costs for one operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// Requests in the blocks that count.
    pub requests: u64,
    /// Pairs of blocks that count.
    pub pairs: u64,
    /// Pairs that do not, by the reason.
    pub void: Vec<String>,
    /// CPU time of the API server for a request that is not traced, in nanoseconds: the median of the blocks.
    pub plain: Estimate,
    /// The same for one that is traced.
    pub traced: Estimate,
    /// What tracing adds, in nanoseconds of CPU time a request: the median of the pairs.
    pub adds: Estimate,
    /// What it adds, as a part of what a request costs without.
    pub part: Estimate,
    /// The probability of such differences if tracing cost nothing, by ranks.
    pub p: f64,
    /// What one of two equal blocks in a row costs more than the other, in nanoseconds, at 99 %: nothing, if the measurement is
    /// sound. None where too few of them count.
    pub control: Option<Estimate>,
    /// What tracing adds to the median response time, in nanoseconds.
    pub latency: Estimate,
    /// Spans of a traced request.
    pub spans_per_request: f64,
}

/// One block, as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    block: Block,
    /// CPU time a request, in nanoseconds.
    cpu: f64,
    /// Median response time, in nanoseconds.
    latency: f64,
    requests: u64,
}

/// What a run of one operation says, or why it says nothing.
pub fn analyse(design: &Design, operation: Operation, evidence: &Evidence) -> Result<Row, String> {
    let blocks: Vec<Result<Measured, String>> =
        design.blocks().into_iter().map(|block| measure(design, operation, block, evidence)).collect();
    let mut pairs = Vec::new();
    let mut void = Vec::new();
    for pair in blocks.chunks_exact(2) {
        match (&pair[0], &pair[1]) {
            (Ok(one), Ok(other)) if one.block.traced => pairs.push((*other, *one)),
            (Ok(one), Ok(other)) => pairs.push((*one, *other)),
            (Err(why), _) | (_, Err(why)) => void.push(why.clone()),
        }
    }
    if too_many_void(void.len() as u64, design.pairs.into()) {
        let few: Vec<&str> = void.iter().take(3).map(String::as_str).collect();
        return Err(format!("{} of {} pairs do not count: {}", void.len(), design.pairs, few.join("; ")));
    }
    let median = |values: Vec<f64>| {
        stats::median(&values, &Bootstrap::default()).ok_or_else(|| "there is no pair".to_owned())
    };
    let of = |get: fn(&(Measured, Measured)) -> f64| pairs.iter().map(get).collect::<Vec<f64>>();
    let adds = of(|(plain, traced)| traced.cpu - plain.cpu);
    Ok(Row {
        operation,
        requests: pairs.iter().map(|(plain, traced)| plain.requests + traced.requests).sum(),
        pairs: pairs.len() as u64,
        void,
        plain: median(of(|(plain, _)| plain.cpu))?,
        traced: median(of(|(_, traced)| traced.cpu))?,
        part: median(of(|(plain, traced)| traced.cpu / plain.cpu - 1.0))?,
        p: signed_rank(&adds),
        adds: median(adds)?,
        control: sound(&control(&blocks)),
        latency: median(of(|(plain, traced)| traced.latency - plain.latency))?,
        spans_per_request: spans_per_request(evidence),
    })
}

/// Differences between equal blocks that follow each other, every second one the other way round: what drifts is in pairs
/// of both orders, so it must not be in these either.
fn control(blocks: &[Result<Measured, String>]) -> Vec<f64> {
    let neighbours = blocks.windows(2).filter_map(|two| Some((two[0].as_ref().ok()?, two[1].as_ref().ok()?)));
    let equal = neighbours.filter(|(a, b)| a.block.traced == b.block.traced);
    equal.zip([1.0, -1.0].into_iter().cycle()).map(|((a, b), sign)| sign * (b.cpu - a.cpu)).collect()
}

/// The confidence of a control: of all operations together it is out by chance in one duet of twenty.
const CONTROL: f64 = 0.99;

/// What equal blocks differ by, where there are enough of them.
fn sound(differences: &[f64]) -> Option<Estimate> {
    let bootstrap = Bootstrap { confidence: CONTROL, ..Bootstrap::default() };
    (differences.len() as u64 >= fewest(CONTROL)).then(|| stats::median(differences, &bootstrap)).flatten()
}

/// One block, or why it does not count.
fn measure(
    design: &Design,
    operation: Operation,
    block: Block,
    evidence: &Evidence,
) -> Result<Measured, String> {
    let start = evidence.facts.load_start + design.start(block);
    let (from, to) = (start + SETTLE, start + design.block);
    let usage = &evidence.usage;
    let cpu = |at| usage.cpu_at(Measurements::API_SERVER, at);
    let (Some(before), Some(after)) = (cpu(from), cpu(to)) else {
        return Err("what the API server used was not read".to_owned());
    };
    let (mut times, mut done, mut failed) = (Vec::new(), 0_u64, 0_u64);
    for request in evidence.requests.iter().filter(|request| (from..to).contains(&request.ended)) {
        match request.outcome {
            Outcome::Status(status) if status < 400 => {
                done += 1;
                // An update reads first: the middle of both kinds would lie between them, where no request is.
                if operation != Operation::Update || request.verb == Verb::Update {
                    times.push(request.ended.since(request.intended).as_nanos() as f64);
                }
            }
            _ => failed += 1,
        }
    }
    if failed as f64 > MOST_FAILED * done as f64 {
        return Err(format!("{failed} requests failed, and {done} did not"));
    }
    let planned = design.rate * to.since(from).as_secs_f64() * f64::from(operation.requests());
    if done == 0 || (done as f64) < LEAST_DONE * planned {
        return Err(format!("only {done} of {planned:.0} requests were answered in time"));
    }
    if usage.stolen_between(from, to).is_some_and(|stolen| stolen > STOLEN) {
        return Err("the machine below took time for others".to_owned());
    }
    times.sort_unstable_by(f64::total_cmp);
    let latency = stats::quantile(&times, 0.5).copied().unwrap_or_default();
    let cpu = after.saturating_sub(before) as f64 / done as f64;
    Ok(Measured { block, cpu, latency, requests: done })
}

/// Spans in the trace of a request that was traced.
fn spans_per_request(evidence: &Evidence) -> f64 {
    let sampled = evidence.requests.iter().filter_map(|request| request.sent).filter(|sent| sent.sampled);
    let traces: HashSet<TraceId> = sampled.map(|sent| sent.trace_id).collect();
    let spans = evidence.capture.rows().iter().filter(|row| traces.contains(&row.trace_id)).count();
    spans as f64 / traces.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use spangate_trace::stats::SplitMix64;

    use super::*;
    use crate::{
        measure::{HostTimes, Sample, Usage},
        testing::Run,
    };

    /// Requests in a second.
    const RATE: u32 = 100;

    fn design(pairs: u32, seed: u64) -> Design {
        Design {
            rate: f64::from(RATE),
            block: Duration::from_secs(2),
            pairs,
            warm_up: Duration::from_secs(2),
            seed,
            kubernetes: "1.37".to_owned(),
        }
    }

    /// Evidence of a server that takes 1 ms for a request, `adds` more for a traced one, and drifts; blocks differ by up to
    /// `noise` of that to either side.
    fn evidence(design: &Design, adds: f64, noise: f64) -> Evidence {
        let mut evidence = Run::of_creates(2).evidence();
        let start = evidence.facts.load_start;
        let mut random = SplitMix64::new(design.seed + 77);
        let request = evidence.requests[0].clone();
        let step = Duration::from_secs(1) / RATE;
        evidence.requests = (0..RATE * u32::try_from(design.length().as_secs()).unwrap())
            .map(|n| {
                let mut request = request.clone();
                request.intended = start + step * n;
                request.ended = request.intended + Duration::from_millis(2);
                request
            })
            .collect();
        let mut per_request = vec![1e6; 1];
        for block in design.blocks() {
            let drift = 1.0 + f64::from(block.number) * 0.001;
            let luck = 1.0 + noise * (random.below(2_001) as f64 / 1e3 - 1.0);
            per_request.push((1e6 + if block.traced { adds } else { 0.0 }) * drift * luck);
        }
        let mut cpu = Duration::ZERO;
        let samples = (0..=10 * design.length().as_secs()).map(|tenth| {
            let sample = Sample {
                at: start + Duration::from_millis(100) * u32::try_from(tenth).unwrap(),
                host: Some(HostTimes { total: 20 * tenth, idle: 10 * tenth, steal: 0 }),
                processes: BTreeMap::from([(
                    Measurements::API_SERVER.to_owned(),
                    Usage { cpu_nanos: u64::try_from(cpu.as_nanos()).unwrap(), ..Usage::default() },
                )]),
                ..Sample::default()
            };
            let block = usize::try_from(tenth / 20).unwrap().min(per_request.len() - 1);
            cpu += Duration::from_secs_f64(per_request[block] * design.rate / 1e10);
            sample
        });
        let samples = samples.collect();
        evidence.with_usage(Measurements(samples))
    }

    #[test]
    fn what_tracing_adds_is_found() {
        let design = design(20, 3);
        let row = analyse(&design, Operation::Get, &evidence(&design, 200_000.0, 0.02)).unwrap();
        assert!(row.adds.low > 150_000.0 && row.adds.high < 250_000.0, "{row:#?}");
        assert!((row.part.value - 0.2).abs() < 0.03 && row.p < 1e-3, "{row:#?}");
        assert_eq!((row.pairs, row.void.len()), (20, 0));
    }

    /// Scenario: a hundred duets in which tracing costs nothing.
    /// Guarantees: the intervals of nearly all have 0 in them, those of the equal blocks too.
    #[test]
    fn nothing_is_not_taken_for_something() {
        let (mut effects, mut controls) = (0, 0);
        for seed in 0..100 {
            let design = design(20, seed);
            let row = analyse(&design, Operation::Get, &evidence(&design, 0.0, 0.05)).unwrap();
            effects += usize::from(!row.adds.contains(0.0));
            controls += usize::from(!row.control.unwrap().contains(0.0));
        }
        assert!(effects <= 12 && controls <= 5, "{effects} {controls}");
    }

    /// Scenario: a hundred duets in which tracing costs 2 %, on a machine where blocks differ by up to 2 %.
    /// Guarantees: at least 95 of them see it.
    #[test]
    fn two_percent_are_seen_with_twenty_pairs() {
        let seen = (0..100)
            .filter(|seed| {
                let design = design(20, *seed);
                let row = analyse(&design, Operation::Get, &evidence(&design, 20_000.0, 0.02)).unwrap();
                row.adds.low > 0.0
            })
            .count();
        assert!(seen >= 95, "{seen}");
    }

    /// Scenario: an update is a read and a write; half of the writes are not answered in time, and writes take longer.
    /// Guarantees: both are asked for, and the response time is that of the write.
    #[test]
    fn an_update_is_two_requests() {
        let design = design(20, 3);
        let mut run = evidence(&design, 200_000.0, 0.02);
        let writes: Vec<_> = run
            .requests
            .iter()
            .map(|read| {
                let mut write = read.clone();
                write.verb = Verb::Update;
                write.ended = read.intended + Duration::from_millis(6);
                write
            })
            .collect();
        run.requests.iter_mut().for_each(|read| read.verb = Verb::Get);
        run.requests.extend(writes);
        let row = analyse(&design, Operation::Update, &run).unwrap();
        assert!(row.latency.value.abs() < 1.0 && row.pairs == 20, "{row:#?}");
        let measured = measure(&design, Operation::Update, design.blocks()[0], &run).unwrap();
        assert!((measured.latency - 6e6).abs() < 1.0, "{measured:?}");
        let mut odd = false;
        run.requests.retain(|request| {
            odd ^= request.verb == Verb::Update;
            request.verb == Verb::Get || odd
        });
        let told = analyse(&design, Operation::Update, &run).unwrap_err();
        assert!(told.contains("requests were answered in time"), "{told}");
    }

    #[test]
    fn blocks_that_went_wrong_do_not_count_and_too_many_say_nothing() {
        let design = design(20, 3);
        let mut run = evidence(&design, 200_000.0, 0.02);
        let second = run.facts.load_start + Duration::from_secs(3);
        for request in run.requests.iter_mut().filter(|request| request.ended > second).take(9) {
            request.outcome = Outcome::Timeout;
        }
        let row = analyse(&design, Operation::Get, &run).unwrap();
        assert_eq!((row.pairs, row.void.len()), (19, 1), "{row:#?}");
        assert!(row.void[0].starts_with("9 requests failed"), "{row:#?}");
        for sample in &mut run.usage.0 {
            let host = sample.host.as_mut().unwrap();
            host.steal = host.total / 20;
        }
        let told = analyse(&design, Operation::Get, &run).unwrap_err();
        assert!(told.starts_with("20 of 20 pairs do not count"), "{told}");
        run.usage = Measurements::default();
        assert!(analyse(&design, Operation::Get, &run).is_err());
    }
}
