//! Rules for watchers.

use std::collections::HashSet;

use super::{entries::selectors, identity, within};
use crate::{
    model::Load,
    path::Path,
    units::Duration,
    validate::{Findings, limited, names},
};

/// Watchers of one kind; each is a stream that stays open.
const MAX_WATCHERS: u32 = 10_000;

pub(super) fn check(load: &Load, list: &Path, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for (index, watchers) in limited(&load.watchers, list, findings).iter().enumerate() {
        let at = list.index(index);
        within(watchers.count, 1, MAX_WATCHERS, &at.key("count"), findings);
        // A query parameter in whole seconds.
        let whole = |time: Duration| !time.is_zero() && time.subsec_nanos() == 0;
        let message = "must be one or more whole seconds";
        findings.require(watchers.timeout.is_none_or(whole), &at.key("timeout"), message);
        if let Some(name) = &watchers.name {
            names::dns_label(name, &at.key("name"), findings);
        }
        let label = watchers.label();
        if !seen.insert(label) {
            findings
                .add(&at.key("name"), format!("other watchers are called `{label}` too"))
                .help("give each a `name` of its own; without one they are called as their resource");
        }
        let (labels, fields) = (&watchers.label_selector, &watchers.field_selector);
        selectors(labels.as_deref(), fields.as_deref(), watchers.resource, &at, findings);
        identity(&watchers.identity, load, &at.key("as"), findings);
    }
}
