//! The report as text for a terminal.

use std::{fmt::Write, path::Path};

use spangate_trace::TraceId;

use super::Report;
use crate::{
    text,
    verdict::{Status, Verdict},
};

/// How a summary is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Whether ANSI colours may be used.
    pub colour: bool,
    /// Whether the checks of passed expectations are shown too.
    pub verbose: bool,
}

/// The report of the run in `directory` as text, ending in a newline.
pub fn summary(report: &Report, directory: &Path, style: Style) -> String {
    let mut out = String::new();
    for verdict in &report.verdicts {
        draw_verdict(&mut out, verdict, style, |trace| {
            format!("spangate show {trace} --from {}", directory.display())
        });
    }
    for warning in &report.warnings {
        line(&mut out, &format!("{} {warning}", style.paint("warning:", "33")));
    }
    let stored = format!("{} spans stored", report.facts.sink.stored);
    if let Some(sent) = &report.facts.traces {
        let late = match sent.late_exports {
            0 => String::new(),
            late => format!(", {late} exports late"),
        };
        let (traces, spans, accepted) = (sent.traces, sent.spans, sent.accepted);
        line(
            &mut out,
            &format!("{traces} traces of {spans} spans sent, {accepted} accepted{late}; {stored}"),
        );
        return out;
    }
    let totals = &report.requests;
    let mut sent = format!("{} requests", totals.total);
    for (count, what) in [
        (totals.refused, "refused"),
        (totals.errors, "broken off"),
        (totals.timeouts, "timed out"),
        (totals.shed, "shed"),
    ] {
        if count > 0 {
            let _ = write!(sent, ", {count} {what}");
        }
    }
    let lag =
        text::signed(i64::try_from(report.facts.generator.start_lag_p99_us * 1_000).unwrap_or(i64::MAX));
    line(&mut out, &format!("{sent}; start lag p99 {lag}; {stored}"));
    let stalls = &report.facts.stalls;
    if stalls.cpus > 0 {
        let who = if report.facts.realtime { "the machine" } else { "the machine, or the run itself," };
        line(&mut out, &format!("{who} {stalls}"));
    }
    out
}

/// Adds a verdict; `example` is what is said of a trace to look at.
pub(crate) fn draw_verdict(
    out: &mut String,
    verdict: &Verdict,
    style: Style,
    example: impl Fn(&TraceId) -> String,
) {
    let (mark, colour) = match verdict.status {
        Status::Pass => ("PASS", "32"),
        Status::Fail => ("FAIL", "31"),
        Status::Inconclusive => ("INCONCLUSIVE", "33"),
    };
    line(out, &format!("{} {}", style.paint(mark, colour), verdict.expectation));
    let width = verdict.checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
    for check in &verdict.checks {
        if verdict.status == Status::Pass && !style.verbose && check.bound.is_empty() {
            continue;
        }
        let mut text = format!("     {:width$}  {}", check.what, check.observed);
        if !check.bound.is_empty() {
            let _ = write!(text, "  (expected {})", check.bound);
        }
        if let Some(interval) = &check.interval {
            let _ = write!(text, "  {interval}");
        }
        let _ = write!(text, "  n={}", check.n);
        line(out, &text);
    }
    for reason in &verdict.reasons {
        line(out, &format!("     {} {reason}", style.paint("->", colour)));
    }
    if verdict.status != Status::Pass {
        for trace in &verdict.examples {
            line(out, &format!("     {}", example(trace)));
        }
    }
}

/// Adds a line.
pub(crate) fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

// === impl Style ===

impl Style {
    /// Text in a colour, if there are any.
    pub(crate) fn paint(self, text: &str, colour: &str) -> String {
        if self.colour { format!("\x1b[1;{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        evidence::Facts,
        report::{RequestTotals, overall},
        testing::Run,
        verdict::Check,
    };

    pub(crate) fn report(verdicts: Vec<Verdict>) -> Report {
        Report {
            api_version: Report::API_VERSION.to_owned(),
            kind: "Report".to_owned(),
            scenario: "made-up".to_owned(),
            seed: 7,
            status: overall(&verdicts),
            verdicts,
            components: Vec::new(),
            machine: None,
            requests: RequestTotals { total: 40, succeeded: 39, refused: 1, ..RequestTotals::default() },
            facts: Facts::default(),
            warnings: vec!["the generator started late".to_owned()],
            started: "2026-01-01T00:00:00Z".to_owned(),
            seconds: 1.5,
            seconds_to_first_span: None,
            repeat: "spangate run made-up.yaml --seed 7".to_owned(),
            directory: "run".to_owned(),
            left_behind: false,
        }
    }

    #[test]
    fn a_failure_shows_its_evidence_and_where_to_look() {
        let mut verdicts = vec![Verdict::new("complete"), Verdict::new("injected slow-mutate within 2ms")];
        verdicts[0].check(Check::bound("missing", "0", "= 0", 40, true));
        verdicts[1].check(Check::bound("found again", "19 of 20", "20", 20, false));
        verdicts[1].example(Run::trace(4));
        insta::assert_snapshot!(summary(&report(verdicts), Path::new("run"), Style::default()), @r"
        PASS complete
             missing  0  (expected = 0)  n=40
        FAIL injected slow-mutate within 2ms
             found again  19 of 20  (expected 20)  n=20
             -> found again is 19 of 20, expected 20
             spangate show abababababababab0000000000000004 --from run
        warning: the generator started late
        40 requests, 1 refused; start lag p99 0ns; 0 spans stored
        ");
    }
}
