//! What runs in pods beside the load, in a namespace of its own: how its objects are made, and how it becomes ready.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::error::CommandError;

/// The namespace.
pub(crate) const NAMESPACE: &str = spangate_inject::WEBHOOK_SERVICE.namespace;
/// The label that nodes of the control plane have (kubeadm).
pub(crate) const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// How long pods may take to be ready, and to be gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Time between two looks at them.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Makes the namespace, unless it is there.
pub(crate) async fn namespace(client: &Client) -> Result<(), CommandError> {
    let object: Namespace = typed(json!({"metadata": {"name": NAMESPACE}}))?;
    match Api::all(client.clone()).create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        made => made.map(drop).map_err(request(&format!("make the namespace {NAMESPACE}"))),
    }
}

/// Makes an object in the namespace, of which we wrote the JSON ourselves.
pub(crate) async fn create<K>(client: &Client, object: Value) -> Result<K, CommandError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let action =
        format!("make the {} {}", K::kind(&()), object["metadata"]["name"].as_str().unwrap_or_default());
    let object: K = typed(object)?;
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &object).await.map_err(request(&action))
}

fn typed<K: DeserializeOwned>(object: Value) -> Result<K, CommandError> {
    serde_json::from_value(object)
        .map_err(|error| CommandError::bug("an object for the cluster is none of its kind").because(error))
}

/// Metadata of an object whose pods have the label `app` with the same value.
pub(crate) fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": NAMESPACE, "labels": labels(name)})
}

/// How those pods are labelled.
pub(crate) fn labels(name: &str) -> Value {
    json!({"app": name})
}

/// How those pods are selected.
pub(crate) fn selected(name: &str) -> ListParams {
    ListParams::default().labels(&format!("app={name}"))
}

/// A pod whose image no registry has, and which runs beside a control plane.
pub(crate) fn pod(container: Value) -> Value {
    let mut container = container;
    container["imagePullPolicy"] = "Never".into();
    json!({
        "containers": [container],
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "tolerations": [{"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"}],
    })
}

/// The pods of the name `app`.
pub(crate) fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Waits until the pod of `app` is ready; `stop` says of one that is not whether it ever will be.
pub(crate) async fn ready(
    client: &Client,
    app: &str,
    stop: impl Fn(&Pod) -> bool,
) -> Result<(), Option<Box<Pod>>> {
    let began = Instant::now();
    loop {
        // What cannot be asked now can be a moment later, until patience ends.
        let pod = pods(client).list(&selected(app)).await.ok().and_then(|pods| pods.items.into_iter().next());
        if pod.as_ref().is_some_and(is_ready) {
            return Ok(());
        }
        if pod.as_ref().is_some_and(&stop) || began.elapsed() > PATIENCE {
            return Err(pod.map(Box::new));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_ready(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    pod.metadata.deletion_timestamp.is_none() && statuses.into_iter().any(|status| status.ready)
}

/// Why a pod waits.
pub(crate) fn waiting(pod: Option<&Pod>) -> String {
    let Some(pod) = pod else { return "no pod was made for it".to_owned() };
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let state = containers.and_then(|all| all.first()?.state.as_ref()?.waiting.as_ref());
    let said = |reason: &Option<String>, message: &Option<String>| {
        [reason, message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ")
    };
    let conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
    let unmet = conditions.into_iter().find(|condition| condition.status != "True");
    match (state, unmet) {
        (Some(state), _) => said(&state.reason, &state.message),
        (None, Some(unmet)) => said(&unmet.reason, &unmet.message),
        (None, None) => "it does not listen".to_owned(),
    }
}

/// Says what was being done when a request failed.
pub(crate) fn request(action: &str) -> impl Fn(kube::Error) -> CommandError + use<> {
    let action = action.to_owned();
    move |error| CommandError::environment(format!("cannot {action}")).because(error)
}
