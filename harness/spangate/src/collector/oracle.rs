//! What a Collector's configuration keeps of the spans that it was given.
//!
//! Each pipeline of traces is a chain of processors. Samplers are worked out again ([`spangate_trace::collector`]);
//! what only delays makes arrivals less certain; of what changes or drops spans in other ways nothing is foretold.

use std::{collections::HashMap, time::Duration};

use spangate_scenario::collector::{Config, Id, Pipeline, Section};
use spangate_trace::{
    Capture, Span, Surroundings, TraceId, UnixNanos,
    collector::{
        Arrival, BatchView, Decision, Dependence, Foretold, OrderEffect, Passed, Presence,
        ProbabilisticSampler, ProbabilisticSamplerConfig, SpanView, TailSampler, TailSamplingConfig,
        TraceView, parse_duration,
    },
};

use super::is_fed;

/// How far the Collector's ticks may be late on a busy machine.
const LATE: Duration = Duration::from_millis(100);
/// How long `batch` waits for more by default (`batchprocessor@v0.161.0/factory.go`).
const BATCH_TIMEOUT: Duration = Duration::from_millis(200);

/// The samplers of a configuration, pipeline by pipeline.
pub struct Oracle {
    chains: Vec<Chain>,
}

/// The processors of one pipeline.
struct Chain {
    pipeline: String,
    links: Vec<Link>,
}

/// What a processor does to spans.
enum Link {
    Tail(Box<TailSampler>),
    Probabilistic(Box<ProbabilisticSampler>),
    /// It keeps them for up to so long.
    Delays(Duration),
}

/// Why nothing can be foretold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unforetold(String);

/// Spans of one trace that came together, as the Collector was given them.
#[derive(Debug, Clone)]
pub struct Given {
    /// When, at the earliest.
    pub at: UnixNanos,
    /// When, at the latest.
    pub by: UnixNanos,
    /// The trace.
    pub trace: TraceId,
    /// Their rows in the capture.
    pub rows: Vec<usize>,
}

/// What must become of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Must {
    /// It must not reach the sink.
    BeDropped,
    /// Nobody can tell.
    Open(Why),
    /// It must reach the sink.
    BeKept,
}

/// Why nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It depends on which of two exports came first that were under way at once.
    Order,
    /// It depends on when the Collector's ticks fall.
    Ticks,
    /// It depends on what is still in memory.
    Memory,
    /// It depends on how much else there was at the time.
    Clock,
    /// It depends on a condition that is not evaluated here, or on sizes that are not known.
    Unsupported,
}

/// What is foretold of a run.
pub struct Forecast {
    /// For each row of the capture that was given.
    pub rows: HashMap<usize, Must>,
    /// Where the clock has a say: how many traces and spans may pass. Nothing where that is not known either.
    pub passed: Option<Passed>,
    /// Whether the order of policies has an effect, and which.
    pub order: Vec<OrderEffect>,
}

// === impl Oracle ===

impl Oracle {
    /// The samplers of the pipelines that receive OTLP and export to the sink.
    pub fn new(config: &Config) -> Result<Self, Unforetold> {
        let pipelines = config.pipelines().iter().filter(|pipeline| pipeline.signal() == "traces");
        let pipelines = pipelines.filter(|pipeline| exports(pipeline) && is_fed(config, pipeline));
        let chains = pipelines.map(|pipeline| Chain::new(config, pipeline));
        let chains = chains.collect::<Result<Vec<_>, _>>()?;
        if chains.is_empty() {
            return Err(Unforetold("the configuration has no pipeline of traces to the sink".to_owned()));
        }
        Ok(Self { chains })
    }

    /// Whether any of the pipelines samples.
    pub fn samples(&self) -> bool {
        let is_sampler = |link: &Link| !matches!(link, Link::Delays(_));
        self.chains.iter().any(|chain| chain.links.iter().any(is_sampler))
    }

    /// Every tail sampler, with the pipeline that it is in.
    pub fn tail_samplers(&self) -> impl Iterator<Item = (&str, &TailSampler)> {
        self.chains.iter().flat_map(|chain| {
            chain.links.iter().filter_map(|link| match link {
                Link::Tail(sampler) => Some((chain.pipeline.as_str(), &**sampler)),
                Link::Probabilistic(_) | Link::Delays(_) => None,
            })
        })
    }

    /// What must become of the spans of `capture` that were `given`, in the order of time; at `stop` the Collector is
    /// asked to end.
    pub fn foretell(&self, capture: &Capture, given: &[Given], stop: Option<UnixNanos>) -> Forecast {
        let spans: HashMap<usize, (Span, Surroundings)> = given
            .iter()
            .flat_map(|given| &given.rows)
            .map(|row| (*row, (capture.span(*row), capture.surroundings(*row))))
            .collect();
        let mut forecast = Forecast { rows: HashMap::new(), passed: None, order: Vec::new() };
        for chain in &self.chains {
            let of_chain = chain.foretell(&spans, given, stop, &mut forecast);
            for (row, must) in of_chain {
                // One pipeline that keeps it is enough.
                forecast.rows.entry(row).and_modify(|known| *known = must.max(*known)).or_insert(must);
            }
        }
        if self.chains.len() > 1 {
            // How much one of them lets through says nothing of how much all do.
            forecast.passed = None;
        }
        forecast
    }
}

/// Whether what a pipeline lets through gets to the sink.
fn exports(pipeline: &Pipeline) -> bool {
    let to_sink = |id: &Id| super::TO_SINK.contains(&id.kind());
    pipeline.exporters().iter().any(|exporter| to_sink(exporter.id()))
}

// === impl Chain ===

impl Chain {
    fn new(config: &Config, pipeline: &Pipeline) -> Result<Self, Unforetold> {
        let name = pipeline.id().to_string();
        if pipeline
            .receivers()
            .iter()
            .any(|it| config.component(Section::Receivers, &it.id().to_string()).is_none())
        {
            return Err(Unforetold(format!(
                "the pipeline {name} is fed by a connector, which is not foretold"
            )));
        }
        let links = pipeline.processors().iter().map(|it| Link::new(config, it.id(), &name));
        let links: Vec<Link> = links.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let tails = links.iter().filter(|link| matches!(link, Link::Tail(_))).count();
        if tails > 1 {
            return Err(Unforetold(format!(
                "the pipeline {name} has two tail samplers, which is not foretold"
            )));
        }
        Ok(Self { pipeline: name, links })
    }

    fn foretell(
        &self,
        spans: &HashMap<usize, (Span, Surroundings)>,
        given: &[Given],
        stop: Option<UnixNanos>,
        forecast: &mut Forecast,
    ) -> HashMap<usize, Must> {
        let view = |row: &usize| {
            let (span, around) = &spans[row];
            SpanView { span, trace_state: &around.trace_state, flags: around.flags }
        };
        let mut fates: HashMap<usize, Must> = spans.keys().map(|row| (*row, Must::BeKept)).collect();
        let mut delay = Duration::ZERO;
        for link in &self.links {
            match link {
                Link::Delays(time) => delay += *time,
                Link::Probabilistic(sampler) => {
                    // It keeps some of what was counted before.
                    forecast.passed = None;
                    for (row, must) in &mut fates {
                        if !sampler.keeps(&view(row)) {
                            *must = Must::BeDropped;
                        }
                    }
                }
                Link::Tail(sampler) => {
                    let mut came = Vec::new();
                    let mut rows: Vec<Vec<usize>> = Vec::new();
                    for one in given {
                        // What was dropped before never comes here; what may have been makes all uncertain.
                        let here: Vec<usize> =
                            one.rows.iter().copied().filter(|row| fates[row] == Must::BeKept).collect();
                        if here.is_empty() {
                            continue;
                        }
                        let batch = BatchView {
                            resource: std::borrow::Cow::Borrowed(&spans[&here[0]].1.resource),
                            spans: here.iter().map(view).collect(),
                            bytes: None,
                        };
                        came.push(Arrival { at: one.at, by: one.by + delay, id: one.trace, batch });
                        rows.push(here);
                    }
                    let mut settled = true;
                    for told in sampler.foretell(&came, LATE, stop) {
                        settled &= is_settled(&told);
                        for (arrival, presence) in &told.arrivals {
                            let must = of_arrival(
                                told.decisions.certain(),
                                *presence,
                                told.remembered,
                                told.depends,
                            );
                            rows[*arrival].iter().for_each(|row| {
                                fates.insert(*row, must);
                            });
                        }
                    }
                    // Bounds are of traces that are whole when they are decided on, each of them once.
                    if settled && !sampler.is_exact() {
                        forecast.passed = Some(bounds(sampler, &came));
                    }
                    forecast.order.extend(sampler.order_effects());
                }
            }
        }
        tracing::debug!(pipeline = self.pipeline, spans = fates.len(), "foretold");
        fates
    }
}

/// What must become of the spans of an arrival.
fn of_arrival(decision: Option<Decision>, presence: Presence, remembered: bool, depends: Dependence) -> Must {
    let why = match depends {
        Dependence::Order => Why::Order,
        Dependence::Arrivals | Dependence::Ticks => Why::Ticks,
        Dependence::Memory => Why::Memory,
        Dependence::Clock => Why::Clock,
        Dependence::Sizes | Dependence::Unsupported => Why::Unsupported,
    };
    match (decision, presence) {
        (None, _) => Must::Open(why),
        // A trace that is forgotten is decided on anew, by its late spans alone.
        (Some(_), Presence::Late | Presence::Uncertain) if !remembered => Must::Open(Why::Memory),
        (Some(Decision::Sampled), _) => Must::BeKept,
        (Some(_), _) => Must::BeDropped,
    }
}

/// Whether a trace is decided on once, and with all of its spans.
fn is_settled(told: &Foretold) -> bool {
    let in_time = |(_, presence): &(usize, Presence)| *presence == Presence::InTime;
    told.depends != Dependence::Memory && told.arrivals.iter().all(in_time)
}

/// How much may pass where the clock has a say.
fn bounds(sampler: &TailSampler, came: &[Arrival<'_>]) -> Passed {
    let mut traces: HashMap<TraceId, Vec<BatchView<'_>>> = HashMap::new();
    for arrival in came {
        traces.entry(arrival.id).or_default().push(arrival.batch.clone());
    }
    let views: Vec<TraceView<'_>> =
        traces.into_iter().map(|(id, batches)| TraceView::new(id, batches)).collect();
    let first = came.iter().map(|arrival| arrival.at).min();
    let last = came.iter().map(|arrival| arrival.by).max();
    let over = last.zip(first).map_or(Duration::ZERO, |(last, first)| last.since(first));
    // Decisions come at ticks, a second apart.
    sampler.passed(&views, over + Duration::from_secs(2))
}

// === impl Link ===

impl Link {
    /// What a processor does; nothing where it passes spans on as they are.
    fn new(config: &Config, id: &Id, pipeline: &str) -> Result<Option<Self>, Unforetold> {
        let unforetold = |why: String| Unforetold(format!("the processor {id} of {pipeline}: {why}"));
        match id.kind() {
            "tail_sampling" => {
                let read: TailSamplingConfig = body(config, id)?;
                let sampler = TailSampler::new(read).map_err(|error| unforetold(error.to_string()))?;
                Ok(Some(Self::Tail(Box::new(sampler))))
            }
            "probabilistic_sampler" => {
                let read: ProbabilisticSamplerConfig = body(config, id)?;
                let sampler =
                    ProbabilisticSampler::new(&read).map_err(|error| unforetold(error.to_string()))?;
                Ok(Some(Self::Probabilistic(Box::new(sampler))))
            }
            "batch" => {
                let component = config.component(Section::Processors, &id.to_string());
                let timeout = component.and_then(|component| component.text(&["timeout"]));
                let timeout = timeout.and_then(|text| parse_duration(text).ok());
                Ok(Some(Self::Delays(timeout.unwrap_or(BATCH_TIMEOUT))))
            }
            "memory_limiter" => Ok(None),
            kind => Err(unforetold(format!("what a `{kind}` does is not foretold"))),
        }
    }
}

/// The configuration of a processor.
fn body<T: serde::de::DeserializeOwned>(config: &Config, id: &Id) -> Result<T, Unforetold> {
    match config.get(Section::Processors, &id.to_string()) {
        Some(Ok(read)) => Ok(read),
        Some(Err(diagnostics)) => {
            let all: Vec<String> = diagnostics.problems().iter().map(ToString::to_string).collect();
            Err(Unforetold(format!("the processor {id} cannot be read: {}", all.join("; "))))
        }
        None => Err(Unforetold(format!("the processor {id} has no configuration"))),
    }
}
