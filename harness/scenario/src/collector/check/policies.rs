//! The policies of the tail sampler (processor/tailsamplingprocessor, contrib v0.161.0: processor.go,
//! config.go, internal/sampling).

use super::{Checker, attributes, cursor::Cursor, said};
use crate::{
    collector::{Rule, Section, Severity},
    suggest,
};

pub(super) static NONE: Rule = Rule {
    id: "tail-no-policies",
    severity: Severity::Warning,
    summary: "A tail sampler without policies.",
    scenario: None,
};
pub(super) static UNNAMED: Rule = Rule {
    id: "tail-policy-unnamed",
    severity: Severity::Error,
    summary: "A policy without a name.",
    scenario: None,
};
pub(super) static DUPLICATE: Rule = Rule {
    id: "tail-duplicate-policy",
    severity: Severity::Error,
    summary: "Two policies with one name.",
    scenario: None,
};
pub(super) static UNKNOWN_TYPE: Rule = Rule {
    id: "tail-unknown-policy",
    severity: Severity::Error,
    summary: "A policy of a type that does not exist, or not there.",
    scenario: None,
};
pub(super) static STATUS_CODE: Rule = Rule {
    id: "tail-status-code",
    severity: Severity::Error,
    summary: "A `status_code` policy without statuses, or with one that does not exist.",
    scenario: Some("scenarios/tail-errors-slow-1-percent.yaml"),
};
pub(super) static INVERT_MATCH: Rule = Rule {
    id: "tail-invert-match",
    severity: Severity::Warning,
    summary: "`invert_match` in a policy of its own.",
    scenario: Some("scenarios/tail-drop.yaml"),
};
pub(super) static UPPER_BOUND: Rule = Rule {
    id: "tail-latency-upper-bound",
    severity: Severity::Warning,
    summary: "A `latency` policy with an upper bound.",
    scenario: None,
};
pub(super) static STATEFUL: Rule = Rule {
    id: "tail-span-ingest-stateful",
    severity: Severity::Error,
    summary: "A policy with a memory where decisions are made span by span.",
    scenario: None,
};
pub(super) static OLD_ATTRIBUTE: Rule = Rule {
    id: "tail-old-attribute",
    severity: Severity::Warning,
    summary: "A policy about an attribute that the API server's spans do not have.",
    scenario: None,
};

/// Types that every place takes (`getSharedPolicyEvaluator`).
const SHARED: [&str; 13] = [
    "always_sample",
    "latency",
    "numeric_attribute",
    "probabilistic",
    "status_code",
    "string_attribute",
    "rate_limiting",
    "bytes_limiting",
    "span_count",
    "trace_state",
    "boolean_attribute",
    "ottl_condition",
    "trace_flags",
];

/// Where a policy stands, and the types that only some places take.
const TOP: (&str, &[&str]) = ("a tail sampler", &["composite", "and", "not", "drop"]);
const IN_AND: (&str, &[&str]) = ("an `and` policy", &["not"]);
const IN_DROP: (&str, &[&str]) = ("a `drop` policy", &["not"]);
const IN_NOT: (&str, &[&str]) = ("a `not` policy", &[]);
const IN_COMPOSITE: (&str, &[&str]) = ("a `composite` policy", &["and"]);

pub(super) fn check(checker: &mut Checker<'_>) {
    for sampler in checker.components_of("processors", "tail_sampling") {
        let policies: Vec<Cursor<'_>> =
            sampler.get("policies").into_iter().flat_map(|list| list.items()).collect();
        if policies.is_empty() {
            let said = said(
                "the tail sampler has no policies",
                "it starts all the same; a trace that no policy samples is not sampled, so every trace is dropped",
                "add a policy: `policies: [{name: all, type: always_sample}]` keeps everything",
            );
            checker.report(&NONE, &sampler.path, sampler.key_span(), said);
        }
        names(checker, &policies);
        for policy in &policies {
            tree(checker, policy, TOP);
            inverted(checker, policy);
            for part in nested(policy) {
                old_attributes(checker, &part);
            }
        }
        if sampler.get("sampling_strategy").and_then(|strategy| strategy.text()) == Some("span-ingest") {
            for policy in &policies {
                stateless(checker, policy);
            }
        }
    }
}

/// Every policy, and every one within it.
pub(super) fn nested<'c>(policy: &Cursor<'c>) -> Vec<Cursor<'c>> {
    let within = |keys: &[&str]| policy.at(keys).into_iter();
    let lists = within(&["and", "and_sub_policy"])
        .chain(within(&["drop", "drop_sub_policy"]))
        .chain(within(&["composite", "composite_sub_policy"]));
    let parts = lists.flat_map(|list| list.items()).chain(within(&["not", "not_sub_policy"]));
    std::iter::once(policy.clone()).chain(parts.flat_map(|part| nested(&part))).collect()
}

fn names(checker: &mut Checker<'_>, policies: &[Cursor<'_>]) {
    let mut seen: Vec<&str> = Vec::new();
    for policy in policies {
        let name = policy.get("name");
        match name.as_ref().and_then(Cursor::text).filter(|name| !name.is_empty()) {
            None => {
                let said = said(
                    "the policy has no name",
                    "the tail sampler refuses it when it starts",
                    "write `name: ...`; it is the label `policy` of the sampler's metrics",
                );
                checker.report(&UNNAMED, &policy.path, policy.span(), said);
            }
            Some(text) if seen.contains(&text) => {
                let place = name.as_ref().unwrap_or(policy);
                let said = said(
                    format!("two policies are called `{text}`"),
                    "the tail sampler refuses the second one when it starts",
                    "give each a name of its own",
                );
                checker.report(&DUPLICATE, &place.path, place.span(), said);
            }
            Some(text) => seen.push(text),
        }
    }
}

/// Checks the type of a policy, and what is within it.
fn tree(checker: &mut Checker<'_>, policy: &Cursor<'_>, (place, extra): (&str, &[&str])) {
    let kind = policy.get("type");
    let text = kind.as_ref().and_then(Cursor::text).unwrap_or_default();
    let known: Vec<&str> = SHARED.iter().chain(extra).copied().collect();
    // An extension is a type of its own.
    let extension = checker.config.component(Section::Extensions, text).is_some();
    if !known.contains(&text) && !extension && !text.contains('$') {
        let cursor = kind.as_ref().unwrap_or(policy);
        let message = if text.is_empty() {
            "the policy has no type".to_owned()
        } else if TOP.1.contains(&text) {
            format!("`{text}` cannot stand in {place}")
        } else {
            format!("there is no policy of the type `{text}`")
        };
        let why = "the tail sampler refuses it when it starts: the Collector stops";
        checker.report(
            &UNKNOWN_TYPE,
            &cursor.path,
            cursor.span(),
            said(message, why, suggest::help(text, &known)),
        );
    }
    if text == "status_code" {
        statuses(checker, policy);
    }
    if let Some(upper) = policy.at(&["latency", "upper_threshold_ms"])
        && text == "latency"
        && upper.number().is_some_and(|upper| upper > 0.0)
    {
        let said = said(
            "an upper bound of `latency` depends on the order of spans",
            "the duration is taken span by span and the first one within the bounds decides: a trace that is \
             longer than the upper bound is sampled if a part of it was shorter (internal/sampling/latency.go, \
             contrib v0.161.0)",
            "use `threshold_ms` alone, and take out what is too long with a `drop` policy",
        );
        checker.report(&UPPER_BOUND, &upper.path, upper.span(), said);
    }
    for (keys, place) in [
        (["and", "and_sub_policy"], IN_AND),
        (["drop", "drop_sub_policy"], IN_DROP),
        (["composite", "composite_sub_policy"], IN_COMPOSITE),
    ] {
        let list = policy.at(&keys).filter(|_| text == keys[0]);
        for part in list.iter().flat_map(Cursor::items) {
            tree(checker, &part, place);
        }
    }
    if let Some(part) = policy.at(&["not", "not_sub_policy"]).filter(|_| text == "not") {
        tree(checker, &part, IN_NOT);
    }
}

/// Attributes that a policy asks for by a name that they no longer have.
fn old_attributes(checker: &mut Checker<'_>, policy: &Cursor<'_>) {
    let kind = policy.get("type").and_then(|kind| kind.text()).unwrap_or_default();
    let places: Vec<Cursor<'_>> = match kind {
        "string_attribute" | "numeric_attribute" | "boolean_attribute" => {
            policy.at(&[kind, "key"]).into_iter().collect()
        }
        "ottl_condition" => ["span", "spanevent"]
            .iter()
            .filter_map(|list| policy.at(&[kind, list]))
            .flat_map(|list| list.items().collect::<Vec<_>>())
            .collect(),
        _ => return,
    };
    for place in places {
        let text = place.text().unwrap_or_default();
        let named = |old: &str| text == old || text.contains(&format!("\"{old}\""));
        let Some((old, today)) = attributes::OLD.iter().find(|(old, _)| named(old)) else { continue };
        let said = said(
            format!("the API server's spans have no `{old}`"),
            "an attribute that is not there matches nothing: the policy samples no trace, and nothing says so",
            format!("write `{today}`"),
        );
        checker.report(&OLD_ATTRIBUTE, &place.path, place.span(), said);
    }
}

fn statuses(checker: &mut Checker<'_>, policy: &Cursor<'_>) {
    const KNOWN: &[&str] = &["OK", "ERROR", "UNSET"];
    let list = policy.at(&["status_code", "status_codes"]);
    let given: Vec<Cursor<'_>> = list.iter().flat_map(Cursor::items).collect();
    if given.is_empty() {
        let said = said(
            "the `status_code` policy names no status",
            "the tail sampler refuses it when it starts",
            "write `status_code: {status_codes: [ERROR]}`",
        );
        checker.report(&STATUS_CODE, &policy.path, policy.span(), said);
    }
    for status in given {
        let text = status.text().unwrap_or_default();
        if !KNOWN.contains(&text) && !text.contains('$') {
            let said = said(
                format!("there is no status `{text}`"),
                "the tail sampler refuses it when it starts; these are the statuses of spans and not of HTTP",
                suggest::help(text, KNOWN),
            );
            checker.report(&STATUS_CODE, &status.path, status.span(), said);
        }
    }
}

/// Policies of their own with `invert_match`. Within `and` or `drop` it means what one thinks.
///
/// README.md still tells of inverted decisions; internal/sampling/util.go of v0.161.0 returns plain ones.
fn inverted(checker: &mut Checker<'_>, policy: &Cursor<'_>) {
    let Some(kind) = policy.get("type").and_then(|kind| kind.text()) else { return };
    if !["string_attribute", "numeric_attribute", "boolean_attribute"].contains(&kind) {
        return;
    }
    let Some(invert) = policy.at(&[kind, "invert_match"]).filter(|invert| invert.truth() == Some(true))
    else {
        return;
    };
    let said = said(
        "`invert_match` samples everything that does not match",
        "it was a veto once; today it is a vote like any other, and one vote is enough: what does not match is \
         sampled, and what matches is sampled all the same if another policy says so",
        format!(
            "to keep matching traces out: `type: drop, drop: {{drop_sub_policy: [{{name: ..., type: {kind}, \
             {kind}: {{...}}}}]}}`, without `invert_match`; to sample what does not match, say so with `type: not`"
        ),
    );
    checker.report(&INVERT_MATCH, &invert.path, invert.key_span(), said);
}

/// Policies that `span-ingest` refuses (`IsStateful` of each evaluator).
fn stateless(checker: &mut Checker<'_>, policy: &Cursor<'_>) {
    let stateful = nested(policy).into_iter().find(|part| {
        let above =
            |key: &[&str]| part.at(key).and_then(|value| value.number()).is_some_and(|value| value > 0.0);
        match part.get("type").and_then(|kind| kind.text()) {
            Some("rate_limiting" | "bytes_limiting") => true,
            Some("latency") => above(&["latency", "upper_threshold_ms"]),
            Some("span_count") => above(&["span_count", "max_spans"]),
            _ => false,
        }
    });
    let Some(part) = stateful else { return };
    let said = said(
        "`span-ingest` cannot use a policy that has to remember",
        "it decides on each batch of spans as it comes, and refuses policies with limits or upper bounds when it \
         starts",
        "use `sampling_strategy: trace-complete`, or another policy",
    );
    let place = part.get("type").unwrap_or(part);
    checker.report(&STATEFUL, &place.path, place.span(), said);
}
