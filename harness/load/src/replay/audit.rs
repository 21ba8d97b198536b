//! Events of a Kubernetes audit log.
//!
//! `audit.k8s.io/v1`, one JSON object a line, as the API server's log backend writes them. A request has an event
//! for each of its stages, all with one audit id: `RequestReceived`, `ResponseStarted` for what takes long, and
//! `ResponseComplete` or `Panic`. A policy may leave stages out. Whatever is there makes one request, at the time
//! at which it was received; later events say what the first did not know yet: the name of a created object, the
//! kind of a patch, the end.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use spangate_scenario::model::TraceFlag;
use spangate_trace::UnixNanos;

use super::{
    broken::reason,
    mapping::{Asked, Body, Collector, Sender},
    place::Place,
};

/// As much of an event as a replay needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow, rename = "auditID")]
    audit_id: Cow<'a, str>,
    #[serde(borrow)]
    stage: Cow<'a, str>,
    #[serde(borrow, rename = "requestURI")]
    request_uri: Cow<'a, str>,
    #[serde(borrow)]
    verb: Cow<'a, str>,
    #[serde(borrow, default)]
    user: User<'a>,
    #[serde(borrow, default)]
    impersonated_user: Option<User<'a>>,
    #[serde(borrow, default)]
    object_ref: Option<ObjectRef<'a>>,
    #[serde(borrow, default)]
    request_object: Option<&'a RawValue>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize, Default)]
struct User<'a> {
    #[serde(borrow, default)]
    username: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef<'a> {
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    api_group: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Option<Cow<'a, str>>,
}

/// What tells an applied object from a patch: a patch need not say what it is for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
}

/// Takes one line; the error says what is wrong with it.
pub(super) fn add(line: &[u8], collector: &mut Collector<'_>) -> Result<(), String> {
    let event: Event<'_> = serde_json::from_slice(line).map_err(|error| reason(&error))?;
    if event.kind != "Event" || event.api_version != "audit.k8s.io/v1" {
        return Err(format!("is a {} of {}, and no Event of audit.k8s.io/v1", event.kind, event.api_version));
    }
    let time = |timestamp: Timestamp| {
        u64::try_from(timestamp.as_nanosecond()).map(UnixNanos).map_err(|_| format!("{timestamp} is no time"))
    };
    let received = time(event.request_received_timestamp)?;
    let is_over = matches!(event.stage.as_ref(), "ResponseComplete" | "Panic");
    let (path, query) = event.request_uri.split_once('?').unwrap_or((&event.request_uri, ""));
    let user = event.impersonated_user.unwrap_or(event.user).username;
    collector.add(&Asked {
        id: Some(&event.audit_id),
        at: received,
        ended: is_over.then(|| time(event.stage_timestamp)).transpose()?,
        sender: Sender::User(&user),
        traceparent: TraceFlag::Sampled,
        verb: &event.verb,
        path,
        query,
        place: event.object_ref.map(|object| Place {
            group: object.api_group,
            resource: object.resource,
            namespace: object.namespace,
            name: object.name,
            subresource: object.subresource,
        }),
        body: event.request_object.map(body),
    });
    Ok(())
}

fn body(object: &RawValue) -> Body {
    let text = object.get();
    let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if text.starts_with('[') {
        Body::Array
    } else if serde_json::from_str::<Whole>(text).is_ok() {
        Body::Whole { size }
    } else {
        Body::Part
    }
}
