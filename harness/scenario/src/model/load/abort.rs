//! When a load is given up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    model::Percentiles,
    units::{Bound, Duration, Ratio},
};

/// A state of the run in which going on makes no sense; any of the bounds that holds ends the load, and the run
/// has failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortRule {
    /// Share of the requests without an answer, or with a status of 500 and more or 429: `"> 20%"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Bound<Ratio>>,
    /// Percentiles of the response time: `{p99: "> 5s"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Percentiles>,
    /// Operations that started, as a share of those planned: `"< 90%"`. Nothing of users is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Bound<Ratio>>,
    /// The time back from now over which they are measured.
    #[serde(default = "default_over")]
    pub over: Duration,
    /// Time from the start of the load in which the rule does not count; less than the load lasts.
    #[serde(default)]
    pub grace: Duration,
}

fn default_over() -> Duration {
    Duration::from_secs(10)
}
