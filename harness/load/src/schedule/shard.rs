//! Which part of a load one of several workers sends.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of several workers that share a load: worker `index` of `of`, counted from zero.
///
/// It takes every arrival whose number leaves `index` when divided by `of`, so each worker sees the whole run
/// at its share of the rate. In text it is `index/of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shard {
    index: u32,
    of: u32,
}

/// A text that names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a shard such as 0/3 (the first of three), with the index below the number, not {text:?}")]
#[non_exhaustive]
pub struct ParseShardError {
    /// What was given.
    pub text: String,
}

// === impl Shard ===

impl Shard {
    /// The only worker.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Worker `index` of `of`; `None` unless `index` is below `of`.
    pub fn new(index: u32, of: u32) -> Option<Self> {
        (index < of).then_some(Self { index, of })
    }

    /// Every worker of `of`.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (0..of).map(move |index| Self { index, of })
    }

    /// Its place among the workers, from zero.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many workers there are.
    pub const fn of(self) -> u32 {
        self.of
    }

    /// Whether arrival `number` is its own.
    pub fn holds(self, number: u64) -> bool {
        number % u64::from(self.of) == u64::from(self.index)
    }

    /// Its share of `total` things that are dealt out one by one: the first workers get what is left over.
    pub fn share(self, total: u64) -> u64 {
        let (each, over) = (total / u64::from(self.of), total % u64::from(self.of));
        each + u64::from(u64::from(self.index) < over)
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = ParseShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        parts
            .and_then(|(index, of)| Self::new(index, of))
            .ok_or_else(|| ParseShardError { text: text.to_owned() })
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl TryFrom<String> for Shard {
    type Error = ParseShardError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shard_reads_as_it_is_written_and_nothing_else_does() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, of: 3 }));
        assert_eq!(serde_json::to_string(&Shard { index: 2, of: 3 }).unwrap(), r#""2/3""#);
        for wrong in ["", "3", "3/3", "0/0", "-1/3", "1/3/4", "1 / 3", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_are_what_the_shards_hold(total in 0_u64..200, of in 1_u32..9) {
            for shard in Shard::all(of) {
                let held = (0..total).filter(|number| shard.holds(*number)).count() as u64;
                prop_assert_eq!(shard.share(total), held, "{} of {}", shard, total);
            }
            prop_assert_eq!(Shard::all(of).map(|shard| shard.share(total)).sum::<u64>(), total);
        }
    }
}
