//! How much more something may become.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::ParseUnitError;

/// The part by which something may grow, at most: `< +10%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Growth(f64);

const GROWTH: &str = "a growth such as \"< +10%\"";

// === impl Growth ===

impl Growth {
    /// A growth by a part of what was there: 0.1 is ten percent. It must be finite and not negative.
    pub fn by(part: f64) -> Option<Self> {
        (part.is_finite() && part >= 0.0).then_some(Self(part))
    }

    /// The part, 0.1 for ten percent.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Growth {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUnitError { expected: GROWTH, text: text.to_owned() };
        let part = text.trim().strip_prefix('<').ok_or_else(wrong)?.trim_start();
        let percent = part.strip_prefix('+').and_then(|part| part.strip_suffix('%')).ok_or_else(wrong)?;
        let plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        // A hundredth, moved in the text: dividing would not be exact.
        let part = format!("{percent}e-2").parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        Self::by(part).ok_or_else(wrong)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "< +{}%", (self.0 * 1e10).round() / 1e8)
    }
}

impl TryFrom<String> for Growth {
    type Error = ParseUnitError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Growth> for String {
    fn from(growth: Growth) -> Self {
        growth.to_string()
    }
}

impl JsonSchema for Growth {
    fn schema_name() -> Cow<'static, str> {
        "Growth".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": r"^\s*<\s*\+[0-9.]+%$", "examples": ["< +10%"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_read_as_it_is_written() {
        for text in ["< +10%", "< +0%", "< +2.5%", "< +120%"] {
            assert_eq!(text.parse::<Growth>().unwrap().to_string(), text);
        }
        for text in ["10%", "< 10%", "< +10", "> +10%", "< +-1%", "< +%", "< +1e3%"] {
            assert!(text.parse::<Growth>().is_err(), "{text}");
        }
    }
}
