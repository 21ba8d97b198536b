//! Makes what the load needs, and removes what it made.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use spangate_scenario::model::Resource;
use spangate_trace::TraceContext;
use tokio::time::{Instant, sleep, timeout};

use super::{
    EngineError, LoadEvent, Site,
    exchange::{Progress, exchange},
};
use crate::{
    Preparation, Verb,
    object::{MANAGED_BY, Object},
    preparation::{Prepared, SIZE},
    request::{JSON, Read, Reply, Request},
    seed::{Purpose, ids},
    target::Target,
};

/// Objects that are made at a time.
const PARALLEL: usize = 32;
/// Time for one request.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request is tried again that a cluster refuses while it is not ready yet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// Name of the role and its binding.
const ROLE: &str = "spangate-load";

const RESOURCES: [Resource; 4] =
    [Resource::Configmaps, Resource::Pods, Resource::Deployments, Resource::Events];

/// Makes the namespace, the rights and the objects.
pub(super) async fn prepare(
    site: &Site,
    preparation: &Preparation,
    owns_namespace: &AtomicBool,
) -> Result<(), EngineError> {
    let admin = Admin::new(site, Purpose::Prepare);
    if admin.namespace().await? {
        owns_namespace.store(true, Ordering::Relaxed);
    } else {
        // What an earlier run left there would collide with what this one makes.
        admin.remove(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)).await?;
    }
    if preparation.unprivileged {
        admin.grant().await?;
    }
    let total = preparation.objects.len();
    let mut made =
        stream::iter(&preparation.objects).map(|object| admin.make(object)).buffer_unordered(PARALLEL);
    let mut done = 0;
    while made.try_next().await?.is_some() {
        done += 1;
        // A caller who has gone away does not stop the work.
        let _ = site.events.send(LoadEvent::Prepared { done, total });
    }
    Ok(())
}

/// Removes what the run made; tries everything, and gives the first error.
pub(super) async fn cleanup(
    site: &Site,
    preparation: &Preparation,
    owns_namespace: &AtomicBool,
) -> Result<(), EngineError> {
    let admin = Admin::new(site, Purpose::Cleanup);
    let mut result = admin.remove(&site.setting.selector()).await;
    if preparation.unprivileged {
        for path in [admin.rbac("rolebindings"), admin.rbac("roles")] {
            let removed = admin.delete(&format!("{path}/{ROLE}")).await;
            result = result.and(removed);
        }
    }
    if owns_namespace.swap(false, Ordering::Relaxed) {
        let removed = admin.delete(&format!("/api/v1/namespaces/{}", site.setting.namespace)).await;
        result = result.and(removed);
    }
    result
}

/// Sends requests that are not part of the load.
struct Admin<'a> {
    site: &'a Site,
    purpose: Purpose,
    sent: AtomicU64,
}

// === impl Admin ===

impl<'a> Admin<'a> {
    fn new(site: &'a Site, purpose: Purpose) -> Self {
        Self { site, purpose, sent: AtomicU64::new(0) }
    }

    /// Makes the namespace; false if it was there.
    async fn namespace(&self) -> Result<bool, EngineError> {
        let name = &self.site.setting.namespace;
        let body = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": self.site.setting.labels()},
        });
        let path = "/api/v1/namespaces";
        if self.post(path, &body).await?.status != StatusCode::CONFLICT {
            return Ok(true);
        }
        let found = self.call(&get(&format!("{path}/{name}"))).await?.object().unwrap_or_default();
        if found["status"]["phase"] == "Terminating" {
            return Err(EngineError::Terminating(name.clone()));
        }
        Ok(false)
    }

    /// Gives the unprivileged user what the operations need, and waits until RBAC knows.
    async fn grant(&self) -> Result<(), EngineError> {
        let user = &self.site.unprivileged_user;
        let namespace = &self.site.setting.namespace;
        let metadata = json!({"name": ROLE, "namespace": namespace, "labels": self.site.setting.labels()});
        let verbs = ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"];
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps", "pods", "events"], "verbs": verbs},
                {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": verbs},
            ],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        self.post(&self.rbac("roles"), &role).await?;
        self.post(&self.rbac("rolebindings"), &binding).await?;
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "resourceAttributes": {"namespace": namespace, "verb": "create", "resource": "configmaps"},
            },
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review);
            let answer = self.call(&request).await?.object().unwrap_or_default();
            if answer["status"]["allowed"] == true {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(EngineError::NoRights { user: user.clone(), namespace: namespace.clone() });
            }
            sleep(PAUSE).await;
        }
    }

    /// Makes one object.
    async fn make(&self, prepared: &Prepared) -> Result<(), EngineError> {
        let Prepared { resource, name, labels } = prepared;
        let body = self.site.setting.body(&Object { resource: *resource, name, size: SIZE, labels });
        let path = self.site.setting.collection(*resource).to_string();
        let reply = self.post(&path, &body).await?;
        if reply.status.is_success() { Ok(()) } else { Err(refused(&post(&path, &body), &reply)) }
    }

    /// Removes the objects of `selector`.
    async fn remove(&self, selector: &str) -> Result<(), EngineError> {
        let mut result = Ok(());
        for resource in RESOURCES {
            let target = self.site.setting.collection(resource).query("labelSelector", selector);
            let removed = self.delete(&target.to_string()).await;
            result = result.and(removed);
        }
        result
    }

    /// Deletes what may be gone already.
    async fn delete(&self, path: &str) -> Result<(), EngineError> {
        let request = Request::new(Verb::Delete, Method::DELETE, Target::path(path)).read(Read::Keep);
        match self.call(&request).await {
            Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            result => result.map(drop),
        }
    }

    /// The collection of a kind of RBAC object.
    fn rbac(&self, kind: &str) -> String {
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/{kind}", self.site.setting.namespace)
    }

    /// Makes an object that may be there already.
    ///
    /// Tries again while a young cluster refuses: a service account that has not been made yet is a 403, an
    /// API server that is not ready a 429 or a 5xx.
    async fn post(&self, path: &str, body: &Value) -> Result<Reply, EngineError> {
        let request = post(path, body);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.call(&request).await {
                Err(EngineError::Refused { status: 409, .. }) => {
                    return Ok(Reply { status: StatusCode::CONFLICT, body: Bytes::new() });
                }
                Err(EngineError::Refused { status: 403 | 429 | 500.., .. }) if Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Sends one request as the administrator.
    async fn call(&self, request: &Request) -> Result<Reply, EngineError> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let (trace_id, span_id) = ids(self.site.schedule.seed, self.purpose, number, 0);
        let context = TraceContext::unsampled(trace_id, span_id);
        let unanswered = |reason| EngineError::Unanswered { what: what(request), reason };
        let mut progress = Progress::default();
        let exchanged = exchange(&self.site.admin, &self.site.clock, request, Some(context), &mut progress);
        let reply = timeout(CALL_TIMEOUT, exchanged)
            .await
            .map_err(|_| unanswered(format!("nothing within {}s", CALL_TIMEOUT.as_secs())))?
            .map_err(unanswered)?;
        if reply.status.is_success() { Ok(reply) } else { Err(refused(request, &reply)) }
    }
}

fn get(path: &str) -> Request {
    Request::new(Verb::Get, Method::GET, Target::path(path)).read(Read::Keep)
}

fn post(path: &str, body: &Value) -> Request {
    Request::new(Verb::Create, Method::POST, Target::path(path)).body(JSON, body).read(Read::Keep)
}

fn what(request: &Request) -> String {
    format!("{} {}", request.method, request.target)
}

fn refused(request: &Request, reply: &Reply) -> EngineError {
    // Kubernetes answers with a `Status`; what stands before it may answer with anything.
    let message = serde_json::from_slice::<BTreeMap<String, Value>>(&reply.body)
        .ok()
        .and_then(|status| status.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&reply.body).chars().take(200).collect());
    EngineError::Refused { what: what(request), status: reply.status.as_u16(), message }
}
