//! Field selectors, as far as it takes to say that one is wrong (`k8s.io/apimachinery/pkg/fields/selector.go`).
//!
//! Kubernetes skips empty comparisons; here they are refused, since nobody means one.

use crate::{model::Resource, suggest};

/// What is wrong with a field selector, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) help: String,
}

const SYNTAX: &str =
    "write it as for `kubectl get --field-selector`: `metadata.name=a,metadata.namespace!=b`";

/// What every resource in a namespace can be selected by.
const META: &[&str] = &["metadata.name", "metadata.namespace"];

/// The fields that a resource can be selected by (`addConversionFuncs` and `AddFieldLabelConversionsFor...` of
/// `pkg/apis/core/v1/conversion.go`, and each resource's `ToSelectableFields`; elsewhere
/// `DefaultMetaV1FieldSelectorConversion`).
fn of(resource: Resource) -> Vec<&'static str> {
    let own: &[&str] = match resource {
        Resource::Configmaps | Resource::Deployments | Resource::Widgets => &[],
        Resource::Secrets => &["type"],
        Resource::Pods => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Resource::Events => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    };
    META.iter().chain(own).copied().collect()
}

/// Checks a selector: comparisons between commas.
pub(super) fn check(text: &str, resource: Resource) -> Result<(), Wrong> {
    terms(text).into_iter().try_for_each(|term| self::term(term, resource))
}

/// Splits at the commas that no backslash stands before.
fn terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn term(text: &str, resource: Resource) -> Result<(), Wrong> {
    let syntax = |message: String| Err(Wrong { message, help: SYNTAX.to_owned() });
    if text.trim().is_empty() {
        return syntax("a comparison is empty".to_owned());
    }
    // The first sign counts, and `!=` and `==` are longer than `=`.
    let Some(place) = text.find('=') else {
        return syntax(format!("`{text}` compares nothing: it has no `=` and no `!=`"));
    };
    let field = text[..place].strip_suffix('!').unwrap_or(&text[..place]);
    let value = &text[place + 1..];
    let value = if text[..place].ends_with('!') { value } else { value.strip_prefix('=').unwrap_or(value) };
    let known = of(resource);
    if !known.contains(&field) {
        let plural = resource.plural();
        let help = suggest::help(field, &known);
        return Err(Wrong { message: format!("{plural} cannot be selected by `{field}`"), help });
    }
    let mut escaped = false;
    for c in value.chars() {
        match c {
            '\\' | ',' | '=' if escaped => escaped = false,
            _ if escaped => {
                return syntax(format!("`\\{c}` means nothing: only `\\`, `,` and `=` are escaped"));
            }
            '\\' => escaped = true,
            '=' => return syntax(format!("the `=` within `{value}` needs a backslash before it")),
            _ => {}
        }
    }
    if escaped { syntax(format!("`{value}` ends with a lone backslash")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_takes() {
        for (resource, text) in [
            (Resource::Configmaps, "metadata.name=a"),
            (Resource::Deployments, "metadata.namespace!=b,metadata.name==a"),
            (Resource::Pods, "spec.nodeName=,status.phase!=Running"),
            (Resource::Pods, r"metadata.name=a\,b\=c\\"),
            (Resource::Events, "involvedObject.kind=Pod,type=Warning"),
            (Resource::Secrets, "type=Opaque"),
            (Resource::Widgets, "metadata.name=a"),
        ] {
            assert_eq!(check(text, resource), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (resource, text, message) in [
            (Resource::Pods, "", "a comparison is empty"),
            (Resource::Pods, "metadata.name=a,", "a comparison is empty"),
            (Resource::Pods, "metadata.name", "`metadata.name` compares nothing: it has no `=` and no `!=`"),
            (Resource::Pods, "metadata.name=a=b", "the `=` within `a=b` needs a backslash before it"),
            (Resource::Pods, r"metadata.name=a\b", r"`\b` means nothing: only `\`, `,` and `=` are escaped"),
            (Resource::Pods, "metadata.name=a\\", "`a\\` ends with a lone backslash"),
            (Resource::Pods, "=a", "pods cannot be selected by ``"),
            (Resource::Configmaps, "type=a", "configmaps cannot be selected by `type`"),
            (Resource::Widgets, "spec.size=a", "widgets cannot be selected by `spec.size`"),
        ] {
            assert_eq!(check(text, resource).unwrap_err().message, message, "{text}");
        }
    }

    #[test]
    fn fields_that_were_probably_meant() {
        let help = |text, resource| check(text, resource).unwrap_err().help;
        assert_eq!(help("spec.nodename=a", Resource::Pods), "did you mean `spec.nodeName`?");
        let known = "known here: `metadata.name`, `metadata.namespace`";
        assert_eq!(help("colour=red", Resource::Widgets), known);
    }
}
