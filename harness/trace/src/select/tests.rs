use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::*;
use crate::{
    Capture, Details, Event, Link, Names, Row, Span, UnixNanos, Value,
    span::Attributes,
    testing::{Builder, TRACE, any_spans, span, span_id, trace_id},
};

const NO_ROWS: [usize; 0] = [];

fn named(name: &str) -> Selector {
    Selector { name: Some(Text::Equals(name.to_owned())), ..Selector::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "the fields are optional")]
fn boxed(selector: Selector) -> Option<Box<Selector>> {
    Some(Box::new(selector))
}

fn found(capture: &Capture, selector: &Selector) -> Vec<usize> {
    select(&TraceIndex::new(capture), selector, &Context::default())
}

/// A request with two webhook calls, one after the other, and a write.
fn create() -> Capture {
    let mut b = Builder::default();
    let server = b.server(0, 100);
    let create = b.span("Create", Some(server), 5, 95);
    b.webhook("Call mutating webhook", "slow.spangate.dev", create, 10, 30);
    b.webhook("Call validating webhook", "quick.spangate.dev", create, 30, 40);
    let storage = b.span("Create etcd3", Some(create), 50, 80);
    let call = b.span("etcdserverpb.KV/Txn", Some(storage), 55, 75);
    b.get(call).kind = Kind::Client;
    b.get(call).status = Status::Error;
    b.capture()
}

#[test]
fn an_empty_selector_picks_everything() {
    assert_eq!(found(&create(), &Selector::default()), (0..8).collect::<Vec<_>>());
}

#[test]
fn conditions_on_the_row() {
    let capture = create();
    assert_eq!(found(&capture, &named("Create")), [1]);
    assert_eq!(found(&capture, &named("Delete")), Vec::<usize>::new());
    let selector = |selector: Selector| found(&capture, &selector);
    assert_eq!(selector(Selector { kind: Some(Kind::Client), ..Selector::default() }), [3, 5, 7]);
    assert_eq!(selector(Selector { status: Some(Status::Error), ..Selector::default() }), [7]);
    assert_eq!(selector(Selector { root: Some(true), ..Selector::default() }), [0]);
    assert_eq!(
        selector(Selector { root: Some(false), kind: Some(Kind::Server), ..Selector::default() }),
        NO_ROWS
    );
    let long = Some(Range::at_least(Duration::from_nanos(30)));
    assert_eq!(selector(Selector { duration: long, ..Selector::default() }), [0, 1, 6]);
    let etcd = Some(Text::Prefix("etcd".to_owned()));
    assert_eq!(selector(Selector { service: etcd, ..Selector::default() }), NO_ROWS);
    let scope = Some(Text::regex("tracing$").unwrap());
    assert_eq!(selector(Selector { scope, ..named("Create etcd3") }), [6]);
}

#[test]
fn conditions_on_the_spans_around() {
    let capture = create();
    let selector = |selector: Selector| found(&capture, &selector);
    let client = || Selector { kind: Some(Kind::Client), ..Selector::default() };
    assert_eq!(selector(Selector { parent: boxed(named("Create")), ..Selector::default() }), [2, 4, 6]);
    assert_eq!(selector(Selector { ancestor: boxed(named("Create")), ..client() }), [3, 5, 7]);
    assert_eq!(selector(Selector { child: boxed(client()), ..Selector::default() }), [2, 4, 6]);
    // One that ends as the other begins is before it.
    let mutating = || boxed(named("Call mutating webhook"));
    assert_eq!(selector(Selector { after: mutating(), ..Selector::default() }), [4, 6]);
    assert_eq!(selector(Selector { before: boxed(named("Create etcd3")), ..Selector::default() }), [2, 4]);
    assert_eq!(
        selector(Selector { not: boxed(client()), root: Some(false), ..Selector::default() }),
        [1, 2, 4, 6]
    );
    let nested =
        Selector { parent: boxed(Selector { after: mutating(), ..Selector::default() }), ..client() };
    assert_eq!(selector(nested), [5, 7]);
}

#[test]
fn spans_below_the_same_remote_parent_are_siblings() {
    let spans = vec![
        span(TRACE, 1, Some(99), "first", 0, 10),
        span(TRACE, 2, Some(99), "second", 20, 30),
        span(TRACE, 3, Some(98), "of another", 20, 30),
        span(TRACE, 4, None, "root", 40, 50),
        span(TRACE, 5, None, "root", 60, 70),
    ];
    let capture = Capture::from_spans(spans);
    let after = Selector { after: boxed(Selector::default()), ..Selector::default() };
    assert_eq!(found(&capture, &after), [1]);
}

#[test]
fn a_span_is_not_its_own_sibling() {
    let capture = Capture::from_spans(vec![span(TRACE, 1, Some(99), "instant", 5, 5)]);
    let after = Selector { after: boxed(Selector::default()), ..Selector::default() };
    let before = Selector { before: boxed(Selector::default()), ..Selector::default() };
    assert_eq!(found(&capture, &after), NO_ROWS);
    assert_eq!(found(&capture, &before), NO_ROWS);
}

#[test]
fn ours_and_links_follow_the_run() {
    let mut spans =
        vec![span(trace_id(1), 1, Some(99), "ours", 0, 1), span(trace_id(2), 2, None, "linked", 0, 1)];
    let link = Link { trace_id: trace_id(3), span_id: span_id(7), attributes: Attributes::new() };
    spans[1].links.push(link);
    let capture = Capture::from_spans(spans);
    let index = TraceIndex::new(&capture);
    let context = Context { traces: [trace_id(1)].into(), sent: [(trace_id(3), span_id(7))].into() };
    let ours = |ours| Selector { ours: Some(ours), ..Selector::default() };
    assert_eq!(select(&index, &ours(true), &context), [0]);
    assert_eq!(select(&index, &ours(false), &context), [1]);
    let links = |links| Selector { links: Some(links), ..Selector::default() };
    assert_eq!(select(&index, &links(LinkTest::None), &context), [0]);
    assert_eq!(select(&index, &links(LinkTest::Any), &context), [1]);
    assert_eq!(select(&index, &links(LinkTest::Sent), &context), [1]);
    assert_eq!(select(&index, &links(LinkTest::Sent), &Context::default()), NO_ROWS);
}

#[test]
fn a_link_leads_to_a_span_of_another_trace() {
    let mut spans = vec![
        span(trace_id(1), 1, None, "kubelet", 0, 9),
        span(trace_id(2), 2, None, "linked", 0, 1),
        span(trace_id(3), 3, None, "astray", 0, 1),
    ];
    let link = |trace, id| Link { trace_id: trace, span_id: span_id(id), attributes: Attributes::new() };
    spans[1].links = vec![link(trace_id(9), 1), link(trace_id(1), 1)];
    // The right span id in the wrong trace.
    spans[2].links = vec![link(trace_id(2), 1)];
    let capture = Capture::from_spans(spans);
    let to = |name| Selector { linked: boxed(named(name)), ..Selector::default() };
    assert_eq!(found(&capture, &to("kubelet")), [1]);
    assert_eq!(found(&capture, &to("linked")), NO_ROWS);
}

#[test]
fn attributes_and_events_are_asked_of_the_whole_span() {
    let mut b = Builder::default();
    let one = b.span("List", None, 0, 1);
    b.get(one).attributes.insert("verb".to_owned(), Value::String("LIST".to_owned()));
    b.get(one).events.push(Event {
        time: UnixNanos(1),
        name: "Listed".to_owned(),
        attributes: Attributes::new(),
    });
    b.span("List", None, 0, 1);
    let capture = b.capture();
    let verb = ("verb".to_owned(), AttributeTest::Text(Text::Equals("LIST".to_owned())));
    assert_eq!(found(&capture, &Selector { attributes: vec![verb], ..named("List") }), [one]);
    let event = EventTest { name: Text::Prefix("List".to_owned()), attributes: Vec::new() };
    assert_eq!(found(&capture, &Selector { events: vec![event], ..named("List") }), [one]);
}

/// Whole spans that count how often they are asked for.
struct Counting {
    spans: Vec<Span>,
    asked: Arc<AtomicUsize>,
}

impl Details for Counting {
    fn span(&self, index: usize) -> Span {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.spans[index].clone()
    }
}

#[test]
fn a_span_is_decoded_only_when_its_row_fits_and_only_once() {
    let mut spans = vec![span(TRACE, 1, None, "Create", 0, 100)];
    spans.extend((2..50).map(|id| span(TRACE, id, Some(1), "Call mutating webhook", id, 100)));
    let mut names = Names::default();
    let rows = spans.iter().map(|span| Row::of(span, &mut names)).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let capture = Capture::new(rows, names, Arc::new(Counting { spans, asked: Arc::clone(&asked) }));
    let absent = vec![("verb".to_owned(), AttributeTest::Exists(false))];
    let parent = Selector { attributes: absent, ..named("Create") };
    let rows = found(&capture, &Selector { parent: boxed(parent), ..Selector::default() });
    assert_eq!(rows.len(), 48);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// The meaning of a selector without any cleverness.
fn holds(index: &TraceIndex<'_>, selector: &Selector, row: usize) -> bool {
    let span = index.row(row);
    let all = |inner: &Option<Box<Selector>>, mut rows: Box<dyn Iterator<Item = usize> + '_>| {
        inner.as_ref().is_none_or(|inner| rows.any(|row| holds(index, inner, row)))
    };
    let siblings = || {
        let same = move |other: &usize| {
            let other = index.row(*other);
            other.parent.is_valid() && (other.trace_id, other.parent) == (span.trace_id, span.parent)
        };
        (0..index.capture().rows().len()).filter(move |other| *other != row && same(other))
    };
    let name = index.capture().names().get(span.name);
    selector.name.as_ref().is_none_or(|text| text.holds(name))
        && selector.root.is_none_or(|root| span.parent.is_valid() != root)
        && selector.duration.is_none_or(|range| range.contains(span.end.since(span.start)))
        && all(&selector.parent, Box::new(index.parent(row).into_iter()))
        && all(&selector.ancestor, Box::new(index.ancestors(row)))
        && all(&selector.child, Box::new(index.children(row)))
        && all(&selector.after, Box::new(siblings().filter(|at| index.row(*at).end <= span.start)))
        && all(&selector.before, Box::new(siblings().filter(|at| index.row(*at).start >= span.end)))
        && !selector.not.as_ref().is_some_and(|inner| holds(index, inner, row))
}

fn any_selector() -> impl Strategy<Value = Selector> {
    let name = prop::sample::select(vec!["a", "C", "Create", "etcd", "HTTP", ""]);
    let name = prop::option::of(name.prop_map(|prefix| Text::Prefix(prefix.to_owned())));
    let duration =
        prop::option::of((0..20_u64).prop_map(|nanos| Range::at_least(Duration::from_nanos(nanos))));
    let leaf = (name, duration, prop::option::weighted(0.2, any::<bool>()))
        .prop_map(|(name, duration, root)| Selector { name, duration, root, ..Selector::default() });
    leaf.clone().prop_recursive(3, 12, 3, move |inner| {
        let inner = || prop::option::weighted(0.3, inner.clone().prop_map(Box::new));
        let above = (inner(), inner(), inner());
        (leaf.clone(), above, inner(), inner(), inner()).prop_map(
            |(leaf, (parent, ancestor, child), after, before, not)| Selector {
                parent,
                ancestor,
                child,
                after,
                before,
                not,
                ..leaf
            },
        )
    })
}

proptest! {
    #[test]
    fn the_matcher_finds_what_the_definition_says(spans in any_spans(), selector in any_selector()) {
        let capture = Capture::from_spans(spans);
        let index = TraceIndex::new(&capture);
        let expected: Vec<_> = (0..capture.rows().len()).filter(|row| holds(&index, &selector, *row)).collect();
        prop_assert_eq!(select(&index, &selector, &Context::default()), expected);
    }
}
