//! Completed configurations, whole.

use std::collections::BTreeMap;

use spangate_scenario::{
    model::{ApiServer, Etcd, EtcdTracing, Kubelet, KubeletTracing, Provider, Tracing},
    units::PerMillion,
};

use super::*;

fn config<'a>(base: &'a str, cluster: &'a Cluster) -> KindConfig<'a> {
    KindConfig {
        base,
        name: "spangate-test",
        kubernetes: Version::new(1, 37, 2),
        etcd: Version::new(3, 7, 3),
        cluster,
        tracing: Some(Path::new("/runs/one/tracing")),
        otlp: Some("172.20.0.1:4317"),
        node_files: Path::new("/runs/one/node-files"),
        etcd_proxy: None,
        own_image: true,
        cgroup_v1: false,
    }
}

fn cluster() -> Cluster {
    Cluster { provider: Provider::Kind, ..Cluster::default() }
}

#[test]
fn one_node_with_an_image_of_our_own() {
    insta::assert_snapshot!(config(SINGLE_NODE, &cluster()).complete().unwrap());
}

/// Scenario: the user's config has workers, gates, patches and mounts of its own, and the scenario sets flags, gates,
/// environment and etcd's tracing, on a machine with cgroup v1.
/// Guarantees: everything is in what kind is given; of flags with the same name the scenario's wins.
#[test]
fn what_the_user_has_is_kept() {
    let base = "
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
featureGates: {WatchList: true}
runtimeConfig: {api/beta: \"true\"}
nodes:
- role: control-plane
  extraMounts: [{hostPath: /theirs, containerPath: /theirs}]
- role: worker
kubeadmConfigPatches:
- |
  kind: ClusterConfiguration
  apiServer:
    extraArgs: {v: \"2\", goaway-chance: \"0.1\"}
    extraVolumes: [{name: theirs, hostPath: /theirs, mountPath: /theirs}]
- |
  kind: InitConfiguration
  nodeRegistration: {taints: []}
";
    let cluster = Cluster {
        tracing: Tracing { sampling_rate_per_million: PerMillion::new(10), ..Tracing::default() },
        kubelet: Kubelet {
            tracing: Some(KubeletTracing {
                sampling_rate_per_million: PerMillion::new(1_000_000).unwrap(),
                api_requests: true,
                container_runtime: true,
            }),
        },
        etcd: Etcd { tracing: Some(EtcdTracing::default()), ..Etcd::default() },
        api_server: ApiServer {
            extra_args: [("--v".to_owned(), "4".to_owned())].into(),
            feature_gates: [("ConsistentListFromCache".to_owned(), false)].into(),
            env: [("GODEBUG".to_owned(), "http2debug=1".to_owned())].into(),
        },
        ..cluster()
    };
    let config = KindConfig {
        etcd_proxy: Some(KindEtcdProxy {
            url: "https://172.20.0.1:2379",
            authority: Path::new("/runs/one/etcd"),
        }),
        own_image: false,
        cgroup_v1: true,
        ..config(base, &cluster)
    };
    insta::assert_snapshot!(config.complete().unwrap());
}

/// Scenario: the user's config has a patch of the node's own, which kind applies after those of the cluster.
/// Guarantees: ours come after it, on the same node, with its flags in them.
#[test]
fn patches_of_a_node_do_not_undo_ours() {
    let base = "
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
  kubeadmConfigPatches:
  - |
    kind: ClusterConfiguration
    apiServer: {extraArgs: {audit-log-path: /dev/null}}
";
    let text = config(base, &cluster()).complete().unwrap();
    let config = document::read(&text).unwrap();
    assert_eq!(config["kubeadmConfigPatches"], Value::Null, "{text}");
    let patches = config["nodes"][0]["kubeadmConfigPatches"].as_array().unwrap();
    let ours = patches[1].as_str().unwrap();
    assert!(ours.contains("tracing-config-file") && ours.contains("audit-log-path"), "{text}");
}

#[test]
fn without_tracing_nothing_is_mounted() {
    let cluster = cluster();
    let config = KindConfig { tracing: None, otlp: None, ..config(SINGLE_NODE, &cluster) };
    let text = config.complete().unwrap();
    assert!(!text.contains("tracing") && !text.contains("OTEL") && !text.contains("/etc/spangate"), "{text}");
}

#[test]
fn what_kind_would_refuse_is_refused_before() {
    let cluster = cluster();
    let of = |base| config(base, &cluster).complete().unwrap_err().to_string();
    assert!(of("a: [").contains("no YAML"));
    assert!(of("kind: Cluster\napiVersion: v1\n").contains("apiVersion v1, kind Cluster"));
    let head = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n";
    let two = format!("{head}nodes: [{{role: control-plane}}, {{role: control-plane}}]\n");
    assert!(of(&two).contains("has 2 nodes of the role control-plane"));
    let image = format!("{head}nodes: [{{role: control-plane, image: kindest/node:v1.36.0}}]\n");
    assert!(of(&image).contains("names the image kindest/node:v1.36.0 for a node"));
    let patches = "kubeadmConfigPatches: [\"kind: InitConfiguration\\npatches: {directory: /theirs}\"]\n";
    assert!(of(&format!("{head}{patches}")).contains("the patches of /theirs"));
    let of = |kubernetes| KindConfig { kubernetes, ..config(SINGLE_NODE, &cluster) }.complete();
    let error = of(Version::new(1, 32, 9)).unwrap_err();
    assert!(error.to_string().contains("take 1.33 or later"), "{error}");
    assert!(of(Version::new(1, 33, 0)).is_ok());
}

/// Scenario: the same cluster with a Kubernetes that kind configures by kubeadm's v1beta3, and with one that it
/// configures by v1beta4; then with one whose etcd is 3.5.
/// Guarantees: what kind is given is the same in both, flags by name, of no version; only the flags of etcd's tracing
/// differ, by the version of etcd.
#[test]
fn both_forms_of_kubeadm_are_given_the_same() {
    let etcd = Etcd { tracing: Some(EtcdTracing::default()), ..Etcd::default() };
    let cluster = Cluster { etcd, ..cluster() };
    let of = |kubernetes, etcd| {
        let config = KindConfig { kubernetes, etcd, ..config(SINGLE_NODE, &cluster) };
        config.complete().unwrap()
    };
    let old = of(Version::new(1, 34, 4), Version::new(3, 6, 5));
    insta::assert_snapshot!(old);
    assert_eq!(of(Version::new(1, 37, 2), Version::new(3, 7, 3)), old);
    let older = of(Version::new(1, 33, 0), Version::new(3, 5, 24));
    assert_eq!(older.replace("experimental-", ""), old);
    assert_eq!(older.matches("experimental-").count(), 4);
}

#[test]
fn names_with_values_are_read_in_both_forms() {
    let patches = [json!({"a": {"x": 1, "y": "2"}}), json!({"a": [{"name": "y", "value": "3"}]})];
    let wanted =
        BTreeMap::from([("x", "1"), ("y", "3")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(named(&patches, &["a"]), wanted);
}
