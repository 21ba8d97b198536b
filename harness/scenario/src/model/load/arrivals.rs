//! The open loop: operations start at times that were fixed before the run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MixEntry, exactly_one_of, given};
use crate::units::{Duration, Rate};

/// When operations start: either one `rate` `for` a time, or `stages` one after the other.
///
/// All of it is at least one arrival and at most a hundred million, since each is a line of the ledger. No rate is
/// above a million a second.
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
#[schemars(transform = exactly_one_of(Self::RATES))]
pub struct Stage {
    /// What it is called in reports and filters: a DNS label that no other stage has; `stage-N` (from 1) unless
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The same rate from beginning to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// A rate that rises or falls in a straight line; it may begin or end at 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// A rate that changes in equal steps of equal length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// A rate that jumps to a peak in the middle, and back.
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
    /// How many, 2 to 1000.
    pub count: u32,
}

/// A rate that jumps to a peak in the middle, and back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spike {
    /// Before and after; may be 0.
    pub base: Rate,
    /// At the peak; above `base`.
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

    /// How many arrivals all stages have together, on average.
    pub fn expected(&self) -> f64 {
        self.stages().iter().map(Stage::expected).sum()
    }
}

impl Stage {
    /// The keys of which a stage has exactly one.
    pub const RATES: &'static [&'static str] = &["rate", "ramp", "steps", "spike"];

    /// The keys of the rates that are given; one, once the scenario is checked.
    pub fn rates(&self) -> Vec<&'static str> {
        let is_given = [self.rate.is_some(), self.ramp.is_some(), self.steps.is_some(), self.spike.is_some()];
        given(Self::RATES, &is_given)
    }

    /// How many arrivals it has, on average.
    pub fn expected(&self) -> f64 {
        let whole = self.duration;
        if let Some(rate) = self.rate {
            return rate.within(whole);
        }
        if let Some(Spike { base, peak, width }) = self.spike {
            let around = Duration::from(whole.saturating_sub(width.get()));
            return base.within(around) + peak.within(width.min(whole));
        }
        // Steps of equal length are as many as a straight line.
        let ramp = self.ramp.map(|ramp| (ramp.from, ramp.to));
        let steps = self.steps.map(|steps| (steps.from, steps.to));
        ramp.or(steps).map_or(0.0, |(from, to)| f64::midpoint(from.within(whole), to.within(whole)))
    }

    /// Its name, or `stage-N` for the one at `index`.
    pub fn label(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{}", index + 1))
    }
}
