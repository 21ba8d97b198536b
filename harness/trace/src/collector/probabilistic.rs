//! The `probabilistic_sampler` processor: which spans it keeps.
//!
//! Read from `processor/probabilisticsamplerprocessor/{config,factory,sampler_mode,tracesprocessor}.go` of
//! opentelemetry-collector-contrib v0.161.0. It decides on each span by itself; spans of one trace share their fate
//! unless their `tracestate` or their attribute `sampling.priority` differ.

use serde::Deserialize;

use super::{
    hash,
    input::SpanView,
    threshold::{Randomness, Threshold},
    tracestate::{Invalid, Sampling},
};
use crate::{TraceId, Value};

/// The configuration of the `probabilistic_sampler` processor, with its own keys and defaults.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbabilisticSamplerConfig {
    /// The part of all traces, in percent; more than 100 is 100.
    pub sampling_percentage: f32,
    /// Hashed before the trace id, in mode `hash_seed`.
    pub hash_seed: u32,
    /// How it decides.
    pub mode: SamplerMode,
    /// Whether a span that cannot be decided on, as for an invalid `tracestate`, is not kept.
    pub fail_closed: bool,
    /// Hexadecimal digits of the threshold, 1 to 14.
    pub sampling_precision: i64,
    /// Of logs only: without effect on spans.
    pub attribute_source: AttributeSource,
    /// Of logs only: without effect on spans.
    pub from_attribute: String,
    /// Of logs only. Spans have the attribute `sampling.priority`, whatever is configured.
    pub sampling_priority: String,
}

/// How the `probabilistic_sampler` decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerMode {
    /// By 14 bits of a hash of the trace id.
    #[default]
    #[serde(alias = "")]
    HashSeed,
    /// By 56 bits of the trace id or of `rv`; the part counts of what arrives.
    Proportional,
    /// By 56 bits of the trace id or of `rv`; the part counts of what there was before any sampling.
    Equalizing,
}

/// Where the randomness of a log record is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum AttributeSource {
    /// Its trace id.
    #[default]
    #[serde(rename = "traceID", alias = "")]
    TraceId,
    /// An attribute.
    #[serde(rename = "record")]
    Record,
}

/// Why the Collector would not start with a configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplerConfigError {
    /// No part of anything.
    #[error("sampling_percentage is {percentage}; it must be 0, or at least 100 / 2^56")]
    Percentage {
        /// What it is.
        percentage: f32,
    },
    /// Not a number of digits.
    #[error("sampling_precision is {precision}; it must not be 0, and 14 at most")]
    Precision {
        /// What it is.
        precision: i64,
    },
    /// A number of digits below zero, with which the threshold is not foretold.
    #[error(
        "sampling_precision is {precision}; the Collector takes that, but what it makes of it is not known here"
    )]
    NegativePrecision {
        /// What it is.
        precision: i64,
    },
}

/// The `probabilistic_sampler` processor, ready to be asked.
#[derive(Debug, Clone)]
pub struct ProbabilisticSampler {
    method: Method,
    fail_closed: bool,
}

#[derive(Debug, Clone)]
enum Method {
    Never,
    Hash { seed: u32, threshold: Threshold },
    Proportional { ratio: f64, digits: u32 },
    Equalizing(Threshold),
}

/// What a span is decided by.
struct Arrived {
    randomness: Randomness,
    threshold: Option<Threshold>,
}

// === impl ProbabilisticSamplerConfig ===

impl Default for ProbabilisticSamplerConfig {
    /// The Collector's defaults (`factory.go`, `createDefaultConfig`).
    fn default() -> Self {
        Self {
            sampling_percentage: 0.0,
            hash_seed: 0,
            mode: SamplerMode::HashSeed,
            fail_closed: true,
            sampling_precision: 4,
            attribute_source: AttributeSource::TraceId,
            from_attribute: String::new(),
            sampling_priority: String::new(),
        }
    }
}

// === impl ProbabilisticSampler ===

impl ProbabilisticSampler {
    /// The processor with this configuration (`config.go`, `Validate`; `sampler_mode.go`, `makeSampler`).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 2^14, cut off as Go does"
    )]
    pub fn new(config: &ProbabilisticSamplerConfig) -> Result<Self, SamplerConfigError> {
        const LEAST: f64 = 1.0 / (1_u64 << 56) as f64;
        let percentage = config.sampling_percentage;
        let ratio = f64::from(percentage) / 100.0;
        if !percentage.is_finite() || ratio < 0.0 || (ratio > 0.0 && ratio < LEAST) {
            return Err(SamplerConfigError::Percentage { percentage });
        }
        let precision = config.sampling_precision;
        if precision < 0 {
            return Err(SamplerConfigError::NegativePrecision { precision });
        }
        let digits = u32::try_from(precision).ok().filter(|digits| (1..=14).contains(digits));
        let digits = digits.ok_or(SamplerConfigError::Precision { precision })?;
        let (percentage, ratio) = (percentage.min(100.0), ratio.min(1.0));
        let method = match config.mode {
            _ if ratio <= 0.0 => Method::Never,
            SamplerMode::Equalizing => {
                Method::Equalizing(Threshold::of_ratio(ratio, digits).unwrap_or(Threshold::NEVER))
            }
            SamplerMode::Proportional => Method::Proportional { ratio, digits },
            SamplerMode::HashSeed => {
                // In 32 bits, as upstream has it, and cut off: less than 1 of 2^14 keeps nothing.
                let buckets = (percentage * (HASH_BUCKETS as f32 / 100.0)) as u64;
                match buckets {
                    0 => Method::Never,
                    _ => Method::Hash {
                        seed: config.hash_seed,
                        threshold: Threshold::rejecting((HASH_BUCKETS - buckets) << 42),
                    },
                }
            }
        };
        Ok(Self { method, fail_closed: config.fail_closed })
    }

    /// Whether a span is kept (`commonShouldSampleLogic`).
    ///
    /// The attribute `sampling.priority` has the last word: zero never, above zero always. Spans without a trace id,
    /// with an invalid `tracestate`, or with a `th` that their randomness contradicts are kept unless `fail_closed`;
    /// so are, in mode `hash_seed`, spans with any `rv` or `th`.
    pub fn keeps(&self, view: &SpanView<'_>) -> bool {
        let arrived = self.arrived(view.span.trace_id, view.trace_state);
        let (threshold, randomness) = match &arrived {
            Some(arrived) => (self.threshold(arrived.threshold), arrived.randomness),
            // Upstream holds the threshold against a randomness that may be anything; at both ends it does not matter.
            None if self.fail_closed => (Threshold::NEVER, Randomness::MAX),
            None => (Threshold::ALWAYS, Randomness::MAX),
        };
        match priority(view.span.attributes.get("sampling.priority")) {
            Some(keep) => keep,
            None => threshold.keeps(randomness),
        }
    }

    /// Whether a span with this trace id, and neither `tracestate` nor priority, is kept.
    pub fn keeps_id(&self, id: TraceId) -> bool {
        match self.arrived(id, "") {
            Some(arrived) => self.threshold(arrived.threshold).keeps(arrived.randomness),
            None => !self.fail_closed,
        }
    }

    /// The part of random trace ids without `tracestate` that is kept, 0 to 1: what a rate is to be compared with.
    ///
    /// Mode `hash_seed` has 14 bits, so that 1% is in truth 163 of 16,384 and less than 0.0061% nothing.
    pub fn effective_rate(&self) -> f64 {
        self.threshold(None).ratio()
    }

    /// The threshold for a span that arrives with this one.
    fn threshold(&self, arrived: Option<Threshold>) -> Threshold {
        match self.method {
            Method::Never => Threshold::NEVER,
            Method::Hash { threshold, .. } => threshold,
            Method::Equalizing(threshold) => threshold.max(arrived.unwrap_or(Threshold::ALWAYS)),
            Method::Proportional { ratio, digits } => {
                let before = arrived.map_or(1.0, Threshold::ratio);
                // Only a product that is too small is out of range, and that keeps nothing.
                Threshold::of_ratio(before * ratio, digits).unwrap_or(Threshold::NEVER)
            }
        }
    }

    /// What the span brings; `None` where upstream has an error (`randomnessFromSpan`, `consistencyCheck`).
    fn arrived(&self, id: TraceId, trace_state: &str) -> Option<Arrived> {
        let sampling = match Sampling::parse(trace_state) {
            Ok(sampling) => sampling,
            Err(Invalid) => return None,
        };
        let arrived = match self.method {
            Method::Never => Arrived { randomness: Randomness::MAX, threshold: sampling.threshold },
            Method::Hash { seed, .. } => {
                if sampling != Sampling::default() || !id.is_valid() {
                    return None;
                }
                Arrived { randomness: hashed(id, seed), threshold: None }
            }
            Method::Proportional { .. } | Method::Equalizing(_) => {
                let of_id = || id.is_valid().then(|| Randomness::of_trace_id(id));
                let randomness = sampling.randomness.or_else(of_id)?;
                Arrived { randomness, threshold: sampling.threshold }
            }
        };
        arrived.threshold.is_none_or(|threshold| threshold.keeps(arrived.randomness)).then_some(arrived)
    }
}

/// Different values of the hash that mode `hash_seed` looks at.
const HASH_BUCKETS: u64 = 1 << 14;

/// The randomness of mode `hash_seed`: 14 bits of the hash, turned round, in front of bits that never decide
/// (`randomnessFromBytes`).
fn hashed(id: TraceId, seed: u32) -> Randomness {
    let hash = u64::from(hash::fnv1a_32(&[&seed.to_le_bytes(), id.as_bytes()]));
    let rejected = HASH_BUCKETS - 1 - (hash & (HASH_BUCKETS - 1));
    Randomness::new((rejected << 42) | ((1 << 42) - 1))
}

/// What the attribute `sampling.priority` demands (`parseSpanSamplingPriority`): `None` of nothing, or of anything but
/// a number of zero or more.
fn priority(value: Option<&Value>) -> Option<bool> {
    let number = match value? {
        Value::Int(number) => *number as f64,
        Value::Double(number) => *number,
        Value::String(text) => go_float(text)?,
        _ => return None,
    };
    (number >= 0.0).then_some(number > 0.0)
}

/// Go's `ParseFloat`, as far as the sign of its result goes.
fn go_float(text: &str) -> Option<f64> {
    let plain = text.trim_start_matches(['+', '-']);
    let hexadecimal = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X"));
    let Some(digits) = hexadecimal else {
        // Both take decimal numbers, exponents, inf, infinity and nan; an overflow is an error in Go.
        let number: f64 = text.parse().ok()?;
        let named = plain.to_ascii_lowercase().starts_with(['i', 'n']);
        return (number.is_finite() || named).then_some(number);
    };
    // Hexadecimal numbers must have an exponent; whether they are zero is all that is asked.
    let (mantissa, exponent) = digits.split_once(['p', 'P'])?;
    let whole = mantissa.replacen('.', "", 1);
    let valid = !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_hexdigit());
    let exponent: i32 = exponent.parse().ok()?;
    if !valid || exponent.abs() > 900 || text.len() > plain.len() + 1 {
        return None;
    }
    let size = if whole.bytes().all(|b| b == b'0') { 0.0 } else { 1.0 };
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(percentage: f32, mode: SamplerMode) -> ProbabilisticSampler {
        let config = ProbabilisticSamplerConfig {
            sampling_percentage: percentage,
            mode,
            ..ProbabilisticSamplerConfig::default()
        };
        ProbabilisticSampler::new(&config).unwrap()
    }

    #[test]
    fn effective_rates_are_those_of_the_threshold() {
        for (percentage, mode, rate) in [
            (1.0, SamplerMode::HashSeed, 163.0 / 16_384.0),
            (10.0, SamplerMode::HashSeed, 1_638.0 / 16_384.0),
            (0.006, SamplerMode::HashSeed, 0.0),
            (0.0, SamplerMode::Proportional, 0.0),
            (50.0, SamplerMode::Equalizing, 0.5),
            (200.0, SamplerMode::HashSeed, 1.0),
        ] {
            let effective = sampler(percentage, mode).effective_rate();
            assert!((effective - rate).abs() < 1e-15, "{percentage}: {effective}");
        }
    }

    #[test]
    fn a_threshold_that_arrives_multiplies_or_is_the_least() {
        let eighth = Threshold::parse("e");
        let of = |mode| sampler(50.0, mode).threshold(eighth).ratio();
        assert!((of(SamplerMode::Proportional) - 1.0 / 16.0).abs() < 1e-15);
        assert!((of(SamplerMode::Equalizing) - 1.0 / 8.0).abs() < 1e-15);
    }
}
