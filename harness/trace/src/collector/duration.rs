//! Durations as the Collector's configuration has them: Go's `time.ParseDuration`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Text that is no duration of Go's, or one below zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration of zero or more such as 10s, 1m30s or 500ms")]
pub struct ParseDurationError {
    text: String,
}

/// The duration in `text`: decimal numbers, each with a unit of ns, us, ms, s, m or h; or a bare `0`.
///
/// Go takes durations below zero as well; no key of the Collector's samplers has a use for them, so they are refused.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let wrong = || ParseDurationError { text: text.to_owned() };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (digits, tail) = rest.split_at(number);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        nanos = term(digits, unit).and_then(|term| nanos.checked_add(term)).ok_or_else(wrong)?;
        rest = tail;
    }
    if nanos > i64::MAX.unsigned_abs() {
        return Err(wrong());
    }
    Ok(Duration::from_nanos(nanos))
}

/// Nanoseconds of one number and its unit. Fractions of a nanosecond are cut off.
fn term(digits: &str, unit: &str) -> Option<u64> {
    let unit: u64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.checked_mul(unit)? };
    // Eighteen digits are more than a nanosecond of an hour needs.
    let (mut part, mut scale) = (0_u128, 1_u128);
    for digit in fraction.bytes().take(18) {
        part = part * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    whole.checked_add(u64::try_from(part * u128::from(unit) / scale).ok()?)
}

/// Reads a duration: text as Go has it, or a whole number, which the Collector takes as nanoseconds.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Nanos(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Nanos(nanos) => Ok(Duration::from_nanos(nanos)),
        Either::Text(text) => parse_duration(&text).map_err(de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("0", 0),
            ("10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("100us", 100_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+2m", 120_000_000_000),
            ("0.9999999999s", 999_999_999),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "10", "s", ".s", "-1s", "1x", "1.2.3s", "1s ", "3000000h", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
