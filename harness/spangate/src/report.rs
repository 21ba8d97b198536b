//! The report of a run: what every form of output is made from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    evidence::{Facts, Generator},
    exit::Exit,
    measure::Machine,
    verdict::{Status, Verdict},
};

pub mod junit;
pub mod latencies;
pub mod list;
pub mod schema;
pub mod summary;

/// The report of one run of one scenario (`report.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// The version of this format: `spangate/v1alpha1`.
    pub api_version: String,
    /// `Report`.
    pub kind: String,
    /// The scenario's name.
    pub scenario: String,
    /// The seed of every random choice.
    pub seed: u64,
    /// How the run ended as a whole.
    pub status: Status,
    /// The judgement on every expectation, in the scenario's order.
    pub verdicts: Vec<Verdict>,
    /// What ran.
    pub components: Vec<Component>,
    /// Where it ran; reports from before it was noted have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// What was sent.
    pub requests: RequestTotals,
    /// What is known of the run besides ledgers and spans.
    pub facts: Facts,
    /// What a reader should know before believing the figures.
    pub warnings: Vec<String>,
    /// When the run began (RFC 3339).
    pub started: String,
    /// Seconds from the start of the control plane to the last verdict.
    pub seconds: f64,
    /// Seconds from the start of the control plane to the first span that the sink accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_to_first_span: Option<f64>,
    /// The command that repeats the run.
    pub repeat: String,
    /// The directory that the run left, as the command line named its place.
    #[serde(default)]
    pub directory: String,
    /// Whether objects of the run stay on a cluster that is not ours. The warnings tell of them; a report that was read back does
    /// not ask for an exit code because of it, since they may be gone by then.
    #[serde(skip)]
    pub left_behind: bool,
}

/// A program that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where the binary was found.
    pub source: String,
}

/// What was sent, by how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestTotals {
    /// All requests of the ledger.
    pub total: u64,
    /// Answered with a status below 400.
    pub succeeded: u64,
    /// Answered with a status of 400 or more.
    pub refused: u64,
    /// Broken off without a status.
    pub errors: u64,
    /// Given up after the scenario's timeout.
    pub timeouts: u64,
    /// Operations that were never started.
    pub shed: u64,
}

// === impl Report ===

impl Report {
    /// The version of the report format.
    pub const API_VERSION: &'static str = "spangate/v1alpha1";

    /// The exit code that this report asks for.
    pub fn exit(&self) -> Exit {
        let judged = match self.status {
            Status::Pass => Exit::Pass,
            Status::Fail => Exit::Failed,
            Status::Inconclusive => Exit::Inconclusive,
        };
        if self.left_behind { judged.worst(Exit::Environment) } else { judged }
    }

    /// The report as pretty JSON, ending in a newline.
    #[expect(clippy::missing_panics_doc, reason = "a report has only string keys")]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report has only string keys");
        text.push('\n');
        text
    }
}

/// The status of a run as a whole: one failure fails it, and what is undecided is never green.
pub fn overall(verdicts: &[Verdict]) -> Status {
    let any = |status| verdicts.iter().any(|verdict| verdict.status == status);
    if any(Status::Fail) {
        Status::Fail
    } else if any(Status::Inconclusive) || verdicts.is_empty() {
        Status::Inconclusive
    } else {
        Status::Pass
    }
}

/// What a reader should know before believing the figures.
pub fn warnings(generator: &Generator, totals: &RequestTotals) -> Vec<String> {
    let mut warnings = Vec::new();
    if generator.shed > 0 {
        warnings.push(format!(
            "{} of {} operations were shed because too many were under way: raise load.maxInFlight or lower the rate",
            generator.shed, generator.planned
        ));
    }
    if generator.start_lag_p99_us > 5_000 {
        warnings.push(format!(
            "the generator started late: p99 of its lag is {:.1} ms; response times contain it",
            generator.start_lag_p99_us as f64 / 1e3
        ));
    }
    if totals.errors + totals.timeouts > 0 {
        warnings.push(format!(
            "{} requests broke off and {} timed out: nothing follows from them",
            totals.errors, totals.timeouts
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::{summary::tests::report, *};

    #[test]
    fn what_is_left_on_a_cluster_is_never_green() {
        let report = report(vec![Verdict::new("x")]);
        assert_eq!(report.exit(), Exit::Pass);
        assert_eq!(Report { left_behind: true, ..report }.exit(), Exit::Environment);
    }

    fn with(statuses: &[Status]) -> Status {
        let verdicts: Vec<_> =
            statuses.iter().map(|status| Verdict { status: *status, ..Verdict::new("x") }).collect();
        overall(&verdicts)
    }

    #[test]
    fn the_worst_verdict_decides_and_no_verdict_is_not_green() {
        assert_eq!(with(&[Status::Pass, Status::Pass]), Status::Pass);
        assert_eq!(with(&[Status::Pass, Status::Inconclusive]), Status::Inconclusive);
        assert_eq!(with(&[Status::Inconclusive, Status::Fail]), Status::Fail);
        assert_eq!(with(&[]), Status::Inconclusive);
    }
}
