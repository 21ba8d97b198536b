//! What `spangate run --output json` prints: one entry a run, also for a run that could not be carried out.

use std::path::Path;

use serde::Serialize;

use super::Report;
use crate::error::CommandError;

/// The entries of a command that was given several files.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportList {
    /// The version of this format: `spangate/v1alpha1`.
    pub api_version: &'static str,
    /// `ReportList`.
    pub kind: &'static str,
    /// One for each run, in the order of the command line.
    pub items: Vec<Entry>,
}

/// What became of one run. Every form has `apiVersion`, `kind`, `scenario` and `status`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Entry {
    /// It was carried out and judged.
    Judged(Box<Report>),
    /// It was not.
    Broken(BrokenRun),
}

/// A run that could not be carried out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokenRun {
    /// The version of this format: `spangate/v1alpha1`.
    pub api_version: &'static str,
    /// `BrokenRun`.
    pub kind: &'static str,
    /// The scenario's name, or its file when it could not be read.
    pub scenario: String,
    /// `error`.
    pub status: &'static str,
    /// What went wrong, with its causes.
    pub error: String,
    /// The exit code that this asks for.
    pub exit_code: u8,
    /// The directory of the run, if one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
}

// === impl ReportList ===

impl ReportList {
    /// A list of these entries.
    pub fn new(items: Vec<Entry>) -> Self {
        Self { api_version: Report::API_VERSION, kind: "ReportList", items }
    }
}

// === impl BrokenRun ===

impl BrokenRun {
    /// What `error` did to the run of `scenario`.
    pub fn new(scenario: String, error: &CommandError) -> Self {
        Self {
            api_version: Report::API_VERSION,
            kind: "BrokenRun",
            scenario,
            status: "error",
            error: error.chain(),
            exit_code: error.exit().code(),
            directory: error.directory().map(Path::display).map(|path| path.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{report::summary::tests::report, verdict::Verdict};

    #[test]
    fn each_entry_says_what_it_is_and_how_it_ended() {
        let error = CommandError::environment("no control plane")
            .because(CommandError::usage("no etcd"))
            .in_directory(Path::new("out/broken-1"));
        let list = ReportList::new(vec![
            Entry::Judged(Box::new(report(vec![Verdict::new("complete")]))),
            Entry::Broken(BrokenRun::new("broken".to_owned(), &error)),
        ]);
        let list: Value = serde_json::to_value(list).unwrap();
        assert_eq!(list["kind"], "ReportList");
        for (item, kind, status) in [(0, "Report", "pass"), (1, "BrokenRun", "error")] {
            let item = &list["items"][item];
            assert_eq!((&item["kind"], &item["status"]), (&json!(kind), &json!(status)));
            assert_eq!(item["apiVersion"], list["apiVersion"]);
        }
        assert_eq!(
            list["items"][1],
            json!({
                "apiVersion": "spangate/v1alpha1",
                "kind": "BrokenRun",
                "scenario": "broken",
                "status": "error",
                "error": "no control plane: no etcd",
                "exitCode": 3,
                "directory": "out/broken-1",
            })
        );
    }
}
