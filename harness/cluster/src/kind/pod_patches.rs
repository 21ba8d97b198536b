//! What is changed in the static pods that kubeadm makes: environment, and what is mounted. Pure.
//!
//! It goes through kubeadm's own patches (kubeadm, `app/util/patches`), which are merged into the manifest of a pod item by
//! item. kubeadm's configuration could say the same with v1beta4 only, which kind gives to Kubernetes 1.36 and later.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use spangate_scenario::{document, model::Cluster};

use super::node_file::NodeFile;
use crate::tracing_config;

/// Where kubeadm finds them on the node.
pub(super) const DIRECTORY: &str = "/etc/kubernetes/patches";
/// Where the `TracingConfiguration` is, on the node and in the API server's pod.
pub(super) const TRACING_DIR: &str = "/etc/spangate";
/// The volume with it.
const VOLUME: &str = "spangate";

/// The patches that a scenario takes; `traced` says whether the API server traces.
pub(super) fn patches(cluster: &Cluster, traced: bool) -> Vec<NodeFile> {
    let batch = || tracing_config::batch_env(&cluster.tracing.batch);
    let mut env = BTreeMap::new();
    if traced {
        env.extend(batch());
    }
    env.extend(cluster.api_server.env.clone());
    let mut all = Vec::new();
    if traced || !env.is_empty() {
        all.push(patch("kube-apiserver", &env, traced));
    }
    if traced && cluster.etcd.tracing.is_some() {
        all.push(patch("etcd", &batch().into_iter().collect(), false));
    }
    all
}

/// The patch of a pod, whose container has the same name.
fn patch(pod: &str, env: &BTreeMap<String, String>, mounted: bool) -> NodeFile {
    let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut spec = json!({"containers": [{"name": pod, "env": env}]});
    if mounted {
        spec["containers"][0]["volumeMounts"] =
            json!([{"name": VOLUME, "mountPath": TRACING_DIR, "readOnly": true}]);
        spec["volumes"] = json!([{"name": VOLUME, "hostPath": {"path": TRACING_DIR, "type": "Directory"}}]);
    }
    // The name says which pod it is for, and how it is merged.
    let file = format!("{pod}+strategic.yaml");
    let path = format!("{DIRECTORY}/{file}");
    NodeFile { file, path, text: document::write(&json!({"spec": spec})), on_workers: false }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::{ApiServer, Etcd, EtcdTracing};

    use super::*;

    fn cluster(etcd: Option<EtcdTracing>, env: &[(&str, &str)]) -> Cluster {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Cluster {
            etcd: Etcd { tracing: etcd, ..Etcd::default() },
            api_server: ApiServer { env, ..ApiServer::default() },
            ..Cluster::default()
        }
    }

    #[test]
    fn the_patch_of_the_api_server_sets_its_environment_and_mounts() {
        let all = patches(&cluster(None, &[("GODEBUG", "http2debug=1")]), true);
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(one.path, "/etc/kubernetes/patches/kube-apiserver+strategic.yaml");
        insta::assert_snapshot!(one.text);
    }

    #[test]
    fn etcd_exports_as_the_api_server_does() {
        let all = patches(&cluster(Some(EtcdTracing::default()), &[]), true);
        let [_, etcd] = all.as_slice() else { panic!("{all:?}") };
        let read = document::read(&etcd.text).unwrap();
        let wanted = json!({"spec": {"containers": [
            {"name": "etcd", "env": [{"name": "OTEL_BSP_SCHEDULE_DELAY", "value": "200"}]},
        ]}});
        assert_eq!((etcd.file.as_str(), read), ("etcd+strategic.yaml", wanted));
    }

    #[test]
    fn without_tracing_only_what_the_scenario_sets_is_patched() {
        let tracing = Some(EtcdTracing::default());
        assert_eq!(patches(&cluster(tracing.clone(), &[]), false), []);
        let all = patches(&cluster(tracing, &[("A", "b")]), false);
        assert!(
            matches!(all.as_slice(), [one] if !one.text.contains("OTEL") && !one.text.contains("spangate")),
            "{all:?}"
        );
    }
}
