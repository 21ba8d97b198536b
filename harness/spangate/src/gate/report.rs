//! The report of a gate: what every form of output is made from.

use serde::{Deserialize, Serialize};

use super::{classes::ClassRow, costs::CostRow, observe::Round};
use crate::{
    error::CommandError,
    exit::Exit,
    report::{Component, junit},
    verdict::{Status, Verdict},
};

/// The report of a gate (`result.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateReport {
    /// The version of this format: `spangate/v1alpha1`.
    pub api_version: String,
    /// `GateReport`.
    pub kind: String,
    /// Green, red, or neither.
    pub status: Status,
    /// The file of the old configuration.
    pub base: String,
    /// The file of the new one.
    pub head: String,
    /// Confidence of the intervals of shares.
    pub confidence: f64,
    /// What was kept, class by class.
    pub classes: Vec<ClassRow>,
    /// What it cost.
    pub costs: Vec<CostRow>,
    /// The judgement on every rule, in the order of the rules.
    pub verdicts: Vec<Verdict>,
    /// What a reader should know of the new configuration.
    pub warnings: Vec<String>,
    /// Every round, without its traces.
    pub rounds: Vec<Round>,
    /// What ran.
    pub components: Vec<Component>,
    /// When it began (RFC 3339).
    pub started: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// The command that repeats it.
    pub repeat: String,
    /// The directory that it left, as the command line named its place.
    pub directory: String,
}

// === impl GateReport ===

impl GateReport {
    /// The exit code that this report asks for.
    pub fn exit(&self) -> Exit {
        self.status.gate_exit()
    }

    /// What the gate shows, in a word.
    pub fn light(&self) -> &'static str {
        self.status.light()
    }

    /// The report as JUnit XML: one test case a rule.
    pub fn junit(&self) -> Result<String, CommandError> {
        junit::suite_of("gate sampling", self.seconds, &self.verdicts)
            .map_err(|error| CommandError::bug("the report cannot be written as JUnit XML").because(error))
    }

    /// Spans that the Collector of the new configuration took.
    pub(crate) fn spans(&self) -> u64 {
        self.rounds.iter().map(|round| round.head.taken).sum()
    }

    /// Traces that were sent to each.
    pub(crate) fn traces(&self) -> u64 {
        self.classes.iter().map(|row| row.sent).sum()
    }
}
