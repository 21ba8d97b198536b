//! Requests of the administrator that are not part of the load: they make what it needs, and remove it.
//!
//! They carry an unsampled `traceparent`, so that they leave no spans in the capture.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use spangate_trace::TraceContext;
use tokio::time::{Instant, sleep, timeout};

use super::{
    EngineError, Site,
    exchange::{Progress, exchange},
};
use crate::{
    Verb,
    request::{JSON, Read, Reply, Request},
    seed::{Purpose, ids},
    target::Target,
};

/// Time for one request.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long something is waited for, or tried again, that a cluster refuses while it is not ready yet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// Objects that one request deletes: the API server deletes them one after the other, and ends every request
/// after a minute.
const PAGE: u32 = 500;

/// Sends requests as the administrator.
pub(super) struct Admin<'a> {
    pub(super) site: &'a Site,
    purpose: Purpose,
    sent: AtomicU64,
}

/// Time that is left for something to come true.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(Instant);

// === impl Admin ===

impl<'a> Admin<'a> {
    pub(super) fn new(site: &'a Site, purpose: Purpose) -> Self {
        Self { site, purpose, sent: AtomicU64::new(0) }
    }

    /// Reads an object; nothing if there is none.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Value>, EngineError> {
        let request = Request::new(Verb::Get, Method::GET, Target::path(path)).read(Read::Keep);
        match self.call(&request).await {
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            answer => Ok(answer?.object()),
        }
    }

    /// Makes an object; `Conflict` if it is there already.
    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<Created, EngineError> {
        let request = Request::new(Verb::Create, Method::POST, Target::path(path)).body(JSON, object);
        self.send(&request).await
    }

    /// Makes an object, or makes one that is there to be so.
    pub(super) async fn apply(&self, path: &str, object: &Value) -> Result<(), EngineError> {
        let target = Target::path(path).query("fieldManager", "spangate").query("force", "true");
        let request =
            Request::new(Verb::Apply, Method::PATCH, target).body("application/apply-patch+yaml", object);
        self.send(&request).await.map(drop)
    }

    /// Sends a request that makes something, again and again while a young cluster refuses it: a service account
    /// that has not been made yet is a 403, an API server that is not ready a 429 or a 5xx.
    pub(super) async fn send(&self, request: &Request) -> Result<Created, EngineError> {
        let request = request.clone().read(Read::Keep);
        let patience = Patience::new();
        loop {
            match self.call(&request).await {
                Err(EngineError::Refused { status: 409, .. }) => return Ok(Created::Conflict),
                Err(EngineError::Refused { status: 403 | 429 | 500.., .. }) if patience.wait().await => {}
                answer => return Ok(Created::New(answer?.object().unwrap_or_default())),
            }
        }
    }

    /// Deletes what may be gone already.
    pub(super) async fn delete(&self, path: &str) -> Result<(), EngineError> {
        let request = Request::new(Verb::Delete, Method::DELETE, Target::path(path)).read(Read::Keep);
        match self.call(&request).await {
            Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Deletes the objects of a collection that `selector` selects.
    pub(super) async fn delete_all(&self, path: &str, selector: &str) -> Result<(), EngineError> {
        #[derive(Deserialize)]
        struct List {
            metadata: Metadata,
        }

        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default, rename = "continue")]
            token: String,
        }

        let mut token = None;
        loop {
            let target = Target::path(path)
                .query("labelSelector", selector)
                .query("limit", PAGE.to_string())
                .query_some("continue", token);
            let request = Request::new(Verb::DeleteCollection, Method::DELETE, target).read(Read::Keep);
            let reply = match self.call(&request).await {
                // The collection itself is not there: its namespace or its definition has gone.
                Err(EngineError::Refused { status: 404, .. }) => return Ok(()),
                answer => answer?,
            };
            // What is answered is the page that was deleted.
            token = serde_json::from_slice::<List>(&reply.body).ok().map(|list| list.metadata.token);
            if token.as_deref().is_none_or(str::is_empty) {
                return Ok(());
            }
        }
    }

    /// Sends one request; what is not a success is an error.
    async fn call(&self, request: &Request) -> Result<Reply, EngineError> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let (trace_id, span_id) = ids(self.site.schedule.seed, self.purpose, number, 0);
        let context = Some(TraceContext::unsampled(trace_id, span_id));
        let unanswered = |reason| EngineError::Unanswered { what: what(request), reason };
        let mut progress = Progress::default();
        let client = self.site.senders.admin();
        let exchanged = exchange(client, &self.site.clock, request, context, &[], &mut progress);
        let reply = timeout(CALL_TIMEOUT, exchanged)
            .await
            .map_err(|_| unanswered(format!("nothing within {}s", CALL_TIMEOUT.as_secs())))?
            .map_err(unanswered)?;
        if reply.status.is_success() { Ok(reply) } else { Err(refused(request, &reply)) }
    }
}

/// What became of an object that was to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Created {
    /// It is there now, and looks like this.
    New(Value),
    /// There was one of this name.
    Conflict,
}

// === impl Patience ===

impl Patience {
    /// As much as there is.
    pub(super) fn new() -> Self {
        Self::of(PATIENCE)
    }

    pub(super) fn of(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// Waits a little; false when there is no time left.
    pub(super) async fn wait(self) -> bool {
        let left = Instant::now() < self.0;
        if left {
            sleep(PAUSE).await;
        }
        left
    }
}

/// Whether an object has the label of what Spangate makes.
pub(super) fn is_ours(object: &Value) -> bool {
    let (label, value) = crate::object::MANAGED_BY;
    object["metadata"]["labels"][label] == value
}

/// Metadata of something that the run makes.
pub(super) fn metadata(site: &Site, name: &str) -> Value {
    json!({"name": name, "labels": site.setting.labels()})
}

fn what(request: &Request) -> String {
    format!("{} {}", request.method, request.target)
}

pub(super) fn refused(request: &Request, reply: &Reply) -> EngineError {
    // Kubernetes answers with a `Status`; what stands before it may answer with anything.
    let message = serde_json::from_slice::<BTreeMap<String, Value>>(&reply.body)
        .ok()
        .and_then(|status| status.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&reply.body).chars().take(200).collect());
    EngineError::Refused { what: what(request), status: reply.status.as_u16(), message }
}

/// The refusal of an object that is there already.
pub(super) fn conflict(request: &Request) -> EngineError {
    let body = Bytes::from_static(b"there is one of this name, which Spangate did not make");
    refused(request, &Reply { status: StatusCode::CONFLICT, body })
}
