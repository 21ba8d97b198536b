//! The escape hatch of `spans`: a CEL expression over one span.
//!
//! `span` has `name`, `kind`, `status`, `statusMessage`, `scope`, `service`, `traceId`, `spanId`, `parent`,
//! `durationMs`, `selfMs`, `attributes` (a map) and `events` (a list of `name`, `attributes`, `offsetMs`).

use std::{collections::BTreeMap, time::Duration};

use cel::{Context, Program, Value as CelValue};
use serde::Serialize;
use spangate_trace::{Kind, Span, Status, Value, span::Attributes};

/// A compiled expression.
pub(super) struct Expression(Program);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanView<'a> {
    name: &'a str,
    kind: Kind,
    status: Status,
    status_message: &'a str,
    scope: &'a str,
    service: &'a str,
    trace_id: String,
    span_id: String,
    parent: Option<String>,
    duration_ms: f64,
    self_ms: f64,
    attributes: BTreeMap<&'a str, Plain<'a>>,
    events: Vec<EventView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventView<'a> {
    name: &'a str,
    offset_ms: f64,
    attributes: BTreeMap<&'a str, Plain<'a>>,
}

/// The value of an attribute without its OTLP tag.
#[derive(Serialize)]
#[serde(untagged)]
enum Plain<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(Vec<Plain<'a>>),
}

// === impl Expression ===

impl Expression {
    /// Compiles an expression, which must say something of `span`.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|error| error.to_string())?;
        // Variables that macros such as `exists` bring along are references too, so only this much is sure
        // beforehand; one that nobody brings is an error when the expression is evaluated.
        if !program.references().has_variable("span") {
            return Err("the expression says nothing of \"span\"".to_owned());
        }
        Ok(Self(program))
    }

    /// Whether the expression is true of this span; an error where it is neither true nor false.
    pub(super) fn holds(&self, span: &Span, self_time: Duration) -> Result<bool, String> {
        let mut context = Context::default();
        context.add_variable("span", SpanView::of(span, self_time)).map_err(|error| error.to_string())?;
        match self.0.execute(&context).map_err(|error| error.to_string())? {
            CelValue::Bool(truth) => Ok(truth),
            other => Err(format!("expected true or false, got {other:?}")),
        }
    }
}

// === impl SpanView ===

impl<'a> SpanView<'a> {
    fn of(span: &'a Span, self_time: Duration) -> Self {
        let events = span.events.iter().map(|event| EventView {
            name: &event.name,
            offset_ms: event.time.signed_since(span.start) as f64 / 1e6,
            attributes: plain(&event.attributes),
        });
        Self {
            name: &span.name,
            kind: span.kind,
            status: span.status,
            status_message: &span.status_message,
            scope: &span.scope,
            service: &span.service,
            trace_id: span.trace_id.to_string(),
            span_id: span.span_id.to_string(),
            parent: span.parent.map(|parent| parent.to_string()),
            duration_ms: span.duration().as_secs_f64() * 1e3,
            self_ms: self_time.as_secs_f64() * 1e3,
            attributes: plain(&span.attributes),
            events: events.collect(),
        }
    }
}

fn plain(attributes: &Attributes) -> BTreeMap<&str, Plain<'_>> {
    attributes.iter().map(|(key, value)| (key.as_str(), Plain::from(value))).collect()
}

impl<'a> From<&'a Value> for Plain<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::String(text) | Value::Other(text) => Self::Text(text),
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Int(number) => Self::Int(*number),
            Value::Double(number) => Self::Double(*number),
            Value::Array(values) => Self::Array(values.iter().map(Self::from).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;

    fn holds(source: &str) -> Result<bool, String> {
        let mut span = span("Create", 1, 0, 2_000_000);
        span.attributes.insert("verb".to_owned(), Value::String("POST".to_owned()));
        span.attributes.insert("limit".to_owned(), Value::Int(500));
        Expression::compile(source)?.holds(&span, Duration::from_millis(1))
    }

    #[test]
    fn names_times_and_attributes_can_be_asked_for() {
        for source in [
            "span.name == 'Create' && span.kind == 'internal'",
            "span.durationMs == 2.0 && span.selfMs <= 1.0",
            "span.attributes['verb'] == 'POST' && span.attributes['limit'] > 499",
            "'verb' in span.attributes && !('nope' in span.attributes)",
            "span.events.size() == 0 && !span.events.exists(e, e.name == 'x')",
        ] {
            assert_eq!(holds(source), Ok(true), "{source}");
        }
        assert_eq!(holds("span.name == 'Get'"), Ok(false));
    }

    #[test]
    fn mistakes_are_said_and_never_true() {
        assert!(holds("span.name ==").is_err());
        assert!(holds("trace.name == 'x'").unwrap_err().contains("nothing of \"span\""));
        assert!(holds("span.name == trace.name").is_err());
        assert!(holds("span.attributes['nope'] == 'x'").is_err());
        assert!(holds("span.name").unwrap_err().contains("expected true or false"));
    }
}
