//! Replay of what was once sent.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{exactly_one_of, given};
use crate::units::Duration;

/// Requests that were once sent, sent again at their times: exactly one of `audit` and `ledger`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = exactly_one_of(Self::RECORDS))]
pub struct Replay {
    /// A Kubernetes audit log: `audit.k8s.io/v1` events, one JSON object a line. A relative path is one from the
    /// scenario's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<PathBuf>,
    /// The request ledger of an earlier run (`requests.jsonl`). A relative path is one from the scenario's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<PathBuf>,
    /// How many times as fast as it was; 0.5 takes twice the time.
    #[serde(default = "one")]
    pub speed: f64,
    /// Leaves out what comes later than this, in the time of the replay.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

fn one() -> f64 {
    1.0
}

// === impl Replay ===

impl Replay {
    /// The keys of which a replay has exactly one.
    pub const RECORDS: &'static [&'static str] = &["audit", "ledger"];

    /// The keys of the records that are given; one, once the scenario is checked.
    pub fn records(&self) -> Vec<&'static str> {
        given(Self::RECORDS, &[self.audit.is_some(), self.ledger.is_some()])
    }
}
