//! The phases of a request: which part of the control plane an instant was spent in.
//!
//! A phase is written as text in scenarios and reports, `etcd KV/Txn` or `mutating slow-mutate`, and ordered
//! by that text.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::contract;

/// A part of the work on a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The server itself: what no span below the SERVER span covers.
    Server,
    /// Finding out who the caller is.
    Authentication,
    /// The audit filter.
    Audit,
    /// The impersonation filter.
    Impersonation,
    /// Waiting for a seat in API Priority and Fairness.
    PriorityAndFairness,
    /// Finding out what the caller may do.
    Authorization,
    /// The handler of the verb: reading and converting the body, and admission other than webhooks.
    Handler,
    /// The call of the mutating webhook with this name, with all that the callee does.
    Mutating(Arc<str>),
    /// The call of the validating webhook with this name, with all that the callee does.
    Validating(Arc<str>),
    /// The watch cache.
    Cache,
    /// The storage layer above etcd.
    Storage,
    /// This RPC to etcd, with all that etcd does.
    Etcd(Arc<str>),
    /// Encryption at rest.
    Encryption,
    /// Turning objects into bytes and writing them.
    Serialization,
    /// A call of another API server, aggregated or itself, with all that the callee does.
    Proxy,
    /// A span that is none of these.
    Other,
}

/// Text that names no phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no phase is called {0:?}; phases are server, authentication, audit, impersonation, priority and fairness, \
     authorization, handler, mutating WEBHOOK, validating WEBHOOK, cache, storage, etcd RPC (such as KV/Txn), \
     encryption, serialization, proxy and other"
)]
pub struct ParsePhaseError(String);

// === impl Phase ===

impl Phase {
    /// The phases that are written without a name after them.
    pub const PLAIN: [Self; 13] = [
        Self::Server,
        Self::Authentication,
        Self::Audit,
        Self::Impersonation,
        Self::PriorityAndFairness,
        Self::Authorization,
        Self::Handler,
        Self::Cache,
        Self::Storage,
        Self::Encryption,
        Self::Serialization,
        Self::Proxy,
        Self::Other,
    ];

    /// The phase of a call of a mutating webhook; the suffix `.spangate.dev` is left out.
    pub fn mutating(webhook: &str) -> Self {
        Self::Mutating(contract::webhook_fault(webhook).into())
    }

    /// The phase of a call of a validating webhook; the suffix `.spangate.dev` is left out.
    pub fn validating(webhook: &str) -> Self {
        Self::Validating(contract::webhook_fault(webhook).into())
    }

    /// The phase of an RPC to etcd, such as `KV/Txn`.
    pub fn etcd(rpc: &str) -> Self {
        Self::Etcd(rpc.into())
    }

    /// The text as a word and a name; phases with different words never have the same text.
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Server => ("server", None),
            Self::Authentication => ("authentication", None),
            Self::Audit => ("audit", None),
            Self::Impersonation => ("impersonation", None),
            Self::PriorityAndFairness => ("priority and fairness", None),
            Self::Authorization => ("authorization", None),
            Self::Handler => ("handler", None),
            Self::Mutating(webhook) => ("mutating", Some(webhook)),
            Self::Validating(webhook) => ("validating", Some(webhook)),
            Self::Cache => ("cache", None),
            Self::Storage => ("storage", None),
            Self::Etcd(rpc) => ("etcd", Some(rpc)),
            Self::Encryption => ("encryption", None),
            Self::Serialization => ("serialization", None),
            Self::Proxy => ("proxy", None),
            Self::Other => ("other", None),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (word, None) => f.pad(word),
            (word, Some(name)) => f.pad(&format!("{word} {name}")),
        }
    }
}

impl FromStr for Phase {
    type Err = ParsePhaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(plain) = Self::PLAIN.iter().find(|phase| phase.parts().0 == text) {
            return Ok(plain.clone());
        }
        match text.split_once(' ').filter(|(_, name)| !name.is_empty()) {
            Some(("mutating", webhook)) => Ok(Self::Mutating(webhook.into())),
            Some(("validating", webhook)) => Ok(Self::Validating(webhook.into())),
            Some(("etcd", rpc)) => Ok(Self::Etcd(rpc.into())),
            _ => Err(ParsePhaseError(text.to_owned())),
        }
    }
}

impl Ord for Phase {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Phase {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_phase() -> impl Strategy<Value = Phase> {
        let named = ("[a-z][a-z. /A-Z]{0,20}", 0..3).prop_map(|(name, which)| match which {
            0 => Phase::Mutating(name.into()),
            1 => Phase::Validating(name.into()),
            _ => Phase::Etcd(name.into()),
        });
        prop_oneof![prop::sample::select(Phase::PLAIN.to_vec()), named]
    }

    #[test]
    fn text_forms() {
        assert_eq!(Phase::PriorityAndFairness.to_string(), "priority and fairness");
        assert_eq!(Phase::etcd("KV/Txn").to_string(), "etcd KV/Txn");
        assert_eq!(Phase::mutating("slow-mutate.spangate.dev").to_string(), "mutating slow-mutate");
        assert_eq!(Phase::validating("policy.example.com").to_string(), "validating policy.example.com");
        assert_eq!(format!("{:>8}|{:<12}|", Phase::Cache, Phase::etcd("KV/Txn")), "   cache|etcd KV/Txn |");
    }

    #[test]
    fn other_text_is_refused_with_the_choices() {
        for text in ["", "etcd", "etcd ", "mutating", "Server", "quota"] {
            let error = text.parse::<Phase>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("{text:?}")) && error.contains("priority and fairness"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(phase in any_phase()) {
            prop_assert_eq!(phase.to_string().parse(), Ok(phase.clone()));
            let json = serde_json::to_string(&phase).unwrap();
            prop_assert_eq!(serde_json::from_str::<Phase>(&json).unwrap(), phase);
        }

        #[test]
        fn the_order_is_that_of_the_text(one in any_phase(), other in any_phase()) {
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        }
    }
}
