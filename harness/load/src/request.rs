//! One HTTP request of an operation, and what an operation sees of the answer.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use spangate_scenario::model::Encoding;

use crate::{Verb, object::Body, target::Target};

/// One request, complete but for its `traceparent`.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it asks for.
    pub verb: Verb,
    /// The resource, plural; empty for discovery.
    pub resource: &'static str,
    /// The subresource, if any.
    pub subresource: Option<&'static str>,
    /// The object's name, if the request names one.
    pub name: Option<String>,
    /// The HTTP method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The `accept` header.
    pub accept: &'static str,
    /// The `content-type` header, if there is a body.
    pub content_type: Option<&'static str>,
    /// The body; empty for none.
    pub body: Bytes,
    /// How the response body is read.
    pub read: Read,
}

/// How a response body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// To its end, counting bytes only.
    Discard,
    /// To its end, kept for the next step.
    Keep,
    /// As a stream of watch events, closed by the client after the first `DELETED`.
    UntilDeleted,
    /// As a stream of watch events, closed by the client when the pods of the deployment are available.
    UntilAvailable,
    /// As a stream of watch events, closed by the client when the initial ones are through: after the bookmark
    /// with the annotation `k8s.io/initial-events-end: "true"`.
    UntilListed,
}

/// The answer to a request, as far as the next step of an operation needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body; empty unless the request wanted it kept.
    pub body: Bytes,
}

/// Media type of bodies, and of answers where nothing else is said.
pub(crate) const JSON: &str = "application/json";

// === impl Request ===

impl Request {
    /// A request without a body whose answer is read and forgotten.
    pub(crate) fn new(verb: Verb, method: Method, target: Target) -> Self {
        Self {
            verb,
            resource: target.resource,
            subresource: target.subresource,
            method,
            target: target.text(),
            name: target.name,
            accept: JSON,
            content_type: None,
            body: Bytes::new(),
            read: Read::Discard,
        }
    }

    /// With `value` as its body.
    pub(crate) fn body(mut self, content_type: &'static str, value: &Value) -> Self {
        self.content_type = Some(content_type);
        self.body = value.to_string().into();
        self
    }

    /// With `object` as its body and its answer, in `encoding`.
    pub(crate) fn object(mut self, object: &Body, encoding: Encoding) -> Self {
        let (content_type, body) = object.encode(encoding);
        self.content_type = Some(content_type);
        self.body = body;
        self.accept(content_type)
    }

    /// With this `accept` header.
    pub(crate) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// With the response body read in this way.
    pub(crate) fn read(mut self, read: Read) -> Self {
        self.read = read;
        self
    }
}

// === impl Reply ===

impl Reply {
    /// The body as JSON, if the request succeeded and the body is JSON.
    pub(crate) fn object(&self) -> Option<Value> {
        self.status.is_success().then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }
}
