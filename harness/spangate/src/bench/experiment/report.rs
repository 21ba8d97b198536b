//! The report of an experiment, in every form.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use spangate_scenario::Experiment;
use spangate_trace::stats::effect::fewest;

use self::tables::{interval, testbed};
use super::{
    figures::{Series, Testbed},
    linear::{Linear, linear},
    page,
    rounds::unusable,
    stop::{Stop, method, width},
};
use crate::{
    bench::trouble::too_many_void,
    error::CommandError,
    exit::Exit,
    overhead::{
        Comparison, Measured, Metric,
        compare::{ArmRow, Figure, compare_by},
    },
    report::{Report, junit},
    run::directory::RunDirectory,
    text::{self, growth},
    verdict::{Check, Status, Verdict},
};

mod remarks;
mod tables;

pub(super) use tables::Table;

/// What an experiment says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentReport {
    /// The version of this format.
    pub api_version: String,
    /// The kind of this file.
    pub kind: String,
    /// What was measured.
    pub measured: Measured,
    /// Rounds that were asked for.
    pub rounds: u32,
    /// When it was to end before, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// What is said of each arm.
    pub comparison: Comparison,
    /// Whether cost grows with the sampling rate in a straight line, where there are arms that tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<Linear>,
    /// The columns of the OpenTelemetry testbed, for arms with a Collector and no API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testbed: Vec<TestbedLine>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// When it began.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The command that repeats it.
    pub repeat: String,
    /// Its directory.
    pub directory: String,
    /// What is drawn.
    #[serde(skip)]
    pub drawn: Vec<Drawn>,
}

/// What is drawn of one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The arm.
    pub arm: String,
    /// What is drawn.
    pub series: Series,
}

/// The columns of the testbed for one arm: medians of its units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestbedLine {
    /// The arm.
    pub arm: String,
    /// The figures.
    pub figures: Testbed,
}

/// What is known of how a report came to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// When it began.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The command that repeats it.
    pub repeat: String,
    /// Its directory.
    pub directory: String,
    /// What went wrong on the way.
    pub warnings: Vec<String>,
}

/// The report, as JSON.
const RESULT: &str = "result.json";
/// The report for people who read it elsewhere.
const MARKDOWN: &str = "result.md";
/// The report with pictures.
pub const PAGE: &str = "report.html";

// === impl ExperimentReport ===

impl ExperimentReport {
    /// What was measured says, and no more.
    pub fn new(experiment: &Experiment, measured: Measured, drawn: Vec<Drawn>, told: Told) -> Self {
        let Told { started, seconds, repeat, directory, mut warnings } = told;
        let stop = Stop::of(&experiment.spec);
        let method = method(&experiment.spec);
        let comparison = compare_by(&measured, &method);
        for row in &comparison.arms {
            for (why, units) in &row.excluded {
                warnings.push(format!("{units} units of {} do not count: {why}", row.arm.name));
            }
        }
        Self {
            api_version: Report::API_VERSION.to_owned(),
            kind: "ExperimentReport".to_owned(),
            rounds: experiment.spec.rounds,
            stop,
            comparison,
            linear: linear(experiment, &measured, &method),
            testbed: testbed(&measured, &drawn),
            measured,
            warnings,
            started,
            seconds,
            repeat,
            directory,
            drawn,
        }
    }

    /// Inconclusive when an arm has fewer units than its intervals need, or is not known as well as was asked for.
    pub fn exit(&self) -> Exit {
        let verdicts = self.verdicts();
        let whole = verdicts.iter().all(|verdict| verdict.status == Status::Pass);
        if whole { Exit::Pass } else { Exit::Inconclusive }
    }

    /// Writes every form of it.
    pub fn write(&self, directory: &RunDirectory) -> Result<(), CommandError> {
        directory.write_json(RESULT, self).map_err(unusable)?;
        directory.write(MARKDOWN, &self.markdown()).map_err(unusable)?;
        directory.write(RunDirectory::JUNIT, &self.junit()?).map_err(unusable)?;
        directory.write(PAGE, &page::page(self)).map_err(unusable)
    }

    /// The report as JUnit XML: one test case an arm.
    pub fn junit(&self) -> Result<String, CommandError> {
        junit::suite_of(&self.measured.key.experiment, self.seconds, &self.verdicts())
            .map_err(|error| CommandError::bug("the report cannot be written as JUnit XML").because(error))
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let fewest = fewest(self.comparison.method.confidence);
        let verdict = |row: &ArmRow| {
            let mut verdict = Verdict::new(row.arm.name.clone());
            for Figure { metric, rounds, value, effect, .. } in &row.figures {
                let n = usize::try_from(*rounds).unwrap_or(usize::MAX);
                let mut shown = interval(value, |value| metric.show(value));
                if let Some(effect) = effect {
                    let _ = write!(shown, ", {}", interval(&effect.ratio, growth));
                }
                verdict.checks.push(Check::told(metric.label(), shown, n));
            }
            let paired = row.figures.iter().filter_map(|figure| Some(figure.effect?.pairs)).min();
            if let Some(pairs) = paired.filter(|pairs| row.units >= fewest && *pairs < fewest) {
                let reference = &self.measured.reference;
                verdict.undecided(format!("{pairs} pairs with {reference}, and its intervals need {fewest}"));
            }
            let void: u64 = row.excluded.values().sum();
            if row.units < fewest {
                let excluded = if void == 0 { String::new() } else { format!(", {void} do not count") };
                verdict.undecided(format!("{} units, and its intervals need {fewest}{excluded}", row.units));
            } else if too_many_void(void, row.units + void) {
                verdict.undecided(format!("{void} of {} units do not count", row.units + void));
            }
            if let Some((stop, by)) = self.stop.zip(row.main_effect().map(|it| width(&it.ratio)))
                && by > stop.within
            {
                let [by, within] = [by, stop.within].map(text::percent);
                verdict.undecided(format!("its CPU is known within {by}, and {within} was asked for"));
            }
            verdict
        };
        self.comparison.arms.iter().map(verdict).collect()
    }

    /// The report as text, ending in a newline.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.measured.key.experiment);
        for table in self.tables() {
            let _ = writeln!(out, "\n{}", table.title);
            text::table(&mut out, &table.heads, &table.rows);
        }
        out.push('\n');
        for remark in self.remarks() {
            let _ = writeln!(out, "{remark}");
        }
        let _ = writeln!(out, "{}\n`{}`", self.foot(), self.repeat);
        out
    }

    /// The report as Markdown, ending in a newline.
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", self.measured.key.experiment);
        for table in self.tables() {
            let _ = writeln!(out, "{}:\n", table.title);
            text::markdown_table(&mut out, &table.heads, table.rows.into_iter());
        }
        for remark in self.remarks() {
            let _ = writeln!(out, "{}\n", text::cell(&remark));
        }
        let _ = writeln!(out, "{}\n\n`{}`", text::cell(&self.foot()), self.repeat);
        out
    }
}

/// A figure of an arm.
pub(super) fn figure(row: &ArmRow, metric: Metric) -> Option<&Figure> {
    row.figures.iter().find(|figure| figure.metric == metric)
}

#[cfg(test)]
pub(super) mod tests {
    use spangate_scenario::experiment;

    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        bench::experiment::figures::Point,
        overhead::{Arm, Unit, testing},
    };

    /// Arms that take so much over the first one, in rounds that drift.
    pub(crate) fn measured(arms: &[(&str, f64)], rounds: u32) -> Measured {
        let unit = |(arm, factor): &(&str, f64), round: u32| {
            let drift = 1.0 + f64::from(round) / 10.0;
            let cpu = 0.002 * factor * drift * (1.0 + f64::from(round * 7 % 5) / 1000.0 * (factor - 0.9));
            Unit {
                arm: (*arm).to_owned(),
                round,
                n: 1000,
                figures: BTreeMap::from([
                    (Metric::CpuPerRequest, cpu),
                    (Metric::Rss, 3e8 * factor),
                    (Metric::ResponseP50, 0.003 * factor),
                    (Metric::ResponseP90, 0.006 * factor),
                    (Metric::ResponseP99, 0.012 * factor * drift),
                    (Metric::SpansPerRequest, 9.0 * (factor - 1.0)),
                ]),
                ..Unit::default()
            }
        };
        Measured {
            key: testing::key(),
            reference: arms[0].0.to_owned(),
            pairing: None,
            arms: arms
                .iter()
                .map(|(name, _)| Arm { name: (*name).to_owned(), description: format!("arm {name}") })
                .collect(),
            units: (1..=rounds).flat_map(|round| arms.iter().map(move |arm| unit(arm, round))).collect(),
        }
    }

    pub(crate) fn report(rounds: u32) -> ExperimentReport {
        report_until(rounds, "")
    }

    /// The same with more said of the experiment.
    fn report_until(rounds: u32, more: &str) -> ExperimentReport {
        report_of(rounds, more, |_| {})
    }

    /// The same of something else that was measured.
    fn report_of(rounds: u32, more: &str, change: impl FnOnce(&mut Measured)) -> ExperimentReport {
        let text = format!(
            "
apiVersion: spangate/v1alpha1
kind: Experiment
metadata: {{name: overhead}}
spec:
  reference: without
{more}
  load: {{arrivals: {{rate: 10/s, for: 30s}}, mix: [{{get: {{resource: configmaps}}}}]}}
  arms:
    - {{name: without, tracing: {{enabled: false}}}}
    - {{name: none, tracing: {{samplingRatePerMillion: 0}}}}
    - {{name: tenth, tracing: {{samplingRatePerMillion: 100000}}}}
    - {{name: all, tracing: {{samplingRatePerMillion: 1000000}}}}
"
        );
        let experiment = experiment::parse("e", &text).unwrap();
        let arms = [("without", 1.0), ("none", 1.01), ("tenth", 1.03), ("all", 1.21)];
        let mut measured = measured(&arms, rounds);
        change(&mut measured);
        let drawn = measured.units.iter().map(|unit| {
            let factor = arms.iter().find(|(name, _)| *name == unit.arm).unwrap().1;
            let curve = (1..999).map(|share| {
                let share = f64::from(share) / 1000.0;
                (share, 0.002 * factor * (1.0 - share).powf(-0.5))
            });
            let line = (-10..40).map(|half: i32| {
                let load = if half >= 0 { 0.4 * factor } else { 0.1 };
                let at = f64::from(half) / 2.0;
                Point { at, cpu: load + 0.02 * f64::from(half.rem_euclid(3)), rss: 3e8 * factor + at * 1e6 }
            });
            let series = Series { curve: curve.collect(), line: line.collect(), testbed: None };
            Drawn { arm: unit.arm.clone(), series }
        });
        let drawn = drawn.collect();
        let told = Told { repeat: "spangate bench overhead".to_owned(), ..Told::default() };
        ExperimentReport::new(&experiment, measured, drawn, told)
    }

    #[test]
    fn every_form_has_every_arm() {
        let report = report(6);
        assert_eq!(report.exit(), Exit::Pass, "{}", report.text());
        let (text, page, junit) = (report.text(), report.markdown(), report.junit().unwrap());
        for arm in ["without", "none", "tenth", "all"] {
            assert!(text.contains(arm) && page.contains(arm) && junit.contains(arm), "{arm}");
        }
        assert!(text.contains("+21.") && text.contains("on the line"), "{text}");
        let cells = |line: &str| line.matches('|').count();
        assert!(page.lines().filter(|line| line.starts_with("| none")).all(|line| cells(line) > 5), "{page}");
    }

    #[test]
    fn too_few_units_are_not_green() {
        let report = report(5);
        assert_eq!(report.exit(), Exit::Inconclusive);
        assert!(report.junit().unwrap().contains("5 units, and its intervals need 6"));
        assert!(report.text().contains("all is inconclusive"), "{}", report.text());
    }

    /// Scenario: eight units of an arm count, and beside them two do not, and three.
    /// Guarantees: what is left of too many is not green, though it is enough for an interval.
    #[test]
    fn what_is_left_of_too_many_units_is_not_green() {
        let failing = |units: u32| {
            report_of(8, "", |measured| {
                let excluded = Some("9 requests failed, and 90 did not".to_owned());
                let unit = |round| Unit {
                    arm: "all".to_owned(),
                    round,
                    excluded: excluded.clone(),
                    ..Unit::default()
                };
                measured.units.extend((0..units).map(unit));
            })
        };
        assert_eq!(failing(2).exit(), Exit::Pass, "{}", failing(2).text());
        assert_eq!(failing(3).exit(), Exit::Inconclusive);
        assert!(failing(3).text().contains("3 of 11 units do not count"), "{}", failing(3).text());
    }

    /// Scenario: an experiment that was to go on until CPU is known well, and came to its cap before.
    /// Guarantees: it is not green; where it is known so well it is, and intervals are as wide as all looks make them.
    #[test]
    fn what_is_not_known_as_well_as_was_asked_for_is_not_green() {
        let asked = |within: &str| {
            report_until(12, &format!("  rounds: 12\n  until: {{within: {within}, looks: 2}}"))
        };
        assert_eq!(asked("90%").exit(), Exit::Pass, "{}", asked("90%").text());
        let open = asked("0.01%");
        assert_eq!(open.exit(), Exit::Inconclusive);
        assert!(open.text().contains("and 0.01% was asked for"), "{}", open.text());
        assert!(open.text().contains("97.5% intervals"), "{}", open.text());
        assert!(report(6).text().contains("95% intervals"), "{}", report(6).text());
    }

    #[test]
    fn whether_there_is_a_difference_is_said() {
        let text = report(8).text();
        assert!(text.contains("at a margin of 5.00%") && text.contains("different: all (p="), "{text}");
        assert!(text.contains("the same: none (p="), "{text}");
    }

    #[test]
    fn a_report_is_read_back() {
        let report = report(6);
        let text = serde_json::to_string(&report).unwrap();
        let read: ExperimentReport = serde_json::from_str(&text).unwrap();
        assert_eq!((read.text(), read.measured.units.len()), (report.text(), 24));
    }
}
