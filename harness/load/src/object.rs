//! Names, labels and bodies of the objects that the load works on.
//!
//! Bodies are what a real API server accepts, with or without a kubelet, a scheduler and controllers: pods
//! name a scheduler that does not exist, so that on a whole cluster they stay pending as well and the load
//! is on the API server alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use spangate_scenario::model::{Encoding, Resource, Sizes};

use crate::{
    protobuf,
    protobuf::{
        ConfigMap, Container, Deployment, DeploymentSpec, Event, EventSource, LabelSelector, ObjectMeta,
        ObjectReference, PROTOBUF, Pod, PodSpec, PodTemplateSpec, Secret,
    },
    request::JSON,
    seed,
};

/// Label of everything that Spangate makes.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "spangate");
/// Label with the name of the run.
pub const RUN_LABEL: &str = "spangate.io/run";
/// Label that tells the collection of one `deleteCollection` from the others; its value is the number of
/// the arrival.
pub const COLLECTION_LABEL: &str = "spangate.io/collection";
/// Annotation with the number of the arrival that wrote the object last, so that no change is a no-op;
/// [`PREPARED`] where that was before the load.
pub const REVISION: &str = "spangate.io/revision";
/// Value of [`REVISION`] before the load.
pub const PREPARED: &str = "prepared";

/// How names of objects begin that exist before load starts, for reads and changes.
pub const POOL: &str = "pool-";
/// How names of objects begin that the load makes.
pub const MADE: &str = "load-";

/// The group of the custom resources that the load works on.
pub(crate) const GROUP: &str = "load.spangate.dev";
/// Annotation that holds the payload where the resource itself has no room for one.
const PAYLOAD: &str = "spangate.io/payload";
/// Name of the scheduler that never comes.
const SCHEDULER: &str = "spangate-none";
/// An image that every node could run; nothing pulls it.
const IMAGE: &str = "registry.k8s.io/pause:3.10";
/// An image that nodes of Kubernetes 1.37 have, as that of the sandboxes of all pods
/// (kubeadm, `app/constants/constants.go`).
const PAUSE: &str = "registry.k8s.io/pause:3.10.2";

/// One object to make.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object<'a> {
    pub(crate) resource: Resource,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// What its payload's size is drawn from.
    pub(crate) sizes: &'a Sizes,
    /// Labels beside those that every object has.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// Number of the arrival that writes it; none before the load.
    pub(crate) revision: Option<u64>,
}

/// What an API server is sent of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Body {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Content {
    ConfigMap(ConfigMap),
    Secret(Secret),
    Pod(Pod),
    Deployment(Deployment),
    Event(Event),
    Widget(Widget),
}

/// The custom resource. It has no protobuf form.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Widget {
    metadata: ObjectMeta,
    spec: BTreeMap<String, String>,
}

// === impl Object ===

impl Object<'_> {
    /// The whole object, with the labels that `setting` gives to every object of the run.
    pub(crate) fn body(&self, run_labels: BTreeMap<String, String>, seed: u64) -> Body {
        let Self { resource, namespace, name, sizes, labels, revision } = *self;
        let written = revision.map(|revision| format!("{name}/{revision}"));
        let size = seed::size(seed, name, sizes).min(resource.payload_limit().0);
        // A put changes the payload and not only the revision.
        let payload = seed::payload(seed, written.as_deref().unwrap_or(name), size);
        let mut metadata = ObjectMeta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: run_labels,
            annotations: BTreeMap::new(),
        };
        metadata.labels.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        let revision = revision.map_or_else(|| PREPARED.to_owned(), |revision| revision.to_string());
        metadata.annotations.insert(REVISION.to_owned(), revision);
        let (api_version, kind) = kind(resource);
        Body { api_version, kind, content: Content::new(resource, metadata, payload) }
    }
}

// === impl Body ===

impl Body {
    /// The object as a tree of JSON.
    pub(crate) fn value(&self) -> Value {
        serde_json::to_value(self).expect("the keys are text and nothing in it can fail")
    }

    /// The media type and the bytes in `encoding`; JSON for what has no other.
    pub(crate) fn encode(&self, encoding: Encoding) -> (&'static str, Bytes) {
        if encoding == Encoding::Json {
            return (JSON, self.json());
        }
        let bytes = match &self.content {
            Content::ConfigMap(object) => self.envelope(object),
            Content::Secret(object) => self.envelope(object),
            Content::Pod(object) => self.envelope(object),
            Content::Deployment(object) => self.envelope(object),
            Content::Event(object) => self.envelope(object),
            Content::Widget(_) => return (JSON, self.json()),
        };
        (PROTOBUF, bytes)
    }

    fn json(&self) -> Bytes {
        serde_json::to_vec(self).expect("the keys are text and nothing in it can fail").into()
    }

    fn envelope(&self, object: &impl prost::Message) -> Bytes {
        protobuf::envelope(self.api_version, self.kind, object)
    }
}

// === impl Content ===

impl Content {
    fn new(resource: Resource, mut metadata: ObjectMeta, payload: String) -> Self {
        let key = "payload".to_owned();
        match resource {
            Resource::Configmaps => {
                Self::ConfigMap(ConfigMap { metadata: Some(metadata), data: [(key, payload)].into() })
            }
            Resource::Secrets => {
                Self::Secret(Secret { metadata: Some(metadata), string_data: [(key, payload)].into() })
            }
            Resource::Widgets => Self::Widget(Widget { metadata, spec: [(key, payload)].into() }),
            Resource::Pods | Resource::Deployments | Resource::Events => {
                metadata.annotations.insert(PAYLOAD.to_owned(), payload);
                match resource {
                    Resource::Deployments => Self::Deployment(deployment(metadata)),
                    Resource::Events => Self::Event(event(metadata)),
                    _ => Self::Pod(Pod { metadata: Some(metadata), spec: Some(pod_spec()) }),
                }
            }
        }
    }
}

fn deployment(metadata: ObjectMeta) -> Deployment {
    // `app` is what `kubectl create deployment` selects by.
    let labels = BTreeMap::from([("app".to_owned(), metadata.name.clone())]);
    let selector = LabelSelector { match_labels: labels.clone() };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
        spec: Some(pod_spec()),
    };
    let spec = DeploymentSpec { replicas: Some(1), selector: Some(selector), template: Some(template) };
    Deployment { metadata: Some(metadata), spec: Some(spec) }
}

fn event(metadata: ObjectMeta) -> Event {
    Event {
        involved_object: Some(ObjectReference {
            kind: "Pod".to_owned(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            api_version: "v1".to_owned(),
        }),
        reason: "Load".to_owned(),
        message: "made by the load of a scenario".to_owned(),
        source: Some(EventSource { component: "spangate".to_owned() }),
        severity: "Normal".to_owned(),
        metadata: Some(metadata),
    }
}

/// A pod that nothing schedules. Without the service account admission plugin there is no token to mount, and
/// the account has to be named: with it, a pod that is put back without one would be a forbidden change.
fn pod_spec() -> PodSpec {
    PodSpec {
        containers: vec![Container { name: "main".to_owned(), image: IMAGE.to_owned() }],
        service_account_name: "default".to_owned(),
        automount_service_account_token: Some(false),
        scheduler_name: SCHEDULER.to_owned(),
    }
}

/// Lets the pods of this spec be scheduled, and run.
pub(crate) fn let_run(pod_spec: &mut serde_json::Value) {
    if let Some(fields) = pod_spec.as_object_mut() {
        fields.remove("schedulerName");
    }
    pod_spec["containers"][0]["image"] = PAUSE.into();
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
    format!("{POOL}{index}")
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
pub fn made(number: u64, step: usize) -> String {
    format!("{MADE}{number}-{step}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spangate_scenario::units::Size;

    use super::*;
    use crate::testing;

    fn object(resource: Resource, size: u64, revision: Option<u64>) -> Body {
        let labels = [("team".to_owned(), "a".to_owned())].into();
        let sizes = Sizes::Fixed(Size(size));
        testing::setting().body(&Object {
            resource,
            namespace: "ns",
            name: "x",
            sizes: &sizes,
            labels: &labels,
            revision,
        })
    }

    fn body(resource: Resource, size: u64) -> Value {
        object(resource, size, None).value()
    }

    #[test]
    fn every_body_says_what_it_is_and_whose() {
        for resource in Resource::ALL {
            let body = body(resource, 10);
            let (api_version, kind) = kind(resource);
            assert_eq!((body["apiVersion"].as_str(), body["kind"].as_str()), (Some(api_version), Some(kind)));
            assert_eq!(
                (&body["metadata"]["name"], &body["metadata"]["namespace"]),
                (&json!("x"), &json!("ns"))
            );
            assert_eq!(
                body["metadata"]["labels"],
                json!({MANAGED_BY.0: MANAGED_BY.1, RUN_LABEL: "test-run", "team": "a"})
            );
            assert_eq!(body["metadata"]["annotations"][REVISION], PREPARED);
            assert_eq!(
                object(resource, 10, Some(4)).value()["metadata"]["annotations"][REVISION],
                "4",
                "who writes it during the load is known"
            );
        }
    }

    #[test]
    fn the_size_is_that_of_the_payload() {
        for resource in Resource::ALL {
            let grown = body(resource, 2048).to_string().len() - body(resource, 0).to_string().len();
            assert_eq!(grown, 2048, "{resource:?}");
            for encoding in [Encoding::Json, Encoding::Protobuf] {
                let length = |size| object(resource, size, None).encode(encoding).1.len();
                assert!((2048..2060).contains(&(length(2048) - length(0))), "{resource:?} in {encoding:?}");
            }
        }
        assert_eq!(body(Resource::Configmaps, 2048)["data"]["payload"].as_str().unwrap().len(), 2048);
    }

    #[test]
    fn no_payload_is_larger_than_the_resource_holds() {
        let limit = usize::try_from(Resource::Pods.payload_limit().0).unwrap();
        let body = body(Resource::Pods, 1 << 20);
        assert_eq!(body["metadata"]["annotations"][PAYLOAD].as_str().unwrap().len(), limit);
    }

    #[test]
    fn a_body_is_the_same_each_time_and_another_when_it_is_written_again() {
        assert_eq!(body(Resource::Pods, 100), body(Resource::Pods, 100));
        let [first, second] =
            [1, 2].map(|revision| object(Resource::Configmaps, 100, Some(revision)).value());
        assert_ne!(first["data"], second["data"]);
    }

    #[test]
    fn custom_resources_are_json_and_all_others_have_their_envelope() {
        for resource in Resource::ALL {
            let (media_type, bytes) = object(resource, 10, None).encode(Encoding::Protobuf);
            let envelope = bytes.starts_with(b"k8s\0");
            assert_eq!(
                (media_type, envelope),
                match resource {
                    Resource::Widgets => (JSON, false),
                    _ => (PROTOBUF, true),
                }
            );
        }
    }

    #[test]
    fn a_deployment_selects_its_own_pods() {
        let body = body(Resource::Deployments, 0);
        assert_eq!(body["spec"]["selector"]["matchLabels"], body["spec"]["template"]["metadata"]["labels"]);
        assert_eq!(body["spec"]["template"]["metadata"], json!({"labels": {"app": "x"}}));
    }
}
