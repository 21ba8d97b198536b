//! The newest row of every trace: an open-addressing table that keeps four bytes a slot.
//!
//! The trace ids themselves stand in the rows already, so the table holds row numbers only and asks for the id
//! behind a number when it compares. The rows of one trace are chained by their owner.

use spangate_trace::TraceId;

/// Marks a slot without a trace.
const EMPTY: u32 = u32::MAX;
/// Marks a trace with a SERVER span.
const SERVER: u32 = 1 << 31;
/// Row numbers are below this.
pub(super) const MAX_ROWS: u32 = SERVER - 1;
/// Slots of the first table.
const FIRST: usize = 1024;

/// Finds the newest row of a trace.
#[derive(Debug)]
pub(super) struct Traces {
    slots: Vec<u32>,
    used: usize,
}

/// What is known of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Number of its newest row.
    pub(super) row: u32,
    /// Whether it has a SERVER span.
    pub(super) has_server: bool,
}

// === impl Traces ===

impl Traces {
    /// A table without traces.
    pub(super) fn new() -> Self {
        Self { slots: vec![EMPTY; FIRST], used: 0 }
    }

    /// The number of traces.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    /// What is known of `trace`; `id_of` gives the trace of a row.
    pub(super) fn get(&self, trace: TraceId, id_of: impl Fn(u32) -> TraceId) -> Option<Head> {
        Head::from_slot(self.slots[self.slot(trace, id_of)])
    }

    /// Makes `row`, below [`MAX_ROWS`], the newest row of `trace` and gives the one before it.
    pub(super) fn insert(
        &mut self,
        trace: TraceId,
        row: u32,
        is_server: bool,
        id_of: impl Fn(u32) -> TraceId,
    ) -> Option<u32> {
        // At most three slots of four are used: beyond that, linear probing gets slow.
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow(&id_of);
        }
        let slot = self.slot(trace, id_of);
        let before = Head::from_slot(self.slots[slot]);
        let has_server = is_server || before.is_some_and(|head| head.has_server);
        self.slots[slot] = row | if has_server { SERVER } else { 0 };
        self.used += usize::from(before.is_none());
        before.map(|head| head.row)
    }

    /// The slot of `trace`, or the empty one where it would be put.
    fn slot(&self, trace: TraceId, id_of: impl Fn(u32) -> TraceId) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash(trace) & mask;
        while let Some(head) = Head::from_slot(self.slots[slot]) {
            if id_of(head.row) == trace {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self, id_of: &impl Fn(u32) -> TraceId) {
        let double = vec![EMPTY; self.slots.len() * 2];
        for kept in std::mem::replace(&mut self.slots, double) {
            if let Some(head) = Head::from_slot(kept) {
                let slot = self.slot(id_of(head.row), id_of);
                self.slots[slot] = kept;
            }
        }
    }
}

// === impl Head ===

impl Head {
    fn from_slot(slot: u32) -> Option<Self> {
        (slot != EMPTY).then_some(Self { row: slot & !SERVER, has_server: slot & SERVER != 0 })
    }
}

/// Spreads ids over the slots, counted-up ids of tests too (the mixer of `MurmurHash3`).
fn hash(trace: TraceId) -> usize {
    let id = u128::from_be_bytes(*trace.as_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "both halves go into the hash")]
    let mut hash = (id >> 64) as u64 ^ id as u64;
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    #[expect(clippy::cast_possible_truncation, reason = "a table has fewer slots than usize has values")]
    let hash = (hash ^ (hash >> 33)) as usize;
    hash
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn trace(number: u16) -> TraceId {
        TraceId::new((u128::from(number) + 1).to_be_bytes())
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(rows in proptest::collection::vec((0_u16..2000, any::<bool>()), 0..4000)) {
            let mut table = Traces::new();
            let mut map: HashMap<TraceId, Head> = HashMap::new();
            let id_of = |row: u32| trace(rows[row as usize].0);
            for (row, (number, is_server)) in (0..).zip(&rows) {
                let before = table.insert(trace(*number), row, *is_server, id_of);
                let head = map.entry(trace(*number)).or_insert(Head { row: u32::MAX, has_server: false });
                prop_assert_eq!(before.unwrap_or(u32::MAX), head.row);
                *head = Head { row, has_server: head.has_server || *is_server };
            }
            prop_assert_eq!(table.len(), map.len());
            for number in 0..=2000 {
                prop_assert_eq!(table.get(trace(number), id_of), map.get(&trace(number)).copied());
            }
        }
    }

    #[test]
    fn the_last_row_number_is_not_taken_for_an_empty_slot() {
        let mut table = Traces::new();
        assert_eq!(table.insert(trace(1), MAX_ROWS - 1, true, |_| trace(1)), None);
        assert_eq!(table.get(trace(1), |_| trace(1)), Some(Head { row: MAX_ROWS - 1, has_server: true }));
    }
}
