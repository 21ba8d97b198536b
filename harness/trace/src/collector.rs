//! Which traces an OpenTelemetry Collector keeps: a second opinion on its samplers.
//!
//! [`TailSampler`] evaluates the configuration of the `tail_sampling` processor on traces, [`ProbabilisticSampler`] that
//! of the `probabilistic_sampler` processor on spans, both with the Collector's own keys and defaults. The behaviour
//! is that of opentelemetry-collector-contrib v0.161.0 with its feature gates as they are by default, read from its
//! source, and the tests replay decisions that its own code took (`fixtures/sampling`).
//!
//! What a trace alone decides is exact. Where the clock has a say, [`Judgement::decisions`] holds every decision that
//! may be taken, and [`TailSampler::passed`] says how much may pass; what is not evaluated is told by
//! [`TailSampler::unsupported`] and never guessed.

mod bounds;
mod config;
mod duration;
mod foretell;
mod hash;
mod input;
mod ottl;
mod policy;
mod probabilistic;
mod regexp;
mod replay;
mod tail;
#[cfg(test)]
mod tests;
mod threshold;
mod tracestate;
mod votes;

pub use bounds::Passed;
pub use config::{
    AndConfig, BooleanAttributeConfig, BytesLimitingConfig, CompositeConfig, DecisionCacheConfig, DropConfig,
    LatencyConfig, NotConfig, NumericAttributeConfig, OttlConditionConfig, OttlErrorMode, PolicyConfig,
    ProbabilisticConfig, RateAllocationConfig, RateLimitingConfig, SamplingStrategy, SpanCountConfig,
    StatusCodeConfig, StringAttributeConfig, TailSamplingConfig, TraceStateConfig, UnknownErrorMode,
};
pub use duration::{ParseDurationError, parse_duration};
pub use foretell::{Dependence, Foretold, Presence};
pub use input::{BatchView, SpanView, TraceView};
pub use ottl::Unsupported as UnsupportedCondition;
pub use policy::{ConfigError, Place};
pub use probabilistic::{
    AttributeSource, ProbabilisticSampler, ProbabilisticSamplerConfig, SamplerConfigError, SamplerMode,
};
pub use replay::{Arrival, CannotReplay, Fate, Replay};
pub use tail::{Basis, Judgement, OrderEffect, PolicyVotes, TailSampler, UnsupportedPolicy};
pub use threshold::{Randomness, Threshold};
pub use votes::{Decision, Decisions, Vote, Votes};
