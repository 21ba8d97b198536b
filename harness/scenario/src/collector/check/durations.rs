//! Durations without a unit (`mapstructure`'s decoding into `time.Duration`, as core v0.161.0 uses it).

use super::{Checker, cursor::Cursor, said};
use crate::{
    collector::{Rule, Section, Severity},
    node::Scalar,
};

pub(super) static WITHOUT_UNIT: Rule = Rule {
    id: "duration-without-unit",
    severity: Severity::Warning,
    summary: "A duration that is written as a bare number.",
    scenario: None,
};

/// Keys that are durations in every component that has them.
const KEYS: &[&str] = &[
    "check_interval",
    "decision_wait",
    "decision_wait_after_root_received",
    "flush_interval",
    "initial_interval",
    "max_elapsed_time",
    "max_interval",
    "metric_expiration",
    "metrics_expiration",
    "metrics_flush_interval",
    "series_expiration",
    "timeout",
];

pub(super) fn check(checker: &mut Checker<'_>) {
    for section in Section::ALL {
        if let Some(section) = checker.root().get(section.key()) {
            below(checker, &section);
        }
    }
}

fn below(checker: &mut Checker<'_>, place: &Cursor<'_>) {
    for (key, value) in place.entries() {
        let number = match value.node.scalar() {
            Some(Scalar::Unsigned(number)) if number > 0 && KEYS.contains(&key) => number,
            _ => {
                below(checker, &value);
                continue;
            }
        };
        let said = said(
            format!("`{key}: {number}` is {number} ns"),
            "a number without a unit is taken for nanoseconds: the Collector starts, and hardly waits at all",
            format!("write the unit: `{key}: {number}s`"),
        );
        checker.report(&WITHOUT_UNIT, &value.path, value.span(), said);
    }
    for item in place.items() {
        below(checker, &item);
    }
}
