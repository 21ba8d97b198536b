//! Experiments: arms that are measured at once or in turns, each unit with processes of its own, from the file to the report.
//!
//! The [`outlook`] says beforehand what will be done and what would show. The [`rounds`] measure what the file declares and
//! keep every unit as soon as it is measured, until a [`stop`]; [`figures`] of a unit, and whether cost is
//! [`linear`](mod@linear), are pure. The [`report`] says it in every form, one of which is a [`page`] with pictures.

pub mod api_server;
pub mod collector;
pub mod figures;
pub mod linear;
pub(crate) mod order;
pub mod outlook;
pub mod page;
mod plot;
pub mod report;
pub mod rounds;
pub mod stop;

pub use outlook::Outlook;
pub use report::ExperimentReport;
pub use rounds::{ExperimentOptions, Found, Outcome, Task, run};
