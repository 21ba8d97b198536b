//! An append-only list that can be frozen while it grows.
//!
//! A reader that walks a million entries must not hold up those who append. Full segments never change, so
//! freezing shares them and copies only the last one.

use std::sync::Arc;

/// Entries in a segment: enough to make the list of segments short, few enough to copy one in microseconds.
const SEGMENT: usize = 1024;

/// A list that only grows.
#[derive(Debug)]
pub(super) struct Segments<T> {
    full: Vec<Arc<[T]>>,
    tail: Vec<T>,
}

/// A [`Segments`] as it was at some time.
#[derive(Debug)]
pub(super) struct Frozen<T> {
    full: Vec<Arc<[T]>>,
    tail: Vec<T>,
}

// === impl Segments ===

impl<T: Clone> Segments<T> {
    /// An empty list.
    pub(super) fn new() -> Self {
        Self { full: Vec::new(), tail: Vec::new() }
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.full.len() * SEGMENT + self.tail.len()
    }

    /// The entry with this index.
    pub(super) fn get(&self, index: usize) -> &T {
        entry(&self.full, &self.tail, index)
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, entry: T) {
        self.tail.push(entry);
        if self.tail.len() == SEGMENT {
            self.full.push(std::mem::take(&mut self.tail).into());
        }
    }

    /// The list as it is now.
    pub(super) fn freeze(&self) -> Frozen<T> {
        Frozen { full: self.full.clone(), tail: self.tail.clone() }
    }

    /// Bytes of memory in use, spare capacity included.
    pub(super) fn memory(&self) -> usize {
        let entries = self.full.len() * SEGMENT + self.tail.capacity();
        entries * size_of::<T>() + self.full.capacity() * size_of::<Arc<[T]>>()
    }
}

// === impl Frozen ===

impl<T> Frozen<T> {
    /// The entry with this index.
    pub(super) fn get(&self, index: usize) -> &T {
        entry(&self.full, &self.tail, index)
    }

    /// All entries, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.full.iter().flat_map(|segment| segment.iter()).chain(&self.tail)
    }
}

fn entry<'a, T>(full: &'a [Arc<[T]>], tail: &'a [T], index: usize) -> &'a T {
    match full.get(index / SEGMENT) {
        Some(segment) => &segment[index % SEGMENT],
        None => &tail[index - full.len() * SEGMENT],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_list_stays_as_it_was() {
        let mut list = Segments::new();
        for length in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT] {
            while list.len() < length {
                list.push(list.len());
            }
            let frozen = list.freeze();
            list.push(length);
            assert!(frozen.iter().copied().eq(0..length));
            assert!((0..length).all(|index| *frozen.get(index) == index && *list.get(index) == index));
            assert_eq!(*list.get(length), length);
        }
    }
}
