//! Servers that never become ready, played by shell scripts. The real ones are started by the end-to-end tests.

use std::{fs, os::unix::fs::PermissionsExt, sync::Mutex};

use super::*;
use crate::{assets::Component, assets::Source, progress::Event, version::Version};

/// A control plane whose binaries are both a shell script.
pub(crate) fn control_plane(dir: &Path, script: &str) -> ControlPlaneConfig {
    let path = dir.join("server");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let found =
        |component, version| Found { component, version, path: path.clone(), source: Source::Explicit };
    ControlPlaneConfig {
        kube_apiserver: found(Component::KubeApiserver, Version::new(1, 37, 2)),
        etcd: found(Component::Etcd, Version::new(3, 7, 3)),
        dir: dir.join("run"),
        cluster: model::Cluster::default(),
        otlp: Some("127.0.0.1:4317".to_owned()),
        lifetime: Lifetime::WithParent,
    }
}

#[tokio::test]
async fn a_taken_port_is_tried_thrice_and_then_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = control_plane(
        dir.path(),
        "echo '{\"level\":\"fatal\",\"error\":\"address already in use\"}'; exit 1",
    );
    let attempts = Mutex::new(Vec::new());
    let note = |event| {
        if let Event::Retrying { attempt, .. } = event {
            attempts.lock().unwrap().push(attempt);
        }
    };
    let error = ControlPlane::start(&config, &note).await.unwrap_err().to_string();
    assert!(error.starts_with("etcd ended with exit status: 1 before it was ready: {"), "{error}");
    assert_eq!(*attempts.lock().unwrap(), [2, 3]);
}

#[tokio::test]
async fn a_refused_tracing_configuration_is_told_first_and_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo 'E1123 15:56:44.7 1 run.go:72] \"command failed\" err=\"failed to \
                  validate tracing configuration\"'; seq 5; exit 1";
    let config = control_plane(dir.path(), script);
    let events = Mutex::new(0);
    let count = |event| *events.lock().unwrap() += i32::from(matches!(event, Event::Retrying { .. }));
    let pki = Pki::generate().unwrap();
    let api_server = config.api_server_config("http://127.0.0.1:1");
    let error = LocalApiServer::start(&api_server, &pki, &count).await.unwrap_err().to_string();
    let (reason, tail) = error.split_once("; the last lines of ").unwrap();
    assert!(reason.contains("tracing configuration"), "{error}");
    assert!(tail.ends_with("4\n5"), "{error}");
    assert_eq!(*events.lock().unwrap(), 0);
    // What it was given is on disk, and the endpoint in it.
    let written = fs::read_to_string(config.dir.join("tracing.yaml")).unwrap();
    assert!(written.contains("endpoint: \"127.0.0.1:4317\""), "{written}");
    assert!(config.dir.join("kubeconfig").is_file() && config.dir.join("pki/admin.pem").is_file());
}

#[tokio::test]
async fn the_scenario_environment_wins_over_the_batch_settings() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = control_plane(dir.path(), "echo delay $OTEL_BSP_SCHEDULE_DELAY $GODEBUG; exit 1");
    config.cluster.api_server.env = [("OTEL_BSP_SCHEDULE_DELAY", "7"), ("GODEBUG", "x=1")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    let pki = Pki::generate().unwrap();
    let api_server = config.api_server_config("http://127.0.0.1:1");
    let error = LocalApiServer::start(&api_server, &pki, &()).await.unwrap_err().to_string();
    assert!(error.ends_with("delay 7 x=1"), "{error}");
}

#[test]
fn etcd_is_traced_only_when_the_scenario_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = control_plane(dir.path(), "");
    assert_eq!(config.etcd_config().tracing, None);
    config.cluster.etcd.tracing = Some(model::EtcdTracing::default());
    assert!(config.etcd_config().tracing.is_some());
    config.otlp = None;
    assert_eq!(config.etcd_config().tracing, None);
    assert_eq!(config.api_server_config("http://127.0.0.1:1").tracing, None);
}
