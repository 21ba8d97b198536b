//! Scenario files: what a user writes, checked and with every default resolved.
//!
//! [`parse`] and [`read`] turn YAML into a [`Scenario`], or into [`Diagnostics`] that name every mistake with
//! its line and column. The [`units`] are newtypes that read durations, sizes, rates and ratios as people
//! write them. [`schema`] and [`reference`](mod@reference) describe the format to editors and to people; both
//! are made from the same types that read it. [`collector`] reads, checks and rewires the configuration of
//! an OpenTelemetry Collector. This crate starts nothing and knows no other crate of the
//! workspace.

pub mod collector;
pub mod delay;
pub mod diagnostics;
pub mod document;
pub mod experiment;
pub mod file;
pub mod gate;
pub mod model;
pub mod path;
pub mod reference;

pub mod schema;
pub mod units;
pub mod validate;

mod node;
mod read;
mod suggest;
mod yaml;

pub use diagnostics::{Diagnostics, Problem};
pub use experiment::Experiment;
pub use file::{Loaded, ReadError, parse, read, read_from};
pub use model::Scenario;
pub use validate::{Finding, validate};
