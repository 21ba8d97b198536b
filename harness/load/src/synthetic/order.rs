//! The spans of all traces in the order in which they are sent.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
    iter::Peekable,
    time::Duration,
};

use super::trace::{SpanSend, SyntheticTrace};

/// Merges traces, which come in the order of their beginnings.
pub(super) struct InOrder<I: Iterator<Item = SyntheticTrace>> {
    traces: Peekable<I>,
    open: BinaryHeap<Open>,
}

/// A trace of which not all was sent.
struct Open {
    trace: Box<SyntheticTrace>,
    /// Index of the next span to be sent.
    next: usize,
}

// === impl InOrder ===

impl<I: Iterator<Item = SyntheticTrace>> InOrder<I> {
    pub(super) fn new(traces: I) -> Self {
        Self { traces: traces.peekable(), open: BinaryHeap::new() }
    }

    /// When the next span is sent; `None` after the last one.
    pub(super) fn next_at(&mut self) -> Option<Duration> {
        loop {
            let first = self.open.peek().map(Open::at);
            match self.traces.peek() {
                // Nothing of a trace is sent before it begins.
                Some(trace) if first.is_none_or(|first| trace.at <= first) => {
                    let trace = self.traces.next()?;
                    if !trace.sends.is_empty() {
                        self.open.push(Open { trace: Box::new(trace), next: 0 });
                    }
                }
                _ => return first,
            }
        }
    }

    /// Takes the next span, whose time was asked for.
    pub(super) fn take(&mut self, each: impl FnOnce(&SyntheticTrace, &SpanSend)) {
        if let Some(mut open) = self.open.peek_mut() {
            each(&open.trace, &open.trace.sends[open.next]);
            if open.next + 1 < open.trace.sends.len() {
                open.next += 1;
            } else {
                PeekMut::pop(open);
            }
        }
    }
}

// === impl Open ===

impl Open {
    fn at(&self) -> Duration {
        self.trace.sends[self.next].at
    }

    fn key(&self) -> (Duration, u64) {
        (self.at(), self.trace.number)
    }
}

impl Ord for Open {
    /// The first to be sent is the greatest, since that is what a heap gives first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Open {}
