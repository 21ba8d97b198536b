//! The report of an experiment, in every form.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use spangate_scenario::Experiment;
use spangate_trace::stats::Estimate;

use super::{
    figures::{Series, Testbed},
    linear::{Linear, linear},
    lines::{Line, fewest, lines},
    page,
    rounds::unusable,
};
use crate::{
    error::CommandError,
    exit::Exit,
    overhead::{Measured, Metric},
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
    pub lines: Vec<Line>,
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

/// How late exports may be, in seconds, before a Collector counts as too slow for its rate.
const LATE: f64 = 1.0;

/// What a figure is called.
pub(super) const fn label(metric: Metric) -> &'static str {
    match metric {
        Metric::CpuPerRequest => "CPU a request",
        Metric::Rss => "RSS",
        Metric::ResponseP50 => "response p50",
        Metric::ResponseP90 => "response p90",
        Metric::ResponseP99 => "response p99",
        Metric::SpansPerRequest => "spans a request",
        Metric::BytesPerRequest => "bytes a request",
        Metric::CollectorCpuPerSpan => "CPU a span",
        Metric::CollectorRss => "RSS of the Collector",
        Metric::Loss => "lost",
        Metric::LagP50 => "through it p50",
        Metric::LagP99 => "through it p99",
    }
}

/// A value with its unit.
pub(super) fn show(metric: Metric, value: f64) -> String {
    match metric {
        Metric::CpuPerRequest
        | Metric::ResponseP50
        | Metric::ResponseP90
        | Metric::ResponseP99
        | Metric::CollectorCpuPerSpan
        | Metric::LagP50
        | Metric::LagP99 => text::float(value * 1e9),
        Metric::Rss | Metric::CollectorRss => format!("{:.1} MiB", value / f64::from(1_u32 << 20)),
        Metric::SpansPerRequest => format!("{value:.2}"),
        Metric::BytesPerRequest => format!("{value:.0} B"),
        Metric::Loss => text::percent(value),
    }
}

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
        for arm in &measured.arms {
            let reasons: Vec<&str> = measured
                .units
                .iter()
                .filter(|unit| unit.arm == arm.name)
                .filter_map(|unit| unit.excluded.as_deref())
                .collect();
            if let Some(first) = reasons.first() {
                warnings.push(format!("{} units of {} do not count: {first}", reasons.len(), arm.name));
            }
        }
        Self {
            api_version: Report::API_VERSION.to_owned(),
            kind: "ExperimentReport".to_owned(),
            rounds: experiment.spec.rounds,
            lines: lines(&measured),
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
        let verdict = |line: &Line| {
            let mut verdict = Verdict::new(line.arm.clone());
            for (metric, figure) in &line.figures {
                let n = usize::try_from(line.units).unwrap_or(usize::MAX);
                let mut shown = interval(&figure.median, |value| show(*metric, value));
                if let Some(ratio) = &figure.ratio {
                    let _ = write!(shown, ", {}", interval(ratio, added));
                }
                verdict.checks.push(Check::told(label(*metric), shown, n));
            }
            if line.units < fewest() {
                let excluded = match line.excluded {
                    0 => String::new(),
                    some => format!(", {some} do not count"),
                };
                verdict.undecided(format!(
                    "{} units, and its intervals need {}{excluded}",
                    line.units,
                    fewest()
                ));
            }
            verdict
        };
        self.lines.iter().map(verdict).collect()
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
        let has = |metric: &Metric| self.lines.iter().any(|line| line.figures.contains_key(metric));
        let columns: Vec<_> = columns.iter().filter(|(metric, _)| has(metric)).collect();
        let mut heads = vec!["arm".to_owned(), "units".to_owned(), "n".to_owned()];
        for (metric, compared) in &columns {
            heads.push(label(*metric).to_owned());
            if *compared {
                heads.push(format!("against {}", self.measured.reference));
            }
        }
        let row = |line: &Line| {
            let mut row = vec![line.arm.clone(), line.units.to_string(), line.n.to_string()];
            for (metric, compared) in &columns {
                let figure = line.figures.get(metric);
                let none = || "-".to_owned();
                row.push(figure.map_or_else(none, |it| interval(&it.median, |value| show(*metric, value))));
                if *compared {
                    let ratio = figure.and_then(|figure| figure.ratio);
                    row.push(ratio.map_or_else(none, |ratio| interval(&ratio, added)));
                }
            }
            row
        };
        Table { title, heads, rows: self.lines.iter().map(row).collect() }
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
            let loss = self.lines.iter().find(|other| other.arm == line.arm);
            let loss = loss.and_then(|line| line.figures.get(&Metric::Loss)).map(|it| it.median.value);
            let result = match loss {
                Some(loss) if loss > 0.0 => format!("FAIL: lost {}", text::percent(loss)),
                _ if it.late > LATE => format!("LATE by {}", text::float(it.late * 1e9)),
                _ => "PASS".to_owned(),
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
        let compared = self.lines.iter().filter_map(|line| {
            let main = [Metric::CpuPerRequest, Metric::CollectorCpuPerSpan];
            main.iter().find_map(|metric| line.figures.get(metric))?.detectable
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
        let verdict = if it.differs.contains(0.0) { "on the line" } else { "NOT on the line" };
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

    use super::*;
    use crate::bench::experiment::{figures::Point, lines::tests::measured};

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
