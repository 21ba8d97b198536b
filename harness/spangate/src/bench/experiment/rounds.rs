//! The rounds of an experiment: every arm once in each, kept as soon as it is measured, gone on with when they broke off.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use spangate_scenario::{
    Experiment,
    experiment::{self, ExperimentArm},
};
use tokio_util::sync::CancellationToken;

use super::{
    figures::Series,
    order::order,
    report::{Drawn, ExperimentReport, Told},
};
use crate::{
    bench::report::Machine,
    error::CommandError,
    event::{Event, Events},
    exit::Exit,
    overhead::{Arm, Key, Measured, Metric, Unit, found::MEASURED},
    report::Component,
    run::directory::{DirectoryError, RunDirectory},
};

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
    /// What is drawn.
    pub series: Series,
}

/// The experiment, with every default in its place.
pub const EXPERIMENT: &str = "experiment.yaml";
/// Where units have their files while they are measured.
const UNITS: &str = "units";
/// How far the wall clock may go from the time that was measured: more of it, and the machine slept or its clock was set.
const CLOCKS: Duration = Duration::from_secs(1);
/// Free space that a unit needs at least, in bytes.
const SPACE: u64 = 256 << 20;

/// Measures an experiment, each unit by `measure`, and reports it. What was measured before anything broke is kept.
pub async fn run(
    experiment: Option<Experiment>,
    options: &ExperimentOptions,
    cancel: &CancellationToken,
    measure: impl AsyncFn(Task<'_>) -> Result<Outcome, CommandError>,
    events: &Events,
) -> Result<(ExperimentReport, RunDirectory), CommandError> {
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
        seconds: rounds.start.elapsed().as_secs_f64(),
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
    /// How long units took, those included that do not count.
    took: Vec<Duration>,
}

// === impl Rounds ===

impl Rounds {
    fn begin(
        experiment: Experiment,
        options: &ExperimentOptions,
        began: jiff::Timestamp,
    ) -> Result<Self, CommandError> {
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
            arms: arms.collect(),
            units: Vec::new(),
        };
        Ok(Self::of(experiment, directory, measured))
    }

    /// Goes on with one that broke off, which must be the same one on the same machine.
    fn resume(path: &Path, given: Option<Experiment>) -> Result<Self, CommandError> {
        let directory = RunDirectory::existing(path);
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
        Self { experiment, directory, measured, warnings, given_up, start: Instant::now(), took: Vec::new() }
    }

    async fn all(
        &mut self,
        options: &ExperimentOptions,
        cancel: &CancellationToken,
        measure: impl AsyncFn(Task<'_>) -> Result<Outcome, CommandError>,
        events: &Events,
    ) -> Result<(), CommandError> {
        let spec = self.experiment.spec.clone();
        for round in 1..=spec.rounds {
            if !self.affords(round) {
                let message = format!("the budget was used up after {} of {} rounds", round - 1, spec.rounds);
                events.send(Event::Note(message.clone()));
                self.warnings.push(message);
                return Ok(());
            }
            for index in order(spec.seed, spec.arms.len(), round) {
                let arm = &spec.arms[index];
                while !self.given_up.contains(&arm.name) && self.is_wanted(&arm.name, round) {
                    if cancel.is_cancelled() {
                        return Err(CommandError::interrupted());
                    }
                    self.announce(arm, round, events);
                    self.one(arm, round, options, &measure, events).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether a unit of an arm is to be measured, perhaps again.
    fn is_wanted(&self, arm: &str, round: u32) -> bool {
        let mut tries = 0;
        for unit in self.measured.units.iter().filter(|unit| unit.arm == arm && unit.round == round) {
            if unit.excluded.is_none() {
                return false;
            }
            tries += 1;
        }
        tries <= self.experiment.spec.retries
    }

    /// Whether there is time for a round: as long as the ones before took.
    fn affords(&self, round: u32) -> bool {
        let Some(budget) = self.experiment.spec.budget else { return true };
        let arms = u32::try_from(self.experiment.spec.arms.len()).unwrap_or(u32::MAX);
        round == 1 || self.start.elapsed() + self.typical() * arms <= budget.get()
    }

    /// How long a unit takes.
    fn typical(&self) -> Duration {
        let count = u32::try_from(self.took.len()).unwrap_or(u32::MAX);
        let sum: Duration = self.took.iter().sum();
        sum.checked_div(count).unwrap_or_else(|| {
            let length = self
                .experiment
                .spec
                .load
                .length()
                .map_or(Duration::ZERO, spangate_scenario::units::Duration::get);
            length + self.experiment.spec.quiet.within.get()
        })
    }

    fn announce(&self, arm: &ExperimentArm, round: u32, events: &Events) {
        let spec = &self.experiment.spec;
        let wanted = (1..=spec.rounds).flat_map(|round| spec.arms.iter().map(move |arm| (arm, round)));
        let left = wanted
            .filter(|(arm, round)| !self.given_up.contains(&arm.name) && self.is_wanted(&arm.name, *round))
            .count();
        let mut time = self.typical() * u32::try_from(left).unwrap_or(u32::MAX);
        if let Some(budget) = spec.budget {
            time = time.min(budget.get().saturating_sub(self.start.elapsed()));
        }
        events.send(Event::Note(format!(
            "round {round} of {}, {}: {left} units and about {} min to go",
            spec.rounds,
            arm.name,
            time.as_secs().div_ceil(60)
        )));
    }

    /// Measures one unit and keeps it.
    async fn one(
        &mut self,
        arm: &ExperimentArm,
        round: u32,
        options: &ExperimentOptions,
        measure: &impl AsyncFn(Task<'_>) -> Result<Outcome, CommandError>,
        events: &Events,
    ) -> Result<(), CommandError> {
        self.look_for_space()?;
        let directory = self.directory.file(UNITS);
        let (began, start) = (jiff::Timestamp::now(), Instant::now());
        let task =
            Task { experiment: &self.experiment, arm, round, directory: &directory, base: &options.base };
        let outcome = measure(task).await;
        let (taken, wall) = (start.elapsed(), jiff::Timestamp::now().duration_since(began));
        // What the unit left is in its figures now.
        let _ = std::fs::remove_dir_all(&directory);
        self.took.push(taken);
        let (components, found, error) = match outcome {
            Ok(Outcome { components, found }) => (components, found, None),
            Err(error) if error.exit() == Exit::Environment => (Vec::new(), Err(error.chain()), Some(error)),
            Err(error) => return Err(error),
        };
        let found = found.and_then(|found| clocks_agree(taken, wall).map(|()| found));
        let mut unit = Unit {
            arm: arm.name.clone(),
            round,
            began_ms: u64::try_from(began.as_millisecond()).unwrap_or_default(),
            n: 0,
            figures: BTreeMap::new(),
            excluded: None,
        };
        match found {
            Ok(found) => {
                (unit.n, unit.figures) = (found.n, found.figures);
                let name = series_of(&arm.name, round);
                self.directory.write_json(&name, &found.series).map_err(unusable)?;
            }
            Err(why) => {
                events.send(Event::Note(format!("{} of round {round} does not count: {why}", arm.name)));
                unit.excluded = Some(why);
            }
        }
        for component in components {
            let versions = self.measured.key.versions.entry(component.name).or_default();
            if !versions.split(", ").any(|version| version == component.version) {
                let comma = if versions.is_empty() { "" } else { ", " };
                *versions = format!("{versions}{comma}{}", component.version);
            }
        }
        self.measured.units.push(unit);
        self.save()?;
        match error {
            Some(error) if !self.is_wanted(&arm.name, round) => self.give_up(arm, error, events),
            _ => Ok(()),
        }
    }

    /// Leaves out an arm that cannot be measured; without the reference there is nothing to compare with.
    fn give_up(
        &mut self,
        arm: &ExperimentArm,
        error: CommandError,
        events: &Events,
    ) -> Result<(), CommandError> {
        if arm.name == self.experiment.spec.reference {
            return Err(error.about(&format!("the reference arm {} cannot be measured", arm.name)));
        }
        let message = format!("{} is given up: {}", arm.name, error.chain());
        events.send(Event::Note(message.clone()));
        self.warnings.push(message);
        self.given_up.insert(arm.name.clone());
        Ok(())
    }

    /// Puts what was measured where it survives anything: beside the old file first.
    fn save(&self) -> Result<(), CommandError> {
        let fresh = format!("{MEASURED}.new");
        self.directory.write_json(&fresh, &self.measured).map_err(unusable)?;
        std::fs::rename(self.directory.file(&fresh), self.directory.file(MEASURED))
            .map_err(|error| CommandError::environment("what was measured cannot be kept").because(error))
    }

    /// What is drawn of the units that count, as far as it is there.
    fn drawn(&self) -> Vec<Drawn> {
        let counted = self.measured.units.iter().filter(|unit| unit.excluded.is_none());
        counted
            .filter_map(|unit| {
                let series = self.directory.read_json(&series_of(&unit.arm, unit.round)).ok()?;
                Some(Drawn { arm: unit.arm.clone(), series })
            })
            .collect()
    }

    fn look_for_space(&self) -> Result<(), CommandError> {
        let Ok(disk) = rustix::fs::statvfs(self.directory.path()) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= SPACE {
            return Ok(());
        }
        let (path, free) = (self.directory.path().display(), free >> 20);
        Err(CommandError::environment(format!("the disk is nearly full: {free} MiB are free at {path}"))
            .help(format!("free {} MiB, then go on with `--resume {path}`", SPACE >> 20)))
    }
}

/// Where the series of a unit are.
pub(super) fn series_of(arm: &str, round: u32) -> String {
    format!("series-{round}-{arm}.json")
}

/// Finds a machine that slept, or a clock that was set: the time that was measured is not the one that went by.
fn clocks_agree(taken: Duration, wall: jiff::SignedDuration) -> Result<(), String> {
    let apart = wall.as_secs_f64() - taken.as_secs_f64();
    if apart.abs() <= CLOCKS.as_secs_f64() {
        return Ok(());
    }
    Err(format!("the machine slept or its clock was set: {apart:+.1} s by the wall clock"))
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

    use super::*;

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
        Outcome { components: Vec::new(), found: Ok(Found { n, figures, series: Series::default() }) }
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
            let measure = async |task: Task<'_>| {
                let mut asked = self.asked.borrow_mut();
                asked.push((task.arm.name.clone(), task.round));
                answer(asked.len(), &task.arm.name)
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

    #[test]
    fn a_machine_that_slept_is_noticed() {
        let wall = |seconds| jiff::SignedDuration::from_secs(seconds);
        assert!(clocks_agree(Duration::from_secs(30), wall(30)).is_ok());
        let slept = clocks_agree(Duration::from_secs(30), wall(3630)).unwrap_err();
        assert!(slept.contains("+3600.0 s"), "{slept}");
        assert!(clocks_agree(Duration::from_secs(30), wall(-5)).is_err());
    }
}
