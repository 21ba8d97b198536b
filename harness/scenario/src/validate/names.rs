//! Names as Kubernetes wants them (`k8s.io/apimachinery/pkg/util/validation`).

use super::Findings;
use crate::{model::Resource, path::Path, suggest};

/// Characters of a DNS label and of the parts of a label's key and value.
const LONGEST: usize = 63;

/// RFC 1123: lower-case letters, digits and `-`, not at the ends, at most 63.
pub(super) fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    is_framed(name, inner, |byte| inner(byte) || byte == b'-')
}

/// Labels joined by dots, at most 253 characters.
pub(super) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// Letters, digits, `-`, `_` and `.`, not the latter three at the ends; an optional DNS prefix and `/`.
pub(super) fn is_qualified_name(name: &str) -> bool {
    match name.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_word(name),
        None => is_label_word(name),
    }
}

/// A label's value: a word or nothing.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_word(value)
}

fn is_label_word(word: &str) -> bool {
    is_framed(
        word,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte),
    )
}

/// Whether the ends and the middle consist of the right bytes, and the length fits.
fn is_framed(text: &str, end: impl Fn(u8) -> bool, middle: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST
        && bytes.first().copied().is_some_and(&end)
        && bytes.last().copied().is_some_and(&end)
        && bytes.iter().copied().all(middle)
}

/// Finds a name that is not a DNS label.
pub(super) fn dns_label(name: &str, at: &Path, findings: &mut Findings) {
    if !is_dns_label(name) {
        findings
            .add(at, format!("`{name}` is not a DNS label"))
            .help("use lower-case letters, digits and `-` between them, at most 63 characters");
    }
}

/// The resource of load that a word was probably meant to be, unless it is one already: `pods` for `pod`.
///
/// No other resource of the API server is that near to one of load's.
pub(super) fn meant_resource(word: &str) -> Option<&'static str> {
    let known = Resource::ALL.map(Resource::plural);
    if known.contains(&word) { None } else { suggest::nearest(word, known) }
}

/// Major and minor of `1.37`, `1.37.2` or `1.37.2-rc.1`.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let number = |part: &str| -> Option<u32> {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits && (part == "0" || !part.starts_with('0')) { part.parse().ok() } else { None }
    };
    let (release, pre) = text.split_once('-').map_or((text, None), |(release, pre)| (release, Some(pre)));
    let parts: Vec<&str> = release.split('.').collect();
    let wrong_pre = pre.is_some_and(|pre| parts.len() != 3 || !pre.split('.').all(is_label_word));
    match parts.as_slice() {
        _ if wrong_pre => None,
        [major, minor] => Some((number(major)?, number(minor)?)),
        [major, minor, patch] => number(patch).and(Some((number(major)?, number(minor)?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let longest = "a".repeat(63);
        for name in ["a", "slow-webhook", "1a", longest.as_str()] {
            assert!(is_dns_label(name), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in ["", "-a", "a-", "A", "a.b", "a_b", "\u{e4}", too_long.as_str()] {
            assert!(!is_dns_label(name), "{name}");
        }
    }

    #[test]
    fn qualified_names() {
        for name in ["app", "App_1.x", "app.kubernetes.io/name"] {
            assert!(is_qualified_name(name), "{name}");
        }
        for name in ["", "/name", "a/", "a/b/c", "UPPER.io/x", "-a"] {
            assert!(!is_qualified_name(name), "{name}");
        }
    }

    #[test]
    fn resources_that_were_probably_meant() {
        for (word, meant) in [
            ("deployment", "deployments"),
            ("deploy", "deployments"),
            ("configmap", "configmaps"),
            ("config-maps", "configmaps"),
            ("pod", "pods"),
            ("event", "events"),
        ] {
            assert_eq!(meant_resource(word), Some(meant), "{word}");
        }
        // Every other resource of kube-apiserver 1.37 that has objects.
        let others = "apiservices bindings certificatesigningrequests clusterrolebindings clusterroles
            clustertrustbundles componentstatuses controllerrevisions cronjobs csidrivers csinodes
            csistoragecapacities customresourcedefinitions daemonsets deviceclasses endpoints endpointslices
            flowschemas horizontalpodautoscalers ingressclasses ingresses ipaddresses jobs leases limitranges
            mutatingadmissionpolicies mutatingwebhookconfigurations namespaces networkpolicies nodes
            persistentvolumeclaims persistentvolumes poddisruptionbudgets podtemplates priorityclasses
            prioritylevelconfigurations replicasets replicationcontrollers resourceclaims
            resourceclaimtemplates resourcequotas resourceslices rolebindings roles runtimeclasses secrets
            serviceaccounts servicecidrs services statefulsets storageclasses storageversions
            subjectaccessreviews tokenreviews validatingadmissionpolicies validatingwebhookconfigurations
            volumeattachments volumeattributesclasses";
        for word in others.split_whitespace().chain(Resource::ALL.map(Resource::plural)).chain(["*"]) {
            assert_eq!(meant_resource(word), None, "{word}");
        }
    }

    #[test]
    fn versions() {
        for (text, numbers) in
            [("1.37", (1, 37)), ("1.37.2", (1, 37)), ("1.38.0-alpha.1", (1, 38)), ("3.7.3", (3, 7))]
        {
            assert_eq!(version(text), Some(numbers), "{text}");
        }
        for text in ["", "1", "v1.37", "1.37.", "1.37.2.1", "1.037", "1.37-rc.1", "latest", "1.x", "1.37.2-"]
        {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
