//! Configuration files of an OpenTelemetry Collector: read with places, checked, and pointed somewhere else.
//!
//! [`parse`] turns a file into a [`Config`] in which every key knows its place. [`check`](fn@check)
//! says what will go wrong with it. [`rewire`](fn@rewire) gives
//! the same configuration with its endpoints replaced, so that somebody's own file can be run on loopback.
//! What is true of a Collector here was read in v0.161.0 of its source.

mod check;
mod component;
mod config;
mod emit;
mod finding;
mod pipeline;
mod rewire;
mod tree;

pub use check::{CheckOptions, RULES, check, refused};
pub use component::{Component, Id, Section};
pub use config::{Config, parse};
pub use finding::{Finding, Report, Rule, Severity};
pub use pipeline::{Pipeline, Reference};
pub use rewire::{Change, Endpoint, ExtensionWiring, Rewired, Role, Wiring, rewire};
