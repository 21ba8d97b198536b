//! Estimates and the intervals that belong to them.
//!
//! Nothing here assumes a normal distribution of latencies: quantiles get intervals from order statistics,
//! means from the bootstrap, and proportions from the binomial distribution itself.

use serde::{Deserialize, Serialize};

pub mod binomial;
pub mod bootstrap;
pub mod change_point;
pub mod effect;
pub mod proportion;
pub mod quantile;
pub mod random;
pub mod rank;
pub mod sequential;

pub use binomial::Binomial;
pub use bootstrap::{Bootstrap, mean_difference, median, median_value, ratio};
pub use change_point::{ChangePoint, ChangePoints};
pub use effect::{Equivalence, ratio_of_medians};
pub use proportion::{clopper_pearson, wilson};
pub use quantile::{QuantileInterval, quantile, quantile_interval};
pub use random::SplitMix64;
pub use rank::{rank_sum, signed_rank};
pub use sequential::Sequential;

/// An estimate with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

// === impl Estimate ===

impl Estimate {
    /// Whether the interval has this value in it.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// What lies outside a two-sided interval on each side.
///
/// # Panics
///
/// When `confidence` is not between 0 and 1.
fn tail(confidence: f64) -> f64 {
    assert!(confidence > 0.0 && confidence < 1.0, "a confidence lies between 0 and 1, got {confidence}");
    (1.0 - confidence) / 2.0
}
