//! The span, as OTLP defines it (`opentelemetry/proto/trace/v1/trace.proto`), reduced to what is asked of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{SpanId, TraceId, UnixNanos};

/// One completed operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that caused it, unless it is a root.
    pub parent: Option<SpanId>,
    /// The low-cardinality name of the operation.
    pub name: Arc<str>,
    /// Which side of a call it describes.
    pub kind: Kind,
    /// When it began.
    pub start: UnixNanos,
    /// When it ended.
    pub end: UnixNanos,
    /// Attributes, by key.
    pub attributes: Attributes,
    /// Things that happened within it, in the order of recording.
    pub events: Vec<Event>,
    /// Other spans that it refers to.
    pub links: Vec<Link>,
    /// Success or failure.
    pub status: Status,
    /// The message that came with an error status.
    pub status_message: String,
    /// The instrumentation scope (the library that made the span).
    pub scope: Arc<str>,
    /// The resource attribute `service.name`.
    pub service: Arc<str>,
}

/// Attributes by key.
pub type Attributes = BTreeMap<String, Value>;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    /// Text.
    String(String),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Several values.
    Array(Vec<Value>),
    /// Anything else (bytes, maps), as text.
    Other(String),
}

/// Which side of a call a span describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[repr(u8)]
pub enum Kind {
    /// Not said.
    Unspecified = 0,
    /// Within the process.
    #[default]
    Internal = 1,
    /// The callee's side of a call.
    Server = 2,
    /// The caller's side of a call.
    Client = 3,
    /// The sender of a message.
    Producer = 4,
    /// The receiver of a message.
    Consumer = 5,
}

/// Success or failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[repr(u8)]
pub enum Status {
    /// Not said: neither success nor failure.
    #[default]
    Unset = 0,
    /// Explicit success.
    Ok = 1,
    /// Failure.
    Error = 2,
}

/// Something that happened at a point in time within a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: UnixNanos,
    /// What.
    pub name: String,
    /// Attributes, by key.
    pub attributes: Attributes,
}

/// A reference to another span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The trace of the other span.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// Attributes, by key.
    pub attributes: Attributes,
}

// === impl Span ===

impl Span {
    /// The time from start to end; zero when the end lies before the start.
    pub fn duration(&self) -> Duration {
        self.end.since(self.start)
    }

    /// The attribute `key` when it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.attributes.get(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The attribute `key` when it is a whole number.
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.attributes.get(key) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }
}

// === impl Kind ===

impl From<i32> for Kind {
    /// The OTLP number; unknown numbers are unspecified.
    fn from(number: i32) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }
}

// === impl Status ===

impl From<i32> for Status {
    /// The OTLP number; unknown numbers are unset.
    fn from(number: i32) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }
}
