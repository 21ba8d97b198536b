//! Rules for senders.

use std::collections::HashSet;

use super::{exactly_one, within};
use crate::{
    model::{Identity, IdentitySpec, Impersonate},
    path::Path,
    validate::{Findings, limited, names},
};

/// Service accounts of one identity; each is made, bound and given a token before load starts.
const MAX_ACCOUNTS: u32 = 1000;

pub(super) fn check(identities: &[IdentitySpec], list: &Path, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for (index, spec) in limited(identities, list, findings).iter().enumerate() {
        let at = list.index(index);
        let name = spec.name.as_str();
        names::dns_label(name, &at.key("name"), findings);
        if [Identity::ADMIN, Identity::UNPRIVILEGED].contains(&name) {
            findings
                .add(&at.key("name"), format!("`{name}` is there without being named here"))
                .help("choose another name");
        }
        if !seen.insert(name) {
            findings.add(&at.key("name"), format!("another identity is called `{name}` too"));
        }
        let advice = "make an identity of each";
        exactly_one(&spec.kinds(), IdentitySpec::KINDS, "kind of sender", advice, &at, findings);
        if let Some(accounts) = spec.service_accounts {
            within(accounts, 1, MAX_ACCOUNTS, &at.key("serviceAccounts"), findings);
        }
        if let Some(impersonate) = &spec.impersonate {
            self::impersonate(impersonate, &at.key("impersonate"), findings);
        }
    }
}

/// User and groups are sent as headers.
fn impersonate(impersonate: &Impersonate, at: &Path, findings: &mut Findings) {
    let groups = impersonate.groups.iter().enumerate();
    let groups = groups.map(|(index, group)| (at.key("groups").index(index), group));
    for (at, name) in [(at.key("user"), &impersonate.user)].into_iter().chain(groups) {
        findings.require(!name.trim().is_empty(), &at, "must not be empty");
        let fine = !name.chars().any(char::is_control);
        findings.require(fine, &at, "must not hold line ends and other control characters");
    }
}
