//! What a trace is and what can be asked of it.
//!
//! This crate is pure: it opens no file and no socket, and every function gives the same answer for the
//! same spans. It knows neither scenarios nor Kubernetes objects, only spans and the names that
//! kube-apiserver gives them (`docs/span-contract.md`).
//!
//! A [`Capture`] is what was received. [`TraceIndex`] puts its spans into trees; on these stand [`select()`],
//! which picks spans, [`Phases`], which says where the time of a request went, [`waterfall`], which draws
//! a trace, and [`joint`], which finds the traces that it is linked with. [`blame()`] compares the phases of requests that a fault touched with those of others.
//! [`RatioSampler`] foretells which traces are sampled, [`sampling`] judges those that were, and [`stats`] has the
//! intervals of all estimates. [`collector`] foretells what a Collector behind the server keeps.
//!
//! ```
//! use spangate_trace::{SpanId, TraceContext, TraceId};
//!
//! let sent = TraceContext::sampled(TraceId::new([7; 16]), SpanId::new([9; 8]));
//! assert_eq!(sent.to_string().parse(), Ok(sent));
//! ```

pub mod blame;
pub mod capture;
pub mod clock;
pub mod collector;
pub mod context;
pub mod contract;
pub mod ids;
pub mod joint;
pub mod phase;
pub mod phases;
pub mod sampler;
pub mod sampling;
pub mod select;
pub mod span;
pub mod stats;
pub mod tree;
pub mod waterfall;

#[cfg(test)]
mod testing;

pub use blame::{Blame, Finding, Observation, Undecided, blame};
pub use capture::{Capture, Details, NameId, Names, Row, Surroundings};
pub use clock::{Clock, UnixNanos};
pub use context::TraceContext;
pub use ids::{SpanId, TraceId};
pub use phase::{ParsePhaseError, Phase};
pub use phases::{
    PhaseTimes, Phases,
    summary::{PhaseSummary, summarise},
};
pub use sampler::{RatioSampler, ratio_of_kept};
pub use select::{AttributeTest, EventTest, InvalidRegex, LinkTest, Range, Selector, Text, select};
pub use span::{Event, Kind, Link, Span, Status, Value};
pub use stats::Estimate;
pub use tree::{Step, Trace, TraceIndex, Walk};
