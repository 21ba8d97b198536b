//! Two configurations measured at the same time: the gate's own experiment.
//!
//! From one start of an API server to the next CPU time a request differs by a tenth, mostly because of what the machine does
//! at that time. So both servers run at the same time, each with an etcd, a sink and a load of its own, the same one; what
//! the machine does is then in both, and the ratio of the two differs far less. A round is one start of both, and the unit
//! of sampling; what was measured of one is plain data.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::civil::Date;
use spangate_trace::stats::{Sequential, effect::fewest};
use tokio_util::sync::CancellationToken;

use self::{figures::both, side::Side};
use super::{
    Arm, Key, Measured, OverheadReport, OverheadRules, Unit,
    compare::{Pairing, would_show},
    found::MEASURED,
    gate::{Look, look},
    simulate::Noise,
};
use crate::{
    bench::{
        experiment::order::order,
        trouble::{Stretch, look_for_counts, look_for_space},
    },
    error::CommandError,
    event::{Event, Events},
    exit::Exit,
    gate::rounds::RESULT,
    measure::Machine,
    plan::Plan,
    report::Component,
    run::{
        directory::{DirectoryError, RunDirectory},
        together,
    },
    saved,
    verdict::{Status, Verdict},
};

mod figures;
pub mod side;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The old configuration.
    pub base: Side,
    /// The new one.
    pub head: Side,
    /// The rules.
    pub rules: OverheadRules,
    /// The most rounds.
    pub rounds: u32,
    /// How often to look at what was measured, the end included; [`Pair::LOOKS`] is what a gate does.
    pub looks: u32,
    /// The beginning of the load that does not count.
    pub warm_up: Duration,
    /// The seed of the load; that of a round is so many more.
    pub seed: u64,
}

/// What a gate does not take from what it compares.
#[derive(Debug, Clone)]
pub struct PairOptions {
    /// Directory in which the gate makes its own.
    pub out: PathBuf,
    /// The command that repeats it.
    pub repeat: String,
}

/// The report for people who read it elsewhere.
const MARKDOWN: &str = "result.md";
/// Rounds in a row that may fail before the gate is given up.
const FAILURES: u32 = 3;
/// What a round takes besides its load: two control planes that start, and that end.
const BESIDE: Duration = Duration::from_secs(14);

// === impl Pair ===

impl Pair {
    /// The most rounds unless others are asked for.
    pub const ROUNDS: u32 = 20;
    /// How often a gate looks at what it has: half-way, and at the end.
    pub const LOOKS: u32 = 2;

    /// When to look.
    pub fn looks(&self) -> Sequential {
        Sequential { looks: self.looks, ..Self::looks_of(&self.rules, self.rounds) }
    }

    /// When a gate looks, with these rules and so many rounds.
    pub fn looks_of(rules: &OverheadRules, rounds: u32) -> Sequential {
        Sequential { confidence: rules.confidence.get(), looks: Self::LOOKS, cap: rounds }
    }

    /// What a user should know beforehand: how long it takes, and what it can see.
    pub fn announcement(&self) -> String {
        let plan = self.looks();
        let round = self.base.length() + BESIDE;
        let first = plan.at().first().copied().unwrap_or(self.rounds);
        let minutes = |rounds: u32| (round * rounds).as_secs().div_ceil(60);
        let spread = Noise::BUSY.at_once();
        let least = |rounds: u32| would_show(spread, rounds, plan.each());
        format!(
            "up to {} rounds, about {} min; it ends after {first}, about {} min, if that is enough. Where pairs vary by \
             {:.1}%, as they do on a busy machine of two cores, {first} rounds show a change of CPU time by {}, and {} \
             rounds one by {}, in 4 of 5 gates",
            self.rounds,
            minutes(self.rounds),
            minutes(first),
            spread * 100.0,
            least(first),
            self.rounds,
            least(self.rounds),
        )
    }

    /// Both plans of a round.
    fn plans(&self, round: u32) -> Result<[Plan; 2], CommandError> {
        let seed = self.seed.wrapping_add(u64::from(round));
        Ok([self.base.plan(seed)?, self.head.plan(seed)?])
    }

    /// Says what keeps the two from being compared.
    pub fn check(&self) -> Result<(), CommandError> {
        let [base, head] = self.plans(0)?;
        let prints = [&base, &head].map(|plan| plan.view().load.fingerprint);
        if prints[0] != prints[1] {
            return Err(CommandError::usage("base and head are sent different loads")
                .help("give both scenarios the same spec.load"));
        }
        for (side, plan) in [(&self.base, &base), (&self.head, &head)] {
            if plan.on_kind() || plan.synthetic.is_some() || plan.replay.is_some() {
                return Err(CommandError::usage(format!(
                    "{} cannot be measured: it must send `arrivals` to a control plane of `provider: local`",
                    side.file
                )));
            }
        }
        if self.base.length() <= self.warm_up {
            return Err(CommandError::usage("the load is over before its warm-up is")
                .help("send it for longer, or make --warm-up shorter"));
        }
        if !(2..=1_000).contains(&self.rounds) {
            return Err(CommandError::usage(format!("--rounds must be 2 to 1000, got {}", self.rounds)));
        }
        let needed = fewest(self.looks().each());
        if u64::from(self.rounds) < needed {
            return Err(CommandError::usage(format!(
                "{} rounds can never decide a rule at a confidence of {}: {needed} can",
                self.rounds, self.rules.confidence
            )));
        }
        Ok(())
    }

    fn nothing(&self) -> Result<Measured, CommandError> {
        let Machine { cpu, cpus, kernel } = Machine::this();
        let [base, head] = self.plans(0)?;
        // Both sides and the load: figures over time are of the same thing.
        let asked = format!(
            "{}\n{}\n{}\n{}",
            side::print(&base),
            side::print(&head),
            base.view().load.fingerprint,
            self.warm_up.as_millis()
        );
        let arm = |name: &str, side: &Side| Arm { name: name.to_owned(), description: side.describe() };
        Ok(Measured {
            key: Key {
                experiment: base.scenario.metadata.name.clone(),
                hash: format!("{:016x}", spangate_load::fnv1a(asked.bytes())),
                versions: BTreeMap::new(),
                cpu,
                cores: cpus,
                kernel,
            },
            reference: ARMS[0].to_owned(),
            pairing: Some(Pairing::AtOnce),
            arms: vec![arm(ARMS[0], &self.base), arm(ARMS[1], &self.head)],
            units: Vec::new(),
        })
    }
}

/// The day by which acknowledgements are good or not.
fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The names of the arms.
const ARMS: [&str; 2] = ["base", "head"];

/// Measures both configurations, and judges the new one. What was measured before anything broke is kept.
pub async fn run(
    pair: &Pair,
    options: &PairOptions,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<(OverheadReport, RunDirectory), CommandError> {
    look_for_counts()?;
    let began = jiff::Timestamp::now();
    let time = began.strftime("%Y%m%dT%H%M%SZ").to_string();
    let directory = RunDirectory::create(&options.out, "gate", &time).map_err(unusable)?;
    let mut rounds =
        Rounds { pair, directory: &directory, events, cancel, measured: pair.nothing()?, failed: 0 };
    events.send(Event::Note(pair.announcement()));
    let start = Instant::now();
    let outcome = rounds.all().await;
    let said = match &outcome {
        Ok(said) => said.clone(),
        Err(_) => rounds.broken_off(),
    };
    let mut report = OverheadReport::new(said, pair.rules.clone(), began.to_string(), options.repeat.clone());
    report.seconds = start.elapsed().as_secs_f64();
    report.directory = directory.path().display().to_string();
    let written = write(&report, &directory);
    // What broke it comes before what that left.
    outcome.map_err(|error| error.in_directory(directory.path()))?;
    written?;
    Ok((report, directory))
}

/// Writes every form of the report.
fn write(report: &OverheadReport, directory: &RunDirectory) -> Result<(), CommandError> {
    directory.write_json(RESULT, report).map_err(unusable)?;
    directory.write(RunDirectory::JUNIT, &report.junit()?).map_err(unusable)?;
    directory.write(MARKDOWN, &report.markdown()).map_err(unusable)
}

fn unusable(error: DirectoryError) -> CommandError {
    CommandError::environment("the directory of the gate cannot be used").because(error)
}

/// The rounds so far.
struct Rounds<'r> {
    pair: &'r Pair,
    directory: &'r RunDirectory,
    events: &'r Events,
    cancel: &'r CancellationToken,
    measured: Measured,
    /// Rounds in a row that could not be measured.
    failed: u32,
}

// === impl Rounds ===

impl Rounds<'_> {
    /// Rounds until a look decides, or there are as many as there may be. Those that do not count are made up for, half as
    /// many again at most.
    async fn all(&mut self) -> Result<Look, CommandError> {
        let (pair, plan) = (self.pair, self.pair.looks());
        let (mut counted, mut round) = (0, 0);
        while counted < pair.rounds && round < pair.rounds + pair.rounds.div_ceil(2) {
            if self.cancel.is_cancelled() {
                return Err(CommandError::interrupted());
            }
            round += 1;
            self.events.send(Event::Note(format!("round {} of up to {}", counted + 1, pair.rounds)));
            if !self.one(round).await? {
                continue;
            }
            counted += 1;
            if plan.looks_at(counted) {
                let said = look(&self.measured, &pair.rules, &plan, today());
                if said.is_decided() || counted == pair.rounds {
                    return Ok(said);
                }
                let open = said.verdicts.iter().flat_map(|verdict| &verdict.reasons).next();
                let why = open.map_or("", String::as_str);
                self.events.send(Event::Note(format!("{counted} rounds do not decide it: {why}")));
            }
        }
        Ok(look(&self.measured, &pair.rules, &plan, today()))
    }

    /// What is said of the rounds of a gate that broke off: nothing that could be green or red, since nobody was to look then.
    fn broken_off(&self) -> Look {
        let mut said = look(&self.measured, &self.pair.rules, &self.pair.looks(), today());
        let mut verdict = Verdict::new("the gate is whole");
        verdict.undecided("it broke off");
        said.verdicts.push(verdict);
        said.status = Status::Inconclusive;
        said
    }

    /// Measures one round and keeps it; says whether it counts.
    async fn one(&mut self, round: u32) -> Result<bool, CommandError> {
        look_for_space(self.directory)?;
        let stretch = Stretch::begin();
        let path = self.directory.file(&format!("round-{round}"));
        let outcome = Box::pin(self.carry_out(round, &path)).await;
        let (taken, clocks) = (stretch.taken(), stretch.clocks_agree());
        let (components, figures) = match outcome {
            Ok(measured) => measured,
            Err(error) if error.exit() == Exit::Environment && self.failed + 1 < FAILURES => {
                self.failed += 1;
                (Vec::new(), Err(error.chain()))
            }
            Err(error) => return Err(error),
        };
        let figures = figures.and_then(|both| clocks.map(|()| both));
        // What it left is in its figures now; where there are none, the logs say why.
        if figures.is_ok() {
            self.failed = 0;
            let _ = std::fs::remove_dir_all(&path);
        }
        self.measured.key.learn(components);
        let counts = figures.is_ok();
        for (index, arm) in ARMS.into_iter().enumerate() {
            let mut unit = Unit {
                arm: arm.to_owned(),
                round,
                began_ms: stretch.began_ms(),
                seconds: taken.as_secs_f64(),
                ..Unit::default()
            };
            match &figures {
                Ok(both) => (unit.n, unit.figures, unit.beside) = both[index].clone(),
                Err(why) => unit.excluded = Some(why.clone()),
            }
            self.measured.units.push(unit);
        }
        if let Err(why) = &figures {
            self.events.send(Event::Note(format!("round {round} does not count: {why}")));
        }
        self.directory.write_json(MEASURED, &self.measured).map_err(unusable)?;
        Ok(counts)
    }

    /// Runs both sides at the same time.
    async fn carry_out(
        &self,
        round: u32,
        path: &Path,
    ) -> Result<(Vec<Component>, Result<[figures::Figures; 2], String>), CommandError> {
        let mut runs: Vec<_> =
            self.pair.plans(round)?.into_iter().zip(ARMS.map(|arm| path.join(arm))).collect();
        // What the place of a server does to it is in both alike.
        let head_first = order(self.pair.seed, ARMS.len(), round) != [0, 1];
        if head_first {
            runs.reverse();
        }
        // The rounds say what goes on.
        let done = together(runs, None, self.cancel).await;
        let mut done =
            done.map_err(|(place, error)| error.about(ARMS[if head_first { 1 - place } else { place }]))?;
        if head_first {
            done.reverse();
        }
        let [(judged, base), (other, head)] =
            <[_; 2]>::try_from(done).map_err(|_| CommandError::bug("two runs have not two outcomes"))?;
        let evidence = [saved::read(&base, None)?, saved::read(&head, None)?];
        let mut components = judged.components;
        components.extend(other.components);
        Ok((components, both([&evidence[0], &evidence[1]], self.pair.warm_up, self.pair.base.length())))
    }
}
