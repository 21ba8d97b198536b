//! What a trace is and what can be asked of it.
//!
//! This crate is pure: it opens no file and no socket, and every function gives the same answer for the
//! same spans. It knows neither scenarios nor Kubernetes objects, only spans and the names that
//! kube-apiserver gives them (`docs/span-contract.md`).
//!
//! ```
//! use spangate_trace::{SpanId, TraceContext, TraceId};
//!
//! let sent = TraceContext::sampled(TraceId::new([7; 16]), SpanId::new([9; 8]));
//! assert_eq!(sent.to_string().parse(), Ok(sent));
//! ```

pub mod capture;
pub mod clock;
pub mod context;
pub mod ids;
pub mod span;

pub use capture::{Capture, Details, NameId, Names, Row};
pub use clock::{Clock, UnixNanos};
pub use context::TraceContext;
pub use ids::{SpanId, TraceId};
pub use span::{Event, Kind, Link, Span, Status, Value};
