//! The objects of a Collector's pod.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};
use spangate_scenario::model::{self, ResourceList, Workload};

use crate::{
    collector::Wired,
    pods::{self, CONTROL_PLANE},
};

/// The name of every object of the Collector, of its container and its process.
pub(crate) const NAME: &str = "otelcol";
/// Where its configuration is mounted.
const CONFIG: &str = "/etc/otelcol";
/// The key of the configuration.
const FILE: &str = "otelcol.yaml";
/// Where it writes files.
pub(super) const FILES: &str = "/var/lib/otelcol";

/// The Collector's configuration.
pub(super) fn config_map(yaml: &str) -> Value {
    json!({"metadata": pods::metadata(NAME), "data": {FILE: yaml}})
}

/// What keeps its pod running.
pub(super) fn workload(collector: &model::Collector, image: &str, wired: &Wired, grace: u64) -> Value {
    let kind = collector.kind.unwrap_or_default();
    let mut args = vec![format!("--config=file:{CONFIG}/{FILE}")];
    if !collector.feature_gates.is_empty() {
        args.push(format!("--feature-gates={}", spangate_cluster::local::gates(&collector.feature_gates)));
    }
    let env = collector.env.iter().map(|(name, value)| json!({"name": name, "value": value}));
    let container = json!({
        "name": NAME,
        "image": image,
        "args": args,
        "env": env.collect::<Vec<_>>(),
        "resources": {
            "requests": amounts(&collector.resources.requests),
            "limits": amounts(&collector.resources.limits),
        },
        "readinessProbe": {"tcpSocket": {"port": wired.grpc.port()}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG, "readOnly": true},
            {"name": "files", "mountPath": FILES},
        ],
    });
    let mut pod = pods::pod(container);
    pod["terminationGracePeriodSeconds"] = grace.into();
    pod["volumes"] =
        json!([{"name": "config", "configMap": {"name": NAME}}, {"name": "files", "emptyDir": {}}]);
    // There its process and its log are looked for.
    pod["nodeSelector"] = json!({CONTROL_PLANE: ""});
    let mut spec = json!({"selector": {"matchLabels": pods::labels(NAME)}});
    match kind {
        Workload::DaemonSet => pod["hostNetwork"] = true.into(),
        Workload::Deployment => spec["replicas"] = 1.into(),
    }
    spec["template"] = json!({"metadata": {"labels": pods::labels(NAME)}, "spec": pod});
    json!({"metadata": pods::metadata(NAME), "spec": spec})
}

/// What reaches the pod of a Deployment from outside of the cluster: every port that it listens on.
pub(super) fn service(ports: &[u16]) -> Value {
    let port = |port: &u16| json!({"name": format!("port-{port}"), "port": port, "targetPort": port});
    let ports: Vec<Value> = ports.iter().map(port).collect();
    let spec = json!({"type": "NodePort", "selector": pods::labels(NAME), "ports": ports});
    json!({"metadata": pods::metadata(NAME), "spec": spec})
}

/// The change that ends the pod, or has another one made.
pub(super) fn presence(kind: Workload, there: bool) -> Value {
    match kind {
        // No node has the label, so the pod fits none.
        Workload::DaemonSet => {
            let away = if there { Value::Null } else { "true".into() };
            json!({"spec": {"template": {"spec": {"nodeSelector": {"spangate.dev/away": away}}}}})
        }
        Workload::Deployment => json!({"spec": {"replicas": i32::from(there)}}),
    }
}

/// The ports that a wired configuration listens on.
pub(super) fn ports(wired: &Wired) -> Vec<u16> {
    let others = [Some(wired.metrics), wired.prometheus].into_iter().flatten();
    let mut ports: Vec<u16> =
        wired.receivers.iter().copied().chain(others).map(|address: SocketAddr| address.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn amounts(list: &ResourceList) -> Map<String, Value> {
    let amounts = [("memory", &list.memory), ("cpu", &list.cpu)].into_iter();
    amounts
        .filter_map(|(name, amount)| Some((name.to_owned(), amount.as_ref()?.to_string().into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};

    use super::*;

    fn wired() -> Wired {
        let at = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let (grpc, metrics) = (at(4317), at(8888));
        let receivers = vec![at(4317), at(4318)];
        Wired {
            yaml: String::new(),
            changes: vec![],
            left: vec![],
            grpc,
            receivers,
            metrics,
            prometheus: None,
        }
    }

    /// Scenario: the same Collector as a `DaemonSet` and as a Deployment, with a limit of memory.
    /// Guarantees: both are objects of their kind with the limit; only the `DaemonSet` is in the network of its node.
    #[test]
    fn a_limit_is_in_either_form() {
        let limits = ResourceList { memory: Some("64Mi".parse().unwrap()), cpu: None };
        let resources = model::Resources { limits, ..model::Resources::default() };
        let of = |kind| model::Collector {
            kind: Some(kind),
            resources: resources.clone(),
            ..model::Collector::default()
        };
        let value = |kind| workload(&of(kind), "an/image:1", &wired(), 30);
        let daemon_set: DaemonSet = serde_json::from_value(value(Workload::DaemonSet)).unwrap();
        let deployment: Deployment = serde_json::from_value(value(Workload::Deployment)).unwrap();
        let pods = [daemon_set.spec.template.spec, deployment.spec.template.spec];
        let [of_daemon_set, of_deployment] = pods.map(Option::unwrap);
        assert_eq!((of_daemon_set.host_network, of_deployment.host_network), (Some(true), None));
        for pod in [of_daemon_set, of_deployment] {
            let limits = pod.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
            assert_eq!(limits["memory"].0, "64Mi");
        }
        assert_eq!(ports(&wired()), [4317, 4318, 8888]);
    }
}
