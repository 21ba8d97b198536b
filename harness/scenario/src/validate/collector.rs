//! Rules for the Collector.

use super::{Findings, load::exactly_one, names};
use crate::{
    model::Collector,
    path::{Path, Step},
};

/// Where the Collector is.
pub(super) fn collector_at() -> Path {
    Path::root().key("spec.collector")
}

pub(super) fn check(collector: &Collector, at: &Path, findings: &mut Findings) {
    exactly_one(
        &collector.configs(),
        Collector::CONFIGS,
        "configuration of the Collector",
        "keep one of them",
        at,
        findings,
    );
    for (key, is_empty) in [
        ("config", collector.config.as_ref().is_some_and(|text| text.trim().is_empty())),
        ("configFile", collector.config_file.as_ref().is_some_and(|path| path.as_os_str().is_empty())),
    ] {
        findings.require(!is_empty, &at.key(key), "must not be empty");
    }
    if names::version(&collector.version).is_none() {
        findings
            .add(&at.key("version"), format!("`{}` is not a version", collector.version))
            .help("write it as \"0.161\" or \"0.161.0\"");
    }
    let env = at.key("env");
    for name in collector.env.keys() {
        let fine = !name.is_empty() && !name.contains(['=', '\0']);
        let message = format!("`{name}` is not the name of an environment variable");
        findings.require(fine, &env.clone().then(Step::Key(name.clone())), message);
    }
    let gates = at.key("featureGates");
    for name in collector.feature_gates.keys() {
        let fine = !name.is_empty() && !name.starts_with(['-', '+']) && !name.contains([',', ' ']);
        if !fine {
            findings
                .add(
                    &gates.clone().then(Step::Key(name.clone())),
                    format!("`{name}` is not the name of a gate"),
                )
                .help("write the name alone, and `true` or `false` after the colon");
        }
    }
}
