//! What the nodes of a cluster are told to trace besides the API server: kubelet and container runtime. Pure.
//!
//! Both are services of systemd. Rate and receiver of the kubelet are in its own configuration; how it exports, and all
//! that containerd knows of tracing, is environment (containerd, `pkg/tracing/plugin/otlp.go`), which a drop-in of
//! the unit sets.

use serde_json::{Value, json};
use spangate_scenario::model::{BatchProcessor, KubeletTracing};

use super::node_file::NodeFile;
use crate::tracing_config::batch_env;

/// With rotation, the kubelet makes itself a client that it does not trace (`cmd/kubelet/app/server.go`,
/// `buildKubeletClientConfig`). kubeadm knows no way to leave it off (`app/componentconfigs/kubelet.go`).
const WITHOUT_ROTATION: &str = "ExecStartPre=-/bin/sed -i 's/^rotateCertificates: true$/rotateCertificates: false/' /var/lib/kubelet/config.yaml\n";

/// `tracing` of a `KubeletConfiguration` (`component-base/tracing/api/v1`).
pub(super) fn kubelet(tracing: &KubeletTracing, otlp: &str) -> Value {
    json!({"endpoint": otlp, "samplingRatePerMillion": tracing.sampling_rate_per_million.get()})
}

/// The drop-ins of the services that trace to `otlp`, `host:port`.
pub(super) fn drop_ins(tracing: &KubeletTracing, batch: &BatchProcessor, otlp: &str) -> Vec<NodeFile> {
    let batch = batch_env(batch);
    let mut kubelet = drop_in("kubelet", &batch);
    if tracing.api_requests {
        kubelet.text.push_str(WITHOUT_ROTATION);
    }
    let mut all = vec![kubelet];
    if tracing.container_runtime {
        let own = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{otlp}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
            // The kubelet decides; what nobody asked for is not traced.
            ("OTEL_TRACES_SAMPLER", "parentbased_always_off".to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        all.push(drop_in("containerd", &[&own[..], &batch].concat()));
    }
    all
}

fn drop_in(service: &str, env: &[(String, String)]) -> NodeFile {
    let lines: Vec<String> =
        env.iter().map(|(name, value)| format!("Environment=\"{name}={value}\"\n")).collect();
    NodeFile {
        file: format!("{service}.conf"),
        path: format!("/etc/systemd/system/{service}.service.d/20-spangate.conf"),
        text: format!("[Service]\n{}", lines.concat()),
        on_workers: true,
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::units::PerMillion;

    use super::*;

    fn tracing(all: bool) -> KubeletTracing {
        KubeletTracing {
            sampling_rate_per_million: PerMillion::new(1_000_000).unwrap(),
            api_requests: all,
            container_runtime: all,
        }
    }

    #[test]
    fn the_kubelet_exports_as_the_api_server_does() {
        let all = drop_ins(&tracing(false), &BatchProcessor::default(), "172.20.0.1:4317");
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(one.path, "/etc/systemd/system/kubelet.service.d/20-spangate.conf");
        assert_eq!(one.text, "[Service]\nEnvironment=\"OTEL_BSP_SCHEDULE_DELAY=200\"\n");
        let config = kubelet(&tracing(false), "172.20.0.1:4317");
        assert_eq!(config, json!({"endpoint": "172.20.0.1:4317", "samplingRatePerMillion": 1_000_000}));
    }

    #[test]
    fn containerd_follows_the_kubelet_and_starts_no_trace_of_its_own() {
        let all = drop_ins(&tracing(true), &BatchProcessor::default(), "172.20.0.1:4317");
        assert_eq!(all.len(), 2);
        assert!(all[0].text.contains("rotateCertificates: false"), "{}", all[0].text);
        for line in [
            "Environment=\"OTEL_EXPORTER_OTLP_ENDPOINT=http://172.20.0.1:4317\"\n",
            "Environment=\"OTEL_TRACES_SAMPLER=parentbased_always_off\"\n",
            "Environment=\"OTEL_BSP_SCHEDULE_DELAY=200\"\n",
        ] {
            assert!(all[1].text.contains(line), "{}", all[1].text);
        }
    }
}
