//! Numbers with units, read as people write them and checked once, here.

pub mod bound;
pub mod duration;
pub mod numbers;

pub use bound::{Bound, Comparison};
pub use duration::Duration;
pub use numbers::{PerMillion, Rate, Ratio, Size};

/// Text that is not a value of the wanted unit; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {text:?}")]
pub struct ParseUnitError {
    /// What would have been right, with an example.
    pub expected: &'static str,
    /// What was there.
    pub text: String,
}
