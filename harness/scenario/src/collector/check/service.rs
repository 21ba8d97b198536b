//! The Collector's own metrics (service/telemetry/otelconftelemetry, core v0.161.0).

use super::{Checker, said};
use crate::collector::{Rule, Severity};

pub(super) static ADDRESS: Rule = Rule {
    id: "telemetry-address",
    severity: Severity::Error,
    summary: "The old `address` of the Collector's own metrics.",
    scenario: None,
};
pub(super) static READER_INCOMPLETE: Rule = Rule {
    id: "telemetry-reader-incomplete",
    severity: Severity::Error,
    summary: "A reader of the Collector's own metrics without a host or a port.",
    scenario: None,
};
pub(super) static READER_NAMES: Rule = Rule {
    id: "telemetry-reader-names",
    severity: Severity::Note,
    summary: "A reader of the Collector's own metrics whose names depend on the version.",
    scenario: None,
};

/// Names carry no `_total`, no unit and no scope where these are true, which they are without any reader.
const KEYS: [&str; 3] = ["without_type_suffix", "without_units", "without_scope_info"];

pub(super) fn check(checker: &mut Checker<'_>) {
    let Some(metrics) = checker.root().at(&["service", "telemetry", "metrics"]) else { return };
    if let Some(address) = metrics.get("address") {
        // Neither struct that internal/migration tries has the key.
        let said = said(
            "`service.telemetry.metrics.address` is gone",
            "the Collector refuses keys that it does not know",
            "write `readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 8888, without_type_suffix: true, \
             without_units: true, without_scope_info: true}}}}]`",
        );
        checker.report(&ADDRESS, &address.path, address.key_span(), said);
    }
    for reader in metrics.get("readers").into_iter().flat_map(|readers| readers.items()) {
        let Some(prometheus) = reader.at(&["pull", "exporter", "prometheus"]) else { continue };
        if let Some(missing) = ["host", "port"].into_iter().find(|key| prometheus.get(key).is_none()) {
            let said = said(
                format!("the reader has no `{missing}`"),
                "a reader of one's own has no default: the Collector does not start (\"must be specified\")",
                "write `host: 127.0.0.1` and `port: 8888`",
            );
            checker.report(&READER_INCOMPLETE, &prometheus.path, prometheus.key_span(), said);
        }
        let (unset, no): (Vec<&str>, Vec<&str>) = KEYS
            .into_iter()
            .filter(|key| prometheus.get(key).is_none_or(|value| value.truth() == Some(false)))
            .partition(|key| prometheus.get(key).is_none());
        if !unset.is_empty() {
            // CHANGELOG.md of core: issues 11611 (v0.119.0) and 13867 (v0.152.0).
            let list = unset.iter().map(|key| format!("{key}: true")).collect::<Vec<_>>().join(", ");
            let said = said(
                "the names of the Collector's own metrics depend on its version",
                "with a reader of one's own, many Collectors from v0.119.0 to before v0.152.0 take what is not \
                 written for false and append `_total` and units; later ones do not",
                format!("write `{list}`"),
            );
            checker.report(&READER_NAMES, &prometheus.path, prometheus.key_span(), said);
        }
        if let Some(value) = no.first().and_then(|key| prometheus.get(key)) {
            let said = said(
                "the Collector's own metrics are called otherwise than by default",
                "`_total`, units or a scope are appended: dashboards for the default find nothing",
                "write `true`, or look for both names",
            );
            checker.report(&READER_NAMES, &value.path, value.span(), said);
        }
    }
}
