//! Picks spans out of a capture.
//!
//! A [`Selector`] is a condition on a span and on the spans around it; all parts that are given must hold.
//! Names are matched once for the whole capture, then the compact rows are asked, and a span is looked
//! into only when its attributes, events or links decide. What is found out about a span for the sake of another is
//! kept, so that the whole costs no more than the capture times the number of conditions.

use std::{collections::HashSet, time::Duration};

use crate::{Kind, SpanId, Status, TraceId, TraceIndex};

mod condition;
mod matcher;
mod range;

pub use condition::{AttributeTest, EventTest, InvalidRegex, LinkTest, Text};
pub use range::Range;

use matcher::Matcher;

/// A condition on a span; all that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// The span's name.
    pub name: Option<Text>,
    /// Which side of a call it describes.
    pub kind: Option<Kind>,
    /// The instrumentation scope.
    pub scope: Option<Text>,
    /// The resource attribute `service.name`.
    pub service: Option<Text>,
    /// Success or failure.
    pub status: Option<Status>,
    /// Attributes by key.
    pub attributes: Vec<(String, AttributeTest)>,
    /// Events that it must have, in this order, others between them allowed.
    pub events: Vec<EventTest>,
    /// Links.
    pub links: Option<LinkTest>,
    /// A span that one of its links leads to.
    pub linked: Option<Box<Selector>>,
    /// Its duration; zero when it ended before it began.
    pub duration: Option<Range<Duration>>,
    /// Whether it says that it has no parent.
    pub root: Option<bool>,
    /// Whether its trace is one of [`Context::traces`].
    pub ours: Option<bool>,
    /// Its parent.
    pub parent: Option<Box<Selector>>,
    /// One of the spans above it.
    pub ancestor: Option<Box<Selector>>,
    /// One of its children.
    pub child: Option<Box<Selector>>,
    /// A sibling that ended before it began. Siblings have the same parent id, captured or not.
    pub after: Option<Box<Selector>>,
    /// A sibling that began after it ended.
    pub before: Option<Box<Selector>>,
    /// What must not hold of it.
    pub not: Option<Box<Selector>>,
}

/// What the run knows about its own requests.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The traces of our requests.
    pub traces: HashSet<TraceId>,
    /// The `traceparent`s that our requests carried.
    pub sent: HashSet<(TraceId, SpanId)>,
}

/// The rows of all spans for which `selector` holds, in the order of arrival.
pub fn select(index: &TraceIndex<'_>, selector: &Selector, context: &Context) -> Vec<usize> {
    let mut matcher = Matcher::new(index, selector, context);
    (0..index.capture().rows().len()).filter(|row| matcher.holds(*row)).collect()
}

#[cfg(test)]
mod tests;
