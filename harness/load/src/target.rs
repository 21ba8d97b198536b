//! Paths and queries of the Kubernetes API.

use std::{collections::BTreeMap, fmt};

use spangate_scenario::model::Resource;

/// Path and query of a request, and what they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The resource, plural; empty for paths outside the API's resources.
    pub(crate) resource: &'static str,
    /// The subresource, if any.
    pub(crate) subresource: Option<&'static str>,
    /// The object's name, if any.
    pub(crate) name: Option<String>,
    base: String,
    /// Sorted by key, as Go's `url.Values.Encode` writes them.
    query: BTreeMap<&'static str, String>,
}

// === impl Target ===

impl Target {
    /// The collection of `resource` in `namespace`.
    pub(crate) fn collection(namespace: &str, resource: Resource) -> Self {
        let base = [prefix(resource), "/namespaces/", namespace].concat();
        Self { resource: resource.plural(), base, ..Self::path("") }
    }

    /// The objects of `resource` in all namespaces.
    pub(crate) fn everywhere(resource: Resource) -> Self {
        Self { resource: resource.plural(), base: prefix(resource).to_owned(), ..Self::path("") }
    }

    /// A path that names no resource of the load: discovery, and what the engine does for itself.
    pub(crate) fn path(path: &str) -> Self {
        Self { resource: "", subresource: None, name: None, base: path.to_owned(), query: BTreeMap::new() }
    }

    /// The object called `name`.
    pub(crate) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// This subresource of the object.
    pub(crate) fn subresource(mut self, subresource: &'static str) -> Self {
        self.subresource = Some(subresource);
        self
    }

    /// With this query parameter.
    pub(crate) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.insert(key, value.into());
        self
    }

    /// With this query parameter, if there is one.
    pub(crate) fn query_some(self, key: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// Path and query. Every request has one, so it is put together without the machinery of formatting.
    pub(crate) fn text(&self) -> String {
        let path =
            [Some(self.resource).filter(|part| !part.is_empty()), self.name.as_deref(), self.subresource];
        let length = path.iter().flatten().map(|part| part.len() + 1).sum::<usize>();
        let mut text = String::with_capacity(self.base.len() + length);
        text.push_str(&self.base);
        for part in path.into_iter().flatten() {
            text.push('/');
            text.push_str(part);
        }
        for (number, (key, value)) in self.query.iter().enumerate() {
            text.push(if number == 0 { '?' } else { '&' });
            text.push_str(key);
            text.push('=');
            escape(value, &mut text);
        }
        text
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Adds `text` as Go's `url.QueryEscape` writes it.
fn escape(text: &str, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => to.push(char::from(byte)),
            b' ' => to.push('+'),
            _ => to.extend(
                [b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]].map(char::from),
            ),
        }
    }
}

/// Where a resource's group and version live.
fn prefix(resource: Resource) -> &'static str {
    match resource {
        Resource::Configmaps | Resource::Pods | Resource::Events | Resource::Secrets => "/api/v1",
        Resource::Widgets => "/apis/load.spangate.dev/v1",
        Resource::Deployments => "/apis/apps/v1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_group_and_version() {
        let pods = Target::collection("ns", Resource::Pods);
        assert_eq!(pods.to_string(), "/api/v1/namespaces/ns/pods");
        let scale = Target::collection("ns", Resource::Deployments).named("web").subresource("scale");
        assert_eq!(scale.to_string(), "/apis/apps/v1/namespaces/ns/deployments/web/scale");
        assert_eq!(Target::everywhere(Resource::Deployments).to_string(), "/apis/apps/v1/deployments");
        assert_eq!(Target::path("/apis").query("timeout", "32s").to_string(), "/apis?timeout=32s");
    }

    #[test]
    fn a_query_is_sorted_and_escaped_as_go_does_it() {
        let target = Target::collection("ns", Resource::Events)
            .query("limit", "5")
            .query("labelSelector", "a in (b, c),d!=e/\u{e4}")
            .query_some("continue", None::<&str>);
        assert_eq!(
            target.to_string(),
            "/api/v1/namespaces/ns/events?labelSelector=a+in+%28b%2C+c%29%2Cd%21%3De%2F%C3%A4&limit=5"
        );
    }
}
