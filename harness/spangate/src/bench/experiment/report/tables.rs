//! The tables of a report, before they have a form.

use spangate_trace::stats::{Estimate, median_value};

use super::{Drawn, ExperimentReport, TestbedLine, figure};
use crate::{
    bench::experiment::figures::Testbed,
    overhead::{Measured, Metric, compare::ArmRow},
    text::{self, growth},
};

/// A table, before it has a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bench::experiment) struct Table {
    pub(in crate::bench::experiment) title: &'static str,
    pub(in crate::bench::experiment) heads: Vec<String>,
    pub(in crate::bench::experiment) rows: Vec<Vec<String>>,
}

/// Columns that a line of arms is compared by.
const COSTS: [(Metric, bool); 4] = [
    (Metric::CpuPerRequest, true),
    (Metric::Rss, true),
    (Metric::SpansPerRequest, false),
    (Metric::BytesPerRequest, false),
];
const TIMES: [(Metric, bool); 3] =
    [(Metric::ResponseP50, true), (Metric::ResponseP90, true), (Metric::ResponseP99, true)];
const MACHINE: [(Metric, bool); 5] = [
    (Metric::RunQueueWait, true),
    (Metric::ContextSwitches, true),
    (Metric::ReadPerRequest, false),
    (Metric::WrittenPerRequest, true),
    (Metric::Pss, false),
];
const COLLECTOR: [(Metric, bool); 7] = [
    (Metric::CollectorCpuPerSpan, true),
    (Metric::CollectorRss, true),
    (Metric::Loss, false),
    (Metric::Refused, false),
    (Metric::QueueFull, false),
    (Metric::LagP50, false),
    (Metric::LagP99, false),
];

/// How late exports may be, in seconds, before a Collector counts as too slow for its rate.
const LATE: f64 = 1.0;

/// An estimate with the ends of its interval.
pub(super) fn interval(it: &Estimate, show: impl Fn(f64) -> String) -> String {
    format!("{} [{}, {}]", show(it.value), show(it.low), show(it.high))
}

// === impl ExperimentReport ===

impl ExperimentReport {
    /// The tables of the report.
    pub(in crate::bench::experiment) fn tables(&self) -> Vec<Table> {
        let mut tables = vec![
            self.table("What it costs the API server", &COSTS),
            self.table("How long responses take", &TIMES),
            self.table("What else the API server asks of the machine", &MACHINE),
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
                    cells.push(effect.map_or_else(none, |effect| interval(&effect.ratio, growth)));
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
}

/// Medians of the columns of the testbed, arm by arm.
pub(super) fn testbed(measured: &Measured, drawn: &[Drawn]) -> Vec<TestbedLine> {
    let line = |arm: &str| {
        let units: Vec<Testbed> =
            drawn.iter().filter(|it| it.arm == arm).filter_map(|it| it.series.testbed).collect();
        let first = *units.first()?;
        let middle = |get: fn(&Testbed) -> f64| {
            median_value(&units.iter().map(get).collect::<Vec<f64>>()).unwrap_or_default()
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
