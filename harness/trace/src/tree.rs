//! Which span caused which: every trace of a capture as a forest.
//!
//! The index is built once and holds only numbers, 24 bytes a span and 24 a trace. Whatever the spans say, it
//! is a forest: a span whose id was seen before is kept but has no children, and a parent link that leads
//! back to its own span is cut. So every walk ends.

use std::{ops::Range, time::Duration};

use crate::{Capture, Row, SpanId, TraceId, UnixNanos};

/// No span.
const NONE: u32 = u32::MAX;

/// Every trace of a capture.
///
/// Spans are named by their row in the capture. Methods that take a row panic when the capture has no such
/// row.
#[derive(Clone)]
pub struct TraceIndex<'c> {
    capture: &'c Capture,
    /// Rows by trace id, then by start. All other numbers are positions in this list.
    order: Vec<u32>,
    /// The position of each row.
    positions: Vec<u32>,
    /// The id of each trace, ascending: a search in them looks at no row.
    ids: Vec<TraceId>,
    /// Where in `ids` the traces of each bucket begin, and the end of the last: a bucket has the ids with the
    /// same first bits, about one where they are random.
    buckets: Vec<u32>,
    /// The first position of each trace, and the end of the last trace.
    bounds: Vec<u32>,
    /// The positions of each trace, by span id.
    by_span: Vec<u32>,
    /// The parent of each position, or [`NONE`].
    parents: Vec<u32>,
    /// Where the children of each position begin in `children`, and the end of the last.
    first_child: Vec<u32>,
    /// Children in the order of their start, parent by parent.
    children: Vec<u32>,
    /// Positions whose span id an earlier position of the trace has, ascending.
    duplicates: Vec<u32>,
    /// Positions whose parent link was cut, ascending.
    cut: Vec<u32>,
}

/// The spans of one trace.
#[derive(Clone)]
pub struct Trace<'i> {
    index: &'i TraceIndex<'i>,
    range: Range<u32>,
}

/// A step of a depth-first walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The row of the span.
    pub row: usize,
    /// How many spans of the walk are above it.
    pub depth: usize,
}

/// A depth-first walk: each span before its children, children in the order of their start.
#[derive(Clone)]
pub struct Walk<'i> {
    index: &'i TraceIndex<'i>,
    stack: Vec<(u32, usize)>,
}

// === impl TraceIndex ===

impl<'c> TraceIndex<'c> {
    /// Puts the spans of `capture` in order.
    ///
    /// # Panics
    ///
    /// When there are 2^32 - 1 spans or more.
    pub fn new(capture: &'c Capture) -> Self {
        let rows = capture.rows();
        assert!(rows.len() < NONE as usize, "a capture has fewer than 2^32 - 1 spans");
        let order = in_order(rows);
        let mut positions = vec![0; rows.len()];
        for (position, row) in (0..).zip(&order) {
            positions[*row as usize] = position;
        }
        let bounds = bounds(rows, &order);
        let firsts = bounds[..bounds.len() - 1].iter();
        let ids: Vec<_> = firsts.map(|first| rows[order[*first as usize] as usize].trace_id).collect();
        let mut index = Self {
            capture,
            buckets: buckets(&ids),
            ids,
            bounds,
            by_span: Vec::with_capacity(rows.len()),
            parents: vec![NONE; rows.len()],
            first_child: Vec::new(),
            children: Vec::new(),
            duplicates: Vec::new(),
            cut: Vec::new(),
            order,
            positions,
        };
        index.find_parents();
        index.cut_cycles();
        index.list_children();
        index
    }

    /// Resolves the parent ids of each trace.
    fn find_parents(&mut self) {
        let mut ids = Vec::new();
        for trace in 0..self.ids.len() {
            let range = self.bounds[trace]..self.bounds[trace + 1];
            ids.clear();
            ids.extend(range.clone().map(|position| (self.at(position).span_id, position)));
            ids.sort_unstable();
            self.duplicates.extend(ids.windows(2).filter(|two| two[0].0 == two[1].0).map(|two| two[1].1));
            for position in range {
                let parent = self.at(position).parent;
                let first = ids.partition_point(|(id, _)| *id < parent);
                if let Some((_, found)) = ids.get(first).filter(|(id, _)| *id == parent && id.is_valid()) {
                    self.parents[position as usize] = *found;
                }
            }
            self.by_span.extend(ids.iter().map(|(_, position)| position));
        }
        self.duplicates.sort_unstable();
    }

    /// Cuts each cycle at its earliest span.
    fn cut_cycles(&mut self) {
        // Each walk up stops at a span that an earlier walk has seen, so that all walks together are linear.
        let mut seen_by = vec![NONE; self.parents.len()];
        for start in 0..size(self.parents.len()) {
            let mut at = start;
            while at != NONE && seen_by[at as usize] == NONE {
                seen_by[at as usize] = start;
                at = self.parents[at as usize];
            }
            if at == NONE || seen_by[at as usize] != start {
                continue;
            }
            let (mut first, mut next) = (at, self.parents[at as usize]);
            while next != at {
                first = first.min(next);
                next = self.parents[next as usize];
            }
            self.parents[first as usize] = NONE;
            self.cut.push(first);
        }
        self.cut.sort_unstable();
    }

    /// Lists the children of each span; positions ascend by start, and so do the lists.
    fn list_children(&mut self) {
        let mut ends = vec![0_u32; self.parents.len() + 1];
        for parent in self.parents.iter().filter(|parent| **parent != NONE) {
            ends[*parent as usize + 1] += 1;
        }
        for position in 1..ends.len() {
            ends[position] += ends[position - 1];
        }
        self.first_child.clone_from(&ends);
        self.children = vec![NONE; self.first_child[self.parents.len()] as usize];
        for (position, parent) in (0..).zip(&self.parents) {
            if *parent != NONE {
                let end = &mut ends[*parent as usize];
                self.children[*end as usize] = position;
                *end += 1;
            }
        }
    }

    /// The capture behind the index.
    pub const fn capture(&self) -> &'c Capture {
        self.capture
    }

    /// The row with this number.
    pub fn row(&self, row: usize) -> &'c Row {
        &self.capture.rows()[row]
    }

    /// All traces, by id.
    pub fn traces(&self) -> impl ExactSizeIterator<Item = Trace<'_>> {
        (0..self.ids.len()).map(|trace| self.trace(trace))
    }

    /// The trace with this id, when a span of it was captured.
    pub fn by_trace(&self, id: TraceId) -> Option<Trace<'_>> {
        let bucket = bucket(id, self.buckets.len() - 1);
        let (from, to) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        Some(self.trace(from + self.ids[from..to].binary_search(&id).ok()?))
    }

    /// The trace that a row belongs to.
    pub fn trace_of(&self, row: usize) -> Trace<'_> {
        let position = self.positions[row];
        self.trace(self.bounds.partition_point(|first| *first <= position) - 1)
    }

    /// The row of a span; of several with the same id, the one that began first.
    pub fn by_span(&self, trace: TraceId, span: SpanId) -> Option<usize> {
        let trace = self.by_trace(trace)?;
        let ids = &self.by_span[trace.range.start as usize..trace.range.end as usize];
        let first = ids.partition_point(|position| self.at(*position).span_id < span);
        ids.get(first).filter(|position| self.at(**position).span_id == span).map(|at| self.row_at(*at))
    }

    /// The parent of a span, when it was captured.
    pub fn parent(&self, row: usize) -> Option<usize> {
        let parent = self.parents[self.positions[row] as usize];
        (parent != NONE).then(|| self.row_at(parent))
    }

    /// The spans above a span, nearest first.
    pub fn ancestors(&self, row: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.parent(row), |above| self.parent(*above))
    }

    /// The children of a span, by start.
    pub fn children(&self, row: usize) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator {
        self.children_at(self.positions[row]).iter().map(|child| self.row_at(*child))
    }

    /// Whether the span says that it has a parent, which was not captured.
    ///
    /// The SERVER span of a request that carried a `traceparent` is like that: its parent is the caller's.
    pub fn is_orphan(&self, row: usize) -> bool {
        self.row(row).parent.is_valid() && self.parent(row).is_none() && !self.is_cut(row)
    }

    /// Whether an earlier span of the trace has the same id.
    pub fn is_duplicate(&self, row: usize) -> bool {
        self.duplicates.binary_search(&self.positions[row]).is_ok()
    }

    /// Whether the span's parent link was cut because it led back to the span.
    pub fn is_cut(&self, row: usize) -> bool {
        self.cut.binary_search(&self.positions[row]).is_ok()
    }

    /// A span and all below it.
    pub fn subtree(&self, row: usize) -> Walk<'_> {
        Walk { index: self, stack: vec![(self.positions[row], 0)] }
    }

    /// The time of a span in which none of its children was at work.
    pub fn self_time(&self, row: usize) -> Duration {
        let span = self.row(row);
        let mut own = 0;
        let mut covered = span.start;
        let children = self.children(row).map(|child| self.row(child));
        for child in children.filter(|child| child.start < child.end) {
            own += child.start.min(span.end).0.saturating_sub(covered.0);
            covered = covered.max(child.end);
        }
        Duration::from_nanos(own) + span.end.since(covered)
    }

    fn trace(&self, trace: usize) -> Trace<'_> {
        Trace { index: self, range: self.bounds[trace]..self.bounds[trace + 1] }
    }

    fn at(&self, position: u32) -> &'c Row {
        self.row(self.row_at(position))
    }

    fn row_at(&self, position: u32) -> usize {
        self.order[position as usize] as usize
    }

    fn children_at(&self, position: u32) -> &[u32] {
        let position = position as usize;
        &self.children[self.first_child[position] as usize..self.first_child[position + 1] as usize]
    }
}

/// Rows by trace id, then by start, then by arrival.
fn in_order(rows: &[Row]) -> Vec<u32> {
    let mut keys: Vec<_> = (0..).zip(rows).map(|(at, row)| (row.trace_id, row.start, at)).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(.., at)| at).collect()
}

/// Where each trace begins in `order`, and the end of the last.
fn bounds(rows: &[Row], order: &[u32]) -> Vec<u32> {
    let trace = |position: usize| rows[order[position] as usize].trace_id;
    let first = |position: &usize| *position == 0 || trace(*position) != trace(*position - 1);
    (0..order.len()).filter(first).chain([order.len()]).map(size).collect()
}

/// Where the ids of each bucket begin in `ids`, which ascend, and the end of the last.
fn buckets(ids: &[TraceId]) -> Vec<u32> {
    // At least two buckets, so that the first bits are at least one.
    let count = 1 << ids.len().max(2).ilog2();
    let mut begins = vec![0; count + 1];
    for id in ids {
        begins[bucket(*id, count) + 1] += 1;
    }
    for bucket in 1..=count {
        begins[bucket] += begins[bucket - 1];
    }
    begins
}

/// The bucket of an id when there are `count`, a power of two of at least two.
fn bucket(id: TraceId, count: usize) -> usize {
    let first = u128::from_be_bytes(*id.as_bytes()) >> (u128::BITS - count.ilog2());
    usize::try_from(first).expect("a bucket's number is less than their count")
}

/// A number of spans; [`TraceIndex::new`] has made sure that it fits.
fn size(spans: usize) -> u32 {
    u32::try_from(spans).expect("a capture has fewer than 2^32 - 1 spans")
}

// === impl Trace ===

impl<'i> Trace<'i> {
    /// The id that its spans share.
    pub fn id(&self) -> TraceId {
        self.index.at(self.range.start).trace_id
    }

    /// The index that it is part of, which knows the parents and children of its spans.
    pub const fn index(&self) -> &'i TraceIndex<'i> {
        self.index
    }

    /// Its spans, by start.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + use<'i> {
        let range = self.range.start as usize..self.range.end as usize;
        self.index.order[range].iter().map(|row| *row as usize)
    }

    /// How many spans it has.
    #[expect(clippy::len_without_is_empty, reason = "a trace has at least one span")]
    pub const fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    /// When its first span began.
    pub fn start(&self) -> UnixNanos {
        self.index.at(self.range.start).start
    }

    /// When its last span ended.
    pub fn end(&self) -> UnixNanos {
        self.range.clone().map(|at| self.index.at(at).end).max().unwrap_or_default()
    }

    /// Spans that say they have no parent.
    pub fn roots(&self) -> impl Iterator<Item = usize> + use<'i> {
        let index = self.index;
        self.tops().filter(move |row| !index.row(*row).parent.is_valid())
    }

    /// Spans whose parent was not captured ([`TraceIndex::is_orphan`]).
    pub fn orphans(&self) -> impl Iterator<Item = usize> + use<'i> {
        let index = self.index;
        self.tops().filter(move |row| index.is_orphan(*row))
    }

    /// Spans whose parent link was cut because it led back to themselves.
    pub fn cut(&self) -> impl Iterator<Item = usize> + use<'i> {
        self.marked(&self.index.cut)
    }

    /// Spans whose id an earlier span of the trace has.
    pub fn duplicates(&self) -> impl Iterator<Item = usize> + use<'i> {
        self.marked(&self.index.duplicates)
    }

    /// Spans without a parent in the trace, for whatever reason.
    pub fn tops(&self) -> impl DoubleEndedIterator<Item = usize> + use<'i> {
        let index = self.index;
        let top = move |position: &u32| index.parents[*position as usize] == NONE;
        self.range.clone().filter(top).map(move |position| index.row_at(position))
    }

    /// Every span once: each before its children.
    pub fn walk(&self) -> Walk<'i> {
        let tops = self.tops().rev().map(|row| (self.index.positions[row], 0));
        Walk { index: self.index, stack: tops.collect() }
    }

    /// The rows of those `positions` that lie in this trace.
    fn marked(&self, positions: &'i [u32]) -> impl Iterator<Item = usize> + use<'i> {
        let index = self.index;
        let from = positions.partition_point(|position| *position < self.range.start);
        let to = positions.partition_point(|position| *position < self.range.end);
        positions[from..to].iter().map(move |position| index.row_at(*position))
    }
}

// === impl Walk ===

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let (position, depth) = self.stack.pop()?;
        let children = self.index.children_at(position).iter().rev();
        self.stack.extend(children.map(|child| (*child, depth + 1)));
        Some(Step { row: self.index.row_at(position), depth })
    }
}

#[cfg(test)]
mod tests;
