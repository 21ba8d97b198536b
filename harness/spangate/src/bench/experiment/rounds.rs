//! The rounds of an experiment: every arm once in each, kept as soon as it is measured, gone on with when they broke off.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Instant,
};

use spangate_scenario::{
    Experiment,
    experiment::{self, ExperimentArm},
};
use tokio_util::sync::CancellationToken;

use super::{
    figures::Series,
    order::order,
    report::{ExperimentReport, Told},
    stop::{Stop, method},
};
use crate::{
    bench::trouble::look_for_counts,
    error::CommandError,
    event::{Event, Events},
    measure::{Beside, Machine},
    overhead::{Arm, Key, Measured, Metric, found::MEASURED},
    report::Component,
    run::directory::{DirectoryError, RunDirectory},
    text,
};

mod time;
mod units;

pub(super) use time::unit_length;

/// What an experiment does not take from its file.
#[derive(Debug, Clone)]
pub struct ExperimentOptions {
    /// Directory in which it makes its own.
    pub out: PathBuf,
    /// The directory of one that broke off, to go on with.
    pub resume: Option<PathBuf>,
    /// The directory that the files it names are relative to.
    pub base: PathBuf,
    /// The command that repeats it.
    pub repeat: String,
}

/// A unit that is to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Task<'t> {
    /// The experiment.
    pub experiment: &'t Experiment,
    /// The arm.
    pub arm: &'t ExperimentArm,
    /// The round, from 1.
    pub round: u32,
    /// Where files may be left for as long as it is measured.
    pub directory: &'t Path,
    /// The directory that the files that the experiment names are relative to.
    pub base: &'t Path,
}

/// What came of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was started.
    pub components: Vec<Component>,
    /// The figures, or why they do not count.
    pub found: Result<Found, String>,
}

/// The figures of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Requests or spans that they are about.
    pub n: u64,
    /// The figures.
    pub figures: BTreeMap<Metric, f64>,
    /// What went on beside it, where that is known.
    pub beside: Option<Beside>,
    /// What is drawn.
    pub series: Series,
}

/// The experiment, with every default in its place.
pub const EXPERIMENT: &str = "experiment.yaml";
/// Where units have their files while they are measured.
const UNITS: &str = "units";

/// Measures an experiment, and reports it. `measure` is given what is to run at the same time, one unit or all of a round, and
/// has an outcome for each. What was measured before anything broke is kept.
pub async fn run(
    experiment: Option<Experiment>,
    options: &ExperimentOptions,
    cancel: &CancellationToken,
    measure: impl AsyncFn(&[Task<'_>]) -> Vec<Result<Outcome, CommandError>>,
    events: &Events,
) -> Result<(ExperimentReport, RunDirectory), CommandError> {
    look_for_counts()?;
    let began = jiff::Timestamp::now();
    let mut rounds = match (&options.resume, experiment) {
        (Some(directory), given) => Rounds::resume(directory, given)?,
        (None, Some(experiment)) => Rounds::begin(experiment, options, began)?,
        (None, None) => return Err(CommandError::usage("there is no experiment to run")),
    };
    let directory = rounds.directory.clone();
    let outcome = rounds.all(options, cancel, measure, events).await;
    let drawn = rounds.drawn();
    let told = Told {
        started: began.to_string(),
        seconds: rounds.spent().as_secs_f64(),
        repeat: options.repeat.clone(),
        directory: directory.path().display().to_string(),
        warnings: rounds.warnings.clone(),
    };
    let report = ExperimentReport::new(&rounds.experiment, rounds.measured, drawn, told);
    if report.measured.units.iter().any(|unit| unit.excluded.is_none()) {
        report.write(&directory)?;
    }
    match outcome {
        Ok(()) => Ok((report, directory)),
        Err(error) => {
            let path = directory.path().display();
            let error = error.in_directory(directory.path());
            Err(error.help_else(|| {
                format!("what was measured is kept; go on with `--resume {path}` when it is mended")
            }))
        }
    }
}

pub(super) fn unusable(error: DirectoryError) -> CommandError {
    CommandError::environment("the directory of the experiment cannot be used").because(error)
}

/// The rounds so far.
struct Rounds {
    experiment: Experiment,
    directory: RunDirectory,
    measured: Measured,
    warnings: Vec<String>,
    /// Arms that cannot be measured here.
    given_up: BTreeSet<String>,
    start: Instant,
    /// Units that were measured before, where a bench is gone on with.
    earlier: usize,
}

// === impl Rounds ===

impl Rounds {
    fn begin(
        experiment: Experiment,
        options: &ExperimentOptions,
        began: jiff::Timestamp,
    ) -> Result<Self, CommandError> {
        Stop::check(&experiment.spec)?;
        let time = began.strftime("%Y%m%dT%H%M%SZ").to_string();
        let name = &experiment.metadata.name;
        let directory = RunDirectory::create(&options.out, name, &time).map_err(unusable)?;
        directory.write(EXPERIMENT, &experiment.to_yaml()).map_err(unusable)?;
        let arms = experiment.spec.arms.iter().map(|arm| Arm {
            name: arm.name.clone(),
            description: arm.description.clone().unwrap_or_default(),
        });
        let measured = Measured {
            key: key(&experiment),
            reference: experiment.spec.reference.clone(),
            pairing: Some(method(&experiment.spec).pairing),
            arms: arms.collect(),
            units: Vec::new(),
        };
        let rounds = Self::of(experiment, directory, measured);
        // So that it can be gone on with, however early it breaks off.
        rounds.save()?;
        Ok(rounds)
    }

    /// Goes on with one that broke off, which must be the same one on the same machine.
    fn resume(path: &Path, given: Option<Experiment>) -> Result<Self, CommandError> {
        let directory = RunDirectory::take(path).map_err(|error| {
            CommandError::usage(format!("{} cannot be gone on with", path.display())).because(error)
        })?;
        let unreadable = |error| {
            CommandError::usage(format!("{} is not the directory of an experiment", path.display()))
                .because(error)
        };
        let text = directory.read(EXPERIMENT).map_err(unreadable)?;
        let experiment = experiment::parse(EXPERIMENT, &text)
            .map_err(|error| CommandError::usage("its experiment is not valid any more").because(error))?;
        let measured: Measured = directory.read_json(MEASURED).map_err(unreadable)?;
        if given.is_some_and(|given| given != experiment) {
            return Err(CommandError::usage("the experiment was changed since it broke off")
                .help("leave the file out to go on with what it was, or start anew without --resume"));
        }
        let here = Key { versions: measured.key.versions.clone(), ..key(&experiment) };
        if here.hash != measured.key.hash {
            return Err(CommandError::usage("this version of Spangate reads its experiment as another one")
                .help("go on with the version that began it, or start anew without --resume"));
        }
        if here != measured.key {
            let (was, is) = (&measured.key, &here);
            return Err(CommandError::usage(format!(
                "it was measured on another machine: {} cores of {}, Linux {}, and here {} of {}, Linux {}",
                was.cores, was.cpu, was.kernel, is.cores, is.cpu, is.kernel
            ))
            .help("figures of CPU time of different machines cannot be compared; start anew"));
        }
        Ok(Self::of(experiment, directory, measured))
    }

    fn of(experiment: Experiment, directory: RunDirectory, measured: Measured) -> Self {
        let (warnings, given_up) = (Vec::new(), BTreeSet::new());
        let earlier = measured.units.len();
        Self { experiment, directory, measured, warnings, given_up, start: Instant::now(), earlier }
    }

    async fn all(
        &mut self,
        options: &ExperimentOptions,
        cancel: &CancellationToken,
        measure: impl AsyncFn(&[Task<'_>]) -> Vec<Result<Outcome, CommandError>>,
        events: &Events,
    ) -> Result<(), CommandError> {
        let spec = self.experiment.spec.clone();
        for round in 1..=spec.rounds {
            if !self.affords(round) {
                self.note(
                    format!("the budget was used up after {} of {} rounds", round - 1, spec.rounds),
                    events,
                );
                return Ok(());
            }
            let order = order(spec.seed, spec.arms.len(), round).into_iter().map(|index| &spec.arms[index]);
            let order: Vec<&ExperimentArm> = order.collect();
            for group in order.chunks(if spec.at_once { order.len() } else { 1 }) {
                loop {
                    let wanted = group.iter().copied().filter(|arm| self.is_wanted(&arm.name, round));
                    let wanted: Vec<&ExperimentArm> = wanted.collect();
                    if wanted.is_empty() {
                        break;
                    }
                    if cancel.is_cancelled() {
                        return Err(CommandError::interrupted());
                    }
                    self.announce(&wanted, round, events);
                    self.measure(&wanted, round, options, &measure, events).await?;
                }
            }
            if self.is_enough(round, events) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether every arm is known as well as was asked for, so that no further round begins.
    fn is_enough(&mut self, round: u32, events: &Events) -> bool {
        let Some(stop) = Stop::of(&self.experiment.spec) else { return false };
        let within = text::percent(stop.within);
        match stop.look(&self.measured, round, &self.given_up) {
            None => false,
            Some(Ok(())) => {
                let all =
                    format!("{round} of {} rounds were enough: every arm is known within {within}", stop.cap);
                self.note(all, events);
                true
            }
            Some(Err(least)) => {
                let by =
                    least.by.map_or("not at all".to_owned(), |by| format!("within {}", text::percent(by)));
                let arm = least.arm;
                events.send(Event::Note(format!(
                    "after {round} rounds {arm} is known {by}, not yet within {within}"
                )));
                false
            }
        }
    }

    /// Tells at once, and in the report.
    fn note(&mut self, message: String, events: &Events) {
        events.send(Event::Note(message.clone()));
        self.warnings.push(message);
    }
}

/// Where the series of a unit are.
pub(super) fn series_of(arm: &str, round: u32) -> String {
    format!("series-{round}-{arm}.json")
}

/// What results must share to be compared with those of this experiment on this machine.
fn key(experiment: &Experiment) -> Key {
    let Machine { cpu, cpus, kernel } = Machine::this();
    let asked = experiment.to_yaml();
    Key {
        experiment: experiment.metadata.name.clone(),
        hash: format!("{:016x}", spangate_load::fnv1a(asked.bytes())),
        versions: BTreeMap::new(),
        cpu,
        cores: cpus,
        kernel,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use spangate_scenario::units::{Duration, Ratio};

    use super::*;
    use crate::{exit::Exit, overhead::compare::Pairing};

    fn experiment(rounds: u32) -> Experiment {
        let text = format!(
            "{{apiVersion: spangate/v1alpha1, kind: Experiment, metadata: {{name: e}}, spec: {{reference: a, \
             rounds: {rounds}, warmUp: 1s, load: {{arrivals: {{rate: 100/s, for: 2s}}, mix: [{{get: {{resource: \
             pods}}}}]}}, arms: [{{name: a}}, {{name: b}}, {{name: c}}]}}}}"
        );
        experiment::parse("e", &text).unwrap()
    }

    fn found(n: u64) -> Outcome {
        let figures = BTreeMap::from([(Metric::CpuPerRequest, 0.001)]);
        Outcome {
            components: Vec::new(),
            found: Ok(Found { n, figures, beside: None, series: Series::default() }),
        }
    }

    struct Bench {
        root: tempfile::TempDir,
        asked: RefCell<Vec<(String, u32)>>,
    }

    impl Bench {
        fn new() -> Self {
            Self { root: tempfile::tempdir().unwrap(), asked: RefCell::default() }
        }

        async fn run(
            &self,
            experiment: Option<Experiment>,
            resume: Option<PathBuf>,
            answer: impl Fn(usize, &str) -> Result<Outcome, CommandError>,
        ) -> Result<(ExperimentReport, RunDirectory), CommandError> {
            let options = ExperimentOptions {
                out: self.root.path().to_owned(),
                resume,
                base: PathBuf::new(),
                repeat: String::new(),
            };
            let (events, _told) = Events::channel();
            let measure = async |tasks: &[Task<'_>]| {
                let mut asked = self.asked.borrow_mut();
                let one = |task: &Task<'_>| {
                    asked.push((task.arm.name.clone(), task.round));
                    answer(asked.len(), &task.arm.name)
                };
                tasks.iter().map(one).collect()
            };
            run(experiment, &options, &CancellationToken::new(), measure, &events).await
        }

        fn directory(&self) -> PathBuf {
            std::fs::read_dir(self.root.path()).unwrap().next().unwrap().unwrap().path()
        }
    }

    #[tokio::test]
    async fn every_arm_is_measured_once_a_round() {
        let bench = Bench::new();
        let (report, _) = bench.run(Some(experiment(2)), None, |n, _| Ok(found(n as u64))).await.unwrap();
        let mut asked = bench.asked.borrow().clone();
        assert_eq!(asked.len(), 6);
        asked.sort();
        asked.dedup();
        assert_eq!((asked.len(), report.measured.units.len()), (6, 6));
    }

    /// Scenario: a unit does not count, and another one of the same arm does not either.
    /// Guarantees: each is measured again as often as was said, and told.
    #[tokio::test]
    async fn what_does_not_count_is_measured_again() {
        let bench = Bench::new();
        let answer = |_, arm: &str| {
            let outcome = if arm == "b" { Err("too busy".to_owned()) } else { found(1).found };
            Ok(Outcome { components: Vec::new(), found: outcome })
        };
        let (report, _) = bench.run(Some(experiment(2)), None, answer).await.unwrap();
        let of_b = report.measured.units.iter().filter(|unit| unit.arm == "b");
        assert_eq!(of_b.filter(|unit| unit.excluded.as_deref() == Some("too busy")).count(), 4);
        assert_eq!(report.exit(), Exit::Inconclusive);
    }

    /// Scenario: arms at once, of which one does not count the first time, and another one does not start from the second round
    /// on.
    /// Guarantees: they count together or not at all, and go on without the one that does not start.
    #[tokio::test]
    async fn at_once_all_count_or_none() {
        let bench = Bench::new();
        let mut asked = experiment(4);
        asked.spec.at_once = true;
        let answer = |n, arm: &str| match arm {
            "b" if n <= 3 => Ok(Outcome { components: Vec::new(), found: Err("too busy".to_owned()) }),
            "c" if n > 6 => Err(CommandError::environment("it does not start")),
            _ => Ok(found(1)),
        };
        let (report, _) = bench.run(Some(asked), None, answer).await.unwrap();
        let of = |round| report.measured.units.iter().filter(move |unit| unit.round == round);
        let counted = |round| of(round).filter(|unit| unit.excluded.is_none()).count();
        assert_eq!([1, 2, 3, 4].map(counted), [3, 0, 2, 2]);
        assert_eq!([1, 2, 3, 4].map(|round| of(round).count()), [6, 6, 2, 2]);
        let why: BTreeSet<_> = of(1).filter_map(|unit| unit.excluded.clone()).collect();
        assert_eq!(why, BTreeSet::from(["b, at the same time, does not".to_owned(), "too busy".to_owned()]));
        assert_eq!(report.comparison.method.pairing, Pairing::AtOnce);
    }

    /// Scenario: the bench breaks off at the fourth unit, and is gone on with.
    /// Guarantees: nothing is measured twice; another experiment is refused.
    #[tokio::test]
    async fn one_that_broke_off_is_gone_on_with() {
        let bench = Bench::new();
        let broken = bench
            .run(Some(experiment(2)), None, |n, _| match n {
                4 => Err(CommandError::interrupted()),
                _ => Ok(found(1)),
            })
            .await;
        assert_eq!(broken.unwrap_err().exit(), Exit::Interrupted);
        let directory = bench.directory();
        let other = bench.run(Some(experiment(3)), Some(directory.clone()), |_, _| Ok(found(1))).await;
        assert!(other.unwrap_err().to_string().contains("was changed"));
        let (report, _) = bench.run(None, Some(directory), |_, _| Ok(found(1))).await.unwrap();
        assert_eq!((bench.asked.borrow().len(), report.measured.units.len()), (7, 6));
    }

    /// Scenario: of arms at once one does not start from the second round on and is given up, the bench breaks off in the fourth,
    /// and is gone on with when the arm is mended.
    /// Guarantees: the rounds without it stay so, and are not measured again with nothing beside it; the fourth has it again.
    #[tokio::test]
    async fn an_arm_that_is_mended_is_measured_beside_the_others_only() {
        let bench = Bench::new();
        let mut asked = experiment(4);
        asked.spec.at_once = true;
        let answer = |n, arm: &str| match arm {
            "c" if n > 3 => Err(CommandError::environment("it does not start")),
            _ if n == 12 => Err(CommandError::interrupted()),
            _ => Ok(found(1)),
        };
        let broken = bench.run(Some(asked), None, answer).await.unwrap_err();
        assert_eq!((broken.exit(), bench.asked.borrow().len()), (Exit::Interrupted, 13));
        let (report, _) = bench.run(None, Some(bench.directory()), |_, _| Ok(found(1))).await.unwrap();
        assert_eq!(bench.asked.borrow().len(), 16);
        let counted = |round| {
            let of = report.measured.units.iter().filter(move |unit| unit.round == round);
            of.filter(|unit| unit.excluded.is_none()).count()
        };
        assert_eq!([1, 2, 3, 4].map(counted), [3, 0, 2, 3]);
    }

    /// Scenario: a bench with a budget of a minute breaks off after units that took half a minute each.
    /// Guarantees: when it is gone on with, what they took counts, and no further round begins.
    #[tokio::test]
    async fn a_budget_does_not_begin_anew() {
        let bench = Bench::new();
        let mut asked = experiment(2);
        asked.spec.budget = Some(Duration::from_secs(60));
        let broken = bench
            .run(Some(asked), None, |n, _| match n {
                4 => Err(CommandError::interrupted()),
                _ => Ok(found(1)),
            })
            .await;
        assert_eq!(broken.unwrap_err().exit(), Exit::Interrupted);
        let own = RunDirectory::existing(&bench.directory());
        let mut measured: Measured = own.read_json(MEASURED).unwrap();
        measured.units.iter_mut().for_each(|unit| unit.seconds = 30.0);
        own.write_json(MEASURED, &measured).unwrap();
        let (report, _) = bench.run(None, Some(bench.directory()), |_, _| Ok(found(1))).await.unwrap();
        assert_eq!(report.measured.units.len(), 3);
        assert!(
            report.warnings[0].starts_with("the budget was used up after 1 of 2"),
            "{:?}",
            report.warnings
        );
        assert!(report.seconds >= 90.0, "{}", report.seconds);
    }

    /// Scenario: a bench that breaks off before anything was measured is gone on with by two at once.
    /// Guarantees: the first one does so, and the second one is refused as long as it goes on.
    #[tokio::test]
    async fn only_one_goes_on() {
        let bench = Bench::new();
        let broken = bench.run(Some(experiment(1)), None, |_, _| Err(CommandError::interrupted())).await;
        assert_eq!(broken.unwrap_err().exit(), Exit::Interrupted);
        let directory = bench.directory();
        let (first, told) = bench.run(None, Some(directory.clone()), |_, _| Ok(found(1))).await.unwrap();
        let second = bench.run(None, Some(directory.clone()), |_, _| Ok(found(1))).await.unwrap_err();
        assert!(second.chain().contains("somebody is at work in it"), "{}", second.chain());
        drop(told);
        assert_eq!(first.measured.units.len(), 3);
        assert!(bench.run(None, Some(directory), |_, _| Ok(found(1))).await.is_ok());
    }

    /// Scenario: arms that cost the same in every round, an experiment of at most twenty rounds, and one in which the arms vary.
    /// Guarantees: the first ends at its first look, says so and is whole; the other one goes on to the end and is not green.
    #[tokio::test]
    async fn no_further_round_begins_when_all_is_known() {
        let until = |varies: f64| async move {
            let mut asked = experiment(20);
            asked.spec.until = Some(experiment::Until { within: Ratio::new_unchecked(0.05), looks: 4 });
            let bench = Bench::new();
            let answer = move |n: usize, _: &str| {
                let figures = BTreeMap::from([(
                    Metric::CpuPerRequest,
                    1e-3 * varies.powi(i32::try_from(n % 7).unwrap()),
                )]);
                let found = Found { n: 1, figures, beside: None, series: Series::default() };
                Ok(Outcome { components: Vec::new(), found: Ok(found) })
            };
            let (report, _) = bench.run(Some(asked), None, answer).await.unwrap();
            (report.measured.units.len(), report.exit(), report.warnings)
        };
        let (units, exit, told) = until(1.0).await;
        assert_eq!((units, exit), (30, Exit::Pass));
        assert!(told[0].starts_with("10 of 20 rounds were enough"), "{told:?}");
        let (units, exit, _) = until(1.5).await;
        assert_eq!((units, exit), (60, Exit::Inconclusive));
    }

    #[tokio::test]
    async fn an_arm_that_does_not_start_is_given_up_and_the_reference_is_fatal() {
        let bench = Bench::new();
        let fails = |wanted: &'static str| {
            move |_, arm: &str| match arm {
                arm if arm == wanted => Err(CommandError::environment("it does not start")),
                _ => Ok(found(1)),
            }
        };
        let (report, _) = bench.run(Some(experiment(3)), None, fails("c")).await.unwrap();
        let of = |arm: &str| report.measured.units.iter().filter(|unit| unit.arm == arm).count();
        assert_eq!((of("a"), of("b"), of("c")), (3, 3, 2));
        assert!(report.warnings[0].starts_with("c is given up: it does not start"), "{:?}", report.warnings);
        let fatal = bench.run(Some(experiment(3)), None, fails("a")).await.unwrap_err();
        assert_eq!(fatal.exit(), Exit::Environment);
        assert!(fatal.to_string().contains("reference arm a"), "{fatal}");
    }
}
