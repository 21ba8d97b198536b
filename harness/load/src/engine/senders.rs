//! Who sends: one client for the administrator, one for the unprivileged user, and those of the load's own
//! identities.
//!
//! Tokens and impersonation are headers of each request, as client-go sends them. A service account has
//! connections of its own, since the API server knows a caller by the request and a real one shares no
//! connection with another.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use http::header::{AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderValue};
use serde_json::{Value, json};
use spangate_scenario::model::{Identity, Impersonate, Load};

use crate::{Client, ClientConfig, ClientError, ClientIdentity, EngineConfig, client::bearer};

/// Headers that say who sends.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// `k8s.io/api/authentication/v1`, `ImpersonateUserHeader`.
const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");
/// `k8s.io/api/authentication/v1`, `ImpersonateGroupHeader`.
const IMPERSONATE_GROUP: HeaderName = HeaderName::from_static("impersonate-group");

/// Everybody who sends.
#[derive(Debug)]
pub(super) struct Senders {
    /// How a client of the administrator is made.
    config: ClientConfig,
    admin: Client,
    unprivileged: Client,
    unprivileged_config: ClientConfig,
    others: BTreeMap<Identity, Other>,
}

/// One of the load's own identities.
enum Other {
    Accounts(Vec<Account>),
    Impersonated { who: Impersonate, headers: Headers },
}

/// A service account.
pub(super) struct Account {
    /// Its name in the load's first namespace.
    pub(super) name: String,
    client: Client,
    /// With its token, once there is one.
    headers: OnceLock<Headers>,
}

/// One who sends.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    /// Headers of each request.
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
}

/// Whom RBAC gives rights to, and by which name it is asked about them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subject {
    /// `rbac/v1` `Subject`.
    pub(super) entry: Value,
    /// `authorization/v1` user and groups.
    pub(super) user: String,
    pub(super) groups: Vec<String>,
}

// === impl Senders ===

impl Senders {
    /// Reads the certificates; opens no connection yet.
    pub(super) fn new(config: &EngineConfig) -> Result<Self, ClientError> {
        let load = &config.load;
        let of = |identity: &ClientIdentity, connections| ClientConfig {
            endpoint: config.endpoint.clone(),
            ca_pem: config.ca_pem.clone(),
            identity: identity.clone(),
            connections,
            protocol: load.client.protocol,
            streams: load.client.streams,
        };
        let admin = of(&config.admin, load.client.connections);
        let unprivileged = of(&config.unprivileged, load.client.connections);
        Ok(Self {
            admin: Client::new(&admin)?,
            unprivileged: Client::new(&unprivileged)?,
            others: others(load, |identity, connections| Client::new(&of(identity, connections)))?,
            config: admin,
            unprivileged_config: unprivileged,
        })
    }

    /// The administrator.
    pub(super) fn admin(&self) -> &Client {
        &self.admin
    }

    /// The one of `identity` whose turn it is: its service accounts take turns by the number of the arrival.
    pub(super) fn of(&self, identity: &Identity, number: u64) -> Sender<'_> {
        let plain = |client| Sender { client, headers: &[] };
        match (identity.as_str(), self.others.get(identity)) {
            (Identity::UNPRIVILEGED, _) => plain(&self.unprivileged),
            (_, Some(Other::Impersonated { headers, .. })) => Sender { client: &self.admin, headers },
            (_, Some(Other::Accounts(accounts))) if !accounts.is_empty() => {
                let turn = number % accounts.len() as u64;
                let Account { client, headers, .. } =
                    &accounts[usize::try_from(turn).expect("a remainder of a length is an index")];
                Sender { client, headers: headers.get().map_or(&[], Vec::as_slice) }
            }
            _ => plain(&self.admin),
        }
    }

    /// How a connection apart from these is opened for the one whose turn it is, and the headers of its
    /// requests.
    pub(super) fn apart(&self, identity: &Identity, number: u64) -> (ClientConfig, Headers) {
        let config = match (identity.as_str(), self.others.get(identity)) {
            (Identity::UNPRIVILEGED, _) => self.unprivileged_config.clone(),
            (_, Some(Other::Accounts(_))) => {
                ClientConfig { identity: ClientIdentity::none(), ..self.config.clone() }
            }
            _ => self.config.clone(),
        };
        (ClientConfig { connections: 1, ..config }, self.of(identity, number).headers.to_vec())
    }

    /// Opens the connections of `identity`.
    pub(super) async fn connect(&self, identity: &Identity) -> Result<(), ClientError> {
        match self.others.get(identity) {
            Some(Other::Accounts(accounts)) => {
                for account in accounts {
                    account.client.connect().await?;
                }
                Ok(())
            }
            _ => self.of(identity, 0).client.connect().await,
        }
    }

    /// The service accounts of `identity`.
    pub(super) fn accounts(&self, identity: &Identity) -> &[Account] {
        match self.others.get(identity) {
            Some(Other::Accounts(accounts)) => accounts,
            _ => &[],
        }
    }

    /// Who is to have rights so that `identity` can send. The administrator has them all.
    pub(super) fn subjects(&self, identity: &Identity, namespace: &str) -> Vec<Subject> {
        let user = |user: &str, groups: &[String]| Subject {
            entry: json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}),
            user: user.to_owned(),
            groups: groups.to_vec(),
        };
        match (identity.as_str(), self.others.get(identity)) {
            (Identity::UNPRIVILEGED, _) => vec![user(&self.unprivileged_config.identity.user, &[])],
            (_, Some(Other::Impersonated { who, .. })) => vec![user(&who.user, &who.groups)],
            (_, Some(Other::Accounts(accounts))) => {
                let subject = |account: &Account| Subject {
                    entry: json!({"kind": "ServiceAccount", "namespace": namespace, "name": account.name}),
                    user: format!("system:serviceaccount:{namespace}:{}", account.name),
                    groups: Vec::new(),
                };
                accounts.iter().map(subject).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn others(
    load: &Load,
    client: impl Fn(&ClientIdentity, u16) -> Result<Client, ClientError>,
) -> Result<BTreeMap<Identity, Other>, ClientError> {
    let of = |spec: &spangate_scenario::model::IdentitySpec| {
        if let Some(who) = &spec.impersonate {
            let failed = |source| ClientError::Header { user: who.user.clone(), source: Arc::new(source) };
            return Ok(Other::Impersonated {
                who: who.clone(),
                headers: impersonation(who).map_err(failed)?,
            });
        }
        let count = spec.service_accounts.unwrap_or_default();
        // The connections of the identity are shared out.
        let connections = u32::from(load.client.connections).div_ceil(count.max(1));
        let account = |index| {
            let name = format!("{}-{index}", spec.name);
            let connections = u16::try_from(connections).unwrap_or(u16::MAX);
            let client = client(&ClientIdentity::none(), connections)?;
            Ok(Account { name, client, headers: OnceLock::new() })
        };
        (0..count).map(account).collect::<Result<_, _>>().map(Other::Accounts)
    };
    load.identities.iter().map(|spec| Ok((spec.name.clone(), of(spec)?))).collect()
}

fn impersonation(who: &Impersonate) -> Result<Headers, InvalidHeaderValue> {
    let user = [(IMPERSONATE_USER, &who.user)];
    let groups = who.groups.iter().map(|group| (IMPERSONATE_GROUP, group));
    user.into_iter()
        .chain(groups)
        .map(|(name, value)| Ok((name, HeaderValue::from_bytes(value.as_bytes())?)))
        .collect()
}

// === impl Account ===

impl Account {
    /// Sends with `token` from now on; `None` if that is no token.
    pub(super) fn set_token(&self, token: &str) -> Option<()> {
        // A second token of the same account changes nothing.
        let _ = self.headers.set(vec![(AUTHORIZATION, bearer(token).ok()?)]);
        Some(())
    }
}

// === impl Other ===

impl fmt::Debug for Other {
    /// Leaves tokens out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts(accounts) => f.debug_tuple("Accounts").field(&accounts.len()).finish(),
            Self::Impersonated { who, .. } => f.debug_tuple("Impersonated").field(who).finish(),
        }
    }
}
