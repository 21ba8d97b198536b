//! The report of a gate in Markdown, for a pull request.

use std::fmt::Write;

use super::{
    report::GateReport,
    summary::{class, cost, header, volume},
};
use crate::{
    text::{cell, markdown_table},
    verdict::{Status, Verdict},
};

/// The report as Markdown, ending in a newline.
pub fn markdown(report: &GateReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "### Sampling gate: {}\n", report.light());
    let _ = writeln!(out, "`{}` -> `{}`: {}.\n", report.base, report.head, volume(report));
    rules(&mut out, &report.verdicts);
    markdown_table(&mut out, &header(), report.classes.iter().map(|row| class(row, report.confidence)));
    let titles = ["cost", "base", "head", "change", "range of the rounds"].map(str::to_owned);
    markdown_table(&mut out, &titles, report.costs.iter().map(cost));
    reasons(&mut out, &report.verdicts);
    for warning in &report.warnings {
        let _ = writeln!(out, "- warning: {warning}");
    }
    let _ = writeln!(out, "\n<sub>`{}`</sub>", report.repeat);
    out
}

/// The table of all rules, and an empty line.
pub(crate) fn rules(out: &mut String, verdicts: &[Verdict]) {
    out.push_str("| | rule | observed | expected |\n|---|---|---|---|\n");
    for verdict in verdicts {
        rule(out, verdict);
    }
    out.push('\n');
}

/// Why rules are not met, one a line.
pub(crate) fn reasons(out: &mut String, verdicts: &[Verdict]) {
    for verdict in verdicts.iter().filter(|verdict| verdict.status != Status::Pass) {
        let reasons: Vec<String> = verdict.reasons.iter().map(|reason| reason.replace('\n', " ")).collect();
        let traces: Vec<String> = verdict.examples.iter().map(|trace| format!("`{trace}`")).collect();
        let examples =
            if traces.is_empty() { String::new() } else { format!(" (such as {})", traces.join(", ")) };
        if !reasons.is_empty() || !examples.is_empty() {
            let _ = writeln!(out, "- {}: {}{examples}", verdict.expectation, reasons.join("; "));
        }
    }
}

/// One row a comparison that has a bound.
fn rule(out: &mut String, verdict: &Verdict) {
    let mark = match verdict.status {
        Status::Pass => "ok",
        Status::Fail => "**red**",
        Status::Inconclusive => "*inconclusive*",
    };
    let checks: Vec<_> = verdict.checks.iter().filter(|check| !check.bound.is_empty()).collect();
    for (index, check) in checks.iter().enumerate() {
        let (mark, rule) = if index == 0 { (mark, verdict.expectation.as_str()) } else { ("", "") };
        let interval = check.interval.as_ref().map(|it| format!(", {it}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "| {mark} | {} | {}: {}{interval} | {} |",
            cell(rule),
            cell(&check.what),
            cell(&check.observed),
            cell(&check.bound)
        );
    }
    if checks.is_empty() {
        let told = verdict.checks.first().map(|check| format!("{}: {}", check.what, check.observed));
        let _ = writeln!(
            out,
            "| {mark} | {} | {} | |",
            cell(&verdict.expectation),
            cell(&told.unwrap_or_default())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gate::{
            summary::summary,
            testing::{lose, report, rounds},
        },
        report::summary::Style,
    };

    #[test]
    fn a_red_gate_says_so_in_every_form() {
        let mut rounds = rounds();
        lose(&mut rounds, "errors", 5);
        let report = report(rounds);
        let (page, text, xml) =
            (markdown(&report), summary(&report, Style::default()), report.junit().unwrap());
        assert!(page.starts_with("### Sampling gate: red\n"), "{page}");
        assert!(
            page.contains("| **red** | kept errors = 100% |") && page.contains("cpuPerSpan &lt; +10%"),
            "{page}"
        );
        assert!(text.contains("  errors kept by base alone: ") && text.ends_with("\nred\n"), "{text}");
        assert!(xml.contains(r#"failures="1""#), "{xml}");
        let lost = &report.classes[0].lost[0].to_string();
        assert!([&page, &text, &xml].iter().all(|form| form.contains(lost)), "{page}{text}{xml}");
        assert!(text.is_ascii() && page.is_ascii());
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_table() {
        let page = markdown(&report(rounds()));
        let cells = |row: &str| row.replace("\\|", "").matches('|').count();
        for table in page.split("\n\n").filter(|part| part.starts_with('|')) {
            let counts: std::collections::HashSet<usize> = table.lines().map(cells).collect();
            assert_eq!(counts.len(), 1, "{table}");
        }
        assert!(page.starts_with("### Sampling gate: green\n"), "{page}");
    }

    #[test]
    fn a_report_is_read_back() {
        let mut report = report(rounds());
        // Traces are for the judges; the ledgers have them.
        for round in &mut report.rounds {
            (round.base.traces, round.head.traces) = (Vec::new(), Vec::new());
        }
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<crate::gate::GateReport>(&text).unwrap(), report);
    }
}
