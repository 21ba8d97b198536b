use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;
use crate::{
    Span,
    testing::{Builder, TRACE, any_spans, span, span_id, trace_id},
};

fn rows(rows: impl Iterator<Item = usize>) -> Vec<usize> {
    rows.collect()
}

#[test]
fn a_capture_without_spans_has_no_traces() {
    let capture = Capture::from_spans(Vec::new());
    let index = TraceIndex::new(&capture);
    assert_eq!(index.traces().len(), 0);
    assert!(index.by_trace(TRACE).is_none());
    assert_eq!(index.by_span(TRACE, span_id(1)), None);
}

#[test]
fn children_come_in_the_order_of_their_start() {
    let mut builder = Builder::default();
    let late = builder.span("late", Some(2), 5, 6);
    let early = builder.span("early", Some(2), 1, 9);
    let root = builder.span("root", None, 0, 10);
    let below = builder.span("below", Some(early), 2, 3);
    let capture = builder.capture();
    let index = TraceIndex::new(&capture);
    assert_eq!(rows(index.children(root)), [early, late]);
    assert_eq!(rows(index.ancestors(below)), [early, root]);
    let trace = index.by_trace(TRACE).unwrap();
    assert_eq!(rows(trace.roots()), [root]);
    assert_eq!(rows(trace.rows()), [root, early, below, late]);
    let steps: Vec<_> = trace.walk().map(|step| (step.row, step.depth)).collect();
    assert_eq!(steps, [(root, 0), (early, 1), (below, 2), (late, 1)]);
    let steps: Vec<_> = index.subtree(early).map(|step| (step.row, step.depth)).collect();
    assert_eq!(steps, [(early, 0), (below, 1)]);
    assert_eq!((trace.start(), trace.end(), trace.len()), (UnixNanos(0), UnixNanos(10), 4));
}

#[test]
fn orphans_are_no_roots() {
    let spans = vec![span(TRACE, 1, None, "root", 0, 9), span(TRACE, 2, Some(99), "orphan", 1, 2)];
    let capture = Capture::from_spans(spans);
    let index = TraceIndex::new(&capture);
    let trace = index.trace_of(1);
    assert_eq!(rows(trace.roots()), [0]);
    assert_eq!(rows(trace.orphans()), [1]);
    assert_eq!(rows(trace.tops()), [0, 1]);
}

#[test]
fn the_same_span_id_in_another_trace_is_another_span() {
    let spans = vec![
        span(trace_id(1), 1, None, "a", 0, 9),
        span(trace_id(2), 1, None, "b", 0, 9),
        span(trace_id(2), 2, Some(1), "c", 0, 9),
    ];
    let capture = Capture::from_spans(spans);
    let index = TraceIndex::new(&capture);
    assert_eq!(index.by_span(trace_id(1), span_id(1)), Some(0));
    assert_eq!(index.by_span(trace_id(2), span_id(1)), Some(1));
    assert_eq!(index.parent(2), Some(1));
    assert_eq!(index.traces().map(|trace| trace.id()).collect::<Vec<_>>(), [trace_id(1), trace_id(2)]);
}

#[test]
fn the_first_of_several_spans_with_the_same_id_has_the_children() {
    let spans = vec![
        span(TRACE, 1, None, "root", 0, 9),
        span(TRACE, 2, Some(1), "twice", 3, 4),
        span(TRACE, 2, Some(1), "twice", 2, 4),
        span(TRACE, 3, Some(2), "below", 3, 4),
    ];
    let capture = Capture::from_spans(spans);
    let index = TraceIndex::new(&capture);
    assert_eq!(index.parent(3), Some(2));
    assert_eq!(rows(index.children(1)), Vec::<usize>::new());
    assert_eq!(rows(index.children(0)), [2, 1]);
    assert_eq!(rows(index.trace_of(0).duplicates()), [1]);
}

#[test]
fn cycles_are_cut_at_their_earliest_span() {
    let spans = vec![
        span(TRACE, 1, Some(1), "its own parent", 5, 6),
        span(TRACE, 2, Some(3), "late", 4, 9),
        span(TRACE, 3, Some(4), "later", 5, 9),
        span(TRACE, 4, Some(2), "early", 1, 9),
        span(TRACE, 5, Some(2), "below the cycle", 4, 9),
    ];
    let capture = Capture::from_spans(spans);
    let index = TraceIndex::new(&capture);
    let trace = index.by_trace(TRACE).unwrap();
    assert_eq!(rows(trace.cut()), [3, 0]);
    assert_eq!(rows(trace.orphans()), Vec::<usize>::new());
    assert_eq!(rows(index.ancestors(4)), [1, 2, 3]);
}

#[test]
fn a_deep_chain_is_walked_without_recursion() {
    let depth = 200_000;
    let link = |id: u64| span(TRACE, id, (id > 1).then(|| id - 1), "link", id, 1_000_000 - id);
    let capture = Capture::from_spans((1..=depth).map(link).collect());
    let index = TraceIndex::new(&capture);
    let trace = index.by_trace(TRACE).unwrap();
    assert_eq!(trace.walk().last().unwrap().depth, 199_999);
    assert_eq!(index.ancestors(199_999).count(), 199_999);
}

#[test]
fn self_time_is_what_no_child_covers() {
    let mut builder = Builder::default();
    let root = builder.span("root", None, 10, 30);
    builder.span("escapes the start", Some(root), 5, 12);
    builder.span("overlaps", Some(root), 14, 18);
    builder.span("overlaps", Some(root), 15, 20);
    builder.span("is reversed", Some(root), 25, 22);
    builder.span("escapes the end", Some(root), 28, 40);
    builder.span("is outside", Some(root), 50, 60);
    let capture = builder.capture();
    let index = TraceIndex::new(&capture);
    assert_eq!(index.self_time(root), Duration::from_nanos(2 + 8));
}

proptest! {
    #[test]
    fn self_time_is_counted_instant_by_instant(spans in any_spans()) {
        let capture = Capture::from_spans(spans);
        let index = TraceIndex::new(&capture);
        for row in 0..capture.rows().len() {
            let within = |row: usize, instant: u64| {
                let row = index.row(row);
                row.start.0 <= instant && instant < row.end.0
            };
            let own = |instant: &u64| {
                within(row, *instant) && !index.children(row).any(|child| within(child, *instant))
            };
            let own = (0..40).filter(own).count() as u64;
            prop_assert_eq!(index.self_time(row), Duration::from_nanos(own));
        }
    }
}

proptest! {
    #[test]
    fn a_trace_is_found_whether_ids_are_random_or_counted(
        ids in proptest::collection::vec(prop_oneof![any::<u128>(), 0..20_u128, Just(u128::MAX)], 0..100),
        other: u128,
    ) {
        let spans = ids.iter().map(|id| span(trace_id(*id), 1, None, "", 0, 1)).collect();
        let capture = Capture::from_spans(spans);
        let index = TraceIndex::new(&capture);
        for id in ids.iter().chain([&other]) {
            let found = index.by_trace(trace_id(*id)).map(|trace| trace.rows().collect::<Vec<_>>());
            let wanted: Vec<_> = (0..ids.len()).filter(|row| ids[*row] == *id).collect();
            prop_assert_eq!(found.unwrap_or_default(), wanted);
        }
    }
}

/// The parent by definition: the earliest span of the trace with that id.
fn parent(spans: &[Span], row: usize) -> Option<usize> {
    let child = &spans[row];
    (0..spans.len())
        .filter(|at| spans[*at].trace_id == child.trace_id && Some(spans[*at].span_id) == child.parent)
        .min_by_key(|at| (spans[*at].start, *at))
}

proptest! {
    #[test]
    fn whatever_the_spans_say_the_index_is_a_forest_of_all_of_them(spans in any_spans()) {
        let capture = Capture::from_spans(spans.clone());
        let index = TraceIndex::new(&capture);
        let mut seen = BTreeSet::new();
        for trace in index.traces() {
            let walked: Vec<_> = trace.walk().map(|step| step.row).collect();
            prop_assert_eq!(walked.len(), trace.len());
            for row in walked {
                prop_assert_eq!(spans[row].trace_id, trace.id());
                prop_assert!(seen.insert(row));
            }
        }
        prop_assert_eq!(seen.len(), spans.len());
    }

    #[test]
    fn links_are_those_of_the_definition_but_for_the_cut_ones(spans in any_spans()) {
        let capture = Capture::from_spans(spans.clone());
        let index = TraceIndex::new(&capture);
        let cut: HashSet<_> = index.traces().flat_map(|trace| trace.cut()).collect();
        let mut children = BTreeMap::<_, BTreeSet<_>>::new();
        for row in 0..spans.len() {
            let expected = parent(&spans, row).filter(|_| !cut.contains(&row));
            prop_assert_eq!(index.parent(row), expected);
            if let Some(parent) = expected {
                children.entry(parent).or_default().insert(row);
            }
            prop_assert_eq!(index.trace_of(row).id(), spans[row].trace_id);
        }
        for row in 0..spans.len() {
            let found: Vec<_> = index.children(row).collect();
            prop_assert!(found.is_sorted_by_key(|child| spans[*child].start));
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), children.remove(&row).unwrap_or_default());
        }
        for row in cut {
            // The cut span is on the cycle: following the definition comes back to it.
            let mut at = parent(&spans, row);
            for _ in 0..spans.len() {
                if at == Some(row) {
                    break;
                }
                at = parent(&spans, at.unwrap());
            }
            prop_assert_eq!(at, Some(row));
        }
    }

    #[test]
    fn roots_orphans_and_cut_spans_are_all_tops(spans in any_spans()) {
        let capture = Capture::from_spans(spans);
        let index = TraceIndex::new(&capture);
        for trace in index.traces() {
            let mut parts: Vec<_> = trace.roots().chain(trace.orphans()).chain(trace.cut()).collect();
            let mut tops: Vec<_> = trace.tops().collect();
            parts.sort_unstable();
            tops.sort_unstable();
            prop_assert_eq!(parts, tops);
        }
    }
}
