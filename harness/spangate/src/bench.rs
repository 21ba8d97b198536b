//! Benches: what tracing costs, measured.
//!
//! An [`experiment`] declares arms, each of which is measured again and again with processes of its own.
//!
//! The duet: a [`design`] of short blocks in which the same requests are sent, traced in every other one. It becomes a run
//! for each operation; [`analysis`] of what was recorded is pure; the [`report`] says it in every form.

pub mod analysis;
pub mod design;
mod duet;
pub mod experiment;
pub mod report;
pub(crate) mod trouble;

pub use design::{Design, Operation};
pub use duet::{DuetOptions, run};
pub use report::DuetReport;
