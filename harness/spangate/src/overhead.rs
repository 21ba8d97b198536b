//! What tracing costs: plain data of an experiment, and what may be said of it.
//!
//! An experiment measures arms, each in units that are paired by rounds. What was measured is a [`Measured`], a file that
//! outlives the run; everything after it is pure.

pub mod compare;
pub mod measured;
mod metric;
#[cfg(test)]
pub(crate) mod testing;

pub use compare::{Comparison, compare};
pub use measured::{Arm, Key, Measured, Metric, Unit};
