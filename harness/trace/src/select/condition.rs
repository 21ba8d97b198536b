//! Conditions on the parts of one span.

use regex::Regex;

use super::{Context, Range};
use crate::{Event, Link, Value, span::Attributes};

/// A condition on text.
#[derive(Debug, Clone)]
pub enum Text {
    /// The same text.
    Equals(String),
    /// Text that begins so.
    Prefix(String),
    /// Text in which the regular expression is found.
    Regex(Regex),
}

/// A condition on an attribute.
#[derive(Debug, Clone)]
pub enum AttributeTest {
    /// Text of this sort.
    Text(Text),
    /// This whole number.
    Int(i64),
    /// This truth value.
    Bool(bool),
    /// Whether it is there at all.
    Exists(bool),
    /// A number, whole or not, in this range.
    Number(Range<f64>),
}

/// A condition on an event.
#[derive(Debug, Clone)]
pub struct EventTest {
    /// Its name.
    pub name: Text,
    /// Its attributes by key.
    pub attributes: Vec<(String, AttributeTest)>,
}

/// A condition on the links of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkTest {
    /// There are none.
    None,
    /// There is one.
    Any,
    /// There is one to [`Context::sent`].
    Sent,
}

/// A regular expression that cannot be compiled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("invalid regular expression {pattern:?}")]
pub struct InvalidRegex {
    pattern: String,
    #[source]
    source: regex::Error,
}

// === impl Text ===

impl Text {
    /// Text in which `pattern` is found.
    pub fn regex(pattern: &str) -> Result<Self, InvalidRegex> {
        let invalid = |source| InvalidRegex { pattern: pattern.to_owned(), source };
        Regex::new(pattern).map(Self::Regex).map_err(invalid)
    }

    /// Whether the condition holds of `text`.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => text == wanted,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

// === impl AttributeTest ===

impl AttributeTest {
    /// Whether the condition holds of an attribute, which may be missing.
    pub fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), value) => value.is_some() == *wanted,
            (Self::Text(text), Some(Value::String(value))) => text.holds(value),
            (Self::Int(wanted), Some(Value::Int(value))) => wanted == value,
            (Self::Bool(wanted), Some(Value::Bool(value))) => wanted == value,
            (Self::Number(range), Some(Value::Int(value))) => range.contains(*value as f64),
            (Self::Number(range), Some(Value::Double(value))) => range.contains(*value),
            _ => false,
        }
    }
}

/// Whether all conditions hold of `attributes`.
pub(super) fn attributes_hold(tests: &[(String, AttributeTest)], attributes: &Attributes) -> bool {
    tests.iter().all(|(key, test)| test.holds(attributes.get(key)))
}

// === impl EventTest ===

impl EventTest {
    /// Whether the condition holds of `event`.
    pub fn holds(&self, event: &Event) -> bool {
        self.name.holds(&event.name) && attributes_hold(&self.attributes, &event.attributes)
    }
}

/// Whether there are events for all conditions, in their order.
pub(super) fn events_hold(tests: &[EventTest], events: &[Event]) -> bool {
    // Taking the first event that fits leaves the most for the conditions after it.
    let mut events = events.iter();
    tests.iter().all(|test| events.any(|event| test.holds(event)))
}

// === impl LinkTest ===

impl LinkTest {
    /// Whether the condition holds of `links`.
    pub fn holds(self, links: &[Link], context: &Context) -> bool {
        match self {
            Self::None => links.is_empty(),
            Self::Any => !links.is_empty(),
            Self::Sent => links.iter().any(|link| context.sent.contains(&(link.trace_id, link.span_id))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{UnixNanos, testing};

    fn event(name: &str) -> Event {
        Event { time: UnixNanos(0), name: name.to_owned(), attributes: Attributes::new() }
    }

    fn named(name: &str) -> EventTest {
        EventTest { name: Text::Equals(name.to_owned()), attributes: Vec::new() }
    }

    #[test]
    fn text() {
        assert!(Text::Prefix("/api".to_owned()).holds("/api/v1"));
        assert!(!Text::Equals("/api".to_owned()).holds("/api/v1"));
        assert!(Text::regex("watch=(true|1)").unwrap().holds("/api/v1/pods?watch=1"));
        let error = Text::regex("(").unwrap_err();
        assert_eq!(error.to_string(), "invalid regular expression \"(\"");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn an_attribute_is_compared_as_what_it_is() {
        let text = Value::String("200".to_owned());
        let (int, double) = (Value::Int(200), Value::Double(200.0));
        let range = AttributeTest::Number(Range::at_least(200.0));
        let fits = |test: &AttributeTest| [&text, &int, &double].map(|value| test.holds(Some(value)));
        assert_eq!(fits(&AttributeTest::Int(200)), [false, true, false]);
        assert_eq!(fits(&range), [false, true, true]);
        assert_eq!(fits(&AttributeTest::Text(Text::Equals("200".to_owned()))), [true, false, false]);
        assert_eq!(fits(&AttributeTest::Exists(true)), [true; 3]);
        assert_eq!(fits(&AttributeTest::Bool(true)), [false; 3]);
        assert!(AttributeTest::Bool(true).holds(Some(&Value::Bool(true))));
    }

    #[test]
    fn a_missing_attribute_only_satisfies_its_absence() {
        assert!(AttributeTest::Exists(false).holds(None));
        assert!(!AttributeTest::Exists(true).holds(None));
        assert!(!AttributeTest::Int(0).holds(None));
        assert!(!AttributeTest::Number(Range::not_equal(1.0)).holds(None));
    }

    #[test]
    fn events_are_wanted_in_order_with_others_between() {
        let events = ["a", "x", "b", "a", "c"].map(event);
        for (wanted, hold) in [
            (&["a", "b", "c"][..], true),
            (&["a", "a"], true),
            (&["b", "a", "c"], true),
            (&["c", "a"], false),
            (&["b", "b"], false),
            (&[], true),
        ] {
            let tests: Vec<_> = wanted.iter().map(|name| named(name)).collect();
            assert_eq!(events_hold(&tests, &events), hold, "{wanted:?}");
        }
    }

    #[test]
    fn events_have_attributes() {
        let mut failed = event("Write to database call failed");
        failed.attributes.insert("err".to_owned(), Value::String("etcdserver: request timed out".to_owned()));
        let test = EventTest {
            name: Text::Prefix("Write".to_owned()),
            attributes: vec![("err".to_owned(), AttributeTest::Text(Text::regex("timed out$").unwrap()))],
        };
        assert!(test.holds(&failed));
        assert!(!test.holds(&event("Write to database call failed")));
    }

    #[test]
    fn links() {
        let (trace_id, span_id) = (testing::TRACE, testing::span_id(5));
        let link = Link { trace_id, span_id, attributes: Attributes::new() };
        let mut context = Context::default();
        assert!(LinkTest::None.holds(&[], &context) && !LinkTest::Any.holds(&[], &context));
        assert!(!LinkTest::Sent.holds(std::slice::from_ref(&link), &context));
        context.sent.insert((trace_id, span_id));
        assert!(LinkTest::Sent.holds(std::slice::from_ref(&link), &context));
        assert!(
            LinkTest::Any.holds(std::slice::from_ref(&link), &context)
                && !LinkTest::None.holds(&[link], &context)
        );
    }
}
