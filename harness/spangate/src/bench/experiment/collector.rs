//! Measures a unit with a Collector: synthetic traces through one lane of a gate.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use spangate_cluster::{Assets, AssetsEnv, Component, Found as Binary, Wanted};
use spangate_load::synthetic::Synthetic;
use spangate_scenario::{collector::Section, model};
use spangate_trace::{Clock, SpanId, TraceId, UnixNanos, stats};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Found, Outcome, Task,
    figures::{self, Series, Testbed},
};
use crate::{
    collector::{Configuration, TO_SINK},
    error::CommandError,
    event::{Event, Events, Step},
    gate::lane::{Lane, Left},
    measure::{Border, Follow, Measurements, Recorder},
    overhead::Metric,
    run::{LEAD, environment, telling::Telling},
    text,
};

/// The part of the time that the machine below may take.
const MOST_STOLEN: f64 = 0.02;
/// How late one export in a hundred may be though the Collector kept nobody waiting.
const MOST_LATE: Duration = Duration::from_millis(250);

/// What a unit is made of.
pub struct Prepared {
    model: model::Collector,
    configuration: Configuration,
    synthetic: Synthetic,
}

/// What was seen of a unit.
struct Seen<'s> {
    left: &'s Left,
    usage: &'s Measurements,
    /// When the first trace began.
    origin: UnixNanos,
    /// When the Collector was at rest.
    rest: (UnixNanos, UnixNanos),
    /// Whether it sends spans to the sink at all.
    sends: bool,
}

/// Reads everything that a unit needs, so that a mistake costs no time.
pub fn prepare(task: &Task<'_>) -> Result<Prepared, CommandError> {
    let spec = task.experiment.scenario(task.arm, task.round).spec;
    let (Some(model), Some(traffic)) = (spec.collector, spec.load.traces) else {
        return Err(CommandError::usage("the load is no traces, so there is no Collector to measure")
            .help("run it by `spangate bench overhead`"));
    };
    if model.container.is_some() {
        return Err(CommandError::usage(
            "a Collector is measured as a child process, and not in a container",
        )
        .help("leave `container` and `resources` out"));
    }
    let configuration = Configuration::read(&model, task.base)?;
    let traffic = model::Traffic { seed: spec.seed.wrapping_add(traffic.seed), ..traffic };
    let synthetic = Synthetic::new(&traffic)
        .map_err(|error| CommandError::usage("the traces cannot be made").because(error))?;
    Ok(Prepared { model, configuration, synthetic })
}

/// Measures a unit.
pub async fn measure(
    task: Task<'_>,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Outcome, CommandError> {
    let Prepared { model, configuration, synthetic } = prepare(&task)?;
    let binary = binary(&model, events).await?;
    let clock = Clock::new();
    events.step(Step::Collector);
    let directory = task.directory;
    let lane = Lane::start(&configuration, &model, &binary, directory, clock, events, task.arm.batch).await?;
    let follow = Follow::default();
    if let Some(pid) = lane.pid().await {
        follow.process(Measurements::COLLECTOR, pid);
    }
    // So that what others use can be told from what the sender and the sink do.
    follow.process(Measurements::HARNESS, std::process::id());
    let recorder = Recorder::start(clock, follow);
    let at_rest = clock.now();
    sleep(task.experiment.spec.quiet.idle.get()).await;
    let rest = (at_rest, clock.now());
    recorder.mark(Border::Load);
    events.step(Step::Traces);
    let (store, planned) = (lane.given(), synthetic.traces().map(|it| it.sends.len() as u64).sum());
    let telling = Telling::start(events.clone(), move || {
        let what = "spans sent".to_owned();
        Event::Progress { what, done: Some((store.len() as u64, planned)) }
    });
    let origin = clock.now() + LEAD;
    let left = lane.carry_out(&synthetic, origin, configuration.hold(), false, events, cancel).await;
    drop(telling);
    let usage = recorder.stop();
    lane.shutdown().await;
    let left = left?;
    if cancel.is_cancelled() {
        return Err(CommandError::interrupted());
    }
    let (spec, component) = (task.experiment.spec.clone(), environment::component(&binary));
    let looking = tokio::task::spawn_blocking(move || {
        let sends = sends(&configuration);
        let lost = if sends { lost(&left, &configuration) } else { None };
        let seen = Seen { left: &left, usage: &usage, origin, rest, sends };
        seen.figures(origin + spec.warm_up.get(), lost)
    });
    let found =
        looking.await.map_err(|panic| CommandError::bug("the look at a unit broke off").because(panic))?;
    Ok(Outcome { components: vec![component], found })
}

async fn binary(model: &model::Collector, events: &Events) -> Result<Binary, CommandError> {
    let spec = model.version.parse().map_err(|error| {
        CommandError::usage("the version of the Collector cannot be understood").because(error)
    })?;
    let wanted = Wanted { component: Component::Otelcol, spec, path: model.binary.clone() };
    environment::fetch(&Assets::new(AssetsEnv::from_process()), wanted, false, events).await
}

/// Whether a configuration sends any spans on.
fn sends(configuration: &Configuration) -> bool {
    TO_SINK.iter().any(|kind| configuration.config.of_type(Section::Exporters, kind).next().is_some())
}

/// Spans that were lost: those that were not taken, and those of traces that had to be kept and did not come. Nothing where
/// nobody can tell what had to be kept.
fn lost(left: &Left, configuration: &Configuration) -> Option<u64> {
    let counts = &left.delivery.counts;
    let round = left.look(configuration);
    if round.unforetold.is_some() {
        return None;
    }
    let spans: HashMap<TraceId, u64> =
        left.delivery.traces.iter().map(|trace| (trace.trace_id, u64::from(trace.sent()))).collect();
    let gone = round.traces.iter().filter(|fate| fate.whole && fate.must == Some(true) && !fate.kept);
    let gone: u64 = gone.filter_map(|fate| spans.get(&fate.trace)).sum();
    Some(counts.spans - counts.accepted + gone)
}

// === impl Seen ===

impl Seen<'_> {
    /// The figures, latencies by spans that were sent from `counts_from` on; or why they do not count.
    fn figures(&self, counts_from: UnixNanos, lost: Option<u64>) -> Result<Found, String> {
        let (left, usage, process) = (self.left, self.usage, Measurements::COLLECTOR);
        let (counts, facts) = (&left.delivery.counts, &left.facts);
        if let Some(crash) = facts.crashes.first() {
            return Err(format!("the Collector ended in the middle with {}", crash.status));
        }
        let end = left.delivery.ended;
        if let Some(stolen) = usage.stolen_between(self.origin, end).filter(|it| *it > MOST_STOLEN) {
            return Err(format!("the machine below took {} of the time for others", text::percent(stolen)));
        }
        let late = counts.lags.percentile(99.0).unwrap_or_default();
        if late > MOST_LATE && counts.waits == 0 {
            return Err(format!("the sender was late by {} though nothing held it up", text::duration(late)));
        }
        // When its counts were read the Collector had sent on all that it would.
        let until = if facts.counted > end { facts.counted } else { end };
        let until = usage.last().map_or(until, |last| last.min(until));
        if counts.spans == 0 {
            return Err("no span was sent".to_owned());
        }
        let cpu = figures::own_cpu(usage, process, (self.origin, until), Some(self.rest))?;
        let mut figures = BTreeMap::from([(Metric::CollectorCpuPerSpan, cpu / counts.spans as f64)]);
        let rss = figures::most_rss(usage, process, self.origin, until);
        figures.extend(rss.map(|rss| (Metric::CollectorRss, rss)));
        let share = |spans: u64| spans as f64 / counts.spans as f64;
        figures.extend(lost.map(|lost| (Metric::Loss, share(lost))));
        figures.insert(Metric::Refused, share(counts.spans - counts.accepted));
        if facts.untold.is_none() {
            let exporters = facts.telemetry.exporters.values();
            figures.insert(Metric::QueueFull, share(exporters.map(|it| it.enqueue_failed).sum()));
        }
        let times = if self.sends { self.times(counts_from) } else { Vec::new() };
        for (metric, share) in [(Metric::LagP50, 0.5), (Metric::LagP99, 0.99)] {
            figures.extend(stats::quantile(&times, share).map(|time| (metric, *time)));
        }
        let line = figures::line(usage, process, self.origin);
        let testbed = self.testbed(&line);
        let series = Series { curve: figures::curve(&times), line, testbed: Some(testbed) };
        let beside = usage.beside(self.origin, end);
        Ok(Found { n: counts.spans, figures, beside, series })
    }

    /// How long each span took through the Collector, in seconds, sorted.
    fn times(&self, counts_from: UnixNanos) -> Vec<f64> {
        let (given, kept) = (self.left.given.snapshot(), self.left.kept.snapshot());
        let mut sent: HashMap<(TraceId, SpanId), UnixNanos> = HashMap::with_capacity(given.rows().len());
        let of = |rows: &std::ops::Range<u32>| rows.start as usize..rows.end as usize;
        for passage in self.left.passages.iter().filter(|passage| passage.sent >= counts_from) {
            let rows = given.rows().get(of(&passage.rows)).unwrap_or_default();
            sent.extend(rows.iter().map(|row| ((row.trace_id, row.span_id), passage.sent)));
        }
        let mut seen = HashSet::new();
        let mut times = Vec::new();
        for arrival in &self.left.arrivals {
            for row in kept.rows().get(of(&arrival.rows)).unwrap_or_default() {
                let id = (row.trace_id, row.span_id);
                // One that comes twice came when it came first.
                if let Some(sent) = sent.get(&id).filter(|_| seen.insert(id)) {
                    times.push(arrival.at.since(*sent).as_secs_f64());
                }
            }
        }
        times.sort_unstable_by(f64::total_cmp);
        times
    }

    /// The columns of the testbed, over the time in which spans were sent.
    fn testbed(&self, line: &[figures::Point]) -> Testbed {
        let seconds = self.left.delivery.ended.since(self.origin).as_secs_f64();
        let within: Vec<_> = line.iter().filter(|point| (0.0..=seconds).contains(&point.at)).collect();
        let mean = |get: fn(&figures::Point) -> f64| {
            within.iter().map(|point| get(point)).sum::<f64>() / within.len().max(1) as f64
        };
        let most =
            |get: fn(&figures::Point) -> f64| within.iter().map(|point| get(point)).fold(0.0, f64::max);
        Testbed {
            seconds,
            cpu_avg: mean(|point| point.cpu),
            cpu_max: most(|point| point.cpu),
            ram_avg: mean(|point| point.rss),
            ram_max: most(|point| point.rss),
            sent: self.left.delivery.counts.spans,
            received: self.left.kept.stats().stored_spans,
            late: self.left.delivery.counts.lags.percentile(99.0).unwrap_or_default().as_secs_f64(),
        }
    }
}
