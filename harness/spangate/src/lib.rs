//! Proves what a Kubernetes API server's traces say.
//!
//! A scenario becomes a [plan], the plan an environment with faults and load, the run a stream of
//! [events](event), two ledgers and a capture; together they are the [evidence] that [verdicts](verdict) are a
//! pure function of, and the [report] says it in every form. `docs/architecture.md` has the picture.

pub mod backends;
pub mod bench;
pub mod cli;
pub mod collector;
pub mod error;
pub mod event;
pub mod evidence;
pub mod existing;
pub mod exit;
pub mod gate;
pub mod measure;
pub mod merge;
pub mod overhead;
pub mod plan;
mod pods;
pub mod report;
pub mod run;
pub mod saved;
mod selector;
#[cfg(test)]
mod testing;
pub mod text;
pub mod verdict;
pub mod worker;
