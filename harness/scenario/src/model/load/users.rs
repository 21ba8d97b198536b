//! The closed loop: users who wait for an answer before they go on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MixEntry, Weight};
use crate::{
    model::Delay,
    units::{Duration, Rate},
};

/// Virtual users, each of whom repeats sessions and waits for every answer.
///
/// A slow server is asked less: response times of a closed loop say what users see, and not what a load of a
/// given rate would meet (coordinated omission). Nothing is planned, so a summary has as many operations planned as
/// were started. A step begins when its user is ready for it, and none begins after the end; those under way then
/// are awaited.
///
/// What a user does is fixed by the seed, the user and the step. A `delete` takes what the last `create` or `apply` of
/// its resource made earlier in the same turn of the session, and was not deleted yet; there must be one. Users have no
/// collections to delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Users {
    /// How many there are once all have come, 1 to 100000.
    pub count: u32,
    /// How many come per time; the last must come before the load ends.
    #[serde(default = "default_hatch_rate")]
    pub hatch_rate: Rate,
    /// How long they go on, from the first.
    #[serde(rename = "for")]
    pub duration: Duration,
    /// Pause after each step of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_time: Option<Delay>,
    /// What users do; each user has one, dealt out in proportion to the weights. Absent: each step is drawn from the
    /// mix, which then has no `delete` and no `deleteCollection`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
}

/// What one kind of user does, over and over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Session {
    /// What it is called in reports and filters: a DNS label.
    pub name: String,
    /// How many users have it, relative to the others.
    #[serde(default)]
    pub weight: Weight,
    /// Pause after each step, in place of the users' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_time: Option<Delay>,
    /// The steps, in order, each once. They have no weights.
    pub steps: Vec<MixEntry>,
}

fn default_hatch_rate() -> Rate {
    Rate::per_second(10.0).expect("ten is finite")
}
