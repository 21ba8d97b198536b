//! The gate: two configurations of a Collector side by side, on the same traffic, and whether the new one is worse.
//!
//! A [`plan`] becomes [`rounds`], in each of which both Collectors run at the same time and are sent the same
//! traces; what is [seen](observe) of a round is plain data. [Judging](judge) is a pure function of rules and
//! rounds, so a test can falsify a round and see the gate turn red. The [`report`] says it in every form.

pub mod classes;
pub mod costs;
pub mod judge;
pub(crate) mod lane;
mod light;
pub mod markdown;
pub mod observe;
pub mod paired;
pub mod plan;
pub mod report;
pub mod rounds;
pub mod summary;
#[cfg(test)]
mod testing;

pub use plan::{GatePlan, Order};
pub use report::GateReport;
pub use rounds::{GateOptions, run};
