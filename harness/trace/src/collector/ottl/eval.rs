//! Whether a condition holds (`pkg/ottl/compare.go`, `pkg/ottl/boolean_value.go`).

use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    super::{input::SpanView, tracestate},
    parse::{Condition, Operand, Operator, Path},
};
use crate::{Event, Kind, Value};

/// What paths are looked up in.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) resource: &'a BTreeMap<String, Value>,
    pub(super) view: &'a SpanView<'a>,
    pub(super) event: Option<&'a Event>,
}

/// It depends on something of the span that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown;

/// What a side comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Datum<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// A point in time, in nanoseconds.
    Time(i64),
    /// A span of time, in nanoseconds.
    Duration(i64),
}

// === impl Condition ===

impl Condition {
    /// Whether it holds. Upstream stops at the first side that decides, and so does this.
    pub(super) fn holds(&self, scope: Scope<'_>) -> Result<bool, Unknown> {
        match self {
            Self::Constant(holds) => Ok(*holds),
            Self::Compare(left, operator, right) => {
                Ok(compare(left.value(scope)?, *operator, right.value(scope)?))
            }
            Self::IsMatch(path, expression) => Ok(match path.text(scope)? {
                Some(text) => expression.is_match(&text),
                None => false,
            }),
            Self::IsRootSpan => Ok(scope.view.span.parent.is_none()),
            Self::Not(condition) => condition.holds(scope).map(|holds| !holds),
            Self::And(conditions) => conditions
                .iter()
                .try_fold(true, |holds, each| if holds { each.holds(scope) } else { Ok(false) }),
            Self::Or(conditions) => conditions
                .iter()
                .try_fold(false, |holds, each| if holds { Ok(true) } else { each.holds(scope) }),
        }
    }
}

// === impl Operand ===

impl Operand {
    fn value<'a>(&'a self, scope: Scope<'a>) -> Result<Datum<'a>, Unknown> {
        Ok(match self {
            Self::Path(path) => path.value(scope)?,
            Self::Between(end, start) => match (end.value(scope)?, start.value(scope)?) {
                (Datum::Int(end), Datum::Int(start)) => Datum::Int(end.wrapping_sub(start)),
                (Datum::Time(end), Datum::Time(start)) => Datum::Duration(end.saturating_sub(start)),
                _ => return Err(Unknown),
            },
            Self::Nil => Datum::Nil,
            Self::Bool(value) => Datum::Bool(*value),
            Self::Int(value) => Datum::Int(*value),
            Self::Float(value) => Datum::Float(*value),
            Self::Text(value) => Datum::Text(value),
            Self::Duration(nanos) => Datum::Duration(*nanos),
        })
    }
}

// === impl Path ===

impl Path {
    fn value<'a>(&'a self, scope: Scope<'a>) -> Result<Datum<'a>, Unknown> {
        let span = scope.view.span;
        Ok(match self {
            Self::Attribute(key) => attribute(span.attributes.get(key))?,
            Self::ResourceAttribute(key) => attribute(scope.resource.get(key))?,
            Self::EventAttribute(key) => attribute(scope.event.ok_or(Unknown)?.attributes.get(key))?,
            Self::ScopeName => Datum::Text(&span.scope),
            Self::Name => Datum::Text(&span.name),
            Self::EventName => Datum::Text(&scope.event.ok_or(Unknown)?.name),
            Self::Kind => Datum::Int(span.kind as i64),
            Self::KindText => Datum::Text(match span.kind {
                Kind::Unspecified => "Unspecified",
                Kind::Internal => "Internal",
                Kind::Server => "Server",
                Kind::Client => "Client",
                Kind::Producer => "Producer",
                Kind::Consumer => "Consumer",
            }),
            Self::StatusCode => Datum::Int(span.status as i64),
            Self::StatusMessage => Datum::Text(&span.status_message),
            Self::StartTime => Datum::Time(span.start.0.cast_signed()),
            Self::EndTime => Datum::Time(span.end.0.cast_signed()),
            Self::StartNanos => Datum::Int(span.start.0.cast_signed()),
            Self::EndNanos => Datum::Int(span.end.0.cast_signed()),
            Self::TraceState => Datum::Text(scope.view.trace_state),
            Self::TraceStateMember(key) => {
                tracestate::member(scope.view.trace_state, key).map_or(Datum::Nil, Datum::Text)
            }
        })
    }

    /// The value as text, as `IsMatch` has it; `None` of nothing.
    fn text(&self, scope: Scope<'_>) -> Result<Option<String>, Unknown> {
        Ok(match self.value(scope)? {
            Datum::Nil => None,
            Datum::Bool(value) => Some(value.to_string()),
            Datum::Int(value) => Some(value.to_string()),
            Datum::Text(text) => Some(text.to_owned()),
            // JSON of numbers has Go's own rules for exponents.
            Datum::Float(value) if (1e-3..1e15).contains(&value.abs()) => Some(value.to_string()),
            Datum::Float(_) | Datum::Time(_) | Datum::Duration(_) => return Err(Unknown),
        })
    }
}

/// An attribute. Of arrays, maps and bytes not enough is kept.
fn attribute(value: Option<&Value>) -> Result<Datum<'_>, Unknown> {
    Ok(match value {
        None => Datum::Nil,
        Some(Value::String(text)) => Datum::Text(text),
        Some(Value::Bool(value)) => Datum::Bool(*value),
        Some(Value::Int(value)) => Datum::Int(*value),
        Some(Value::Double(value)) => Datum::Float(*value),
        Some(Value::Array(_) | Value::Other(_)) => return Err(Unknown),
    })
}

/// Values of different types are unequal, and neither less nor greater; but numbers are numbers, and nil is nil.
fn compare(left: Datum<'_>, operator: Operator, right: Datum<'_>) -> bool {
    use Datum::{Bool, Duration, Float, Int, Nil, Text, Time};
    let ordering = match (left, right) {
        (Nil, Nil) => Some(Ordering::Equal),
        (Bool(left), Bool(right)) => Some(left.cmp(&right)),
        (Int(left), Int(right)) | (Time(left), Time(right)) | (Duration(left), Duration(right)) => {
            Some(left.cmp(&right))
        }
        (Int(left), Float(right)) => (left as f64).partial_cmp(&right),
        (Float(left), Int(right)) => left.partial_cmp(&(right as f64)),
        (Float(left), Float(right)) => left.partial_cmp(&right),
        (Text(left), Text(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match operator {
        Operator::Equal => ordering == Some(Ordering::Equal),
        Operator::NotEqual => ordering != Some(Ordering::Equal),
        Operator::Less => ordering == Some(Ordering::Less),
        Operator::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Operator::Greater => ordering == Some(Ordering::Greater),
        Operator::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }
}
