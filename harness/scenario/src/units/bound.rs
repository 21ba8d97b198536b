//! Bounds on a measured value: `< 500ms`, `>= 80%`, `3`, `1..5`.

use std::{fmt, marker::PhantomData, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ParseUnitError;

/// What a value is compared with; a plain value means equality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound<T> {
    /// One comparison with a limit.
    One(Comparison, T),
    /// From the first to the second, both included.
    Within(T, T),
}

/// How a value is compared with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [(&str, Comparison); 7] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("!=", Comparison::NotEqual),
    ("==", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

// === impl Bound ===

impl<T> Bound<T> {
    /// The same value.
    pub const fn equal(limit: T) -> Self {
        Self::One(Comparison::Equal, limit)
    }

    /// The limit or more.
    pub const fn at_least(limit: T) -> Self {
        Self::One(Comparison::AtLeast, limit)
    }

    /// The limit or less.
    pub const fn at_most(limit: T) -> Self {
        Self::One(Comparison::AtMost, limit)
    }
}

impl<T: PartialOrd> Bound<T> {
    /// Whether `value` is within the bound.
    pub fn holds(&self, value: &T) -> bool {
        match self {
            Self::One(Comparison::Equal, limit) => value == limit,
            Self::One(Comparison::NotEqual, limit) => value != limit,
            Self::One(Comparison::Less, limit) => value < limit,
            Self::One(Comparison::AtMost, limit) => value <= limit,
            Self::One(Comparison::Greater, limit) => value > limit,
            Self::One(Comparison::AtLeast, limit) => value >= limit,
            Self::Within(low, high) => value >= low && value <= high,
        }
    }
}

impl<T: FromStr<Err: fmt::Display> + PartialOrd> FromStr for Bound<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let read = |limit: &str| {
            limit.trim().parse::<T>().map_err(|error| format!("cannot read the bound {text:?}: {error}"))
        };
        if let Some((sign, comparison)) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign)) {
            return Ok(Self::One(*comparison, read(&text[sign.len()..])?));
        }
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (read(low)?, read(high)?);
            if low > high {
                return Err(format!("the range {text:?} is empty: its start is greater than its end"));
            }
            return Ok(Self::Within(low, high));
        }
        read(text).map(Self::equal)
    }
}

impl<T: fmt::Display> fmt::Display for Bound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(comparison, limit) => write!(f, "{comparison} {limit}"),
            Self::Within(low, high) => write!(f, "{low}..{high}"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}

impl<T: fmt::Display> Serialize for Bound<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: FromStr<Err: fmt::Display> + PartialOrd> Deserialize<'de> for Bound<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<T: FromStr<Err: fmt::Display> + PartialOrd> de::Visitor<'_> for Visitor<T> {
            type Value = Bound<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bound such as \"< 500ms\", \">= 80%\", 3 or 1..5")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor(PhantomData))
    }
}

impl<T> JsonSchema for Bound<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bound".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "description": "A bound: \"< 500ms\", \">= 80%\", 3 (equality), 1..5 (both included).",
        })
    }
}

impl From<ParseUnitError> for String {
    fn from(error: ParseUnitError) -> Self {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Duration, Ratio};

    #[test]
    fn every_sign_is_read_and_compared() {
        for (text, inside, outside) in [
            ("< 5", 4, 5),
            ("<= 5", 5, 6),
            ("> 5", 6, 5),
            (">= 5", 5, 4),
            ("= 5", 5, 6),
            ("5", 5, 6),
            ("!= 5", 6, 5),
            ("2..4", 4, 5),
        ] {
            let bound: Bound<u64> = text.parse().unwrap();
            assert!(bound.holds(&inside) && !bound.holds(&outside), "{text}");
        }
    }

    #[test]
    fn units_are_read_within() {
        assert!("< 1.5s".parse::<Bound<Duration>>().unwrap().holds(&Duration::from_millis(1499)));
        assert_eq!(">= 80%".parse::<Bound<Ratio>>().unwrap().to_string(), ">= 80%");
        assert!("< 5".parse::<Bound<Duration>>().is_err());
        assert!("5..2".parse::<Bound<u64>>().is_err());
    }
}
