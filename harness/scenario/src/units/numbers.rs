//! Sizes, rates and ratios.

use std::{fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Duration, ParseUnitError};

/// A number of bytes: `2KiB`, `1MiB`, `500`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

/// Events per second: `50/s`, `10/m`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// A share of a whole, 0 to 1: `80%` or `0.8`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

/// Parts of a million, 0 to 1000000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct PerMillion(#[schemars(range(min = 0, max = 1_000_000))] u32);

// === impl Size ===

const SIZE: &str = "a size such as 500, 2KiB or 1MiB";

impl FromStr for Size {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUnitError { expected: SIZE, text: text.to_owned() };
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "kB" | "k" => 1_000,
            "MB" | "M" => 1_000_000,
            "GB" | "G" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

// === impl Rate ===

pub(super) const RATE: &str = "a rate such as 50/s or 10/m";

impl Rate {
    /// A rate in events per second; it must be finite and not negative.
    pub fn per_second(events: f64) -> Option<Self> {
        (events.is_finite() && events >= 0.0).then_some(Self(events))
    }

    /// Events per second.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Events within `duration`, on average.
    pub fn within(self, duration: Duration) -> f64 {
        self.0 * time::Duration::as_secs_f64(&duration)
    }
}

impl FromStr for Rate {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUnitError { expected: RATE, text: text.to_owned() };
        let (number, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Self::per_second(number / seconds).ok_or_else(wrong)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

// === impl Ratio ===

pub(super) const RATIO: &str = "a share such as 80% or 0.8, between 0 and 1";

impl Ratio {
    /// A share between 0 and 1.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// A share that is known to lie between 0 and 1.
    pub const fn new_unchecked(share: f64) -> Self {
        Self(share)
    }

    /// All of it.
    pub const fn one() -> Self {
        Self(1.0)
    }

    /// The share, between 0 and 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Ratio {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUnitError { expected: RATIO, text: text.to_owned() };
        let text = text.trim();
        let share = match text.strip_suffix('%') {
            Some(percent) => percent_to_share(percent.trim()),
            None => text.parse().ok(),
        };
        share.and_then(Self::new).ok_or_else(wrong)
    }
}

/// A hundredth, moved in the text: dividing would make 99.9% more than 0.999.
fn percent_to_share(percent: &str) -> Option<f64> {
    let plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { format!("{percent}e-2").parse().ok() } else { None }
}

impl fmt::Display for Ratio {
    /// In percent, unless only the share itself is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = ((self.0 * 1e10).round() / 1e8).to_string();
        if percent_to_share(&percent) == Some(self.0) {
            write!(f, "{percent}%")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

// === impl PerMillion ===

impl PerMillion {
    /// Parts of a million, at most a million.
    pub const fn new(parts: u32) -> Option<Self> {
        if parts <= 1_000_000 { Some(Self(parts)) } else { None }
    }

    /// The parts of a million.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for PerMillion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = u64::deserialize(deserializer)?;
        u32::try_from(parts).ok().and_then(Self::new).ok_or_else(|| {
            de::Error::custom(format!("expected 0 to 1000000 parts of a million, got {parts}"))
        })
    }
}

// === text forms ===

/// Reads a unit from YAML text or from a plain number that `FromStr` understands.
macro_rules! text_form {
    ($name:ident, $expected:expr, $schema:tt) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }

                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }

                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_any(Visitor)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

pub(super) use text_form;

text_form!(
    Size,
    SIZE,
    {
        "type": ["string", "integer"],
        "description": "A number of bytes: 500, 2KiB, 1MiB.",
        "pattern": r"^[0-9]+ *(B|KiB|Ki|MiB|Mi|GiB|Gi|kB|k|MB|M|GB|G)?$",
        "minimum": 0,
    }
);
text_form!(
    Rate,
    RATE,
    {
        "type": "string",
        "description": "Events per time: 50/s, 10/m.",
        "pattern": r"^[0-9]+(\.[0-9]+)? */ *[smh]$",
    }
);
text_form!(
    Ratio,
    RATIO,
    {
        "type": ["string", "number"],
        "description": "A share of a whole: 80%, 0.8.",
        "pattern": r"^[0-9]+(\.[0-9]+)?%?$",
        "minimum": 0,
        "maximum": 1,
    }
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_round_trips(share in 0.0_f64..=1.0, rate in 0.0_f64..1e9, size: u64) {
            prop_assert_eq!(Ratio(share).to_string().parse(), Ok(Ratio(share)));
            prop_assert_eq!(Rate(rate).to_string().parse(), Ok(Rate(rate)));
            prop_assert_eq!(Size(size).to_string().parse(), Ok(Size(size)));
        }
    }

    #[test]
    fn sizes() {
        assert_eq!("2KiB".parse(), Ok(Size(2048)));
        assert_eq!("500".parse(), Ok(Size(500)));
        assert_eq!(Size(3 << 20).to_string(), "3MiB");
        assert!("2XB".parse::<Size>().is_err());
        assert!("99999999999GiB".parse::<Size>().is_err());
    }

    #[test]
    fn rates() {
        assert_eq!("30/m".parse::<Rate>().unwrap(), Rate(0.5));
        for text in ["50", "-1/s", "inf/s", "NaN/s", "5/day"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn ratios() {
        assert_eq!("80%".parse::<Ratio>().unwrap(), Ratio(0.8));
        assert_eq!("0.8".parse::<Ratio>().unwrap().to_string(), "80%");
        assert_eq!("99.9%".parse(), Ok(Ratio(0.999)));
        assert_eq!(Ratio(0.999).to_string(), "99.9%");
        for text in ["101%", "1.5", "-1%", "NaN", "half"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
    }
}
