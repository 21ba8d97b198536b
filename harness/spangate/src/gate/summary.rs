//! The report of a gate as text for a terminal.

use super::{
    classes::{ClassRow, Kept},
    costs::CostRow,
    judge::{interval, points},
    report::GateReport,
};
use crate::{
    report::summary::{Style, draw_verdict, line},
    text::{self, growth, table},
};

/// The report as text, ending in a newline.
pub fn summary(report: &GateReport, style: Style) -> String {
    let mut out = String::new();
    line(&mut out, &format!("base {}  head {}", report.base, report.head));
    line(&mut out, &volume(report));
    out.push('\n');
    table(
        &mut out,
        &header(),
        &report.classes.iter().map(|row| class(row, report.confidence)).collect::<Vec<_>>(),
    );
    for row in &report.classes {
        for (what, examples) in [("base", &row.lost), ("head", &row.gained)] {
            if !examples.is_empty() {
                let traces: Vec<String> = examples.iter().map(ToString::to_string).collect();
                line(&mut out, &format!("  {} kept by {what} alone: {}", row.class, traces.join(" ")));
            }
        }
    }
    out.push('\n');
    let titles = ["cost", "base", "head", "change", "range of the rounds"].map(str::to_owned);
    table(&mut out, &titles, &report.costs.iter().map(cost).collect::<Vec<_>>());
    out.push('\n');
    for verdict in &report.verdicts {
        draw_verdict(&mut out, verdict, style, |trace| format!("trace {trace}"));
    }
    for warning in &report.warnings {
        line(&mut out, &format!("{} {warning}", style.paint("warning:", "33")));
    }
    line(&mut out, &report.status.painted(style));
    out
}

/// How much the report rests on.
pub(crate) fn volume(report: &GateReport) -> String {
    let rounds = report.rounds.len();
    format!(
        "{} traces, {} spans to each in {rounds} round{}, {} s",
        report.traces(),
        report.spans(),
        if rounds == 1 { "" } else { "s" },
        report.seconds.round()
    )
}

/// The titles of the table of classes.
pub(crate) fn header() -> [String; 7] {
    ["class", "traces", "base kept", "expected", "head kept", "expected", "head - base"].map(str::to_owned)
}

/// A row of the table of classes.
pub(crate) fn class(row: &ClassRow, confidence: f64) -> [String; 7] {
    let kept = |kept: Kept| format!("{} ({})", kept.kept, share(kept.kept, row.traces));
    [
        row.class.to_string(),
        row.traces.to_string(),
        kept(row.base),
        expected(row.base),
        kept(row.head),
        expected(row.head),
        format!("{}, {}", points(row.difference.value), interval(row, confidence)),
    ]
}

/// A row of the table of costs.
pub(crate) fn cost(row: &CostRow) -> [String; 5] {
    let (change, range) = row.ratio.map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |ratio| (growth(ratio.value), format!("{} to {}", growth(ratio.low), growth(ratio.high))),
    );
    [row.cost.label().to_owned(), row.cost.show(row.base), row.cost.show(row.head), change, range]
}

fn share(part: u64, of: u64) -> String {
    if of == 0 { "-".to_owned() } else { text::percent(part as f64 / of as f64) }
}

/// What had to be kept; where the fate of some is open, from what is certain to what is possible.
fn expected(kept: Kept) -> String {
    match kept.open {
        0 => kept.expected.to_string(),
        open => format!("{}..{}", kept.expected, kept.expected + open),
    }
}
