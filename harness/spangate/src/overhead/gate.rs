//! A gate on what tracing costs: when to look, what a look says, and the report in every form.

use std::{collections::BTreeSet, fmt::Write as _};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use spangate_trace::stats::{Equivalence, Sequential};

use super::{
    Comparison, Measured, OverheadRules,
    compare::{Figure, Method, Pairing, compare_by},
    judge::judge,
};
use crate::{
    bench::trouble::too_many_void,
    error::CommandError,
    exit::Exit,
    gate::markdown::{reasons, rules},
    report::{
        Report, junit, overall,
        summary::{Style, draw_verdict, line},
    },
    text::{growth, markdown_table, table},
    verdict::{Status, Verdict},
};

/// What a look at a measurement says.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// What the figures say.
    pub comparison: Comparison,
    /// The judgement on every rule.
    pub verdicts: Vec<Verdict>,
    /// All rules together.
    pub status: Status,
}

/// The report of a gate on what tracing costs (`result.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverheadReport {
    /// The version of this format: `spangate/v1alpha1`.
    pub api_version: String,
    /// `OverheadReport`.
    pub kind: String,
    /// Green, red, or neither.
    pub status: Status,
    /// What the figures say.
    pub comparison: Comparison,
    /// The rules.
    pub rules: OverheadRules,
    /// The judgement on every rule.
    pub verdicts: Vec<Verdict>,
    /// The most that gates of two equal arms are red, as a part; none where nothing is known of it, as of a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_red: Option<f64>,
    /// What a reader should know before believing the figures.
    pub warnings: Vec<String>,
    /// When it began (RFC 3339).
    pub started: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// The command that repeats it.
    pub repeat: String,
    /// The directory that it left, as the command line named its place.
    pub directory: String,
}

/// Looks at a measurement: its intervals have the confidence of one of the looks of `plan`, so that all of them together
/// have that of the rules.
pub fn look(measured: &Measured, rules: &OverheadRules, plan: &Sequential, today: Date) -> Look {
    let method = Method { confidence: plan.each(), pairing: Pairing::AtOnce, ..Method::default() };
    let comparison = compare_by(measured, &method);
    let mut verdicts = judge(&comparison, rules, today);
    verdicts.extend(measurements_that_count(measured));
    Look { comparison, status: overall(&verdicts), verdicts }
}

/// What leaves a gate open however its rules are judged: so much of what was measured does not count that the rest is chosen.
/// A server that fails most of the time would be judged by the times when it does not.
pub(super) fn measurements_that_count(measured: &Measured) -> Option<Verdict> {
    let void: Vec<&str> = measured.units.iter().filter_map(|unit| unit.excluded.as_deref()).collect();
    let all = measured.units.len();
    if !too_many_void(void.len() as u64, all as u64) {
        return None;
    }
    let why: Vec<&str> = void.iter().copied().collect::<BTreeSet<_>>().into_iter().take(3).collect();
    let mut verdict = Verdict::new("measurements that count");
    verdict.undecided(format!("{} of {all} do not count: {}", void.len(), why.join("; ")));
    Some(verdict)
}

// === impl Look ===

impl Look {
    /// Whether more rounds would change nothing: a red gate stays red, and a green one has nothing open.
    pub fn is_decided(&self) -> bool {
        self.status != Status::Inconclusive
    }
}

// === impl OverheadReport ===

impl OverheadReport {
    pub(crate) fn new(look: Look, rules: OverheadRules, started: String, repeat: String) -> Self {
        let reference = &look.comparison.reference;
        let arms = look.comparison.arms.iter().filter(|row| row.arm.name != *reference).count();
        Self {
            api_version: Report::API_VERSION.to_owned(),
            kind: "OverheadReport".to_owned(),
            status: look.status,
            comparison: look.comparison,
            false_red: Some(rules.false_red(arms)),
            rules,
            verdicts: look.verdicts,
            warnings: Vec::new(),
            started,
            seconds: 0.0,
            repeat,
            directory: String::new(),
        }
    }

    /// The exit code that this report asks for.
    pub fn exit(&self) -> Exit {
        self.status.gate_exit()
    }

    /// The report as JUnit XML: one test case a rule.
    pub fn junit(&self) -> Result<String, CommandError> {
        junit::suite_of("gate overhead", self.seconds, &self.verdicts)
            .map_err(|error| CommandError::bug("the report cannot be written as JUnit XML").because(error))
    }

    /// The report as text for a terminal, ending in a newline.
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        self.head().iter().for_each(|told| line(&mut out, told));
        out.push('\n');
        table(&mut out, &titles(), &self.rows());
        out.push('\n');
        for verdict in &self.verdicts {
            draw_verdict(&mut out, verdict, style, |trace| format!("trace {trace}"));
        }
        for warning in &self.warnings {
            line(&mut out, &format!("{} {warning}", style.paint("warning:", "33")));
        }
        line(&mut out, &self.foot());
        line(&mut out, &self.status.painted(style));
        out
    }

    /// The report as Markdown for a pull request, ending in a newline.
    pub fn markdown(&self) -> String {
        let mut out = format!("### Overhead gate: {}\n\n", self.status.light());
        for told in self.head() {
            let _ = writeln!(out, "- {told}");
        }
        out.push('\n');
        rules(&mut out, &self.verdicts);
        markdown_table(&mut out, &titles(), self.rows().into_iter());
        reasons(&mut out, &self.verdicts);
        for warning in &self.warnings {
            let _ = writeln!(out, "- warning: {warning}");
        }
        let _ = writeln!(out, "\n<sub>{} `{}`</sub>", self.foot(), self.repeat);
        out
    }

    /// What was compared, arm by arm.
    fn head(&self) -> Vec<String> {
        let arm = |row: &super::compare::ArmRow| {
            let void: u64 = row.excluded.values().sum();
            let mut told = format!(
                "{}: {}; {} rounds, {} requests",
                row.arm.name, row.arm.description, row.units, row.n
            );
            if void > 0 {
                let why: Vec<String> =
                    row.excluded.iter().map(|(why, n)| format!("{n} because {why}")).collect();
                let _ = write!(told, "; not counted: {}", why.join(", "));
            }
            told
        };
        self.comparison.arms.iter().map(arm).collect()
    }

    /// The figures of all arms but the reference.
    fn rows(&self) -> Vec<[String; 8]> {
        let arms = self.comparison.arms.iter().filter(|row| row.arm.name != self.comparison.reference);
        arms.flat_map(|row| row.figures.iter().map(|figure| cells(&row.arm.name, figure))).collect()
    }

    /// Where it was measured, and how far it can be believed.
    fn foot(&self) -> String {
        let key = &self.comparison.key;
        let versions: Vec<String> = key.versions.iter().map(|(name, at)| format!("{name} {at}")).collect();
        let promise = self.false_red.map_or_else(String::new, |share| {
            format!(" Of gates of two equal arms at most {:.1}% are red.", share * 100.0)
        });
        format!(
            "{}; {} cores ({}), Linux {}; {}; {:.0} s.{promise}",
            versions.join(", "),
            key.cores,
            key.cpu,
            key.kernel,
            self.started,
            self.seconds,
        )
    }
}

fn titles() -> [String; 8] {
    ["arm", "figure", "pairs", "reference", "arm", "change", "would show", "interval"].map(str::to_owned)
}

fn cells(arm: &str, figure: &Figure) -> [String; 8] {
    let metric = figure.metric;
    let name = metric.label().to_owned();
    let Some(effect) = &figure.effect else {
        let value = metric.show(figure.value.value);
        let dash = || "-".to_owned();
        return [arm.to_owned(), name, figure.rounds.to_string(), dash(), value, dash(), dash(), dash()];
    };
    let same = match effect.equivalence {
        Equivalence::Equivalent => ", the same",
        Equivalence::Different => ", differs",
        Equivalence::Undecided => "",
    };
    [
        arm.to_owned(),
        name,
        effect.pairs.to_string(),
        metric.show(effect.reference),
        metric.show(effect.value),
        growth(effect.ratio.value),
        effect.detectable.map_or_else(|| "-".to_owned(), |least| growth(1.0 + least)),
        format!("{} to {}{same}, p={:.1e}", growth(effect.ratio.low), growth(effect.ratio.high), effect.p),
    ]
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::overhead::{
        Unit,
        testing::{measured, unit},
    };

    const PLAN: Sequential = Sequential { confidence: 0.99, looks: 2, cap: 20 };

    fn report(ratio: f64) -> OverheadReport {
        let mut rules = OverheadRules::default_rules();
        rules.rules.truncate(1);
        let measured = measured(12, |round| (1e-3, 1e-3 * ratio * (1.0 + f64::from(round % 3) / 1e3)));
        let look = look(&measured, &rules, &PLAN, date(2026, 11, 28));
        OverheadReport::new(look, rules, "today".to_owned(), "spangate gate overhead".to_owned())
    }

    #[test]
    fn a_red_gate_says_so_in_every_form() {
        let report = report(1.1);
        let (page, text, xml) = (report.markdown(), report.text(Style::default()), report.junit().unwrap());
        assert_eq!(report.exit(), Exit::Regression);
        assert!(page.starts_with("### Overhead gate: red\n"), "{page}");
        assert!(page.contains("| **red** | head: cpuPerRequest &lt; +5% |"), "{page}");
        assert!(text.ends_with("\nred\n") && text.contains("CPU per request"), "{text}");
        assert!(xml.contains(r#"failures="1""#), "{xml}");
        assert!([&page, &text, &xml].iter().all(|form| form.contains("+10.1%")), "{page}{text}{xml}");
        assert!(page.is_ascii() && text.is_ascii());
    }

    #[test]
    fn what_cannot_be_told_is_not_green() {
        assert_eq!(report(1.0).exit(), Exit::Pass);
        let mut open = report(1.0);
        open.status = Status::Inconclusive;
        assert_eq!((open.exit(), open.status.light()), (Exit::Inconclusive, "inconclusive"));
    }

    /// Scenario: twelve rounds of equal servers that count, and beside them four in which one fails, and five.
    /// Guarantees: what is left of too many rounds is not green, and the gate says what went wrong.
    #[test]
    fn what_is_left_of_too_many_rounds_is_not_green() {
        let mut rules = OverheadRules::default_rules();
        rules.rules.truncate(1);
        let failing = |rounds: u32| {
            let mut measured = measured(12, |_| (1e-3, 1e-3));
            for round in 12..12 + rounds {
                let excluded = || Some("head: 40 requests failed, and 900 did not".to_owned());
                let units =
                    ["base", "head"].map(|arm| Unit { excluded: excluded(), ..unit(arm, round, 1e-3) });
                measured.units.extend(units);
            }
            look(&measured, &rules, &PLAN, date(2026, 11, 28))
        };
        assert_eq!(failing(4).status, Status::Pass);
        let open = failing(5);
        assert_eq!((open.status, open.is_decided()), (Status::Inconclusive, false));
        let why = &open.verdicts.last().unwrap().reasons[0];
        assert!(why.starts_with("10 of 34 do not count: head: 40 requests failed"), "{why}");
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_table() {
        let page = report(1.0).markdown();
        let cells = |row: &str| row.replace("\\|", "").matches('|').count();
        for table in page.split("\n\n").filter(|part| part.starts_with('|')) {
            let counts: std::collections::HashSet<usize> = table.lines().map(cells).collect();
            assert_eq!(counts.len(), 1, "{table}");
        }
    }

    #[test]
    fn a_report_is_read_back() {
        let report = report(1.1);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<OverheadReport>(&text).unwrap(), report);
    }
}
