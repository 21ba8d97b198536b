//! Watch events and pages of a list, as far as a watcher needs them.
//!
//! What is not needed is skipped where it stands: an object of a mebibyte is neither copied nor made into a
//! tree of values.

use std::borrow::Cow;

use serde::Deserialize;

use super::WatchEvent;

/// One line of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A change of an object, or a bookmark.
    Object(WatchEvent, Object<'a>),
    /// The end of the watch.
    Error(Status<'a>),
}

/// An object, by its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Object<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
}

/// What the API server says in place of an object (`metav1.Status`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Status<'a> {
    /// As an HTTP status.
    #[serde(default)]
    pub(super) code: u16,
    #[serde(borrow, default)]
    pub(super) message: Cow<'a, str>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    metadata: ListMetadata<'a>,
    #[serde(borrow, default)]
    items: Option<Vec<Object<'a>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
    #[serde(borrow)]
    annotations: Option<Annotations<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct Annotations<'a> {
    #[serde(rename = "spangate.io/revision", borrow)]
    revision: Cow<'a, str>,
    /// `metav1.InitialEventsAnnotationKey`.
    #[serde(rename = "k8s.io/initial-events-end", borrow)]
    initial_events_end: Cow<'a, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata<'a> {
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(rename = "continue", borrow, default)]
    token: Cow<'a, str>,
}

// === impl Event ===

impl<'a> Event<'a> {
    /// Reads one line; the error is text for the ledger.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(rename = "type", borrow)]
            name: Cow<'a, str>,
            #[serde(borrow)]
            object: Object<'a>,
        }

        #[derive(Deserialize)]
        struct Failure<'a> {
            #[serde(borrow)]
            object: Status<'a>,
        }

        let unreadable = |error| format!("what the watch delivered is no event: {error}");
        let Line { name, object } = serde_json::from_slice(line).map_err(unreadable)?;
        match WatchEvent::of(&name) {
            Some(WatchEvent::Error) => {
                let Failure { object } = serde_json::from_slice(line).map_err(unreadable)?;
                Ok(Self::Error(object))
            }
            Some(event) => Ok(Self::Object(event, object)),
            None => Err(format!("the watch delivered an event of the unknown type {name:?}")),
        }
    }
}

// === impl Object ===

impl Object<'_> {
    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Where it is.
    pub(super) fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    /// Its version.
    pub(super) fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Number of the arrival that wrote it last. `kubectl apply` writes the number of its step behind it.
    pub(super) fn revision(&self) -> Option<u64> {
        let text = &self.metadata.annotations.as_ref()?.revision;
        text.split('-').next()?.parse().ok()
    }

    /// Whether it is the bookmark behind the initial state.
    pub(super) fn ends_initial_events(&self) -> bool {
        self.metadata.annotations.as_ref().is_some_and(|annotations| annotations.initial_events_end == "true")
    }
}

// === impl Page ===

impl<'a> Page<'a> {
    /// Reads a page; the error is text for the ledger.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("the answer is no list: {error}"))
    }

    /// The version of the whole list.
    pub(super) fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// What the next page is asked for with; empty on the last one.
    pub(super) fn token(&self) -> &str {
        &self.metadata.token
    }

    pub(super) fn items(&self) -> &[Object<'a>] {
        self.items.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_what_its_metadata_says() {
        let line = json!({"type": "MODIFIED", "object": {
            "kind": "ConfigMap", "apiVersion": "v1", "data": {"name": "no", "code": "{\"a\":1}"},
            "metadata": {
                "name": "pool-3", "namespace": "ns", "resourceVersion": "42",
                "annotations": {"other": "x", "spangate.io/revision": "17"},
                "managedFields": [{"manager": "x", "fieldsV1": {"f:metadata": {}}}],
            },
        }})
        .to_string();
        let Ok(Event::Object(WatchEvent::Modified, object)) = Event::parse(line.as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!((object.namespace(), object.name(), object.resource_version()), ("ns", "pool-3", "42"));
        assert_eq!((object.revision(), object.ends_initial_events()), (Some(17), false));
        assert!(matches!(object.metadata.name, Cow::Borrowed(_)), "the name was copied");
    }

    #[test]
    fn the_bookmark_behind_the_state_is_told_from_the_others() {
        for (annotations, ends) in [
            (json!({"k8s.io/initial-events-end": "true"}), true),
            (json!({"k8s.io/initial-events-end": "false"}), false),
            (json!(null), false),
        ] {
            let line = json!({"type": "BOOKMARK", "object": {
                "metadata": {"resourceVersion": "9", "annotations": annotations},
            }})
            .to_string();
            let Ok(Event::Object(WatchEvent::Bookmark, object)) = Event::parse(line.as_bytes()) else {
                panic!("{line}");
            };
            assert_eq!((object.ends_initial_events(), object.resource_version()), (ends, "9"));
            assert_eq!(object.revision(), None);
        }
    }

    #[test]
    fn a_revision_is_the_number_before_a_step() {
        for (text, revision) in [("5", Some(5)), ("5-2", Some(5)), ("", None), ("x", None), ("-1", None)] {
            let annotations = Annotations { revision: text.into(), ..Annotations::default() };
            let metadata = Metadata { annotations: Some(annotations), ..Metadata::default() };
            assert_eq!(Object { metadata }.revision(), revision, "{text}");
        }
    }

    #[test]
    fn an_error_is_a_status() {
        let line = br#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"status":"Failure",
            "message":"too old resource version: 1 (\"9\")","reason":"Expired","code":410}}"#;
        let Ok(Event::Error(status)) = Event::parse(line) else { panic!("it is an error") };
        assert_eq!((status.code, &*status.message), (410, "too old resource version: 1 (\"9\")"));
    }

    #[test]
    fn what_is_no_event_says_so() {
        for line in [&b"{\"type\":\"ADDED\",\"obj"[..], b"", b"[]"] {
            assert!(Event::parse(line).unwrap_err().starts_with("what the watch delivered is no event: "));
        }
        assert_eq!(
            Event::parse(br#"{"type":"NEW","object":{}}"#).unwrap_err(),
            "the watch delivered an event of the unknown type \"NEW\""
        );
    }

    #[test]
    fn a_page_has_a_version_a_token_and_objects() {
        let body = json!({"kind": "ConfigMapList", "metadata": {"resourceVersion": "7", "continue": "abc"},
            "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]})
        .to_string();
        let page = Page::parse(body.as_bytes()).unwrap();
        let names: Vec<_> = page.items().iter().map(Object::name).collect();
        assert_eq!((page.resource_version(), page.token(), names), ("7", "abc", vec!["a", "b"]));
        let last = Page::parse(br#"{"metadata":{"resourceVersion":"7"},"items":null}"#).unwrap();
        assert_eq!((last.token(), last.items().len()), ("", 0));
        assert!(Page::parse(b"{}").is_err());
    }
}
