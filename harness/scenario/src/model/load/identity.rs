//! Who sends a request.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{exactly_one_of, given};

/// The name of a sender: `admin`, `unprivileged`, or one of the load's `identities`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Identity(Arc<str>);

/// A sender beside `admin` and `unprivileged`: exactly one of `serviceAccounts` and `impersonate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = exactly_one_of(Self::KINDS))]
pub struct IdentitySpec {
    /// The name by which the mix, the filters and the ledger know it: a DNS label.
    pub name: Identity,
    /// So many service accounts, 1 to 1000, made for the run, with tokens and with rights in the load's namespaces; requests
    /// are spread over them. Their `traceparent` becomes a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<u32>,
    /// The admin acting as somebody else. Its `traceparent` is honoured, as the admin's is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonate: Option<Impersonate>,
}

/// Whom the admin acts as (`Impersonate-User` and `Impersonate-Group`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Impersonate {
    /// The user; it gets rights in the load's namespaces.
    pub user: String,
    /// The groups; `system:authenticated` is added by the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

// === impl Identity ===

impl Identity {
    /// A user in `system:masters`: its `traceparent` is honoured.
    pub const ADMIN: &'static str = "admin";
    /// A user with RBAC rights and no privileged group: its `traceparent` becomes a link.
    pub const UNPRIVILEGED: &'static str = "unprivileged";

    /// The identity of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// [`Identity::ADMIN`].
    pub fn admin() -> Self {
        Self::new(Self::ADMIN)
    }

    /// [`Identity::UNPRIVILEGED`].
    pub fn unprivileged() -> Self {
        Self::new(Self::UNPRIVILEGED)
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::admin()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// === impl IdentitySpec ===

impl IdentitySpec {
    /// The keys of which a sender has exactly one.
    pub const KINDS: &'static [&'static str] = &["serviceAccounts", "impersonate"];

    /// The keys of the kinds that are given; one, once the scenario is checked.
    pub fn kinds(&self) -> Vec<&'static str> {
        given(Self::KINDS, &[self.service_accounts.is_some(), self.impersonate.is_some()])
    }
}
