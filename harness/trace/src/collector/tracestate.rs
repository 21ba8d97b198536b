//! W3C `tracestate`, as two different Go packages read it.
//!
//! The `trace_state` policy parses with `go.opentelemetry.io/otel/trace@v1.46.0/tracestate.go`, the samplers with
//! `pkg/sampling/{w3ctracestate,oteltracestate,common}.go` of contrib v0.161.0. They differ in what they take.

use super::threshold::{Randomness, Threshold};

/// The value of `key`, or empty text without it; `None` when any of `text` is invalid (`ParseTraceState`, `Get`).
pub(super) fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for member in text.split(',').filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        let (key, value) = (key.trim_start_matches([' ', '\t']), value.trim_end_matches([' ', '\t']));
        let sizes = match key.split_once('@') {
            Some((tenant, system)) => tenant.len() <= 241 && system.len() <= 14,
            None => key.len() <= 256,
        };
        if !sizes || !is_key(key) || !is_value(value) || members.iter().any(|(other, _)| *other == key) {
            return None;
        }
        members.push((key, value));
        if members.len() > 32 {
            return None;
        }
    }
    Some(members.iter().find(|(other, _)| *other == key).map_or("", |(_, value)| value))
}

/// The sampling information of a span: the `ot` member of its `tracestate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sampling {
    /// `th`: at which threshold it was sampled so far.
    pub(super) threshold: Option<Threshold>,
    /// `rv`: the randomness to decide by.
    pub(super) randomness: Option<Randomness>,
}

/// A `tracestate` that the samplers do not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid;

// === impl Sampling ===

impl Sampling {
    /// Reads the `ot` member of `text` (`NewW3CTraceState`).
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > 1_024 {
            return Err(Invalid);
        }
        let members = || {
            text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
        };
        if !members().all(|m| m.split_once('=').is_some_and(|(key, value)| is_key(key) && is_value(value))) {
            return Err(Invalid);
        }
        // Upstream gives up at the 32nd member, though W3C allows that many. Empty ones count, but not at the end.
        if text.strip_suffix(',').unwrap_or(text).split(',').count() >= 32 {
            return Err(Invalid);
        }
        let mut sampling = Self::default();
        for (key, value) in members().filter_map(|member| member.split_once('=')) {
            let sizes = key.len() <= 256
                && key
                    .split_once('@')
                    .is_none_or(|(tenant, system)| tenant.len() <= 241 && system.len() <= 14);
            if !sizes {
                return Err(Invalid);
            }
            if key == "ot" {
                sampling = Self::parse_ot(value)?;
            }
        }
        Ok(sampling)
    }

    /// Reads the value of the `ot` member (`NewOpenTelemetryTraceState`).
    fn parse_ot(text: &str) -> Result<Self, Invalid> {
        let is_key = |key: &str| {
            key.starts_with(|c: char| c.is_ascii_lowercase())
                && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let is_value =
            |value: &str| value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        let mut sampling = Self::default();
        for member in text.split(';') {
            let (key, value) = member.split_once(':').ok_or(Invalid)?;
            if !is_key(key) || !is_value(value) {
                return Err(Invalid);
            }
            match key {
                "rv" => sampling.randomness = Some(Randomness::parse(value).ok_or(Invalid)?),
                "th" => sampling.threshold = Some(Threshold::parse(value).ok_or(Invalid)?),
                _ => {}
            }
        }
        Ok(sampling)
    }
}

/// Whether this is a key, sizes aside.
fn is_key(key: &str) -> bool {
    let rest = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/'))
    };
    let starts = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase()) && rest(part);
    match key.split_once('@') {
        Some((tenant, system)) => {
            tenant.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && rest(tenant)
                && starts(system)
        }
        None => starts(key),
    }
}

/// Whether this is a value: printable, without `,` and `=`, and not blank at its end.
fn is_value(value: &str) -> bool {
    let printable = value.bytes().all(|b| (0x20..=0x7e).contains(&b) && b != b',' && b != b'=');
    printable && !value.is_empty() && value.len() <= 256 && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_of_the_sdk() {
        for (text, value) in [
            ("a=1", Some("1")),
            ("b=2, a=1 ,", Some("1")),
            ("a=1,a=1", None),
            ("a=1,nonsense", None),
            ("a=1,B=2", None),
            ("a =1", None),
            ("a=x y", Some("x y")),
            ("", Some("")),
            ("b=1", Some("")),
        ] {
            assert_eq!(member(text, "a"), value, "{text}");
        }
    }

    #[test]
    fn sampling_is_read_or_the_whole_is_invalid() {
        let both = Sampling::parse("x=1,ot=rv:000000000000ff;th:8;p:1").unwrap();
        assert_eq!(
            (both.threshold, both.randomness),
            (Threshold::parse("8"), Randomness::parse("000000000000ff"))
        );
        for text in ["", "a=1", "ot=x:1", " , a=1"] {
            assert_eq!(Sampling::parse(text), Ok(Sampling::default()), "{text}");
        }
        for text in ["ot=th:", "ot=rv:ff", "ot=th:8;", "ot=TH:8", "a", "ot=th:123456789abcdef", "ot=th:xyz"] {
            assert_eq!(Sampling::parse(text), Err(Invalid), "{text}");
        }
        assert_eq!(Sampling::parse(&"a=1,".repeat(31)), Ok(Sampling::default()));
        assert_eq!(Sampling::parse(&"a=1,".repeat(32)), Err(Invalid));
    }
}
