//! Scenario files: what a user writes, checked and with every default resolved.
//!
//! [`Scenario`] is the model; the [`units`] are newtypes that read durations, sizes, rates and ratios as
//! people write them. This crate starts nothing and knows no other crate of the workspace.

pub mod model;
pub mod units;

pub use model::Scenario;
