//! The requests of each command.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::json;
use spangate_scenario::{
    model::{Resource, Sizes},
    units::Size,
};

use super::Command;
use crate::{
    Arrival, Setting, Verb,
    object::{Body, Object, REVISION},
    operation::{Fixed, Steps, read::Pages, watch},
    request::{JSON, Read, Reply, Request},
    target::Target,
};

/// `kubectl`'s `--server-side=false` field manager (`kubectl/pkg/cmd/apply`).
const APPLY_MANAGER: &str = "kubectl-client-side-apply";
/// Annotation that `kubectl apply` keeps the manifest in (`api/core/v1`).
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// `client-go/discovery`.
const DISCOVERY: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
/// `kubectl/pkg/cmd/get`.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                     application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
/// `client-go/rest` without a content type of its own.
const ANY: &str = "application/json, */*";
/// `kubectl get --chunk-size`.
const CHUNK: u32 = 500;
/// Bytes of payload of what the commands make.
const SIZE: Sizes = Sizes::Fixed(Size(256));

/// The requests of `command`.
pub(super) fn of(command: &Command, arrival: &Arrival, setting: &Setting) -> Box<dyn Steps> {
    match command {
        Command::Discovery => Box::new(Fixed::new(["/api", "/apis"].map(discovery).into())),
        Command::Create(resource, name) => {
            Box::new(Fixed::new(vec![create(*resource, name, arrival, setting)]))
        }
        Command::Apply(resource, name, step) => {
            Box::new(Apply::new(*resource, name, &format!("{}-{step}", arrival.number), arrival, setting))
        }
        Command::Get(resource) => {
            let collection = setting.collection(*resource, arrival);
            Box::new(Pages::of(collection.query("limit", CHUNK.to_string()), TABLE))
        }
        Command::Scale(name) => Box::new(Scale::new(name.as_deref(), arrival, setting)),
        Command::Delete { resource, name, .. } => Box::new(Delete::new(*resource, name, arrival, setting)),
    }
}

fn discovery(path: &str) -> Request {
    let target = Target::path(path).query("timeout", "32s");
    Request::new(Verb::Discovery, Method::GET, target).accept(DISCOVERY)
}

fn body(resource: Resource, name: &str, arrival: &Arrival, setting: &Setting) -> Body {
    setting.body(&Object {
        resource,
        namespace: setting.namespaces.of_arrival(arrival),
        name,
        sizes: &SIZE,
        labels: &BTreeMap::new(),
        revision: Some(arrival.number),
    })
}

fn create(resource: Resource, name: &str, arrival: &Arrival, setting: &Setting) -> Request {
    let body = body(resource, name, arrival, setting).value();
    let target = setting
        .collection(resource, arrival)
        .query("fieldManager", "kubectl-create")
        .query("fieldValidation", "Strict");
    Request::new(Verb::Create, Method::POST, target).body(JSON, &body)
}

/// `kubectl apply`: the index of schemas, the object, then POST or PATCH.
struct Apply {
    object: Target,
    post: Request,
    patch: Request,
    state: ApplyState,
}

enum ApplyState {
    Schemas,
    Get,
    Write,
}

/// `kubectl scale`: GET of the object, then PATCH of its scale.
struct Scale {
    object: Target,
    replicas: u64,
    patched: bool,
}

/// `kubectl delete --wait`: DELETE, GET, and if the object is still there a watch until it is gone.
struct Delete {
    object: Target,
    collection: Target,
    state: DeleteState,
}

enum DeleteState {
    Delete,
    Get,
    Watch,
}

// === impl Apply ===

impl Apply {
    fn new(resource: Resource, name: &str, revision: &str, arrival: &Arrival, setting: &Setting) -> Self {
        let collection = setting.collection(resource, arrival);
        let mut manifest = body(resource, name, arrival, setting).value();
        manifest["metadata"]["annotations"][REVISION] = json!(revision);
        let applied = format!("{manifest}\n");
        let patch = json!({"metadata": {"annotations": {LAST_APPLIED: applied, REVISION: revision}}});
        manifest["metadata"]["annotations"][LAST_APPLIED] = json!(applied);
        let object = collection.clone().named(name);
        let strict =
            |target: Target| target.query("fieldManager", APPLY_MANAGER).query("fieldValidation", "Strict");
        Self {
            post: Request::new(Verb::Create, Method::POST, strict(collection)).body(JSON, &manifest),
            patch: Request::new(Verb::Patch, Method::PATCH, strict(object.clone()))
                .body("application/strategic-merge-patch+json", &patch),
            object,
            state: ApplyState::Schemas,
        }
    }
}

impl Steps for Apply {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        match (&self.state, reply.map(|reply| reply.status)) {
            (ApplyState::Schemas, None) => {
                self.state = ApplyState::Get;
                // The schema itself comes from kubectl's cache, where its hash is the key.
                let target = Target::path("/openapi/v3").query("timeout", "32s");
                Some(Request::new(Verb::Discovery, Method::GET, target).accept(ANY))
            }
            // kubectl goes on without schemas.
            (ApplyState::Get, Some(_)) => {
                self.state = ApplyState::Write;
                Some(Request::new(Verb::Get, Method::GET, self.object.clone()))
            }
            (ApplyState::Write, Some(status)) => {
                self.state = ApplyState::Schemas;
                match status {
                    StatusCode::OK => Some(self.patch.clone()),
                    StatusCode::NOT_FOUND => Some(self.post.clone()),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

// === impl Scale ===

impl Scale {
    fn new(name: Option<&str>, arrival: &Arrival, setting: &Setting) -> Self {
        let object = match name {
            Some(name) => setting.collection(Resource::Deployments, arrival).named(name),
            None => setting.chosen(Resource::Deployments, None, arrival),
        };
        // Deployments are made with one replica, so two and more is always a change of a new one.
        Self { object, replicas: 2 + arrival.number % 8, patched: false }
    }
}

impl Steps for Scale {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        let Some(reply) = reply else {
            return Some(Request::new(Verb::Get, Method::GET, self.object.clone()));
        };
        if self.patched || !reply.status.is_success() {
            return None;
        }
        self.patched = true;
        let target = self.object.clone().subresource("scale");
        let patch = json!({"spec": {"replicas": self.replicas}});
        Some(
            Request::new(Verb::Patch, Method::PATCH, target)
                .accept(ANY)
                .body("application/merge-patch+json", &patch),
        )
    }
}

// === impl Delete ===

impl Delete {
    fn new(resource: Resource, name: &str, arrival: &Arrival, setting: &Setting) -> Self {
        let collection = setting.collection(resource, arrival);
        let object = collection.clone().named(name);
        let watched = watch::with_initial_events(collection)
            .query("watch", "true")
            .query("fieldSelector", format!("metadata.name={name}"))
            // client-go's reflector draws from five to ten minutes.
            .query("timeoutSeconds", (300 + arrival.number % 300).to_string());
        Self { object, collection: watched, state: DeleteState::Delete }
    }
}

impl Steps for Delete {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        match (&self.state, reply.map(|reply| reply.status)) {
            (DeleteState::Delete, None) => {
                self.state = DeleteState::Get;
                let options = json!({"propagationPolicy": "Background"});
                Some(Request::new(Verb::Delete, Method::DELETE, self.object.clone()).body(JSON, &options))
            }
            (DeleteState::Get, Some(status)) if status.is_success() => {
                self.state = DeleteState::Watch;
                Some(Request::new(Verb::Get, Method::GET, self.object.clone()))
            }
            (DeleteState::Watch, Some(StatusCode::OK)) => {
                self.state = DeleteState::Delete;
                Some(
                    Request::new(Verb::WatchList, Method::GET, self.collection.clone())
                        .read(Read::UntilDeleted),
                )
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arrival, reply, setting};

    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ns/deployments";

    /// Runs a command against these statuses; gives `METHOD target` of each request.
    fn run(command: &Command, statuses: &[u16]) -> Vec<String> {
        let mut steps = of(command, &arrival(4), &setting());
        let mut sent = Vec::new();
        let mut next = steps.next(None);
        let mut statuses = statuses.iter();
        while let Some(request) = next {
            sent.push(format!("{} {}", request.method, request.target));
            let Some(status) = statuses.next() else { return sent };
            next = steps.next(Some(&reply(*status, "{}")));
        }
        assert_eq!(statuses.next(), None, "the command ended early: {sent:?}");
        sent
    }

    #[test]
    fn apply_creates_what_is_missing() {
        let apply = Command::Apply(Resource::Deployments, "x".to_owned(), 0);
        assert_eq!(
            run(&apply, &[200, 404, 201]),
            [
                "GET /openapi/v3?timeout=32s".to_owned(),
                format!("GET {DEPLOYMENTS}/x"),
                format!("POST {DEPLOYMENTS}?fieldManager=kubectl-client-side-apply&fieldValidation=Strict"),
            ]
        );
    }

    #[test]
    fn apply_patches_what_is_there() {
        let apply = Command::Apply(Resource::Deployments, "x".to_owned(), 0);
        assert_eq!(
            run(&apply, &[200, 200, 200])[2],
            format!("PATCH {DEPLOYMENTS}/x?fieldManager=kubectl-client-side-apply&fieldValidation=Strict"),
        );
        assert_eq!(run(&apply, &[200, 500]).len(), 2);
    }

    #[test]
    fn scale_patches_the_subresource() {
        let scale = Command::Scale(Some("x".to_owned()));
        assert_eq!(
            run(&scale, &[200, 200]),
            [format!("GET {DEPLOYMENTS}/x"), format!("PATCH {DEPLOYMENTS}/x/scale")]
        );
        assert_eq!(run(&scale, &[404]).len(), 1);
    }

    #[test]
    fn delete_watches_only_what_is_still_there() {
        let delete =
            Command::Delete { resource: Resource::Deployments, name: "x".to_owned(), prepared: true };
        assert_eq!(
            run(&delete, &[200, 404]),
            [format!("DELETE {DEPLOYMENTS}/x"), format!("GET {DEPLOYMENTS}/x")]
        );
        assert_eq!(
            run(&delete, &[200, 200, 200])[2],
            format!(
                "GET {DEPLOYMENTS}?allowWatchBookmarks=true&fieldSelector=metadata.name%3Dx&\
                 resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=304&watch=true"
            )
        );
        assert_eq!(run(&delete, &[404]).len(), 1);
    }

    #[test]
    fn get_asks_for_tables_in_chunks() {
        let mut steps = of(&Command::Get(Resource::Pods), &arrival(0), &setting());
        let request = steps.next(None).unwrap();
        assert_eq!(
            (request.target.as_str(), request.accept),
            ("/api/v1/namespaces/ns/pods?limit=500", TABLE)
        );
    }
}
