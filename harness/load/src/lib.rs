//! Arrival schedules, kubectl-shaped operations, an HTTP/2 client and the request ledger.

pub mod ledger;

pub use ledger::{Outcome, RequestRecord, Verb};
