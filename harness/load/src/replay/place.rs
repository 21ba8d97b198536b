//! What a request's path and query name.

use std::borrow::Cow;

use spangate_scenario::model::Resource;

/// What a path names among the API's resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place<'a> {
    /// Empty for the core group.
    pub(super) group: Cow<'a, str>,
    /// Plural.
    pub(super) resource: Cow<'a, str>,
    pub(super) namespace: Option<Cow<'a, str>>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) subresource: Option<Cow<'a, str>>,
}

// === impl Place ===

impl<'a> Place<'a> {
    /// What `path` names; `None` for discovery and whatever else is no resource.
    ///
    /// `/api/v1` and `/apis/GROUP/VERSION`, then `/namespaces/NAMESPACE` for a namespaced resource, then
    /// `/RESOURCE/NAME/SUBRESOURCE` (`apiserver/pkg/endpoints/request/requestinfo.go`). Namespaces themselves
    /// are resources as well.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let group = match parts.next()? {
            "api" => "",
            "apis" => parts.next()?,
            _ => return None,
        };
        parts.next().filter(|version| !version.is_empty())?;
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let (resource, rest) = rest.split_first().filter(|(resource, _)| !resource.is_empty())?;
        let part = |index: usize| rest.get(index).copied().map(Cow::Borrowed);
        Some(Self {
            group: group.into(),
            resource: (*resource).into(),
            namespace: namespace.map(Cow::Borrowed),
            name: part(0),
            subresource: part(1),
        })
    }

    /// The resource, if the load has it.
    pub(super) fn known(&self) -> Option<Resource> {
        Resource::ALL.into_iter().find(|resource| {
            resource.plural() == self.resource
                && match resource {
                    Resource::Configmaps | Resource::Pods | Resource::Secrets => self.group.is_empty(),
                    Resource::Deployments => self.group == "apps",
                    // The same objects under two names.
                    Resource::Events => self.group.is_empty() || self.group == "events.k8s.io",
                    Resource::Widgets => self.group == "load.spangate.dev",
                }
        })
    }

    /// `pods`, `leases.coordination.k8s.io`.
    pub(super) fn kind(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_string()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// Whether a client asks this path for what the API offers: groups, versions, schemas.
pub(super) fn is_discovery(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    match parts.next() {
        Some("version") => parts.next().is_none(),
        Some("openapi") => true,
        Some("api") => parts.count() <= 1,
        Some("apis") => parts.count() <= 2,
        _ => false,
    }
}

/// The parameters of a query, decoded as Go's `url.ParseQuery` does it.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| hex(digits[0])?.checked_mul(16)?.checked_add(hex(digits[1])?));
        match (byte, escaped) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            _ => plain.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned().into()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::Target;

    #[test]
    fn paths_are_taken_apart_as_the_api_server_does_it() {
        let place = Place::of("/apis/apps/v1/namespaces/shop/deployments/web/scale").unwrap();
        assert_eq!((place.group.as_ref(), place.known()), ("apps", Some(Resource::Deployments)));
        assert_eq!(place.namespace.as_deref(), Some("shop"));
        assert_eq!((place.name.as_deref(), place.subresource.as_deref()), (Some("web"), Some("scale")));
        let namespace = Place::of("/api/v1/namespaces/shop").unwrap();
        assert_eq!((namespace.resource.as_ref(), namespace.name.as_deref()), ("namespaces", Some("shop")));
        let everywhere = Place::of("/api/v1/pods").unwrap();
        assert_eq!((everywhere.known(), everywhere.namespace), (Some(Resource::Pods), None));
        for other in ["/api", "/api/v1", "/apis/apps/v1", "/healthz", "", "/", "//", "/api//x"] {
            assert_eq!(Place::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_resource_is_known_by_its_group_too() {
        assert_eq!(Place::of("/apis/metrics.k8s.io/v1/pods").unwrap().known(), None);
        assert_eq!(Place::of("/apis/metrics.k8s.io/v1/pods").unwrap().kind(), "pods.metrics.k8s.io");
        let events = Place::of("/apis/events.k8s.io/v1/events").unwrap();
        assert_eq!(events.known(), Some(Resource::Events));
    }

    #[test]
    fn discovery_is_what_lists_groups_versions_and_schemas() {
        for path in
            ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/openapi/v3/api/v1", "/version"]
        {
            assert!(is_discovery(path), "{path}");
        }
        for path in
            ["", "/", "/healthz", "/metrics", "/api/v1/pods", "/apis/apps/v1/deployments", "/version/x"]
        {
            assert!(!is_discovery(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_query_is_read_as_it_was_written(label in "\\PC{0,20}", field in "[a-z=,. +%]{0,20}") {
            let target = Target::path("/api").query("labelSelector", &label).query("fieldSelector", &field);
            let text = target.to_string();
            let (_, query) = text.split_once('?').unwrap();
            let read: Vec<_> = parameters(query).collect();
            prop_assert_eq!(read, [
                ("fieldSelector".into(), Cow::<str>::from(field)),
                ("labelSelector".into(), label.into()),
            ]);
        }

        #[test]
        fn any_text_is_decoded_to_something(text in "\\PC{0,40}") {
            parameters(&text).for_each(drop);
            let _ = (Place::of(&text), is_discovery(&text));
        }
    }
}
