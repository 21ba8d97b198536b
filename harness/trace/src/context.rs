//! The `traceparent` header (W3C Trace Context, level 1).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{SpanId, TraceId};

/// The position of a caller in a trace, as the `traceparent` header carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace that the caller is in.
    pub trace_id: TraceId,
    /// The span of the caller: the parent of whatever the callee starts.
    pub span_id: SpanId,
    /// The `sampled` bit of the flags.
    pub sampled: bool,
}

/// A header value that W3C Trace Context calls invalid; a receiver treats it as absent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid traceparent: {0:?}")]
pub struct ParseTraceContextError(String);

// === impl TraceContext ===

impl TraceContext {
    /// The name of the header, in the lower case that HTTP/2 wants.
    pub const HEADER: &'static str = "traceparent";

    /// A context with the `sampled` bit set.
    pub const fn sampled(trace_id: TraceId, span_id: SpanId) -> Self {
        Self { trace_id, span_id, sampled: true }
    }

    /// A context with the `sampled` bit clear.
    pub const fn unsampled(trace_id: TraceId, span_id: SpanId) -> Self {
        Self { trace_id, span_id, sampled: false }
    }

    /// The value of the header. A load generator writes one for each request, so it is made without the machinery
    /// of formatting.
    pub fn to_ascii(&self) -> [u8; 55] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut write = |at: usize, bytes: &[u8]| {
            for (digits, byte) in text[at..].chunks_exact_mut(2).zip(bytes) {
                digits[0] = DIGITS[usize::from(byte >> 4)];
                digits[1] = DIGITS[usize::from(byte & 0xf)];
            }
        };
        write(3, self.trace_id.as_bytes());
        write(36, self.span_id.as_bytes());
        write(53, &[u8::from(self.sampled)]);
        text
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.to_ascii()).expect("digits and dashes are ASCII"))
    }
}

impl FromStr for TraceContext {
    type Err = ParseTraceContextError;

    /// Reads any version but `ff`, as the specification asks; fields after the flags are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseTraceContextError(text.to_owned());
        let mut parts = text.trim().split('-');
        let (version, trace_id, span_id, flags) = (parts.next(), parts.next(), parts.next(), parts.next());
        let byte = |part: Option<&str>| {
            part.filter(|p| p.len() == 2).and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(wrong)
        };
        let version = byte(version)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(wrong());
        }
        let trace_id: TraceId = trace_id.and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
        let span_id: SpanId = span_id.and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
        if !trace_id.is_valid() || !span_id.is_valid() {
            return Err(wrong());
        }
        Ok(Self { trace_id, span_id, sampled: byte(flags)? & 1 == 1 })
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_and_writes_the_example_of_the_specification() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_string(), EXAMPLE);
    }

    #[test]
    fn the_random_bit_does_not_hide_the_sampled_bit() {
        let context: TraceContext = EXAMPLE.replace("-01", "-03").parse().unwrap();
        assert!(context.sampled);
    }

    #[test]
    fn a_later_version_may_carry_more_fields() {
        assert!(format!("cc{}-what", &EXAMPLE[2..]).parse::<TraceContext>().is_ok());
        assert!(format!("{EXAMPLE}-what").parse::<TraceContext>().is_err());
    }

    #[test]
    fn an_invalid_id_or_version_is_refused() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert!(text.parse::<TraceContext>().is_err(), "{text}");
        }
    }
}
