//! Runs what rests on timing alone, since two control planes on two cores would disturb each other. What mostly waits
//! and is judged by its ids and counts goes on beside others of its kind.

#![expect(clippy::print_stdout, reason = "what cargo shows of a test that fails")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use spangate::{
    event::{Event, Events},
    plan::Plan,
    report::{Report, summary},
    run::{self, RunOptions, directory::RunDirectory},
    verdict::Status,
};
use spangate_scenario::{
    Loaded,
    model::{Expectation, Provider},
};
use tokio_util::sync::CancellationToken;

/// Written to by who needs the machine for itself, read by who can share it.
static MACHINE: RwLock<()> = RwLock::new(());

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

/// What a shipped scenario came to: it is run once, whoever asks, since a saved run can be judged and falsified again.
pub(crate) fn run_scenario(name: &str) -> (Report, RunDirectory) {
    type Once = Arc<OnceLock<(Report, RunDirectory)>>;
    static RUNS: Mutex<BTreeMap<String, Once>> = Mutex::new(BTreeMap::new());
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    let run = Arc::clone(runs.entry(name.to_owned()).or_default());
    drop(runs);
    run.get_or_init(|| run_file(&root().join("scenarios").join(format!("{name}.yaml")))).clone()
}

/// Runs the scenario of a file.
pub(crate) fn run_file(path: &Path) -> (Report, RunDirectory) {
    run_plan(plan(path)).unwrap_or_else(|text| panic!("{} could not be run: {text}", path.display()))
}

/// Whether a run needs little of the machine, and no time that is measured in it is judged.
fn can_share(plan: &Plan) -> bool {
    const FEW_A_SECOND: f64 = 250.0;
    let timeless = |expectation: &Expectation| match expectation {
        Expectation::Complete(_)
        | Expectation::Conserved(_)
        | Expectation::Kept(_)
        | Expectation::Requests(_)
        | Expectation::Sampling(_)
        | Expectation::SpanMetrics(_)
        | Expectation::Stored(_) => true,
        Expectation::Spans(spans) => spans.duration.is_none(),
        _ => false,
    };
    let quiet = || plan.schedule.rate() <= FEW_A_SECOND && plan.scenario.spec.expect.iter().all(timeless);
    // A kind cluster needs all of it while it starts.
    let on_kind = plan.scenario.spec.cluster.provider == Provider::Kind;
    !on_kind && (plan.synthetic.is_some() || quiet())
}

/// The plan of a file.
pub(crate) fn plan(path: &Path) -> Plan {
    Plan::new(spangate_scenario::read(path).unwrap(), None).unwrap()
}

/// The plan of a scenario that is in no file.
pub(crate) fn plan_of(text: &str) -> Plan {
    let scenario =
        spangate_scenario::parse("a test", text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let path = root().join("a-test.yaml");
    Plan::new(Loaded { scenario, text: text.to_owned(), path }, None).unwrap()
}

/// Carries out a plan; an error is given with all of its causes.
pub(crate) fn run_plan(plan: Plan) -> Result<(Report, RunDirectory), String> {
    if !can_share(&plan) {
        return alone(carry_out(plan));
    }
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    block_on(carry_out(plan))
}

/// Carries out plans without control planes, so many of them at once; the outcomes are in the order of the plans.
pub(crate) fn run_together(plans: Vec<Plan>, at_once: usize) -> Vec<(Report, RunDirectory)> {
    let waiting = Mutex::new(plans.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        while let Some((place, plan)) = next() {
            let outcome = runtime.block_on(carry_out(plan)).unwrap_or_else(|text| panic!("{text}"));
            done.lock().unwrap_or_else(PoisonError::into_inner).push((place, outcome));
        }
    };
    alone(async {
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(work);
            }
        });
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn carry_out(plan: Plan) -> Result<(Report, RunDirectory), String> {
    let outcome = async {
        let options = RunOptions { out: out(), together: None };
        let (events, mut stream) = Events::channel();
        // A build of the binaries takes minutes: what goes on is shown when the test fails.
        let notes = tokio::spawn(async move {
            while let Some(event) = stream.recv().await {
                match event {
                    Event::Note(note) => println!("{note}"),
                    Event::Step(step) => println!("{}", step.label()),
                    _ => {}
                }
            }
        });
        let outcome = run::run(plan, &options, events, CancellationToken::new()).await;
        notes.await.unwrap();
        outcome
    };
    outcome.await.map_err(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    })
}

/// Runs something while no other run goes on.
pub(crate) fn alone<T>(work: impl Future<Output = T>) -> T {
    let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    block_on(work)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

/// Runs a shipped scenario, all of whose expectations must be met.
pub(crate) fn passes(name: &str) {
    let (report, directory) = run_scenario(name);
    let style = summary::Style { verbose: true, ..summary::Style::default() };
    let text = summary::summary(&report, directory.path(), style);
    println!("{}\n{text}", directory.path().display());
    assert_eq!(report.status, Status::Pass, "{name}:\n{text}");
}

fn out() -> PathBuf {
    root().join(RunDirectory::ROOT)
}
