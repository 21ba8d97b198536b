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
    object::{self, Object, REVISION},
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

/// The requests of `command`; the pods of what it makes are scheduled if it is made to run.
pub(super) fn of(command: &Command, runs: bool, arrival: &Arrival, setting: &Setting) -> Box<dyn Steps> {
    match command {
        Command::Discovery => Box::new(Fixed::new(["/api", "/apis"].map(discovery).into())),
        Command::Create(resource, name) => {
            Box::new(Fixed::new(vec![create(*resource, name, runs, arrival, setting)]))
        }
        Command::Apply(resource, name, step) => {
            let manifest = manifest(*resource, name, runs, arrival, setting);
            let revision = format!("{}-{step}", arrival.number);
            Box::new(Apply::new(setting.collection(*resource, arrival), name, manifest, &revision))
        }
        Command::Get(resource) => {
            let collection = setting.collection(*resource, arrival);
            Box::new(Pages::of(collection.query("limit", CHUNK.to_string()), TABLE))
        }
        Command::RolloutStatus(name) => Box::new(Rollout::new(name, arrival, setting)),
        Command::Scale(name) => Box::new(Scale::new(name.as_deref(), arrival, setting)),
        Command::Delete { resource, name, .. } => Box::new(Delete::new(*resource, name, arrival, setting)),
    }
}

fn discovery(path: &str) -> Request {
    let target = Target::path(path).query("timeout", "32s");
    Request::new(Verb::Discovery, Method::GET, target).accept(DISCOVERY)
}

fn manifest(
    resource: Resource,
    name: &str,
    runs: bool,
    arrival: &Arrival,
    setting: &Setting,
) -> serde_json::Value {
    let object = Object {
        resource,
        namespace: setting.namespaces.of_arrival(arrival),
        name,
        sizes: &SIZE,
        labels: &BTreeMap::new(),
        revision: Some(arrival.number),
    };
    let mut manifest = setting.body(&object).value();
    if runs && resource == Resource::Deployments {
        object::let_run(&mut manifest["spec"]["template"]["spec"]);
    }
    manifest
}

fn create(resource: Resource, name: &str, runs: bool, arrival: &Arrival, setting: &Setting) -> Request {
    let body = manifest(resource, name, runs, arrival, setting);
    let target = setting
        .collection(resource, arrival)
        .query("fieldManager", "kubectl-create")
        .query("fieldValidation", "Strict");
    Request::new(Verb::Create, Method::POST, target).body(JSON, &body)
}

/// A watch on one object, as client-go's informer asks for it.
fn watched(collection: Target, name: &str, arrival: &Arrival) -> Target {
    watch::with_initial_events(collection)
        .query("watch", "true")
        .query("fieldSelector", format!("metadata.name={name}"))
        // client-go's reflector draws from five to ten minutes.
        .query("timeoutSeconds", (300 + arrival.number % 300).to_string())
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

/// `kubectl rollout status`: GET of the deployment, then a watch until its pods are available
/// (`kubectl/pkg/cmd/rollout/rollout_status.go`).
struct Rollout {
    object: Target,
    collection: Target,
    watched: bool,
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
    fn new(collection: Target, name: &str, mut manifest: serde_json::Value, revision: &str) -> Self {
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

// === impl Rollout ===

impl Rollout {
    fn new(name: &str, arrival: &Arrival, setting: &Setting) -> Self {
        let collection = setting.collection(Resource::Deployments, arrival);
        let object = collection.clone().named(name);
        Self { object, collection: watched(collection, name, arrival), watched: false }
    }
}

impl Steps for Rollout {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        let Some(reply) = reply else {
            return Some(Request::new(Verb::Get, Method::GET, self.object.clone()).accept(ANY));
        };
        if self.watched || !reply.status.is_success() {
            return None;
        }
        self.watched = true;
        let watch = Request::new(Verb::WatchList, Method::GET, self.collection.clone());
        Some(watch.read(Read::UntilAvailable))
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
        Self { object, collection: watched(collection, name, arrival), state: DeleteState::Delete }
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
        let mut steps = of(command, false, &arrival(4), &setting());
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
    fn a_rollout_is_watched_until_the_pods_are_available() {
        let rollout = Command::RolloutStatus("x".to_owned());
        let sent = run(&rollout, &[200, 200]);
        assert_eq!((sent.len(), &sent[0]), (2, &format!("GET {DEPLOYMENTS}/x")));
        assert!(sent[1].contains("fieldSelector=metadata.name%3Dx"), "{}", sent[1]);
        assert_eq!(run(&rollout, &[404]).len(), 1);
    }

    #[test]
    fn only_what_is_waited_for_is_scheduled() {
        let spec = |runs| {
            let made = manifest(Resource::Deployments, "x", runs, &arrival(4), &setting());
            made["spec"]["template"]["spec"].clone()
        };
        assert_eq!(spec(false)["schedulerName"], "spangate-none");
        assert_eq!(spec(true)["schedulerName"], serde_json::Value::Null);
        assert_ne!(spec(true)["containers"][0]["image"], spec(false)["containers"][0]["image"]);
    }

    #[test]
    fn get_asks_for_tables_in_chunks() {
        let mut steps = of(&Command::Get(Resource::Pods), false, &arrival(0), &setting());
        let request = steps.next(None).unwrap();
        assert_eq!(
            (request.target.as_str(), request.accept),
            ("/api/v1/namespaces/ns/pods?limit=500", TABLE)
        );
    }
}
