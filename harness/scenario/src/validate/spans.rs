//! Rules for selectors of spans.

use std::collections::BTreeMap;

use regex::Regex;

use super::{
    Findings,
    bounds::{self, Purpose},
};
use crate::{
    model::{AttributeMatch, SpanSelector, Spans, TextMatch},
    path::{Path, Step},
    units::Comparison,
};

pub(super) fn check(spans: &Spans, at: &Path, findings: &mut Findings) {
    selector(&spans.selector, &at.key("where"), findings);
    if let Some(bound) = &spans.count {
        bounds::count(bound, &at.key("count"), findings);
    }
    if let Some(bound) = &spans.per_request {
        bounds::count(bound, &at.key("perRequest"), findings);
    }
    if let Some(percentiles) = &spans.duration {
        super::expect::percentiles(percentiles, Purpose::Check, &at.key("duration"), findings);
    }
    attributes(&spans.attributes, &at.key("attributes"), findings);
    if let Some(cel) = &spans.cel {
        findings.require(!cel.trim().is_empty(), &at.key("cel"), "must not be empty");
    }
    let nothing = spans.count.is_none()
        && spans.per_request.is_none()
        && spans.duration.is_none()
        && spans.attributes.is_empty()
        && spans.cel.is_none();
    if nothing {
        findings
            .add(at, "says which spans, but not what must be true of them")
            .help("add one of `count`, `perRequest`, `duration`, `attributes`, `cel`");
    }
}

pub(super) fn selector(selector: &SpanSelector, at: &Path, findings: &mut Findings) {
    let texts = [("name", &selector.name), ("scope", &selector.scope), ("service", &selector.service)];
    for (key, matched) in texts {
        if let Some(matched) = matched {
            text(matched, &at.key(key), findings);
        }
    }
    attributes(&selector.attributes, &at.key("attributes"), findings);
    for (index, event) in selector.events.iter().enumerate() {
        let at = at.key("events").index(index);
        text(&event.name, &at.key("name"), findings);
        attributes(&event.attributes, &at.key("attributes"), findings);
    }
    if let Some(bound) = &selector.duration {
        bounds::duration(bound, Comparison::AtLeast, Purpose::Check, &at.key("duration"), findings);
    }
    if selector.not.as_deref() == Some(&SpanSelector::default()) {
        findings.add(&at.key("not"), "an empty selector picks every span, so its opposite picks none");
    }
    if selector.root == Some(true) && (selector.parent.is_some() || selector.ancestor.is_some()) {
        findings.add(&at.key("root"), "a root has no parent, so `parent` and `ancestor` pick nothing");
    }
    let others = [
        ("parent", &selector.parent),
        ("ancestor", &selector.ancestor),
        ("linked", &selector.linked),
        ("child", &selector.child),
        ("after", &selector.after),
        ("before", &selector.before),
        ("not", &selector.not),
    ];
    for (key, other) in others {
        if let Some(other) = other {
            self::selector(other, &at.key(key), findings);
        }
    }
}

fn text(matched: &TextMatch, at: &Path, findings: &mut Findings) {
    match matched {
        TextMatch::Equals(_) => {}
        TextMatch::Prefix(prefix) => not_empty(prefix, &at.key("prefix"), findings),
        TextMatch::Regex(pattern) => compiles(pattern, &at.key("regex"), findings),
    }
}

fn attributes(attributes: &BTreeMap<String, AttributeMatch>, at: &Path, findings: &mut Findings) {
    for (key, matched) in attributes {
        let at = at.clone().then(Step::Key(key.clone()));
        findings.require(!key.is_empty(), &at, "an attribute has a name");
        match matched {
            AttributeMatch::Prefix(prefix) => not_empty(prefix, &at.key("prefix"), findings),
            AttributeMatch::Regex(pattern) => compiles(pattern, &at.key("regex"), findings),
            AttributeMatch::Text(_)
            | AttributeMatch::Int(_)
            | AttributeMatch::Bool(_)
            | AttributeMatch::Exists(_)
            | AttributeMatch::Number(_) => {}
        }
    }
}

fn not_empty(prefix: &str, at: &Path, findings: &mut Findings) {
    findings.require(!prefix.is_empty(), at, "every text begins with an empty prefix, so it checks nothing");
}

fn compiles(pattern: &str, at: &Path, findings: &mut Findings) {
    if let Err(error) = Regex::new(pattern) {
        // The error draws the pattern over several lines and says what is wrong on the last one.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        let reason = reason.trim().trim_start_matches("error: ");
        findings.add(at, format!("not a regular expression: {reason}"));
    }
}
