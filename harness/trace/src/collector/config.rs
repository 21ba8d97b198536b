//! The configuration of the `tail_sampling` processor, with its own keys and defaults.
//!
//! Read from `processor/tailsamplingprocessor/{config,factory}.go` of opentelemetry-collector-contrib v0.161.0. Two
//! things are stricter here. The Collector takes an unknown key of a policy for the settings of an extension as long
//! as its value is a map, so that a misspelt `latencyy:` is silently without effect; here it is an error. And
//! durations below zero, which it takes, are refused.

use std::time::Duration;

use serde::Deserialize;

/// The `tail_sampling` processor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TailSamplingConfig {
    /// How long a trace waits for its decision, from its first span; whole seconds count, at least one.
    #[serde(deserialize_with = "super::duration::deserialize")]
    pub decision_wait: Duration,
    /// How long it waits once a root span has arrived, if that is earlier; whole seconds count. Zero turns it off.
    #[serde(deserialize_with = "super::duration::deserialize")]
    pub decision_wait_after_root_received: Duration,
    /// Traces in memory.
    pub num_traces: u64,
    /// Whether arrivals wait when `num_traces` is reached, instead of pushing out the oldest trace.
    pub block_on_overflow: bool,
    /// A hint for allocations, without effect on decisions.
    pub expected_new_traces_per_sec: u64,
    /// The policies; those of type `drop` are evaluated first, the others in this order.
    pub policies: Vec<PolicyConfig>,
    /// For how many traces a decision is remembered once they have left memory.
    pub decision_cache: DecisionCacheConfig,
    /// The id of an extension to keep spans in; behind a feature gate, so that it is refused.
    pub tail_storage: Option<String>,
    /// Whether the first policy that samples ends the evaluation.
    pub sample_on_first_match: bool,
    /// When policies are evaluated.
    pub sampling_strategy: SamplingStrategy,
    /// Whether undecided traces are given up at the shutdown, instead of decided on with what there is.
    pub drop_pending_traces_on_shutdown: bool,
    /// Bytes above which a trace is not sampled, without a look at policies. Zero: no limit.
    pub maximum_trace_size_bytes: u64,
    /// Independent loops, at most 256, among which limits, caches and `num_traces` are divided.
    pub num_shards: u32,
}

/// When policies are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplingStrategy {
    /// At the decision tick, with all that has arrived.
    #[default]
    TraceComplete,
    /// At each arrival, with that batch alone; what is not sampled by the tick never is.
    SpanIngest,
}

/// For how many traces a decision is remembered. Zero: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionCacheConfig {
    /// Sampled traces.
    pub sampled_cache_size: u64,
    /// All others.
    pub non_sampled_cache_size: u64,
}

/// One policy, or a policy within another. Only the settings of its `type` are read.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Its name; at the top it must be there, and there once.
    pub name: String,
    /// Which policy it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Settings of `latency`.
    pub latency: LatencyConfig,
    /// Settings of `numeric_attribute`.
    pub numeric_attribute: NumericAttributeConfig,
    /// Settings of `probabilistic`.
    pub probabilistic: ProbabilisticConfig,
    /// Settings of `status_code`.
    pub status_code: StatusCodeConfig,
    /// Settings of `string_attribute`.
    pub string_attribute: StringAttributeConfig,
    /// Settings of `rate_limiting`.
    pub rate_limiting: RateLimitingConfig,
    /// Settings of `bytes_limiting`.
    pub bytes_limiting: BytesLimitingConfig,
    /// Settings of `span_count`.
    pub span_count: SpanCountConfig,
    /// Settings of `trace_state`.
    pub trace_state: TraceStateConfig,
    /// Settings of `boolean_attribute`.
    pub boolean_attribute: BooleanAttributeConfig,
    /// Settings of `ottl_condition`.
    pub ottl_condition: OttlConditionConfig,
    /// Settings of `composite`.
    pub composite: CompositeConfig,
    /// Settings of `and`.
    pub and: AndConfig,
    /// Settings of `not`.
    pub not: NotConfig,
    /// Settings of `drop`.
    pub drop: DropConfig,
}

/// Settings of `latency`, in milliseconds: above the lower bound, and not above the upper one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyConfig {
    /// The lower bound, which is itself too short.
    pub threshold_ms: i64,
    /// The upper bound. Zero: none.
    pub upper_threshold_ms: i64,
}

/// Settings of `numeric_attribute`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NumericAttributeConfig {
    /// The attribute.
    pub key: String,
    /// The least value that matches. Zero: no bound.
    pub min_value: i64,
    /// The greatest value that matches. Zero: no bound.
    pub max_value: i64,
    /// Whether traces without a match are sampled instead.
    pub invert_match: bool,
}

/// Settings of `probabilistic`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbabilisticConfig {
    /// Hashed before the trace id. Empty: `default-hash-seed`.
    pub hash_salt: String,
    /// The part of all traces, in percent.
    pub sampling_percentage: f64,
}

/// Settings of `status_code`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusCodeConfig {
    /// `OK`, `ERROR`, `UNSET`; one of them at least.
    pub status_codes: Vec<String>,
}

/// Settings of `string_attribute`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StringAttributeConfig {
    /// The attribute.
    pub key: String,
    /// Values, or regular expressions.
    pub values: Vec<String>,
    /// Whether `values` are regular expressions.
    pub enabled_regex_matching: bool,
    /// Results of regular expressions to remember, without effect on decisions.
    pub cache_max_size: i64,
    /// Whether traces without a match are sampled instead.
    pub invert_match: bool,
}

/// Settings of `rate_limiting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitingConfig {
    /// Spans that flow into the bucket every second.
    pub spans_per_second: i64,
    /// Spans that the bucket holds. Zero or less: twice `spans_per_second`.
    pub burst_capacity: i64,
}

/// Settings of `bytes_limiting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BytesLimitingConfig {
    /// Bytes that flow into the bucket every second.
    pub bytes_per_second: i64,
    /// Bytes that the bucket holds. Zero or less: twice `bytes_per_second`.
    pub burst_capacity: i64,
}

/// Settings of `span_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanCountConfig {
    /// The least number of spans.
    pub min_spans: i32,
    /// The greatest number of spans. Zero: no bound.
    pub max_spans: i32,
}

/// Settings of `trace_state`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceStateConfig {
    /// The key of the member.
    pub key: String,
    /// Its values; empty ones and those that with the key exceed 255 bytes never match.
    pub values: Vec<String>,
}

/// Settings of `boolean_attribute`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BooleanAttributeConfig {
    /// The attribute.
    pub key: String,
    /// The value that matches.
    pub value: bool,
    /// Whether traces without a match are sampled instead.
    pub invert_match: bool,
}

/// Settings of `ottl_condition`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OttlConditionConfig {
    /// What an error within a condition does.
    pub error_mode: OttlErrorMode,
    /// Conditions on spans; one of them is enough.
    pub span: Vec<String>,
    /// Conditions on events; one of them is enough.
    pub spanevent: Vec<String>,
}

/// What an error within a condition does. Capitals do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum OttlErrorMode {
    /// It is the error of the policy.
    Propagate,
    /// It is logged, and the condition does not hold.
    Ignore,
    /// The condition does not hold. What an absent `error_mode` comes to (`pkg/ottl/parser.go`, `Eval`).
    #[default]
    Silent,
}

/// Text that is no error mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{mode:?} is no error_mode; there are propagate, ignore and silent")]
pub struct UnknownErrorMode {
    mode: String,
}

/// Settings of `composite`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompositeConfig {
    /// No sub-policy may sample more spans than this in a second.
    pub max_total_spans_per_second: i64,
    /// Not read by v0.161.0: sub-policies are evaluated in the order of `composite_sub_policy`.
    pub policy_order: Vec<String>,
    /// The policies within.
    pub composite_sub_policy: Vec<PolicyConfig>,
    /// The parts of the rate that they get; those without get an equal share.
    pub rate_allocation: Vec<RateAllocationConfig>,
}

/// The part of the rate that a policy within `composite` gets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateAllocationConfig {
    /// The name of the policy.
    pub policy: String,
    /// Its part, in percent. Zero or less: an equal share.
    pub percent: i64,
}

/// Settings of `and`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AndConfig {
    /// The policies that must all sample. Of none, everything is sampled.
    pub and_sub_policy: Vec<PolicyConfig>,
}

/// Settings of `not`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotConfig {
    /// The policy whose opposite is meant.
    pub not_sub_policy: Option<Box<PolicyConfig>>,
}

/// Settings of `drop`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropConfig {
    /// The policies that must all sample for the trace to be dropped. Of none, everything is dropped.
    pub drop_sub_policy: Vec<PolicyConfig>,
}

// === impl TailSamplingConfig ===

impl Default for TailSamplingConfig {
    /// The Collector's defaults (`factory.go`, `createDefaultConfig`).
    fn default() -> Self {
        Self {
            decision_wait: Duration::from_secs(30),
            decision_wait_after_root_received: Duration::ZERO,
            num_traces: 50_000,
            block_on_overflow: false,
            expected_new_traces_per_sec: 0,
            policies: Vec::new(),
            decision_cache: DecisionCacheConfig::default(),
            tail_storage: None,
            sample_on_first_match: false,
            sampling_strategy: SamplingStrategy::TraceComplete,
            drop_pending_traces_on_shutdown: false,
            maximum_trace_size_bytes: 0,
            num_shards: 1,
        }
    }
}

impl TryFrom<String> for OttlErrorMode {
    type Error = UnknownErrorMode;

    fn try_from(mode: String) -> Result<Self, UnknownErrorMode> {
        match mode.to_lowercase().as_str() {
            "propagate" => Ok(Self::Propagate),
            "ignore" => Ok(Self::Ignore),
            "silent" => Ok(Self::Silent),
            _ => Err(UnknownErrorMode { mode }),
        }
    }
}
