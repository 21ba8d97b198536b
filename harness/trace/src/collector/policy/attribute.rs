//! The policies that look at one attribute, of spans and of their resource.
//!
//! Read from `internal/sampling/{numeric,string,boolean}_tag_filter.go` and `util.go` of the `tail_sampling` processor
//! v0.161.0. All of them read a value as the type that they want, and an attribute of another type reads as zero,
//! `false` or empty text: `numeric_attribute` with a range around zero matches text, too.

use std::collections::HashSet;

use regex::Regex;

use super::{
    super::{
        config::{BooleanAttributeConfig, NumericAttributeConfig, StringAttributeConfig},
        input::TraceView,
        votes::Votes,
    },
    regexp,
};
use crate::Value;

/// `numeric_attribute`.
#[derive(Debug, Clone)]
pub(in super::super) struct Numeric {
    key: String,
    min: i64,
    max: i64,
    invert: bool,
}

/// `string_attribute`.
#[derive(Debug, Clone)]
pub(in super::super) struct Text {
    key: String,
    matcher: Matcher,
    invert: bool,
}

/// What text is held against.
#[derive(Debug, Clone)]
enum Matcher {
    Exact(HashSet<String>),
    Any(Vec<Regex>),
}

/// `boolean_attribute`.
#[derive(Debug, Clone)]
pub(in super::super) struct Boolean {
    key: String,
    value: bool,
    invert: bool,
}

/// Sampled when a resource or a span matches; the other way round when inverted.
///
/// Where upstream evaluates "does not match" on every resource and span, an attribute that is absent does not match.
fn vote(
    trace: &TraceView<'_>,
    key: &str,
    invert: bool,
    resource: impl Fn(&Value) -> bool,
    span: impl Fn(&Value) -> bool,
) -> Votes {
    let matched = trace.batches.iter().any(|batch| {
        batch.resource.get(key).is_some_and(&resource)
            || batch.spans.iter().any(|view| view.span.attributes.get(key).is_some_and(&span))
    });
    Votes::sampled_if(matched != invert)
}

// === impl Numeric ===

impl Numeric {
    /// The policy with these settings; `None` without a bound. A bound of zero is none (`processor.go`).
    pub(super) fn new(config: &NumericAttributeConfig) -> Option<Self> {
        let bound = |value: i64| (value != 0).then_some(value);
        let (min, max) = (bound(config.min_value), bound(config.max_value));
        min.or(max)?;
        Some(Self {
            key: config.key.clone(),
            min: min.unwrap_or(i64::MIN),
            max: max.unwrap_or(i64::MAX),
            invert: config.invert_match,
        })
    }

    /// What it says.
    pub(super) fn vote(&self, trace: &TraceView<'_>) -> Votes {
        let matches = |value: &Value| {
            let number = if let Value::Int(number) = value { *number } else { 0 };
            (self.min..=self.max).contains(&number)
        };
        vote(trace, &self.key, self.invert, matches, matches)
    }
}

// === impl Text ===

impl Text {
    /// The policy with these settings; the reason when a regular expression cannot be had.
    pub(super) fn new(config: &StringAttributeConfig) -> Result<Self, String> {
        let matcher = if config.enabled_regex_matching {
            let compile = |pattern: &String| regexp::compile(pattern);
            Matcher::Any(config.values.iter().map(compile).collect::<Result<_, _>>()?)
        } else {
            Matcher::Exact(config.values.iter().filter(|value| !value.is_empty()).cloned().collect())
        };
        Ok(Self { key: config.key.clone(), matcher, invert: config.invert_match })
    }

    /// What it says. Empty text of a span never matches, empty text of a resource may match an expression.
    pub(super) fn vote(&self, trace: &TraceView<'_>) -> Votes {
        fn text(value: &Value) -> &str {
            if let Value::String(text) = value { text } else { "" }
        }
        let matches = |text: &str| match &self.matcher {
            Matcher::Exact(values) => values.contains(text),
            Matcher::Any(expressions) => expressions.iter().any(|expression| expression.is_match(text)),
        };
        let on_span = |value: &Value| !text(value).is_empty() && matches(text(value));
        vote(trace, &self.key, self.invert, |value| matches(text(value)), on_span)
    }
}

// === impl Boolean ===

impl Boolean {
    /// The policy with these settings.
    pub(super) fn new(config: &BooleanAttributeConfig) -> Self {
        Self { key: config.key.clone(), value: config.value, invert: config.invert_match }
    }

    /// What it says.
    pub(super) fn vote(&self, trace: &TraceView<'_>) -> Votes {
        let matches = |value: &Value| (*value == Value::Bool(true)) == self.value;
        vote(trace, &self.key, self.invert, matches, matches)
    }
}
