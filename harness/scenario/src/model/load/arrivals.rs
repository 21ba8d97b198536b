//! The open loop: operations start at times that were fixed before the run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MixEntry;
use crate::units::{Duration, Rate};

/// When operations start: either one `rate` `for` a time, or `stages` one after the other.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Arrivals {
    /// Mean number of operations per time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How they are spaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// For how long.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Parts of the run, one after the other, each with a rate of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
}

/// A part of the run: exactly one of `rate`, `ramp`, `steps` and `spike`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// What it is called in reports and filters; `stage-N` (from 1) unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The same rate from beginning to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// A rate that rises or falls in a straight line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// A rate that changes in equal steps of equal length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// A rate with a peak in the middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spike: Option<Spike>,
    /// How operations are spaced.
    #[serde(default)]
    pub shape: Shape,
    /// How long it is.
    #[serde(rename = "for")]
    pub duration: Duration,
    /// What its arrivals do, in place of the load's own mix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Vec<MixEntry>>,
}

/// A rate that rises or falls in a straight line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ramp {
    /// At the beginning.
    pub from: Rate,
    /// At the end.
    pub to: Rate,
}

/// A rate that changes in equal steps of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Steps {
    /// In the first step.
    pub from: Rate,
    /// In the last step.
    pub to: Rate,
    /// How many; at least two.
    pub count: u32,
}

/// A rate with a peak in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spike {
    /// Before and after.
    pub base: Rate,
    /// At the peak.
    pub peak: Rate,
    /// How long the peak is; its middle is the middle of the stage.
    pub width: Duration,
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Shape {
    /// Evenly.
    #[default]
    Constant,
    /// As independent callers would: exponential gaps.
    Poisson,
}

// === impl Arrivals ===

impl Arrivals {
    /// `rate` for `duration`, in one stage.
    pub fn flat(rate: Rate, shape: Shape, duration: Duration) -> Self {
        Self { rate: Some(rate), shape: Some(shape), duration: Some(duration), stages: Vec::new() }
    }

    /// Whether it says when operations start: by a rate and a length, or by stages.
    pub fn is_whole(&self) -> bool {
        !self.stages.is_empty() || (self.rate.is_some() && self.duration.is_some())
    }

    /// The stages; what is given without any is one stage. Nothing when neither is whole.
    pub fn stages(&self) -> Vec<Stage> {
        match (self.rate, self.duration) {
            (Some(rate), Some(duration)) if self.stages.is_empty() => vec![Stage {
                name: None,
                rate: Some(rate),
                ramp: None,
                steps: None,
                spike: None,
                shape: self.shape.unwrap_or_default(),
                duration,
                mix: None,
            }],
            _ => self.stages.clone(),
        }
    }

    /// How long all stages are together.
    pub fn total(&self) -> std::time::Duration {
        self.stages().iter().map(|stage| stage.duration.get()).sum()
    }
}

impl Stage {
    /// Its name, or `stage-N` for the one at `index`.
    pub fn label(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{}", index + 1))
    }
}
