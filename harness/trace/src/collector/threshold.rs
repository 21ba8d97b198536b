//! Consistent probability sampling: thresholds and randomness of 56 bits.
//!
//! Read from `pkg/sampling/{threshold,probability,randomness}.go` of opentelemetry-collector-contrib v0.161.0.

use crate::TraceId;

/// 2^56: the number of different values of randomness.
const ALL: u64 = 1 << 56;

/// [`ALL`] as a number that ratios are multiplied by.
const ALL_F64: f64 = 72_057_594_037_927_936.0;

/// Of 2^56 values of randomness, how many are rejected, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

/// What a threshold is held against: 56 bits of an `rv` or of a trace id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(u64);

// === impl Threshold ===

impl Threshold {
    /// Keeps everything.
    pub const ALWAYS: Self = Self(0);

    /// Keeps nothing.
    pub const NEVER: Self = Self(ALL);

    /// The threshold that rejects this many of 2^56; 2^56 at most.
    pub(super) const fn rejecting(values: u64) -> Self {
        Self(if values > ALL { ALL } else { values })
    }

    /// Reads a `th`: hexadecimal digits, 14 at most, whose trailing zeros may be absent.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= 14).then(|| hexadecimal(text))?.map(|number| Self(number << (4 * (14 - text.len()))))
    }

    /// The threshold for a ratio, with this many significant hexadecimal digits (`ProbabilityToThresholdWithPrecision`).
    ///
    /// `None` outside of 2^-56 to 1. Ratios near 0 and 1 get more digits, so that the relative error stays small.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::float_cmp,
        reason = "a whole number below 2^56; one is exact"
    )]
    pub fn of_ratio(ratio: f64, digits: u32) -> Option<Self> {
        if !(1.0 / ALL_F64..=1.0).contains(&ratio) {
            return None;
        }
        if ratio == 1.0 {
            return Some(Self::ALWAYS);
        }
        let digits = if digits == 0 { 14 } else { digits };
        // Each four leading zeros of the ratio, or of what it lacks to one, are worth a digit.
        let extra = leading_zeros(ratio).max(leading_zeros(1.0 - ratio)) / 4;
        let digits = (digits + extra).min(14);
        // Go rounds halves away from zero, as this does.
        let mut threshold = ALL - (ratio * ALL_F64).round() as u64;
        let shift = 4 * (14 - digits);
        if shift > 0 {
            threshold = (threshold + (1 << (shift - 1))) >> shift << shift;
        }
        Some(Self(threshold))
    }

    /// The part that is kept, 0 to 1.
    pub fn ratio(self) -> f64 {
        (ALL - self.0) as f64 / ALL_F64
    }

    /// Whether an item of this randomness is kept.
    pub const fn keeps(self, randomness: Randomness) -> bool {
        self.0 <= randomness.0
    }
}

/// Leading zeros behind the point of a number between 0 and 1, as a binary fraction: minus the exponent of `Frexp`.
fn leading_zeros(ratio: f64) -> u32 {
    // Both callers' numbers are normal: at least 2^-56.
    let exponent = (ratio.to_bits() >> 52) & 0x7ff;
    u32::try_from(1_022_u64.saturating_sub(exponent)).unwrap_or(0)
}

// === impl Randomness ===

impl Randomness {
    /// The greatest, which everything but [`Threshold::NEVER`] keeps.
    pub const MAX: Self = Self(ALL - 1);

    /// The lower 56 bits of `number`.
    pub(super) const fn new(number: u64) -> Self {
        Self(number & (ALL - 1))
    }

    /// Reads an `rv`: 14 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 14).then(|| hexadecimal(text))?.map(Self)
    }

    /// The last seven bytes of a trace id.
    pub const fn of_trace_id(id: TraceId) -> Self {
        let [_, _, _, _, _, _, _, _, last @ ..] = *id.as_bytes();
        Self::new(u64::from_be_bytes(last))
    }
}

/// A number in hexadecimal digits and nothing else.
fn hexadecimal(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_become_the_thresholds_of_upstream() {
        for (ratio, digits, threshold) in [
            (0.01, 4, 0xfd_70a0_0000_0000),
            (0.1, 4, 0xe6_6600_0000_0000),
            (0.5, 4, 0x80_0000_0000_0000),
            (1.0, 4, 0),
            (1.0 / 3.0, 14, 0xaa_aaaa_aaaa_aaac),
        ] {
            assert_eq!(Threshold::of_ratio(ratio, digits), Some(Threshold(threshold)), "{ratio}");
        }
        assert_eq!((Threshold::of_ratio(0.0, 4), Threshold::of_ratio(1.1, 4)), (None, None));
    }

    #[test]
    fn text_forms_are_hexadecimal_alone() {
        assert_eq!(Threshold::parse("8"), Some(Threshold(1 << 55)));
        assert_eq!(Threshold::parse("0"), Some(Threshold::ALWAYS));
        for text in ["", "+8", "g", "000000000000000"] {
            assert_eq!(Threshold::parse(text), None, "{text}");
        }
        assert_eq!(Randomness::parse("FFFFFFFFFFFFFF"), Some(Randomness::MAX));
        assert_eq!(Randomness::parse("ff"), None);
    }
}
