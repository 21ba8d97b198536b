//! Rules for synthetic traces.

use std::collections::HashSet;

use super::{Finding, Findings, faults, limited, names};
use crate::{
    model::{RootSpan, Traffic, TrafficClass},
    path::Path,
    suggest,
    units::Ratio,
};

/// Traces of a run: each of them is a line of the ledger.
const MAX_TRACES: f64 = 1e8;
/// What rounding may add to or take from shares that are meant to be all.
const ROUNDING: f64 = 1e-9;

/// Checks a model of synthetic traces that stands at `at` in its file.
///
/// ```
/// use spangate_scenario::{model::Traffic, path::Path, validate::validate_traffic};
///
/// let traffic: Traffic = serde_json::from_value(serde_json::json!({
///     "rate": "200/s",
///     "for": "10s",
///     "classes": [
///         {"name": "errors", "share": "5%", "error": true},
///         {"name": "normal", "share": "90%"},
///     ],
/// }))?;
/// let findings = validate_traffic(&traffic, &Path::root().key("traffic"));
/// assert_eq!(findings[0].message, "the shares of all classes are 95%, not 100%");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn validate_traffic(traffic: &Traffic, at: &Path) -> Vec<Finding> {
    let mut findings = Findings::default();
    check(traffic, at, &mut findings);
    findings.0
}

fn check(traffic: &Traffic, at: &Path, findings: &mut Findings) {
    let rate = traffic.rate.get();
    findings.require(
        rate > 0.0 && rate <= 1e6,
        &at.key("rate"),
        "must be greater than 0/s, at most 1000000/s",
    );
    match (traffic.duration, traffic.traces) {
        (Some(_), Some(_)) => {
            findings.add(at, "has both `for` and `traces`").help("keep one of them");
        }
        (None, None) => {
            findings.add(at, "has no end").help("give it one of `for`, `traces`");
        }
        (Some(length), None) => {
            findings.require(!length.is_zero(), &at.key("for"), "must be longer than 0s");
            let fine = traffic.rate.within(length) <= MAX_TRACES;
            findings.require(fine, &at.key("for"), "makes more than 100000000 traces at this rate");
        }
        (None, Some(traces)) => {
            let fine = traces >= 1 && traces as f64 <= MAX_TRACES;
            findings.require(fine, &at.key("traces"), "must be 1 to 100000000");
        }
    }
    classes(&traffic.classes, &at.key("classes"), findings);
}

fn classes(classes: &[TrafficClass], list: &Path, findings: &mut Findings) {
    let sum: f64 = classes.iter().map(|class| class.share.get()).sum();
    if (sum - 1.0).abs() > ROUNDING {
        // More than all of them is no ratio, but is shown like one, without what adding has left behind.
        let sum = Ratio::new_unchecked((sum * 1e6).round() / 1e6);
        findings.add(list, format!("the shares of all classes are {sum}, not 100%"));
    }
    let mut seen = HashSet::new();
    for (index, class) in limited(classes, list, findings).iter().enumerate() {
        let at = list.index(index);
        names::dns_label(&class.name, &at.key("name"), findings);
        if !seen.insert(&class.name) {
            findings.add(&at.key("name"), format!("another class is called `{}` too", class.name));
        }
        one(class, &at, findings);
    }
}

fn one(class: &TrafficClass, at: &Path, findings: &mut Findings) {
    let list = at.key("templates");
    for (index, name) in limited(&class.templates, &list, findings).iter().enumerate() {
        if !Traffic::TEMPLATES.contains(&name.as_str()) {
            findings
                .add(&list.index(index), format!("there is no template `{name}`"))
                .help(suggest::help(name, &Traffic::TEMPLATES));
        }
    }
    if let Some(duration) = &class.duration {
        faults::delay(duration, &at.key("duration"), findings);
    }
    if let Some(late) = class.late {
        let at = at.key("late");
        findings.require(!late.by.is_zero(), &at.key("by"), "must be longer than 0s");
        findings.require(late.share.get() > 0.0, &at.key("share"), "must be greater than 0%");
    }
    if class.error && class.root == RootSpan::Missing {
        findings
            .add(&at.key("error"), "the SERVER span with the error is the root, which is never sent")
            .help("leave one of `error` and `root` out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(json: &serde_json::Value) -> Vec<String> {
        let traffic: Traffic = serde_json::from_value(json.clone()).unwrap();
        let found = validate_traffic(&traffic, &Path::root().key("traffic"));
        found.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
    }

    #[test]
    fn what_makes_sense_is_left_alone() {
        let traffic = serde_json::json!({
            "seed": 7, "rate": "50/s", "shape": "poisson", "traces": 100, "classes": [
                {"name": "errors", "share": "10%", "error": true, "templates": ["create", "patch"]},
                {"name": "slow", "share": "20%", "duration": {"uniform": {"min": "1s", "max": "2s"}}},
                {"name": "late", "share": "30%", "late": {"by": "5s"}},
                {"name": "watches", "share": "0.1", "templates": ["watch"], "duration": {"fixed": "3m"}},
                {"name": "torn", "share": "30%", "root": "missing"},
            ],
        });
        assert_eq!(findings(&traffic), Vec::<String>::new());
    }

    #[test]
    fn every_rule_finds_what_it_is_for() {
        let traffic = serde_json::json!({
            "rate": "0/s", "for": "0s", "traces": 5, "classes": [
                {"name": "A", "share": "60%", "error": true, "root": "missing"},
                {"name": "b", "share": "60%", "templates": ["gte"], "duration": {"fixed": "0s"}},
                {"name": "b", "share": "0%", "late": {"share": "0%", "by": "0s"}},
            ],
        });
        let expected = [
            "traffic.rate: must be greater than 0/s, at most 1000000/s",
            "traffic: has both `for` and `traces`",
            "traffic.classes: the shares of all classes are 120%, not 100%",
            "traffic.classes[0].name: `A` is not a DNS label",
            "traffic.classes[0].error: the SERVER span with the error is the root, which is never sent",
            "traffic.classes[1].templates[0]: there is no template `gte`",
            "traffic.classes[1].duration.fixed: a delay of 0s does nothing",
            "traffic.classes[2].name: another class is called `b` too",
            "traffic.classes[2].late.by: must be longer than 0s",
            "traffic.classes[2].late.share: must be greater than 0%",
        ];
        assert_eq!(findings(&traffic), expected);
        for (limits, message) in [
            (serde_json::json!({}), "traffic: has no end"),
            (serde_json::json!({"traces": 0}), "traffic.traces: must be 1 to 100000000"),
            (serde_json::json!({"for": "0s"}), "traffic.for: must be longer than 0s"),
            (
                serde_json::json!({"for": "10000h"}),
                "traffic.for: makes more than 100000000 traces at this rate",
            ),
        ] {
            let mut traffic =
                serde_json::json!({"rate": "50/s", "classes": [{"name": "all", "share": "100%"}]});
            traffic.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
            assert_eq!(findings(&traffic), [message]);
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let traffic = serde_json::json!({"rate": "1/s", "traces": 1, "classes": [], "sede": 1});
        assert!(serde_json::from_value::<Traffic>(traffic).is_err());
    }

    #[test]
    fn so_many_traces_take_their_time() {
        let traffic = serde_json::json!({"rate": "50/s", "traces": 100, "classes": []});
        let traffic: Traffic = serde_json::from_value(traffic).unwrap();
        assert_eq!(traffic.length(), crate::units::Duration::from_secs(2));
    }
}
