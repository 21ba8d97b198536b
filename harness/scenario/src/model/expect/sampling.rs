//! What must be true of samplers: the head sampler of the API server, and those of the Collector.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bound, PerMillion, Ratio};

/// A sampler kept what it had to keep.
///
/// Where the flag of a `traceparent` decides, the kept traces must be those that were sent with 01, each one. Where
/// the rate decides, no kept id may be one that a sampler of this rate never keeps, and neither the ids nor their
/// number may rule the rate out. Too few kept traces to know the rate `within` decide nothing.
///
/// Of the Collector, the kept traces must be those that its configuration keeps, worked out again for every trace that
/// it was given; where the clock has a say, their number must be within what the configuration allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sampling {
    /// Whose traces.
    pub of: Roots,
    /// The rate that must have been used, in parts of a million; that of `cluster.tracing` unless given. Not for
    /// `honouredParents`, whose flag decides. Of the Collector: the rate by count that its policies must come to;
    /// none unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate_per_million: Option<PerMillion>,
    /// How closely the rate must be known from the kept ids, as a part of it; of all requests at a rate of 0.
    #[serde(default = "Sampling::default_within")]
    pub within: Ratio,
    /// How sure a failure must be: of a million true samplers, one is called false at 99.9999%.
    #[serde(default = "Sampling::default_confidence")]
    pub confidence: Ratio,
    /// The most of the kept traces that may be lost, such as `< 5%`. The whole interval must be below; told and not
    /// judged unless given. Only for `requestRoots`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Bound<Ratio>>,
    /// When the load may end. Only where the rate decides.
    #[serde(default)]
    pub until: Until,
}

/// When the load may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// When all of it was sent.
    #[default]
    Sent,
    /// As soon as every expectation with this is decided: when enough traces were kept to know the rate `within`, or
    /// one that may not be. The requests up to there are judged, with the same certainty as a load of fixed length.
    Decided,
}

/// What a sampler decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Roots {
    /// The requests whose `traceparent` the API server honours: their flag decides, and the rate never does.
    HonouredParents,
    /// The requests for which the API server begins a trace of its own: those of senders whose `traceparent` it
    /// does not honour, and those without one. The ledger knows how many there were.
    RequestRoots,
    /// The traces that begin with an `authentication` span: beside most requests the API server begins such a trace
    /// too, and for its own requests. Nobody knows how many were not kept, so only the ids are judged.
    AuthenticationRoots,
    /// The traces that the Collector was given: its own samplers decide.
    Collector,
}

// === impl Sampling ===

impl Sampling {
    fn default_within() -> Ratio {
        Ratio::new_unchecked(0.2)
    }

    fn default_confidence() -> Ratio {
        Ratio::new_unchecked(0.999_999)
    }

    /// The defaults for these roots.
    pub fn of(of: Roots) -> Self {
        Self {
            of,
            sampling_rate_per_million: None,
            within: Self::default_within(),
            confidence: Self::default_confidence(),
            lost: None,
            until: Until::default(),
        }
    }
}

// === impl Roots ===

impl Roots {
    /// The name in a scenario.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HonouredParents => "honouredParents",
            Self::RequestRoots => "requestRoots",
            Self::AuthenticationRoots => "authenticationRoots",
            Self::Collector => "collector",
        }
    }
}
