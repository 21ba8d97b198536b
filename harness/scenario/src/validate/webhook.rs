//! Rules for webhook faults: what the API server accepts as a webhook
//! (`pkg/apis/admissionregistration/validation/validation.go`), and what would do nothing.

use std::collections::HashSet;

use super::{
    Findings, faults, load, names,
    writes::{self, Write},
};
use crate::{
    model::{AdmissionOperation, WebhookAnswer, WebhookFault, WebhookRule, WebhookType},
    path::Path,
    suggest,
};

/// Match conditions that a webhook may have.
const MAX_CONDITIONS: usize = 64;

pub(super) fn check(fault: &WebhookFault, writes: Option<&[Write]>, at: &Path, findings: &mut Findings) {
    let before = findings.0.len();
    findings.require(!fault.rules.is_empty(), &at.key("rules"), "a webhook without rules is never called");
    for (index, rule) in fault.rules.iter().enumerate() {
        check_rule(rule, &at.key("rules").index(index), findings);
    }
    filters(fault, at, findings);
    // Rules and filters that are wrong in themselves are told as that.
    if let Some(writes) = writes.filter(|_| findings.0.len() == before) {
        reach(fault, writes, &at.key("rules"), findings);
    }
    let timeout = fault.timeout_seconds;
    if !(1..=30).contains(&timeout) {
        findings.add(&at.key("timeoutSeconds"), format!("must be 1 to 30, got {timeout}"));
    }
    conditions(fault, at, findings);
    faults::share(fault.share, at, findings);
    if let Some(delay) = &fault.delay {
        faults::delay(delay, &at.key("delay"), findings);
    }
    if fault.delay.is_none() && fault.answer == WebhookAnswer::Allow {
        findings
            .add(at, "the fault does nothing: it neither delays its calls nor answers them wrongly")
            .help("give it a `delay`, or an `answer` other than `allow`");
    }
    answer(fault, &at.key("answer"), findings);
}

fn check_rule(rule: &WebhookRule, at: &Path, findings: &mut Findings) {
    let lists: [(&str, Vec<&str>); 3] = [
        ("resources", rule.resources.iter().map(String::as_str).collect()),
        ("apiGroups", rule.api_groups.iter().map(String::as_str).collect()),
        ("apiVersions", rule.api_versions.iter().map(String::as_str).collect()),
    ];
    for (key, words) in lists {
        findings.require(!words.is_empty(), &at.key(key), "an empty list matches nothing");
        // The empty API group is the core group.
        if key != "apiGroups" && words.contains(&"") {
            findings.add(&at.key(key), "must not hold empty text");
        }
        if words.contains(&"*") && words.len() > 1 {
            findings.add(&at.key(key), "`*` is everything, so nothing may stand beside it");
        }
    }
    for (index, resource) in rule.resources.iter().enumerate() {
        let at = at.key("resources").index(index);
        let (name, subresource) = split_resource(resource);
        if !resource.is_empty() && !is_resource(resource) {
            findings
                .add(&at, format!("`{resource}` is not a resource"))
                .help("write it plural and lower case: `configmaps`, `pods/status`, \"*\"");
        } else if let Some(meant) = names::meant_resource(name) {
            let slash = if subresource.is_empty() { "" } else { "/" };
            findings
                .add(&at, format!("there is no resource `{name}`"))
                .help(format!("did you mean `{meant}{slash}{subresource}`?"));
        }
    }
    let operations = &rule.operations;
    findings.require(!operations.is_empty(), &at.key("operations"), "an empty list matches nothing");
    if operations.contains(&AdmissionOperation::Any) && operations.len() > 1 {
        findings.add(&at.key("operations"), "`*` is everything, so nothing may stand beside it");
    }
}

/// `pods`, `pods/status`, `*`, `*/*`, `pods/*`, `*/scale`.
fn is_resource(text: &str) -> bool {
    let word = |part: &str| part == "*" || names::is_dns_label(part);
    match text.split_once('/') {
        Some((resource, subresource)) => word(resource) && word(subresource),
        None => word(text),
    }
}

/// A resource and its subresource, empty if there is none.
fn split_resource(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

/// Finds a webhook that nothing can reach: no write of load, and none of the API server's own.
fn reach(fault: &WebhookFault, writes: &[Write], at: &Path, findings: &mut Findings) {
    let reached =
        |rule: &WebhookRule| may_be_own(rule, fault) || writes.iter().any(|w| covers(rule, fault, *w));
    if fault.rules.iter().any(reached) {
        return;
    }
    let help = if writes.is_empty() {
        "load only reads; let it write something, as by `create`".to_owned()
    } else {
        let sent: Vec<String> = writes.iter().map(|write| write.text()).collect();
        format!("load sends {}", suggest::list(&sent))
    };
    findings
        .add(at, "the webhook is never called: load sends no write that it is for")
        .help(help)
        .rests_on(load::load_at());
}

/// Whether a rule and the filters cover a write
/// (`apiserver/pkg/admission/plugin/webhook/predicates/rules/rules.go`).
fn covers(rule: &WebhookRule, fault: &WebhookFault, write: Write) -> bool {
    let resource = write.resource.plural();
    let named = |text: &String| {
        let (name, subresource) = split_resource(text);
        (name == "*" || name == resource) && (subresource == "*" || subresource == write.subresource)
    };
    let sent = |operation: &AdmissionOperation| {
        matches!(operation, AdmissionOperation::Any) || *operation == write.operation
    };
    rule.operations.iter().any(sent)
        && rule.resources.iter().any(named)
        && (fault.operations.is_empty() || fault.operations.contains(&write.operation))
        && (fault.resources.is_empty() || fault.resources.iter().any(|name| name == resource))
}

/// Whether a rule and the filters may cover what the API server writes on its own account.
fn may_be_own(rule: &WebhookRule, fault: &WebhookFault) -> bool {
    let write = |operation: &AdmissionOperation| *operation != AdmissionOperation::Connect;
    rule.operations.iter().any(write)
        && rule.resources.iter().any(|resource| writes::is_own(split_resource(resource).0))
        && (fault.operations.is_empty() || fault.operations.iter().any(write))
        && (fault.resources.is_empty() || fault.resources.iter().any(|resource| writes::is_own(resource)))
}

fn conditions(fault: &WebhookFault, at: &Path, findings: &mut Findings) {
    let at = at.key("matchConditions");
    let count = fault.match_conditions.len();
    findings.require(
        count <= MAX_CONDITIONS,
        &at,
        format!("at most {MAX_CONDITIONS} are allowed, got {count}"),
    );
    let mut seen = HashSet::new();
    for (index, condition) in fault.match_conditions.iter().enumerate() {
        let at = at.index(index);
        let name = &condition.name;
        if !names::is_qualified_name(name) {
            findings
                .add(&at.key("name"), format!("`{name}` is not a name for a condition"))
                .help("use letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit");
        }
        if !seen.insert(name) {
            findings.add(&at.key("name"), format!("another condition is called `{name}` too"));
        }
        let fine = !condition.expression.trim().is_empty();
        findings.require(fine, &at.key("expression"), "must not be empty");
    }
}

fn answer(fault: &WebhookFault, at: &Path, findings: &mut Findings) {
    let failure = |code: u16| (400..=599).contains(&code);
    match &fault.answer {
        WebhookAnswer::Deny(deny) => {
            let message = format!("must be an HTTP status from 400 to 599, got {}", deny.code);
            findings.require(failure(deny.code), &at.key("deny.code"), message);
        }
        WebhookAnswer::Http(http) => {
            let message = format!("must be an HTTP status from 400 to 599, got {}", http.status);
            findings.require(failure(http.status), &at.key("http.status"), message);
        }
        WebhookAnswer::Patch(operations) => {
            if fault.webhook_type == WebhookType::Validating {
                findings
                    .add(&at.key("patch"), "a validating webhook cannot change the object")
                    .help("make the webhook `type: mutating`, or choose another answer");
            }
            let wanted = ["op", "path"];
            for (index, operation) in operations.iter().enumerate() {
                let fine =
                    wanted.iter().all(|key| operation.get(*key).is_some_and(serde_json::Value::is_string));
                let message = "an operation of a JSON patch needs the texts `op` and `path` (RFC 6902)";
                findings.require(fine, &at.key("patch").index(index), message);
            }
            findings.require(!operations.is_empty(), &at.key("patch"), "an empty patch changes nothing");
        }
        WebhookAnswer::Allow
        | WebhookAnswer::MalformedJson
        | WebhookAnswer::WrongUid
        | WebhookAnswer::Hold
        | WebhookAnswer::Reset => {}
    }
}

/// The filters choose from the calls that the rules send; what no rule sends is never called.
fn filters(fault: &WebhookFault, at: &Path, findings: &mut Findings) {
    let rules = &fault.rules;
    let at_rules = at.key("rules");
    for (index, operation) in fault.operations.iter().enumerate() {
        let at = at.key("operations").index(index);
        if *operation == AdmissionOperation::Any {
            findings.add(&at, "`*` belongs into `rules`").help("leave `operations` out to affect all calls");
            continue;
        }
        let sent = |rule: &WebhookRule| {
            rule.operations.contains(operation) || rule.operations.contains(&AdmissionOperation::Any)
        };
        if !rules.is_empty() && !rules.iter().any(sent) {
            let finding = findings.add(&at, "none of the `rules` sends this operation to the webhook");
            finding.rests_on(at_rules.clone());
        }
    }
    for (index, resource) in fault.resources.iter().enumerate() {
        let at = at.key("resources").index(index);
        if !names::is_dns_label(resource) {
            findings
                .add(&at, format!("`{resource}` is not a resource"))
                .help("write it plural and lower case, without a subresource: `configmaps`");
            continue;
        }
        let sent = |rule: &WebhookRule| {
            rule.resources.iter().any(|named| {
                let named = named.split('/').next().unwrap_or(named);
                named == "*" || named == resource
            })
        };
        if !rules.is_empty() && !rules.iter().any(sent) {
            let finding = findings.add(&at, format!("none of the `rules` sends `{resource}` to the webhook"));
            finding.rests_on(at_rules.clone());
        }
    }
    for (index, namespace) in fault.namespaces.iter().enumerate() {
        names::dns_label(namespace, &at.key("namespaces").index(index), findings);
    }
}
