//! The rounds of a gate, from the plan to the report.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use spangate_cluster::{Assets, AssetsEnv, Found};
use spangate_load::synthetic::Synthetic;
use spangate_sink::capture_file;
use spangate_trace::Clock;
use tokio_util::sync::CancellationToken;

use super::{
    judge::{Judged, judge},
    lane::{self, Files, Lane, Left},
    observe::Round,
    plan::GatePlan,
    report::GateReport,
};
use crate::{
    collector::Configuration,
    error::CommandError,
    event::{Event, Events, Step},
    report,
    run::{
        LEAD,
        directory::{DirectoryError, RunDirectory},
        environment,
        telling::Telling,
    },
    text,
};

/// What a gate does not take from its plan.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// Directory in which the gate makes its own.
    pub out: PathBuf,
    /// The command that repeats it.
    pub repeat: String,
}

/// The names of the lanes.
const LANES: [&str; 2] = ["base", "head"];

/// Runs both configurations side by side and judges the new one. Whatever happens, everything that was started is
/// ended.
pub async fn run(
    plan: Arc<GatePlan>,
    options: &GateOptions,
    events: Events,
    cancel: CancellationToken,
) -> Result<(GateReport, RunDirectory), CommandError> {
    let began = jiff::Timestamp::now();
    let time = began.strftime("%Y%m%dT%H%M%SZ").to_string();
    let directory = RunDirectory::create(&options.out, "gate", &time).map_err(unusable)?;
    let run = Box::pin(run_in(&directory, began, &plan, options, &events));
    let outcome = tokio::select! {
        outcome = run => outcome,
        // What was started ends with the future that holds it.
        () = cancel.cancelled() => Err(CommandError::interrupted()),
    };
    match outcome {
        Ok(report) => Ok((report, directory)),
        Err(error) => Err(error.in_directory(directory.path())),
    }
}

async fn run_in(
    directory: &RunDirectory,
    began: jiff::Timestamp,
    plan: &Arc<GatePlan>,
    options: &GateOptions,
    events: &Events,
) -> Result<GateReport, CommandError> {
    let start = Instant::now();
    let order = &plan.order;
    events.send(Event::Note(plan.announcement()));
    for (name, configuration) in LANES.into_iter().zip([&order.base, &order.head]) {
        directory.write(&format!("{name}.yaml"), &configuration.text).map_err(unusable)?;
    }
    let rules = order.rules.to_yaml().map_err(CommandError::bug)?;
    directory.write(RULES, &rules).map_err(unusable)?;
    directory.write_json(TRAFFIC, &order.traffic).map_err(unusable)?;
    events.step(Step::Binaries);
    let assets = Assets::new(AssetsEnv::from_process());
    let binary = environment::fetch(&assets, plan.wanted()?, false, events).await?;
    let mut rounds = Vec::new();
    for (number, synthetic) in (1..).zip(&plan.traffic) {
        events.send(Event::Note(format!("round {number} of {}", order.rounds)));
        let [base, head] = Box::pin(both(plan, (number, synthetic), &binary, directory, events)).await?;
        events.step(Step::Judge);
        rounds.push(look(plan, number, base, head, directory).await?);
    }
    let Judged { classes, costs, verdicts } = judge(&order.rules, &plan.classes, &rounds);
    let component = environment::component(&binary);
    let mut warnings = plan.warnings();
    warnings.extend(late(&rounds));
    let report = GateReport {
        api_version: report::Report::API_VERSION.to_owned(),
        kind: "GateReport".to_owned(),
        status: report::overall(&verdicts),
        base: name(&order.base),
        head: name(&order.head),
        confidence: order.rules.confidence.get(),
        classes,
        costs,
        verdicts,
        warnings,
        rounds,
        components: vec![component],
        started: began.to_string(),
        seconds: start.elapsed().as_secs_f64(),
        repeat: options.repeat.clone(),
        directory: directory.path().display().to_string(),
    };
    directory.write_json(RESULT, &report).map_err(unusable)?;
    let junit = report.junit()?;
    directory.write(RunDirectory::JUNIT, &junit).map_err(unusable)?;
    directory.write(MARKDOWN, &super::markdown::markdown(&report)).map_err(unusable)?;
    Ok(report)
}

/// Lag of the 99th percentile from which on traces came at other times than they were meant to.
const LATE: Duration = Duration::from_secs(1);

/// What a user should know where the machine could not keep up: what is foretold goes by the real times, but a
/// configuration may have decided before all of a trace was there.
fn late(rounds: &[Round]) -> Option<String> {
    let lag = rounds.iter().map(|round| round.base.lag.max(round.head.lag)).max()?;
    (lag > LATE).then(|| {
        format!(
            "one trace in a hundred was sent {} late or more: the machine is too busy",
            text::duration(lag)
        )
    })
}

/// The rules, with every default in its place.
const RULES: &str = "rules.yaml";
/// The traffic of the first round; the seeds of the others follow.
const TRAFFIC: &str = "traffic.json";
/// The report.
pub(crate) const RESULT: &str = "result.json";
/// The report for a pull request.
const MARKDOWN: &str = "result.md";

fn name(configuration: &Configuration) -> String {
    configuration.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string())
}

fn unusable(error: DirectoryError) -> CommandError {
    CommandError::environment("the directory of the gate cannot be used").because(error)
}

/// Runs both lanes at the same time. What else the machine does then happens to both.
async fn both(
    plan: &GatePlan,
    (number, synthetic): (u32, &Synthetic),
    binary: &Found,
    directory: &RunDirectory,
    events: &Events,
) -> Result<[Left; 2], CommandError> {
    events.step(Step::Collector);
    let (clock, model) = (Clock::new(), plan.model());
    let start = |name: &str, configuration| {
        let directory = lane::directory(directory.path(), number, name);
        let (model, events) = (&model, events);
        async move { Lane::start(configuration, model, binary, &directory, clock, events, None).await }
    };
    let base = start(LANES[0], &plan.order.base).await.map_err(|error| error.about(LANES[0]))?;
    let head = start(LANES[1], &plan.order.head).await.map_err(|error| error.about(LANES[1]))?;
    events.step(Step::Traces);
    let (store, planned) = (base.given(), synthetic.traces().map(|it| it.sends.len() as u64).sum());
    let telling = Telling::start(events.clone(), move || {
        let what = format!("round {number}: spans sent to each");
        Event::Progress { what, done: Some((store.len() as u64, planned)) }
    });
    let (origin, hold) = (clock.now() + LEAD, plan.hold());
    // Cancelling drops all of this, so the lanes need not know of it.
    let never = CancellationToken::new();
    // Both wait as long as the slower one needs: a Collector at rest still takes a little CPU.
    let (base_left, head_left) = tokio::join!(
        base.carry_out(synthetic, origin, hold, true, events, &never),
        head.carry_out(synthetic, origin, hold, true, events, &never),
    );
    drop(telling);
    tokio::join!(base.shutdown(), head.shutdown());
    Ok([base_left?, head_left?])
}

/// Looks at what the lanes have left, and writes it down.
async fn look(
    plan: &Arc<GatePlan>,
    number: u32,
    base: Left,
    head: Left,
    directory: &RunDirectory,
) -> Result<Round, CommandError> {
    let look = |left: Left, name: &'static str, of: fn(&GatePlan) -> &Configuration| {
        let (plan, directory) = (Arc::clone(plan), lane::directory(directory.path(), number, name));
        let looking = tokio::task::spawn_blocking(move || {
            write(&RunDirectory::existing(&directory), &left.files())?;
            Ok(left.look(of(&plan)))
        });
        async move {
            match looking.await {
                Ok(seen) => seen,
                Err(panic) => Err(CommandError::bug("the look at a round broke off").because(panic)),
            }
        }
    };
    // Both at once: what each of them takes is decided on trace by trace.
    let (base, head) = tokio::join!(
        look(base, LANES[0], |plan| &plan.order.base),
        look(head, LANES[1], |plan| &plan.order.head),
    );
    Ok(Round { number, base: base?, head: head? })
}

/// Writes down what passed a lane. What both were given is the same but for times, and the seed makes it again: only
/// the ledger of it is kept.
fn write(directory: &RunDirectory, files: &Files<'_>) -> Result<(), CommandError> {
    capture_file::write(&directory.file(RunDirectory::KEPT), files.kept)
        .map_err(|error| CommandError::environment("the capture cannot be written").because(error))?;
    directory.write_lines(RunDirectory::PASSAGES, files.passages).map_err(unusable)?;
    directory.write_lines(RunDirectory::TRACES, &files.delivery.traces).map_err(unusable)
}
