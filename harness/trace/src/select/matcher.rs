//! A selector made ready for one capture.

use std::collections::{HashMap, HashSet};

use super::{
    Context, Selector, Text,
    condition::{attributes_hold, events_hold},
};
use crate::{NameId, Names, Row, SpanId, TraceId, TraceIndex, UnixNanos};

/// A selector made ready for one capture.
pub(super) struct Matcher<'a> {
    index: &'a TraceIndex<'a>,
    selector: &'a Selector,
    context: &'a Context,
    /// Whether the condition on the name holds, by name.
    name: Option<Vec<bool>>,
    scope: Option<Vec<bool>>,
    service: Option<Vec<bool>>,
    linked: Option<Box<Related<'a>>>,
    parent: Option<Box<Related<'a>>>,
    ancestor: Option<Box<Related<'a>>>,
    /// Whether one of the spans above fits, where it is known.
    below: Vec<Option<bool>>,
    child: Option<Box<Related<'a>>>,
    after: Option<Box<Siblings<'a>>>,
    before: Option<Box<Siblings<'a>>>,
    not: Option<Box<Matcher<'a>>>,
}

/// A condition on a related span, asked at most once of each.
struct Related<'a> {
    matcher: Matcher<'a>,
    known: Vec<Option<bool>>,
}

/// A condition on a sibling.
struct Siblings<'a> {
    matcher: Matcher<'a>,
    /// The traces whose siblings have been looked at.
    seen: HashSet<TraceId>,
    /// The fitting siblings with the most extreme times, by the parent that they share.
    extremes: HashMap<(TraceId, SpanId), Extremes>,
}

/// The two spans that ended first and the two that began last: no span is its own sibling, so one of the two
/// may have to stand back.
#[derive(Default)]
struct Extremes {
    first_ends: Vec<(UnixNanos, usize)>,
    last_starts: Vec<(UnixNanos, usize)>,
}

// === impl Matcher ===

impl<'a> Matcher<'a> {
    pub(super) fn new(index: &'a TraceIndex<'a>, selector: &'a Selector, context: &'a Context) -> Self {
        let names = index.capture().names();
        let matcher = |inner: &'a Selector| Self::new(index, inner, context);
        let related = |inner: &'a Option<Box<Selector>>| {
            let known = || vec![None; index.capture().rows().len()];
            inner.as_ref().map(|inner| Box::new(Related { matcher: matcher(inner), known: known() }))
        };
        let siblings = |inner: &'a Option<Box<Selector>>| {
            inner.as_ref().map(|inner| Box::new(Siblings::new(matcher(inner))))
        };
        let below = selector.ancestor.as_ref().map(|_| vec![None; index.capture().rows().len()]);
        Self {
            index,
            selector,
            context,
            name: by_name(selector.name.as_ref(), names),
            scope: by_name(selector.scope.as_ref(), names),
            service: by_name(selector.service.as_ref(), names),
            linked: related(&selector.linked),
            parent: related(&selector.parent),
            ancestor: related(&selector.ancestor),
            below: below.unwrap_or_default(),
            child: related(&selector.child),
            after: siblings(&selector.after),
            before: siblings(&selector.before),
            not: selector.not.as_ref().map(|inner| Box::new(matcher(inner))),
        }
    }

    /// Whether the selector holds of a span: cheap conditions first.
    pub(super) fn holds(&mut self, row: usize) -> bool {
        self.row_holds(self.index.row(row)) && self.details_hold(row) && self.relations_hold(row)
    }

    fn row_holds(&self, row: &Row) -> bool {
        let selector = self.selector;
        let named = |names: &Option<Vec<bool>>, NameId(id): NameId| {
            names.as_ref().is_none_or(|names| names[id as usize])
        };
        named(&self.name, row.name)
            && named(&self.scope, row.scope)
            && named(&self.service, row.service)
            && selector.kind.is_none_or(|kind| row.kind == kind)
            && selector.status.is_none_or(|status| row.status == status)
            && selector.root.is_none_or(|root| row.parent.is_valid() != root)
            && selector.ours.is_none_or(|ours| self.context.traces.contains(&row.trace_id) == ours)
            && selector.duration.is_none_or(|range| range.contains(row.end.since(row.start)))
    }

    fn details_hold(&self, row: usize) -> bool {
        let selector = self.selector;
        if selector.attributes.is_empty() && selector.events.is_empty() && selector.links.is_none() {
            return true;
        }
        let capture = self.index.capture();
        if selector.events.is_empty() && selector.links.is_none() {
            let mut tests = selector.attributes.iter();
            return tests.all(|(key, test)| test.holds(capture.attribute(row, key).as_ref()));
        }
        let span = capture.span(row);
        attributes_hold(&selector.attributes, &span.attributes)
            && events_hold(&selector.events, &span.events)
            && selector.links.is_none_or(|links| links.holds(&span.links, self.context))
    }

    fn relations_hold(&mut self, row: usize) -> bool {
        let index = self.index;
        if let Some(not) = &mut self.not
            && not.holds(row)
        {
            return false;
        }
        if let Some(linked) = &mut self.linked {
            let links = index.capture().span(row).links;
            let mut ends = links.iter().filter_map(|link| index.by_span(link.trace_id, link.span_id));
            if !ends.any(|end| linked.holds(end)) {
                return false;
            }
        }
        if let Some(parent) = &mut self.parent
            && !index.parent(row).is_some_and(|above| parent.holds(above))
        {
            return false;
        }
        if let Some(child) = &mut self.child
            && !index.children(row).any(|below| child.holds(below))
        {
            return false;
        }
        if let Some(after) = &mut self.after
            && !after.extremes(index, row).is_some_and(|extremes| extremes.one_ended_before(index, row))
        {
            return false;
        }
        if let Some(before) = &mut self.before
            && !before.extremes(index, row).is_some_and(|extremes| extremes.one_began_after(index, row))
        {
            return false;
        }
        self.ancestor_holds(row)
    }

    /// Whether one of the spans above fits; the answer is noted for every span on the way up.
    fn ancestor_holds(&mut self, row: usize) -> bool {
        let Some(ancestor) = &mut self.ancestor else { return true };
        let (mut way, mut at) = (Vec::new(), row);
        let found = loop {
            if let Some(known) = self.below[at] {
                break known;
            }
            way.push(at);
            match self.index.parent(at) {
                None => break false,
                Some(above) if ancestor.holds(above) => break true,
                Some(above) => at = above,
            }
        };
        for row in way {
            self.below[row] = Some(found);
        }
        found
    }
}

/// Whether a condition on a name holds, by name.
fn by_name(text: Option<&Text>, names: &Names) -> Option<Vec<bool>> {
    text.map(|text| names.iter().map(|(_, name)| text.holds(name)).collect())
}

// === impl Related ===

impl Related<'_> {
    fn holds(&mut self, row: usize) -> bool {
        *self.known[row].get_or_insert_with(|| self.matcher.holds(row))
    }
}

// === impl Siblings ===

impl<'a> Siblings<'a> {
    fn new(matcher: Matcher<'a>) -> Self {
        Self { matcher, seen: HashSet::new(), extremes: HashMap::new() }
    }

    /// The fitting spans with the same parent as `row`.
    fn extremes(&mut self, index: &TraceIndex<'_>, row: usize) -> Option<&Extremes> {
        let span = index.row(row);
        if !span.parent.is_valid() {
            return None;
        }
        if self.seen.insert(span.trace_id) {
            for sibling in index.trace_of(row).rows() {
                let parent = index.row(sibling).parent;
                if parent.is_valid() && self.matcher.holds(sibling) {
                    self.extremes
                        .entry((span.trace_id, parent))
                        .or_default()
                        .add(index.row(sibling), sibling);
                }
            }
        }
        self.extremes.get(&(span.trace_id, span.parent))
    }
}

// === impl Extremes ===

impl Extremes {
    fn add(&mut self, span: &Row, row: usize) {
        self.first_ends.push((span.end, row));
        self.first_ends.sort_unstable();
        self.first_ends.truncate(2);
        self.last_starts.push((span.start, row));
        self.last_starts.sort_unstable_by(|one, other| other.cmp(one));
        self.last_starts.truncate(2);
    }

    fn one_ended_before(&self, index: &TraceIndex<'_>, row: usize) -> bool {
        let start = index.row(row).start;
        self.first_ends.iter().any(|(end, sibling)| *sibling != row && *end <= start)
    }

    fn one_began_after(&self, index: &TraceIndex<'_>, row: usize) -> bool {
        let end = index.row(row).end;
        self.last_starts.iter().any(|(start, sibling)| *sibling != row && *start >= end)
    }
}
