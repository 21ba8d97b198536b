//! Durations as Go and Kubernetes write them: `150ms`, `1.5s`, `1m30s`.

use std::{fmt, ops::Deref, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ParseUnitError;

/// A length of time, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(time::Duration);

pub(super) const EXPECTED: &str = "a duration such as 150ms, 1.5s or 1m30s";

/// Units from the longest to the shortest, with their nanoseconds (Go's `time.ParseDuration`).
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

// === impl Duration ===

impl Duration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(time::Duration::from_millis(milliseconds))
    }

    /// As the standard library counts it.
    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl Deref for Duration {
    type Target = time::Duration;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<time::Duration> for Duration {
    fn from(duration: time::Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Duration {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUnitError { expected: EXPECTED, text: text.to_owned() };
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Self::default());
        }
        let mut total = 0_u128;
        let mut longest = usize::MAX;
        while !rest.is_empty() || longest == usize::MAX {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(digits);
            let unit = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit);
            let place = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(wrong)?;
            if longest != usize::MAX && place <= longest {
                return Err(wrong());
            }
            total = total.checked_add(nanos(number, UNITS[place].1).ok_or_else(wrong)?).ok_or_else(wrong)?;
            longest = place;
            rest = tail;
        }
        u64::try_from(total).map(|nanos| Self(time::Duration::from_nanos(nanos))).map_err(|_| wrong())
    }
}

/// `number` (digits with at most one point) times `unit`, in whole nanoseconds.
fn nanos(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(unit.into())?.checked_add(fraction * u128::from(unit) / scale)
}

impl fmt::Display for Duration {
    /// The shortest exact form: `1m30s`, `1.5s`, `150ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in UNITS {
            let size = u128::from(size);
            if nanos < size {
                continue;
            }
            if unit == "h" || unit == "m" {
                write!(f, "{}{unit}", nanos / size)?;
                nanos %= size;
                continue;
            }
            write!(f, "{}", nanos / size)?;
            if !nanos.is_multiple_of(size) {
                let width = size.ilog10() as usize;
                let fraction = format!("{:0width$}", nanos % size);
                write!(f, ".{}", fraction.trim_end_matches('0'))?;
            }
            return f.write_str(unit);
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: 150ms, 1.5s, 1m30s.",
            "pattern": r"^(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(h|m|s|ms|us|ns))+)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("150ms", 150_000_000),
            ("1.5s", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("2h0.5s", 7_200_500_000_000),
            (".5us", 500),
        ] {
            assert_eq!(text.parse::<Duration>().unwrap().as_nanos(), nanos, "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_the_wrong_order() {
        for text in ["", "5", "ms", "-1s", "1s2m", "1s1s", "1.2.3s", "1 s", "1d", "99999999999h"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(nanos: u64) {
            let duration = Duration(time::Duration::from_nanos(nanos));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
