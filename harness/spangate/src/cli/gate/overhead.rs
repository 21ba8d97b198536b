//! `spangate gate overhead`, `spangate gate self-test` and `spangate gate --baseline`: whether tracing costs more.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use spangate_scenario::units;

use super::{read, write_markdown};
use crate::{
    cli::{Output, Session, colour, print, print_json, terminal},
    error::CommandError,
    exit::Exit,
    overhead::{
        Baseline, OverheadReport, OverheadRules, found,
        history::Entry,
        pair::{
            self, Pair, PairOptions,
            side::{BuiltIn, Side},
        },
        rules,
        simulate::{Noise, Tally, gates},
    },
    plan::shell_word,
    report::summary::Style,
    run::directory::RunDirectory,
    text,
};

#[derive(Debug, Args)]
pub(super) struct OverheadArgs {
    /// The old configuration: a scenario, an arm of an experiment (`FILE:ARM`), a `TracingConfiguration`, or the configuration
    /// of a Collector.
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// The new one.
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    /// The rules (`kind: OverheadRules`); by default CPU time a request may grow by 5%, memory by 10%, the 99th percentile
    /// of response time by 10%.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The most rounds, each with fresh servers.
    #[arg(long, value_name = "N", default_value_t = Pair::ROUNDS)]
    rounds: u32,
    /// Operations in a second to each server, unless the configurations are scenarios.
    #[arg(long, value_name = "RATE", default_value = "75/s")]
    rate: units::Rate,
    /// How long they are sent in each round, unless the configurations are scenarios.
    #[arg(long = "for", value_name = "DURATION", default_value = "24s")]
    length: units::Duration,
    /// The beginning of it that does not count.
    #[arg(long, value_name = "DURATION", default_value = "8s")]
    warm_up: units::Duration,
    /// Seed of the load; that of a round is so many more.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// API server of the old configuration, in place of the one that would be looked up.
    #[arg(long, value_name = "PATH")]
    base_kube_apiserver: Option<PathBuf>,
    /// API server of the new configuration.
    #[arg(long, value_name = "PATH")]
    head_kube_apiserver: Option<PathBuf>,
    /// Add what was measured to this history.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// What the history calls it: a commit, say.
    #[arg(long, value_name = "TEXT", requires = "history")]
    label: Option<String>,
    /// Directory in which the gate makes its own.
    #[arg(long, value_name = "DIR", default_value = RunDirectory::ROOT)]
    out: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    /// Hold what was measured against this baseline.
    #[arg(long, value_name = "FILE", requires = "directory")]
    baseline: Option<PathBuf>,
    /// Directory of an experiment, of a gate on overhead, or of a run.
    #[arg(value_name = "DIR", requires = "baseline")]
    directory: Option<PathBuf>,
    /// The rules (`kind: OverheadRules`); by default spans a request may differ by 5%, and their bytes grow by 10%.
    #[arg(long, value_name = "FILE", requires = "baseline")]
    rules: Option<PathBuf>,
    #[command(flatten)]
    shown: Shown,
}

/// Where the report goes.
#[derive(Debug, Args)]
struct Shown {
    /// File for the report in Markdown; - is standard output.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// File for the report as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SelfTestArgs {
    /// The rules (`kind: OverheadRules`).
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The most rounds of a gate.
    #[arg(long, value_name = "N", default_value_t = Pair::ROUNDS, value_parser = clap::value_parser!(u32).range(2..=1000))]
    rounds: u32,
    /// Gates of two equal arms.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    equal: u64,
    /// Gates with a burn.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    burnt: u64,
    /// The burn: by how much CPU time a request grows.
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    burn: units::Ratio,
    /// The deviation of pairs of rounds, in place of what was seen on a busy machine.
    #[arg(long, value_name = "SHARE")]
    spread: Option<units::Ratio>,
    /// Seed of everything that is made up.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// What the self-test found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SelfTest {
    noise: Noise,
    stated: f64,
    equal: Tally,
    equal_holds: bool,
    burn: f64,
    burnt: Tally,
    burnt_holds: bool,
}

pub(super) async fn run(args: &OverheadArgs, session: &Session) -> Result<Exit, CommandError> {
    args.shown.check(session)?;
    let pair = args.pair()?;
    pair.check()?;
    let options = PairOptions { out: args.out.clone(), repeat: args.repeat() };
    let (events, shown) = terminal::show(session.global.quiet);
    let outcome = Box::pin(pair::run(&pair, &options, &events, &session.cancel)).await;
    drop(events);
    // The view goes first, so that its bar does not mix with what follows.
    let _ = shown.await;
    let (report, directory) = outcome?;
    if let Some(history) = &args.history {
        let measured = found::measured(directory.path())?;
        let at = measured.began().unwrap_or_else(|| report.started.clone());
        Entry::new(&measured, at, args.label.clone()).append(history)?;
    }
    args.shown.tell(&report, session)
}

pub(super) fn against_baseline(args: &BaselineArgs, session: &Session) -> Result<Exit, CommandError> {
    let (Some(file), Some(directory)) = (&args.baseline, &args.directory) else {
        return Err(CommandError::usage("there is nothing to judge").help(
            "`spangate gate sampling`, `spangate gate overhead`, or `spangate gate --baseline FILE DIR`",
        ));
    };
    args.shown.check(session)?;
    let baseline = Baseline::read(file)?;
    let rules = read_rules(args.rules.as_deref(), || baseline.default_rules())?;
    let measured = found::measured(directory)?;
    let look = baseline.look(&measured, &rules)?;
    let own = args.rules.as_deref().map_or_else(String::new, |rules| format!(" --rules {}", word(rules)));
    let repeat = format!("spangate gate --baseline {}{own} {}", word(file), word(directory));
    let mut report = OverheadReport::new(look, rules, jiff::Timestamp::now().to_string(), repeat);
    // What is stated of gates rests on pairs that were measured together.
    report.false_red = None;
    report.warnings = baseline.warnings(&measured);
    report.directory = directory.display().to_string();
    args.shown.tell(&report, session)
}

pub(super) fn self_test(args: &SelfTestArgs, session: &Session) -> Result<Exit, CommandError> {
    let rules = read_rules(args.rules.as_deref(), OverheadRules::default_rules)?;
    let plan = Pair::looks_of(&rules, args.rounds);
    let own = args.spread.map_or(Noise::BUSY.own, |spread| spread.get() / std::f64::consts::SQRT_2);
    let noise = Noise { own, ..Noise::BUSY };
    let burn = args.burn.get();
    let (equal, burnt) = (
        gates(&rules, &plan, &noise, 0.0, args.equal, args.seed),
        gates(&rules, &plan, &noise, burn, args.burnt, args.seed.wrapping_add(1_000_003)),
    );
    let stated = rules.false_red(1);
    let found = SelfTest {
        noise,
        stated,
        equal,
        equal_holds: equal.keeps(stated),
        burn,
        burnt,
        burnt_holds: burnt.red as f64 >= 0.99 * burnt.all() as f64,
    };
    match session.global.output {
        Output::Json => print_json(&found)?,
        Output::Text => print(&found.text())?,
    }
    Ok(if found.equal_holds && found.burnt_holds { Exit::Pass } else { Exit::Regression })
}

/// Rules from a file, or others.
fn read_rules(
    file: Option<&Path>,
    default: impl FnOnce() -> OverheadRules,
) -> Result<OverheadRules, CommandError> {
    file.map_or_else(|| Ok(default()), |file| read(file, rules::parse))
}

fn word(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

// === impl SelfTest ===

impl SelfTest {
    fn text(&self) -> String {
        let mut out = String::new();
        let titles = ["gates", "n", "red", "95%", "green", "inconclusive", "promise", ""].map(str::to_owned);
        let row = |name: String, tally: &Tally, promise: String, holds: bool| {
            let share = tally.share();
            [
                name,
                tally.all().to_string(),
                tally.red.to_string(),
                format!("{} to {}", text::percent(share.low), text::percent(share.high)),
                tally.green.to_string(),
                tally.open.to_string(),
                promise,
                if holds { "kept" } else { "BROKEN" }.to_owned(),
            ]
        };
        let stated = format!("at most {} red", text::percent(self.stated));
        let rows = [
            row("equal arms".to_owned(), &self.equal, stated, self.equal_holds),
            row(
                format!("+{} of CPU time", text::percent(self.burn)),
                &self.burnt,
                "at least 99% red".to_owned(),
                self.burnt_holds,
            ),
        ];
        text::table(&mut out, &titles, &rows);
        out
    }
}

// === impl Shown ===

impl Shown {
    fn on_standard_output(&self) -> bool {
        self.markdown.as_deref() == Some(Path::new("-"))
    }

    fn check(&self, session: &Session) -> Result<(), CommandError> {
        if self.on_standard_output() && session.global.output == Output::Json {
            return Err(CommandError::usage("--markdown - and --output json both want standard output"));
        }
        Ok(())
    }

    fn tell(&self, report: &OverheadReport, session: &Session) -> Result<Exit, CommandError> {
        write_markdown(self.markdown.as_deref(), || report.markdown())?;
        if let Some(file) = &self.junit {
            std::fs::write(file, report.junit()?).map_err(|error| {
                CommandError::environment(format!("cannot write {}", file.display())).because(error)
            })?;
        }
        match session.global.output {
            Output::Json => print_json(report)?,
            Output::Text if self.on_standard_output() => {}
            Output::Text => {
                let style = Style { colour: colour(), verbose: session.global.verbose > 0 };
                print(&format!("{}{}\n", report.text(style), report.directory))?;
            }
        }
        Ok(report.exit())
    }
}

// === impl OverheadArgs ===

impl OverheadArgs {
    /// Reads all files, so that a mistake in the last one costs no time.
    fn pair(&self) -> Result<Pair, CommandError> {
        let built_in = BuiltIn { rate: self.rate.get(), length: self.length.get() };
        Ok(Pair {
            base: Side::read(&self.base, &built_in)?.with_api_server(self.base_kube_apiserver.clone()),
            head: Side::read(&self.head, &built_in)?.with_api_server(self.head_kube_apiserver.clone()),
            rules: read_rules(self.rules.as_deref(), OverheadRules::default_rules)?,
            rounds: self.rounds,
            looks: Pair::LOOKS,
            warm_up: self.warm_up.get(),
            seed: self.seed,
        })
    }

    /// The command that does this again.
    fn repeat(&self) -> String {
        let mut words = vec!["spangate gate overhead".to_owned()];
        let mut option = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{name} {value}")));
        };
        option("base", Some(word(&self.base)));
        option("head", Some(word(&self.head)));
        option("rules", self.rules.as_deref().map(word));
        option("rounds", Some(self.rounds.to_string()));
        option("rate", Some(self.rate.to_string()));
        option("for", Some(self.length.to_string()));
        option("warm-up", Some(self.warm_up.to_string()));
        option("seed", Some(self.seed.to_string()));
        option("base-kube-apiserver", self.base_kube_apiserver.as_deref().map(word));
        option("head-kube-apiserver", self.head_kube_apiserver.as_deref().map(word));
        words.join(" ")
    }
}
