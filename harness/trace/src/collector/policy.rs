//! The policies of the `tail_sampling` processor, made from their settings.

use super::{
    config::{PolicyConfig, RateAllocationConfig},
    hash, ottl,
    policy::{
        attribute::{Boolean, Numeric, Text},
        evaluate::Composite,
    },
    regexp,
};
use crate::Status;

mod attribute;
mod evaluate;

/// Why the Collector would not start with a configuration, or not survive it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A policy at the top has no name.
    #[error("policy {index} has no name")]
    NoName {
        /// Its place in the list, from zero.
        index: usize,
    },
    /// Two policies have one name.
    #[error("two policies are called {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// No such policy, or not at this place.
    #[error("policy {policy:?}: there is no policy of type {kind:?} {place}")]
    UnknownType {
        /// The policy.
        policy: String,
        /// What it says it is.
        kind: String,
        /// Where it stands.
        place: Place,
    },
    /// A `status_code` without codes, or with a code that there is not.
    #[error("policy {policy:?}: status_codes must be some of OK, ERROR and UNSET")]
    StatusCodes {
        /// The policy.
        policy: String,
    },
    /// A `numeric_attribute` without bounds: the Collector starts, and panics at the first decision.
    #[error("policy {policy:?}: min_value or max_value must be set, and zero counts as not set")]
    NoBounds {
        /// The policy.
        policy: String,
    },
    /// A percentage that is no number: the Collector panics.
    #[error("policy {policy:?}: sampling_percentage is not a number")]
    NotANumber {
        /// The policy.
        policy: String,
    },
    /// An `ottl_condition` without conditions.
    #[error("policy {policy:?}: there must be a condition in span or spanevent")]
    NoConditions {
        /// The policy.
        policy: String,
    },
    /// `sampling_strategy: span-ingest` with a policy that the rest of the trace may contradict.
    #[error("policy {policy:?} cannot be evaluated span by span, as sampling_strategy: span-ingest does")]
    Stateful {
        /// The policy.
        policy: String,
    },
    /// More shards than there may be.
    #[error("num_shards is {shards}, and may be 256 at most")]
    Shards {
        /// How many.
        shards: u32,
    },
    /// An extension keeps the spans.
    #[error("tail_storage needs an extension and a feature gate, which nothing is known about here")]
    TailStorage,
}

/// Where a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the list of the processor.
    Top,
    /// Within `and` or `drop`.
    And,
    /// Within `not`.
    Not,
    /// Within `composite`.
    Composite,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Top => "in the list of policies",
            Self::And => "within and or drop",
            Self::Not => "within not",
            Self::Composite => "within composite",
        })
    }
}

/// A policy, ready to be asked.
#[derive(Debug, Clone)]
pub(super) enum Policy {
    /// `always_sample`.
    AlwaysSample,
    /// `latency`, in milliseconds.
    Latency { above: i64, to: i64 },
    /// `numeric_attribute`.
    Numeric(Numeric),
    /// `probabilistic`: ids whose hash behind the salt is no greater.
    Probabilistic { salt: String, threshold: u64 },
    /// `status_code`.
    StatusCode(Vec<Status>),
    /// `string_attribute`.
    Text(Text),
    /// `boolean_attribute`.
    Boolean(Boolean),
    /// `rate_limiting`, in spans.
    RateLimiting(Bucket),
    /// `bytes_limiting`, in bytes.
    BytesLimiting(Bucket),
    /// `span_count`.
    SpanCount { min: i64, max: i64 },
    /// `trace_state`.
    TraceState { key: String, values: Vec<String> },
    /// `trace_flags`.
    TraceFlags,
    /// `ottl_condition`.
    Ottl(ottl::Filter),
    /// `and`.
    And(Vec<Policy>),
    /// `not`.
    Not(Box<Policy>),
    /// `drop`.
    Drop(Vec<Policy>),
    /// `composite`.
    Composite(Composite),
    /// Something that is not known well enough to be foretold, and why.
    Unsupported(String),
}

/// A token bucket (`golang.org/x/time@v0.16.0/rate`), full at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Tokens that flow in every second.
    pub(super) per_second: u64,
    /// Tokens that it holds.
    pub(super) burst: u64,
}

// === impl Bucket ===

impl Bucket {
    /// The bucket of one of `shards` (`sharded_processor.go`, `divideSharedPolicyRates`): the rate is divided, to
    /// one at least, and the burst is not.
    fn of_shard(per_second: i64, burst: i64, shards: u32) -> Self {
        let burst = if burst > 0 { burst } else { per_second.saturating_mul(2) };
        let per_second = divided(per_second, shards);
        Self { per_second: per_second.max(0).unsigned_abs(), burst: burst.max(0).unsigned_abs() }
    }
}

/// A limit of one of `shards` (`divideRate`).
pub(super) fn divided(limit: i64, shards: u32) -> i64 {
    if limit <= 0 || shards <= 1 { limit } else { (limit / i64::from(shards)).max(1) }
}

// === impl Policy ===

impl Policy {
    /// The policy with these settings (`processor.go`, `getPolicyEvaluator` and `getSharedPolicyEvaluator`).
    pub(super) fn new(config: &PolicyConfig, place: Place, shards: u32) -> Result<Self, ConfigError> {
        let policy = config.name.clone();
        let within = |policies: &[PolicyConfig], place| {
            policies.iter().map(|sub| Self::new(sub, place, shards)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match (config.kind.as_str(), place) {
            ("composite", Place::Top) => Self::Composite(Composite::new(config, shards)?),
            ("and", Place::Top | Place::Composite) => {
                Self::And(within(&config.and.and_sub_policy, Place::And)?)
            }
            ("drop", Place::Top) => Self::Drop(within(&config.drop.drop_sub_policy, Place::And)?),
            ("not", Place::Top | Place::And) => {
                let sub = config.not.not_sub_policy.as_deref().cloned().unwrap_or_default();
                Self::Not(Box::new(Self::new(&sub, Place::Not, shards)?))
            }
            ("always_sample", _) => Self::AlwaysSample,
            ("latency", _) => {
                Self::Latency { above: config.latency.threshold_ms, to: config.latency.upper_threshold_ms }
            }
            ("numeric_attribute", _) => Self::Numeric(
                Numeric::new(&config.numeric_attribute).ok_or(ConfigError::NoBounds { policy })?,
            ),
            ("probabilistic", _) => {
                let percentage = config.probabilistic.sampling_percentage;
                if percentage.is_nan() {
                    return Err(ConfigError::NotANumber { policy });
                }
                let salt = match config.probabilistic.hash_salt.as_str() {
                    "" => "default-hash-seed",
                    salt => salt,
                };
                Self::Probabilistic {
                    salt: salt.to_owned(),
                    threshold: hash::part_of_u64(percentage / 100.0),
                }
            }
            ("status_code", _) => {
                let codes: Option<Vec<Status>> =
                    config.status_code.status_codes.iter().map(|code| status(code)).collect();
                let codes = codes.filter(|codes| !codes.is_empty());
                Self::StatusCode(codes.ok_or(ConfigError::StatusCodes { policy })?)
            }
            ("string_attribute", _) => match Text::new(&config.string_attribute) {
                Ok(text) => Self::Text(text),
                Err(reason) => Self::Unsupported(reason),
            },
            ("boolean_attribute", _) => Self::Boolean(Boolean::new(&config.boolean_attribute)),
            ("rate_limiting", _) => {
                let limit = config.rate_limiting;
                Self::RateLimiting(Bucket::of_shard(limit.spans_per_second, limit.burst_capacity, shards))
            }
            ("bytes_limiting", _) => {
                let limit = config.bytes_limiting;
                Self::BytesLimiting(Bucket::of_shard(limit.bytes_per_second, limit.burst_capacity, shards))
            }
            ("span_count", _) => Self::SpanCount {
                min: config.span_count.min_spans.into(),
                max: config.span_count.max_spans.into(),
            },
            ("trace_state", _) => {
                let key = config.trace_state.key.clone();
                let fits = |value: &&String| !value.is_empty() && key.len() + value.len() < 256;
                let values = config.trace_state.values.iter().filter(fits).cloned().collect();
                Self::TraceState { key, values }
            }
            ("trace_flags", _) => Self::TraceFlags,
            ("ottl_condition", _) => {
                if config.ottl_condition.span.is_empty() && config.ottl_condition.spanevent.is_empty() {
                    return Err(ConfigError::NoConditions { policy });
                }
                match ottl::Filter::new(&config.ottl_condition) {
                    Ok(filter) => Self::Ottl(filter),
                    Err(unsupported) => Self::Unsupported(unsupported.to_string()),
                }
            }
            (kind, place) => return Err(ConfigError::UnknownType { policy, kind: kind.to_owned(), place }),
        })
    }

    /// Those within it.
    pub(super) fn within(&self) -> &[Self] {
        match self {
            Self::And(policies) | Self::Drop(policies) => policies,
            Self::Not(policy) => std::slice::from_ref(policy),
            Self::Composite(composite) => composite.policies(),
            _ => &[],
        }
    }

    /// Whether this or one within it is such a policy.
    pub(super) fn any(&self, test: &impl Fn(&Self) -> bool) -> bool {
        test(self) || self.within().iter().any(|policy| policy.any(test))
    }

    /// Whether what it says depends on when it is asked.
    pub(super) fn looks_at_the_clock(&self) -> bool {
        self.any(&|policy| {
            matches!(policy, Self::RateLimiting(_) | Self::BytesLimiting(_) | Self::Composite(_))
        })
    }

    /// Whether what it says depends on the order of spans.
    pub(super) fn looks_at_the_order(&self) -> bool {
        self.any(&|policy| matches!(policy, Self::Latency { to: max, .. } if *max > 0))
    }

    /// Whether span-ingest refuses it (the `IsStateful` of each policy). A `composite` is stateful only by what is
    /// within it.
    pub(super) fn is_stateful(&self) -> bool {
        self.any(&|policy| match policy {
            Self::RateLimiting(_) | Self::BytesLimiting(_) => true,
            Self::Latency { to: max, .. } | Self::SpanCount { max, .. } => *max > 0,
            _ => false,
        })
    }

    /// Why it cannot be foretold, if so.
    pub(super) fn unsupported(&self) -> Option<&str> {
        match self {
            Self::Unsupported(reason) => Some(reason),
            _ => self.within().iter().find_map(Self::unsupported),
        }
    }
}

/// The status that a code of the configuration means.
fn status(code: &str) -> Option<Status> {
    match code {
        "OK" => Some(Status::Ok),
        "ERROR" => Some(Status::Error),
        "UNSET" => Some(Status::Unset),
        _ => None,
    }
}

/// Spans a second that a policy within `composite` gets (`composite_helper.go`, `getRateAllocationMap`).
#[expect(clippy::cast_possible_truncation, reason = "cut off as Go does; saturates where Go is undefined")]
fn allocation(allocations: &[RateAllocationConfig], name: &str, total: i64, policies: usize) -> i64 {
    // The last one of a name is in force.
    let percent =
        allocations.iter().rev().find(|allocation| allocation.policy == name).map_or(0, |a| a.percent);
    let total = total as f64;
    if percent > 0 { (percent as f64 / 100.0 * total) as i64 } else { (total / policies as f64) as i64 }
}
