//! The report of an experiment, in every form.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use spangate_scenario::Experiment;
use spangate_trace::stats::{Estimate, effect::fewest};

use super::{
    figures::{Series, Testbed},
    linear::{Linear, linear},
    page,
    rounds::unusable,
};
use crate::{
    error::CommandError,
    exit::Exit,
    overhead::{
        Comparison, Measured, Metric, compare,
        compare::{ArmRow, Figure},
    },
    report::{Report, junit},
    run::directory::RunDirectory,
    text,
    verdict::{Check, Status, Verdict},
};

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

/// A table, before it has a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) heads: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The report, as JSON.
const RESULT: &str = "result.json";
/// The report for people who read it elsewhere.
const MARKDOWN: &str = "result.md";
/// The report with pictures.
pub const PAGE: &str = "report.html";
/// Columns that a line of arms is compared by.
const COSTS: [(Metric, bool); 4] = [
    (Metric::CpuPerRequest, true),
    (Metric::Rss, true),
    (Metric::SpansPerRequest, false),
    (Metric::BytesPerRequest, false),
];
const TIMES: [(Metric, bool); 3] =
    [(Metric::ResponseP50, true), (Metric::ResponseP90, true), (Metric::ResponseP99, true)];
const COLLECTOR: [(Metric, bool); 5] = [
    (Metric::CollectorCpuPerSpan, true),
    (Metric::CollectorRss, true),
    (Metric::Loss, false),
    (Metric::LagP50, false),
    (Metric::LagP99, false),
];

/// The confidence of the line's intervals.
const CONFIDENCE: f64 = 0.95;
/// How late exports may be, in seconds, before a Collector counts as too slow for its rate.
const LATE: f64 = 1.0;

fn interval(it: &Estimate, show: impl Fn(f64) -> String) -> String {
    format!("{} [{}, {}]", show(it.value), show(it.low), show(it.high))
}

/// A ratio as the part that is added.
fn added(ratio: f64) -> String {
    format!("{:+.1}%", (ratio - 1.0) * 100.0)
}

// === impl ExperimentReport ===

impl ExperimentReport {
    /// What was measured says, and no more.
    pub fn new(experiment: &Experiment, measured: Measured, drawn: Vec<Drawn>, told: Told) -> Self {
        let Told { started, seconds, repeat, directory, mut warnings } = told;
        let comparison = compare(&measured);
        for row in &comparison.arms {
            for (why, units) in &row.excluded {
                warnings.push(format!("{units} units of {} do not count: {why}", row.arm.name));
            }
        }
        Self {
            api_version: Report::API_VERSION.to_owned(),
            kind: "ExperimentReport".to_owned(),
            rounds: experiment.spec.rounds,
            comparison,
            linear: linear(experiment, &measured),
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

    /// Inconclusive when an arm has fewer units than its intervals need.
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
            for Figure { metric, rounds, value, effect } in &row.figures {
                let n = usize::try_from(*rounds).unwrap_or(usize::MAX);
                let mut shown = interval(value, |value| metric.show(value));
                if let Some(effect) = effect {
                    let _ = write!(shown, ", {}", interval(&effect.ratio, added));
                }
                verdict.checks.push(Check::told(metric.label(), shown, n));
            }
            let paired = row.figures.iter().filter_map(|figure| Some(figure.effect?.pairs)).min();
            if let Some(pairs) = paired.filter(|pairs| row.units >= fewest && *pairs < fewest) {
                let reference = &self.measured.reference;
                verdict.undecided(format!("{pairs} pairs with {reference}, and its intervals need {fewest}"));
            }
            if row.units < fewest {
                let excluded = match row.excluded.values().sum::<u64>() {
                    0 => String::new(),
                    some => format!(", {some} do not count"),
                };
                verdict.undecided(format!("{} units, and its intervals need {fewest}{excluded}", row.units));
            }
            verdict
        };
        self.comparison.arms.iter().map(verdict).collect()
    }

    /// The tables of the report.
    pub(super) fn tables(&self) -> Vec<Table> {
        let mut tables = vec![
            self.table("What it costs the API server", &COSTS),
            self.table("How long responses take", &TIMES),
            self.table("What it costs the Collector", &COLLECTOR),
        ];
        tables.retain(|table| table.heads.len() > 3);
        tables.extend(self.testbed_table());
        tables
    }

    /// A row for each arm with those of the figures that any of them has.
    fn table(&self, title: &'static str, columns: &[(Metric, bool)]) -> Table {
        let has = |metric: &Metric| self.comparison.arms.iter().any(|row| figure(row, *metric).is_some());
        let columns: Vec<_> = columns.iter().filter(|(metric, _)| has(metric)).collect();
        let mut heads = vec!["arm".to_owned(), "units".to_owned(), "n".to_owned()];
        for (metric, compared) in &columns {
            heads.push(metric.label().to_owned());
            if *compared {
                heads.push(format!("against {}", self.measured.reference));
            }
        }
        let cells = |row: &ArmRow| {
            let mut cells = vec![row.arm.name.clone(), row.units.to_string(), row.n.to_string()];
            for (metric, compared) in &columns {
                let figure = figure(row, *metric);
                let none = || "-".to_owned();
                cells.push(figure.map_or_else(none, |it| interval(&it.value, |value| metric.show(value))));
                if *compared {
                    let effect = figure.and_then(|figure| figure.effect);
                    cells.push(effect.map_or_else(none, |effect| interval(&effect.ratio, added)));
                }
            }
            cells
        };
        Table { title, heads, rows: self.comparison.arms.iter().map(cells).collect() }
    }

    /// The columns that the OpenTelemetry testbed prints.
    fn testbed_table(&self) -> Option<Table> {
        let heads = [
            "Test",
            "Result",
            "Duration",
            "CPU Avg%",
            "CPU Max%",
            "RAM Avg MiB",
            "RAM Max MiB",
            "Sent Items",
            "Received Items",
        ];
        let mib = |bytes: f64| format!("{:.0}", bytes / f64::from(1_u32 << 20));
        let row = |line: &TestbedLine| {
            let it = &line.figures;
            // Of all units: one that lost spans is a loss, whatever the others did.
            let units = self.measured.units.iter().filter(|unit| unit.arm == line.arm);
            let losses = units.filter_map(|unit| unit.figures.get(&Metric::Loss).copied());
            let result = match losses.reduce(f64::max) {
                Some(loss) if loss > 0.0 => format!("FAIL: lost {}", text::percent(loss)),
                _ if it.late > LATE => format!("LATE by {}", text::float(it.late * 1e9)),
                Some(_) => "PASS".to_owned(),
                None => "-".to_owned(),
            };
            vec![
                line.arm.clone(),
                result,
                format!("{:.0}s", it.seconds),
                format!("{:.1}", it.cpu_avg * 100.0),
                format!("{:.1}", it.cpu_max * 100.0),
                mib(it.ram_avg),
                mib(it.ram_max),
                it.sent.to_string(),
                it.received.to_string(),
            ]
        };
        (!self.testbed.is_empty()).then(|| Table {
            title: "As the OpenTelemetry testbed prints it",
            heads: heads.map(str::to_owned).to_vec(),
            rows: self.testbed.iter().map(row).collect(),
        })
    }

    /// What is to be said beside the tables, one paragraph each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(linear) = &self.linear {
            remarks.push(straight(linear));
        }
        let compared = self.comparison.arms.iter().filter_map(|row| {
            let main = [Metric::CpuPerRequest, Metric::CollectorCpuPerSpan];
            main.into_iter().find_map(|metric| figure(row, metric))?.effect?.detectable
        });
        if let Some(most) = compared.max_by(f64::total_cmp) {
            remarks.push(format!(
                "So many pairs show a difference of CPU of {:.1}% or more in four experiments of five; what is less may be \
                 missed.",
                most * 100.0
            ));
        }
        remarks.extend(self.warnings.iter().map(|warning| format!("Note: {warning}.")));
        for verdict in self.verdicts().iter().filter(|verdict| verdict.status != Status::Pass) {
            remarks.push(format!("{} is inconclusive: {}.", verdict.expectation, verdict.reasons.join("; ")));
        }
        remarks
    }

    /// Where the figures are from.
    pub(super) fn foot(&self) -> String {
        let key = &self.measured.key;
        let versions: Vec<String> =
            key.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "Medians of units with 95% intervals of the bootstrap, each unit with processes of its own; against {}: ratio of \
             the medians, by pairs of the same round. CPU time is without what the process uses at rest. {} cores ({}), \
             Linux {}; {}; {}.",
            self.measured.reference,
            key.cores,
            key.cpu,
            key.kernel,
            versions.join(", "),
            self.started,
        )
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

/// What the straight line says, in words.
fn straight(linear: &Linear) -> String {
    let time = |seconds: f64| text::float(seconds * 1e9);
    let mut out = format!(
        "CPU a request at a sampling rate p is {} + p x {} by {} and {}.",
        interval(&linear.base, time),
        interval(&linear.cost, time),
        linear.from,
        linear.to
    );
    for it in &linear.between {
        let verdict = match it.differs.contains(0.0) {
            _ if it.rounds < fewest(CONFIDENCE) => "undecided",
            true => "not told from the line",
            false => "NOT on the line",
        };
        let _ = write!(
            out,
            " {} is {verdict}: {} more than {} ({} rounds).",
            it.arm,
            interval(&it.differs, time),
            time(it.expected),
            it.rounds
        );
    }
    out
}

/// Medians of the columns of the testbed, arm by arm.
fn testbed(measured: &Measured, drawn: &[Drawn]) -> Vec<TestbedLine> {
    let line = |arm: &str| {
        let units: Vec<Testbed> =
            drawn.iter().filter(|it| it.arm == arm).filter_map(|it| it.series.testbed).collect();
        let first = *units.first()?;
        let middle = |get: fn(&Testbed) -> f64| {
            let mut values: Vec<f64> = units.iter().map(get).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let figures = Testbed {
            seconds: middle(|it| it.seconds),
            cpu_avg: middle(|it| it.cpu_avg),
            cpu_max: middle(|it| it.cpu_max),
            ram_avg: middle(|it| it.ram_avg),
            ram_max: middle(|it| it.ram_max),
            late: middle(|it| it.late),
            sent: units.iter().map(|it| it.sent).max().unwrap_or(first.sent),
            received: units.iter().map(|it| it.received).min().unwrap_or(first.received),
        };
        Some(TestbedLine { arm: arm.to_owned(), figures })
    };
    measured.arms.iter().filter_map(|arm| line(&arm.name)).collect()
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
                began_ms: 0,
                n: 1000,
                figures: BTreeMap::from([
                    (Metric::CpuPerRequest, cpu),
                    (Metric::Rss, 3e8 * factor),
                    (Metric::ResponseP50, 0.003 * factor),
                    (Metric::ResponseP90, 0.006 * factor),
                    (Metric::ResponseP99, 0.012 * factor * drift),
                    (Metric::SpansPerRequest, 9.0 * (factor - 1.0)),
                ]),
                excluded: None,
            }
        };
        Measured {
            key: testing::key(),
            reference: arms[0].0.to_owned(),
            arms: arms
                .iter()
                .map(|(name, _)| Arm { name: (*name).to_owned(), description: format!("arm {name}") })
                .collect(),
            units: (1..=rounds).flat_map(|round| arms.iter().map(move |arm| unit(arm, round))).collect(),
        }
    }

    pub(crate) fn report(rounds: u32) -> ExperimentReport {
        let text = "
apiVersion: spangate/v1alpha1
kind: Experiment
metadata: {name: overhead}
spec:
  reference: without
  load: {arrivals: {rate: 10/s, for: 30s}, mix: [{get: {resource: configmaps}}]}
  arms:
    - {name: without, tracing: {enabled: false}}
    - {name: none, tracing: {samplingRatePerMillion: 0}}
    - {name: tenth, tracing: {samplingRatePerMillion: 100000}}
    - {name: all, tracing: {samplingRatePerMillion: 1000000}}
";
        let experiment = experiment::parse("e", text).unwrap();
        let arms = [("without", 1.0), ("none", 1.01), ("tenth", 1.03), ("all", 1.21)];
        let measured = measured(&arms, rounds);
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

    #[test]
    fn a_report_is_read_back() {
        let report = report(6);
        let text = serde_json::to_string(&report).unwrap();
        let read: ExperimentReport = serde_json::from_str(&text).unwrap();
        assert_eq!((read.text(), read.measured.units.len()), (report.text(), 24));
    }
}
