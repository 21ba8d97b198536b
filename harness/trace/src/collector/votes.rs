//! What a policy may say of a trace, and what becomes of it: as sets, because some policies look at the clock.

use std::fmt;

/// What a policy says of a trace (`pkg/samplingpolicy/samplingpolicy.go`, `Decision`).
///
/// The inverted decisions of earlier versions are made by no policy of v0.161.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Vote {
    /// Keep it.
    Sampled = 1,
    /// No reason to keep it.
    NotSampled = 2,
    /// Do not keep it, whatever others say.
    Dropped = 4,
    /// The policy failed, which counts for nothing.
    Error = 8,
}

/// What becomes of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Decision {
    /// It is forwarded.
    Sampled = 1,
    /// No policy wanted it.
    NotSampled = 2,
    /// A `drop` policy matched it.
    Dropped = 4,
}

/// The votes that a policy may give: one where the trace decides, several where the clock or luck does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Votes(u8);

/// The decisions that may be taken: one where the trace decides, several where the clock or luck does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decisions(u8);

macro_rules! set {
    ($set:ident, $one:ident, [$($each:ident),+]) => {
        // === impl $set ===

        impl $set {
            /// The empty set, to add to.
            pub(super) const NONE: Self = Self(0);

            /// Nothing but `one`.
            pub const fn only(one: $one) -> Self {
                Self(one as u8)
            }

            /// This and `one`.
            #[must_use]
            pub const fn with(self, one: $one) -> Self {
                Self(self.0 | one as u8)
            }

            /// This and all of `other`.
            #[must_use]
            pub const fn or(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether `one` is possible.
            pub const fn may_be(self, one: $one) -> bool {
                self.0 & one as u8 != 0
            }

            /// Whether nothing but `one` is possible.
            pub const fn must_be(self, one: $one) -> bool {
                self.0 == one as u8
            }

            /// The only possible one, when there is one only.
            pub fn certain(self) -> Option<$one> {
                let mut all = self.iter();
                all.next().filter(|_| all.next().is_none())
            }

            /// All possible ones.
            pub fn iter(self) -> impl Iterator<Item = $one> {
                [$($one::$each),+].into_iter().filter(move |one| self.may_be(*one))
            }
        }

        impl From<$one> for $set {
            fn from(one: $one) -> Self {
                Self::only(one)
            }
        }

        impl fmt::Debug for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.iter()).finish()
            }
        }
    };
}

set!(Votes, Vote, [Sampled, NotSampled, Dropped, Error]);
set!(Decisions, Decision, [Sampled, NotSampled, Dropped]);

impl Votes {
    /// Sampled or not, as the clock decides.
    pub(super) const EITHER: Self = Self(Vote::Sampled as u8 | Vote::NotSampled as u8);

    /// Sampled, not sampled or an error: nothing is known.
    pub(super) const ANY: Self = Self(Self::EITHER.0 | Vote::Error as u8);

    /// Sampled if so, else not.
    pub(super) const fn sampled_if(condition: bool) -> Self {
        Self::only(if condition { Vote::Sampled } else { Vote::NotSampled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_certain_when_one_is_left() {
        assert_eq!(Votes::only(Vote::Error).certain(), Some(Vote::Error));
        assert_eq!((Votes::EITHER.certain(), Votes::NONE.certain()), (None, None));
        assert!(Votes::EITHER.may_be(Vote::Sampled) && !Votes::EITHER.must_be(Vote::Sampled));
        assert_eq!(format!("{:?}", Votes::EITHER), "{Sampled, NotSampled}");
    }
}
