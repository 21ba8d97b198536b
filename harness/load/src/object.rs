//! Names, labels and bodies of the objects that the load works on.
//!
//! Bodies are what a real API server accepts, with or without a kubelet, a scheduler and controllers: pods
//! name a scheduler that does not exist, so that on a whole cluster they stay pending as well and the load
//! is on the API server alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use spangate_scenario::model::{Load, Resource};

use crate::{seed::payload, target::Target};

/// Label of everything that Spangate makes.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "spangate");
/// Label with the name of the run.
pub const RUN_LABEL: &str = "spangate.io/run";
/// Label that tells the collection of one `deleteCollection` from the others; its value is the number of
/// the arrival.
pub const COLLECTION_LABEL: &str = "spangate.io/collection";
/// Annotation that every change sets to a new value, so that none is a no-op.
pub const REVISION: &str = "spangate.io/revision";

/// Annotation that holds the payload where the resource itself has no room for one.
const PAYLOAD: &str = "spangate.io/payload";
/// Name of the scheduler that never comes.
const SCHEDULER: &str = "spangate-none";
/// An image that every node could run; nothing pulls it.
const IMAGE: &str = "registry.k8s.io/pause:3.10";

/// What all operations of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The namespace that they work in.
    pub namespace: String,
    /// Objects of each resource that exist before load starts.
    pub objects: u32,
    /// Value of [`RUN_LABEL`]: at most 63 letters, digits, `-`, `_` and `.`.
    pub run: String,
    /// Seed of payloads.
    pub seed: u64,
}

/// One object to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object<'a> {
    pub(crate) resource: Resource,
    pub(crate) name: &'a str,
    /// Bytes of payload.
    pub(crate) size: u64,
    /// Labels beside those that every object has.
    pub(crate) labels: &'a BTreeMap<String, String>,
}

// === impl Setting ===

impl Setting {
    /// The setting of `load` for the run called `run`.
    pub fn new(load: &Load, run: impl Into<String>, seed: u64) -> Self {
        Self { namespace: load.namespace.clone(), objects: load.objects, run: run.into(), seed }
    }

    /// The collection of `resource`.
    pub(crate) fn collection(&self, resource: Resource) -> Target {
        Target::collection(&self.namespace, resource)
    }

    /// The selector of everything that the run made.
    pub fn selector(&self) -> String {
        format!("{RUN_LABEL}={}", self.run)
    }

    /// The labels that every object of the run has.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        [MANAGED_BY, (RUN_LABEL, self.run.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// The whole body of `object`.
    pub(crate) fn body(&self, object: &Object<'_>) -> Value {
        let Object { resource, name, size, labels } = *object;
        let payload = payload(self.seed, name, size);
        let mut all = self.labels();
        all.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        let mut annotations = Map::from_iter([(REVISION.to_owned(), json!("0"))]);
        if resource != Resource::Configmaps {
            annotations.insert(PAYLOAD.to_owned(), json!(payload));
        }
        let mut body = match resource {
            Resource::Configmaps => json!({"data": {"payload": payload}}),
            Resource::Secrets => json!({"stringData": {"payload": payload}}),
            Resource::Widgets => json!({"spec": {"payload": payload}}),
            Resource::Pods => json!({"spec": pod_spec()}),
            // `app` is what `kubectl create deployment` selects by.
            Resource::Deployments => json!({"spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec()},
            }}),
            Resource::Events => json!({
                "involvedObject": {
                    "apiVersion": "v1", "kind": "Pod", "namespace": self.namespace, "name": name,
                },
                "reason": "Load",
                "message": "made by the load of a scenario",
                "type": "Normal",
                "source": {"component": "spangate"},
            }),
        };
        let (api_version, kind) = kind(resource);
        body["apiVersion"] = json!(api_version);
        body["kind"] = json!(kind);
        body["metadata"] =
            json!({"name": name, "namespace": self.namespace, "labels": all, "annotations": annotations});
        body
    }
}

/// A pod that nothing schedules. Without the service account admission plugin there is no token to mount.
fn pod_spec() -> Value {
    json!({
        "automountServiceAccountToken": false,
        "schedulerName": SCHEDULER,
        "containers": [{"name": "main", "image": IMAGE}],
    })
}

/// `apiVersion` and `kind` of a resource.
pub(crate) const fn kind(resource: Resource) -> (&'static str, &'static str) {
    match resource {
        Resource::Configmaps => ("v1", "ConfigMap"),
        Resource::Pods => ("v1", "Pod"),
        Resource::Deployments => ("apps/v1", "Deployment"),
        Resource::Events => ("v1", "Event"),
        Resource::Secrets => ("v1", "Secret"),
        Resource::Widgets => ("load.spangate.dev/v1", "Widget"),
    }
}

/// Name of object `index` of those that exist before load starts.
pub(crate) fn pool(index: u32) -> String {
    format!("pool-{index}")
}

/// Name of the object that delete number `step` of arrival `number` deletes.
pub(crate) fn victim(number: u64, step: usize) -> String {
    format!("victim-{number}-{step}")
}

/// Name of object `index` of the collection that arrival `number` deletes.
pub(crate) fn member(number: u64, index: u32) -> String {
    format!("collection-{number}-{index}")
}

/// Name of the object that step `step` of arrival `number` makes.
pub(crate) fn made(number: u64, step: usize) -> String {
    format!("load-{number}-{step}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const ALL: [Resource; 4] =
        [Resource::Configmaps, Resource::Pods, Resource::Deployments, Resource::Events];

    fn body(resource: Resource, size: u64) -> Value {
        let labels = [("team".to_owned(), "a".to_owned())].into();
        testing::setting().body(&Object { resource, name: "x", size, labels: &labels })
    }

    #[test]
    fn every_body_says_what_it_is_and_whose() {
        for resource in ALL {
            let body = body(resource, 10);
            assert_eq!((body["apiVersion"].as_str(), body["kind"].as_str()), {
                let (api_version, kind) = kind(resource);
                (Some(api_version), Some(kind))
            });
            assert_eq!(body["metadata"]["name"], "x");
            assert_eq!(
                body["metadata"]["labels"],
                json!({MANAGED_BY.0: MANAGED_BY.1, RUN_LABEL: "test-run", "team": "a"})
            );
            assert_eq!(body["metadata"]["annotations"][REVISION], "0");
        }
    }

    #[test]
    fn the_size_is_that_of_the_payload() {
        for resource in ALL {
            let grown = body(resource, 2048).to_string().len() - body(resource, 0).to_string().len();
            assert_eq!(grown, 2048, "{resource:?}");
        }
        assert_eq!(body(Resource::Configmaps, 2048)["data"]["payload"].as_str().unwrap().len(), 2048);
    }

    #[test]
    fn a_body_is_the_same_each_time() {
        assert_eq!(body(Resource::Pods, 100), body(Resource::Pods, 100));
    }

    #[test]
    fn a_deployment_selects_its_own_pods() {
        let body = body(Resource::Deployments, 0);
        assert_eq!(body["spec"]["selector"]["matchLabels"], body["spec"]["template"]["metadata"]["labels"]);
    }
}
