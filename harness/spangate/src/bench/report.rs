//! The report of a duet, in every form.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use spangate_trace::stats::Estimate;

use super::{
    analysis::Row,
    design::{Design, Operation},
};
use crate::{
    exit::Exit,
    measure::Machine,
    report::{Component, Report},
    text,
};

/// What tracing adds to operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DuetReport {
    /// The version of this format.
    pub api_version: String,
    /// The kind of this file.
    pub kind: String,
    /// What was done.
    pub design: Design,
    /// Where.
    pub machine: Machine,
    /// What was started.
    pub components: Vec<Component>,
    /// What it says of each operation.
    pub rows: Vec<Said>,
    /// When it began.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The command that repeats it.
    pub repeat: String,
    /// Its directory.
    pub directory: String,
}

/// What is said of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// What tracing adds.
    Row(Box<Row>),
    /// Nothing can be said.
    Nothing {
        /// The operation.
        operation: Operation,
        /// Why not.
        why: String,
    },
}

// === impl DuetReport ===

impl DuetReport {
    pub(super) fn new(design: Design, machine: Machine, started: String, repeat: String) -> Self {
        Self {
            api_version: Report::API_VERSION.to_owned(),
            kind: "DuetReport".to_owned(),
            design,
            machine,
            components: Vec::new(),
            rows: Vec::new(),
            started,
            seconds: 0.0,
            repeat,
            directory: String::new(),
        }
    }

    /// Inconclusive when nothing can be said of an operation, or when equal blocks differ or are too few to tell.
    pub fn exit(&self) -> Exit {
        let doubtful = |said: &Said| match said {
            Said::Row(row) => row.control.is_none_or(|control| !control.contains(0.0)),
            Said::Nothing { .. } => true,
        };
        if self.rows.iter().any(doubtful) { Exit::Inconclusive } else { Exit::Pass }
    }

    /// The report as text, ending in a newline.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let rows: Vec<_> = self.rows.iter().map(cells).collect();
        text::table(&mut out, &TITLES.map(str::to_owned), &rows);
        let _ = write!(out, "{}", self.foot());
        out
    }

    /// The report as Markdown, ending in a newline.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        text::markdown_table(&mut out, &TITLES.map(str::to_owned), self.rows.iter().map(cells));
        let _ = write!(out, "{}", self.foot());
        out
    }

    /// What a reader has to know of the figures.
    fn foot(&self) -> String {
        let Machine { cpu, cpus, kernel } = &self.machine;
        let versions: Vec<String> =
            self.components.iter().map(|it| format!("{} {}", it.name, it.version)).collect();
        let design = &self.design;
        let mut out = String::new();
        for said in &self.rows {
            if let Said::Nothing { operation, why } = said {
                let _ = writeln!(out, "{} is inconclusive: {why}", operation.name());
            }
        }
        let _ = write!(
            out,
            "CPU of kube-apiserver a request, medians with 95% intervals of the bootstrap (equal blocks 99%); {} pairs of blocks of {} s at \
             {}/s.\n{}; {cpus} CPUs ({cpu}), Linux {kernel}; {}.\n`{}`\n",
            design.pairs,
            design.block.as_secs_f64(),
            design.rate,
            versions.join(", "),
            self.started,
            self.repeat,
        );
        out
    }
}

const TITLES: [&str; 8] =
    ["operation", "n", "not traced", "traced", "tracing adds", "of it", "equal blocks", "response p50"];

fn cells(said: &Said) -> [String; 8] {
    let row = match said {
        Said::Row(row) => row,
        Said::Nothing { operation, .. } => {
            let mut cells = [const { String::new() }; 8];
            operation.name().clone_into(&mut cells[0]);
            "inconclusive".clone_into(&mut cells[4]);
            return cells;
        }
    };
    let time = |it: &Estimate| {
        format!("{} [{}, {}]", text::float(it.value), text::float(it.low), text::float(it.high))
    };
    let part = |it: &Estimate| {
        let percent = |value: f64| format!("{:+.1}%", value * 100.0);
        format!("{} [{}, {}], p={:.1e}", percent(it.value), percent(it.low), percent(it.high), row.p)
    };
    [
        row.operation.name().to_owned(),
        format!("{} in {} pairs", row.requests, row.pairs),
        time(&row.plain),
        format!("{}, {:.1} spans", time(&row.traced), row.spans_per_request),
        time(&row.adds),
        part(&row.part),
        row.control.as_ref().map_or_else(
            || "too few".to_owned(),
            |control| {
                let mark = if control.contains(0.0) { "" } else { " DIFFER" };
                format!("{}{mark}", time(control))
            },
        ),
        time(&row.latency),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(control: f64) -> DuetReport {
        let design = Design {
            rate: 200.0,
            block: Duration::from_secs(2),
            pairs: 20,
            warm_up: Duration::from_secs(10),
            seed: 1,
            kubernetes: "1.37".to_owned(),
        };
        let around = |value: f64, half: f64| Estimate { value, low: value - half, high: value + half };
        let row = Row {
            operation: Operation::Get,
            requests: 13_600,
            pairs: 20,
            void: Vec::new(),
            plain: around(1e6, 1e4),
            traced: around(1.2e6, 1e4),
            adds: around(2e5, 2e4),
            part: around(0.2, 0.02),
            p: 1e-6,
            control: Some(around(control, 1e4)),
            latency: around(1e5, 2e4),
            spans_per_request: 8.0,
        };
        let mut report = DuetReport::new(design, Machine::this(), "today".to_owned(), "spangate".to_owned());
        report.rows.push(Said::Row(Box::new(row)));
        report
    }

    #[test]
    fn equal_blocks_that_differ_are_not_green() {
        assert_eq!(report(0.0).exit(), Exit::Pass);
        let doubtful = report(5e4);
        assert_eq!(doubtful.exit(), Exit::Inconclusive);
        assert!(doubtful.text().contains("DIFFER"), "{}", doubtful.text());
        let mut unknown = report(0.0);
        if let Said::Row(row) = &mut unknown.rows[0] {
            row.control = None;
        }
        assert_eq!(unknown.exit(), Exit::Inconclusive);
    }

    #[test]
    fn what_says_nothing_is_told_and_not_green() {
        let mut report = report(0.0);
        report.rows.push(Said::Nothing { operation: Operation::List, why: "too busy".to_owned() });
        assert_eq!(report.exit(), Exit::Inconclusive);
        let (text, page) = (report.text(), report.markdown());
        assert!(
            text.contains("list is inconclusive: too busy")
                && page.contains("list is inconclusive: too busy"),
            "{text}{page}"
        );
        assert!(text.contains("200us [180us, 220us]") && text.contains("+20.0% [+18.0%, +22.0%]"), "{text}");
        let cells = |line: &str| line.matches('|').count();
        assert!(page.lines().take(4).all(|line| cells(line) == 9), "{page}");
    }

    #[test]
    fn a_report_is_read_back() {
        let report = report(0.0);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<DuetReport>(&text).unwrap(), report);
    }
}
