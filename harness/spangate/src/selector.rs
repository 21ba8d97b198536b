//! From the selectors of a scenario to those that are matched with spans.

use spangate_scenario::{
    model::{self, SpanSelector},
    units::{Bound, Comparison},
};
use spangate_trace::{
    Kind, Status,
    select::{AttributeTest, EventTest, InvalidRegex, LinkTest, Range, Selector, Text},
};

/// Compiles a selector.
pub(crate) fn compile(from: &SpanSelector) -> Result<Selector, InvalidRegex> {
    let text = |from: &Option<model::TextMatch>| from.as_ref().map(text).transpose();
    let boxed = |from: &Option<Box<SpanSelector>>| {
        from.as_ref().map(|selector| compile(selector).map(Box::new)).transpose()
    };
    Ok(Selector {
        name: text(&from.name)?,
        kind: from.kind.map(|kind| match kind {
            model::SpanKind::Internal => Kind::Internal,
            model::SpanKind::Server => Kind::Server,
            model::SpanKind::Client => Kind::Client,
            model::SpanKind::Producer => Kind::Producer,
            model::SpanKind::Consumer => Kind::Consumer,
        }),
        scope: text(&from.scope)?,
        service: text(&from.service)?,
        status: from.status.map(|status| match status {
            model::SpanStatus::Unset => Status::Unset,
            model::SpanStatus::Ok => Status::Ok,
            model::SpanStatus::Error => Status::Error,
        }),
        attributes: attributes(&from.attributes)?,
        events: from.events.iter().map(event).collect::<Result<_, _>>()?,
        links: from.links.map(|links| match links {
            model::LinkMatch::None => LinkTest::None,
            model::LinkMatch::Any => LinkTest::Any,
            model::LinkMatch::Request => LinkTest::Sent,
        }),
        linked: boxed(&from.linked)?,
        duration: from.duration.as_ref().map(|bound| range(bound, |duration| duration.get())),
        root: from.root,
        ours: from.ours,
        parent: boxed(&from.parent)?,
        ancestor: boxed(&from.ancestor)?,
        child: boxed(&from.child)?,
        after: boxed(&from.after)?,
        before: boxed(&from.before)?,
        not: boxed(&from.not)?,
    })
}

/// Compiles a condition on an attribute.
pub(crate) fn attribute(from: &model::AttributeMatch) -> Result<AttributeTest, InvalidRegex> {
    Ok(match from {
        model::AttributeMatch::Text(text) => AttributeTest::Text(Text::Equals(text.clone())),
        model::AttributeMatch::Int(number) => AttributeTest::Int(*number),
        model::AttributeMatch::Bool(truth) => AttributeTest::Bool(*truth),
        model::AttributeMatch::Prefix(prefix) => AttributeTest::Text(Text::Prefix(prefix.clone())),
        model::AttributeMatch::Regex(pattern) => AttributeTest::Text(Text::regex(pattern)?),
        model::AttributeMatch::Exists(wanted) => AttributeTest::Exists(*wanted),
        model::AttributeMatch::Number(bound) => AttributeTest::Number(range(bound, |number| *number)),
    })
}

type Attributes = std::collections::BTreeMap<String, model::AttributeMatch>;

fn attributes(from: &Attributes) -> Result<Vec<(String, AttributeTest)>, InvalidRegex> {
    from.iter().map(|(key, wanted)| Ok((key.clone(), attribute(wanted)?))).collect()
}

fn event(from: &model::EventMatch) -> Result<EventTest, InvalidRegex> {
    Ok(EventTest { name: text(&from.name)?, attributes: attributes(&from.attributes)? })
}

fn text(from: &model::TextMatch) -> Result<Text, InvalidRegex> {
    Ok(match from {
        model::TextMatch::Equals(text) => Text::Equals(text.clone()),
        model::TextMatch::Prefix(prefix) => Text::Prefix(prefix.clone()),
        model::TextMatch::Regex(pattern) => Text::regex(pattern)?,
    })
}

fn range<T, U: PartialOrd + Copy>(bound: &Bound<T>, value: impl Fn(&T) -> U) -> Range<U> {
    match bound {
        Bound::One(Comparison::Equal, limit) => Range::equal(value(limit)),
        Bound::One(Comparison::NotEqual, limit) => Range::not_equal(value(limit)),
        Bound::One(Comparison::Less, limit) => Range::less(value(limit)),
        Bound::One(Comparison::AtMost, limit) => Range::at_most(value(limit)),
        Bound::One(Comparison::Greater, limit) => Range::greater(value(limit)),
        Bound::One(Comparison::AtLeast, limit) => Range::at_least(value(limit)),
        Bound::Within(low, high) => Range::within(value(low), value(high)),
    }
}

/// What a selector picks, as it stands in the scenario.
pub(crate) fn describe(selector: &SpanSelector) -> String {
    match serde_json::to_string(selector) {
        Ok(text) if text != "{}" => text.replace('"', "").replace(':', ": ").replace(',', ", "),
        _ => "of any kind".to_owned(),
    }
}
