//! A range of values.

use std::ops::{Bound, RangeBounds};

/// A range of values, or all values but one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range<T> {
    low: Bound<T>,
    high: Bound<T>,
    /// Whether the values outside are meant.
    outside: bool,
}

// === impl Range ===

impl<T: PartialOrd + Copy> Range<T> {
    /// `value` and nothing else.
    pub const fn equal(value: T) -> Self {
        Self::within(value, value)
    }

    /// Everything but `value`.
    pub const fn not_equal(value: T) -> Self {
        Self { outside: true, ..Self::within(value, value) }
    }

    /// Below `limit`.
    pub const fn less(limit: T) -> Self {
        Self { low: Bound::Unbounded, high: Bound::Excluded(limit), outside: false }
    }

    /// `limit` or below.
    pub const fn at_most(limit: T) -> Self {
        Self { low: Bound::Unbounded, high: Bound::Included(limit), outside: false }
    }

    /// Above `limit`.
    pub const fn greater(limit: T) -> Self {
        Self { low: Bound::Excluded(limit), high: Bound::Unbounded, outside: false }
    }

    /// `limit` or above.
    pub const fn at_least(limit: T) -> Self {
        Self { low: Bound::Included(limit), high: Bound::Unbounded, outside: false }
    }

    /// From `low` to `high`, both included.
    pub const fn within(low: T, high: T) -> Self {
        Self { low: Bound::Included(low), high: Bound::Included(high), outside: false }
    }

    /// Whether `value` is in the range.
    pub fn contains(&self, value: T) -> bool {
        (self.low, self.high).contains(&value) != self.outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_and_its_edges() {
        for (range, inside) in [
            (Range::equal(5), [false, true, false]),
            (Range::not_equal(5), [true, false, true]),
            (Range::less(5), [true, false, false]),
            (Range::at_most(5), [true, true, false]),
            (Range::greater(5), [false, false, true]),
            (Range::at_least(5), [false, true, true]),
            (Range::within(5, 6), [false, true, true]),
        ] {
            assert_eq!([4, 5, 6].map(|value| range.contains(value)), inside, "{range:?}");
        }
    }

    #[test]
    fn no_number_is_in_no_range() {
        assert!(!Range::at_least(0.0).contains(f64::NAN));
        assert!(!Range::equal(0.0).contains(f64::NAN));
    }
}
