//! How far something may move, and in which direction.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::ParseUnitError;

/// The parts by which something may become more or less: `< +5%`, `> -10%`, or `-5%..+5%`. What is not named is free.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Change {
    more: Option<f64>,
    less: Option<f64>,
}

const CHANGE: &str = "a change such as \"< +5%\", \"> -10%\" or \"-5%..+5%\"";

// === impl Change ===

impl Change {
    /// By at most this part more: 0.1 is ten percent. It must be finite and not negative.
    pub fn at_most(more: f64) -> Option<Self> {
        valid(more).map(|more| Self { more: Some(more), less: None })
    }

    /// The part by which it may become more, if that is bounded.
    pub const fn more(self) -> Option<f64> {
        self.more
    }

    /// The part by which it may become less, if that is bounded; below 1.
    pub const fn less(self) -> Option<f64> {
        self.less
    }
}

fn valid(part: f64) -> Option<f64> {
    (part.is_finite() && part >= 0.0).then_some(part)
}

/// `+5%` or `-5%` as a part, when it has that sign.
fn percent(text: &str, sign: char) -> Option<f64> {
    let digits = text.trim().strip_prefix(sign)?.strip_suffix('%')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // A hundredth, moved in the text: dividing would not be exact.
    let part = format!("{digits}e-2").parse().ok().filter(|_| plain)?;
    valid(part).filter(|part| sign == '+' || *part < 1.0)
}

impl FromStr for Change {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUnitError { expected: CHANGE, text: text.to_owned() };
        let trimmed = text.trim();
        let (more, less) = if let Some((low, high)) = trimmed.split_once("..") {
            (Some(percent(high, '+').ok_or_else(wrong)?), Some(percent(low, '-').ok_or_else(wrong)?))
        } else if let Some(high) = trimmed.strip_prefix('<') {
            (Some(percent(high, '+').ok_or_else(wrong)?), None)
        } else if let Some(low) = trimmed.strip_prefix('>') {
            (None, Some(percent(low, '-').ok_or_else(wrong)?))
        } else {
            return Err(wrong());
        };
        Ok(Self { more, less })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: f64| (part * 1e10).round() / 1e8;
        match (self.less, self.more) {
            (Some(less), Some(more)) => write!(f, "-{}%..+{}%", percent(less), percent(more)),
            (Some(less), None) => write!(f, "> -{}%", percent(less)),
            (None, more) => write!(f, "< +{}%", percent(more.unwrap_or(f64::INFINITY))),
        }
    }
}

impl TryFrom<String> for Change {
    type Error = ParseUnitError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Change> for String {
    fn from(change: Change) -> Self {
        change.to_string()
    }
}

impl JsonSchema for Change {
    fn schema_name() -> Cow<'static, str> {
        "Change".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*(<\s*\+[0-9.]+%|>\s*-[0-9.]+%|-[0-9.]+%\.\.\+[0-9.]+%)$",
            "examples": ["< +5%", "> -10%", "-5%..+5%"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_it_is_written() {
        for text in ["< +5%", "> -10%", "-5%..+7.5%", "< +0%", "< +120%"] {
            assert_eq!(text.parse::<Change>().unwrap().to_string(), text);
        }
        for text in ["5%", "< 5%", "< -5%", "> +5%", "> -100%", "-5%..5%", "+1%..+5%", "< +1e3%", "< +%"] {
            assert!(text.parse::<Change>().is_err(), "{text}");
        }
        let both: Change = "-5%..+10%".parse().unwrap();
        assert_eq!((both.less(), both.more()), (Some(0.05), Some(0.1)));
    }
}
