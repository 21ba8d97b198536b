//! `junit.xml`: one test suite a scenario, one test case an expectation.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use crate::verdict::{Status, Verdict};

/// The reports of one command as JUnit XML.
pub fn junit(reports: &[Report]) -> Result<String, quick_junit::SerializeError> {
    let mut document = quick_junit::Report::new("spangate");
    for report in reports {
        let mut suite = TestSuite::new(report.scenario.as_str());
        suite.set_time(Duration::from_secs_f64(report.seconds.max(0.0)));
        suite.add_property(("seed", report.seed.to_string().as_str()));
        suite.add_property(("repeat", report.repeat.as_str()));
        for component in &report.components {
            suite.add_property((component.name.as_str(), component.version.as_str()));
        }
        suite.add_test_cases(report.verdicts.iter().map(|verdict| case(&report.scenario, verdict)));
        document.add_test_suite(suite);
    }
    document.to_string()
}

/// Verdicts that belong to no scenario, as a suite of that name which took so many seconds.
pub(crate) fn suite_of(
    name: &str,
    seconds: f64,
    verdicts: &[Verdict],
) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(name);
    suite.set_time(Duration::from_secs_f64(seconds.max(0.0)));
    suite.add_test_cases(verdicts.iter().map(|verdict| case(name, verdict)));
    let mut document = quick_junit::Report::new("spangate");
    document.add_test_suite(suite);
    document.to_string()
}

/// JUnit knows no "inconclusive": it becomes an error, which no reader takes for green.
fn case(scenario: &str, verdict: &Verdict) -> TestCase {
    let status = match verdict.status {
        Status::Pass => TestCaseStatus::success(),
        Status::Fail => non_success(NonSuccessKind::Failure, "expectation failed", verdict),
        Status::Inconclusive => non_success(NonSuccessKind::Error, "inconclusive", verdict),
    };
    let mut case = TestCase::new(verdict.expectation.as_str(), status);
    case.set_classname(scenario);
    case.set_system_out(evidence(verdict));
    case
}

fn non_success(kind: NonSuccessKind, class: &str, verdict: &Verdict) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(class).set_message(verdict.reasons.join("; "));
    status
}

fn evidence(verdict: &Verdict) -> String {
    let mut lines: Vec<String> = verdict
        .checks
        .iter()
        .map(|check| {
            let bound =
                if check.bound.is_empty() { String::new() } else { format!(", expected {}", check.bound) };
            let interval = check.interval.as_ref().map(|i| format!(", {i}")).unwrap_or_default();
            format!("{}: {}{bound}{interval}, n = {}", check.what, check.observed, check.n)
        })
        .collect();
    lines.extend(verdict.examples.iter().map(|trace| format!("trace {trace}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::summary::tests::report, verdict::Check};

    #[test]
    fn failed_and_inconclusive_expectations_are_never_green() {
        let mut verdicts = vec![Verdict::new("complete"), Verdict::new("latency"), Verdict::new("blame")];
        verdicts[0].check(Check::bound("missing", "1", "= 0", 20, false));
        verdicts[1].undecided("too few");
        let xml = junit(&[report(verdicts)]).unwrap();
        assert!(xml.contains(r#"tests="3""#) && xml.contains(r#"failures="1""#), "{xml}");
        assert!(xml.contains(r#"errors="1""#), "{xml}");
        assert!(xml.contains("missing: 1, expected = 0, n = 20"), "{xml}");
    }
}
