//! What tracing costs: plain data of an experiment, and what may be said of it.
//!
//! An experiment measures arms, each in units that are paired by rounds. What was measured is a [`Measured`], a file that
//! outlives the run; everything after it is pure.

pub mod baseline;
pub mod compare;
pub mod found;
pub mod gate;
pub mod history;
pub mod judge;
pub mod measured;
mod metric;
pub mod pair;
pub mod rules;
pub mod simulate;
#[cfg(test)]
pub(crate) mod testing;

pub use baseline::Baseline;
pub use compare::{Comparison, compare};
pub use gate::OverheadReport;
pub use measured::{Arm, Key, Measured, Metric, Unit};
pub use rules::OverheadRules;
