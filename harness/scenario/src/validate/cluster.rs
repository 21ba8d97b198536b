//! Rules for the control plane.

use super::{Findings, names};
use crate::{
    model::{BatchProcessor, Cluster, Provider},
    path::{Path, Step},
    units::Duration,
};

/// The gate of API server tracing, always on since 1.34 and unknown to the server from
/// [`GATE_GONE`] on (`staging/src/k8s.io/apiserver/pkg/features/kube_features.go`).
const TRACING_GATE: &str = "APIServerTracing";

/// The first Kubernetes version whose API server does not start when the gate is named.
const GATE_GONE: (u32, u32) = (1, 37);

pub(super) fn check(cluster: &Cluster, at: &Path, findings: &mut Findings) {
    let kubernetes = version(&cluster.kubernetes, &at.key("kubernetes"), "1.37 or 1.37.2", findings);
    if let Some(etcd) = &cluster.etcd.version {
        version(etcd, &at.key("etcd.version"), "3.7 or 3.7.3", findings);
    }
    if kubernetes.is_some_and(|version| version >= GATE_GONE) {
        tracing_gate(cluster, at, findings);
    }
    let tracing = &cluster.tracing;
    let at_rate = at.key("tracing.samplingRatePerMillion");
    let idle = !tracing.enabled && tracing.sampling_rate_per_million.is_some();
    findings.require(!idle, &at_rate, "has no effect: tracing is not enabled");
    batch(&cluster.tracing.batch, &at.key("tracing.batch"), findings);
    admin_group(cluster, at, findings);
    let args = at.key("apiServer.extraArgs");
    for name in cluster.api_server.extra_args.keys() {
        if name.is_empty() || name.starts_with('-') || name.contains(['=', ' ']) {
            findings
                .add(
                    &args.clone().then(Step::Key(name.clone())),
                    format!("`{name}` is not the name of a flag"),
                )
                .help("write the name without dashes and the value after the colon: `v: \"4\"`");
        }
    }
    let env = at.key("apiServer.env");
    for name in cluster.api_server.env.keys() {
        let fine = !name.is_empty() && !name.contains(['=', '\0']);
        let message = format!("`{name}` is not the name of an environment variable");
        findings.require(fine, &env.clone().then(Step::Key(name.clone())), message);
    }
}

fn version(text: &str, at: &Path, example: &str, findings: &mut Findings) -> Option<(u32, u32)> {
    let numbers = names::version(text);
    if numbers.is_none() {
        let bare = text.strip_prefix('v').filter(|bare| names::version(bare).is_some());
        // Without quotes, YAML would take some of them for numbers.
        let help =
            bare.map_or_else(|| format!("write it as {example}"), |bare| format!("did you mean \"{bare}\"?"));
        findings.add(at, format!("`{text}` is not a version")).help(help);
    }
    numbers
}

/// Finds the gate where the server no longer knows it.
fn tracing_gate(cluster: &Cluster, at: &Path, findings: &mut Findings) {
    let gates = at.key("apiServer.featureGates");
    let flag = at.key("apiServer.extraArgs").then(Step::Key("feature-gates".to_owned()));
    let kubernetes = at.key("kubernetes");
    let named = cluster.api_server.feature_gates.contains_key(TRACING_GATE);
    let in_flag = cluster.api_server.extra_args.get("feature-gates");
    let in_flag = in_flag.is_some_and(|gates| {
        gates.split(',').any(|gate| gate.split('=').next().map(str::trim) == Some(TRACING_GATE))
    });
    for at in named.then(|| gates.key(TRACING_GATE)).into_iter().chain(in_flag.then_some(flag)) {
        let version = &cluster.kubernetes;
        findings
            .add(
                &at,
                format!(
                    "the API server of Kubernetes {version} does not start with the gate `{TRACING_GATE}`"
                ),
            )
            .help("leave it out: the gate was removed in 1.37, and tracing is always on")
            .rests_on(kubernetes.clone());
    }
}

/// Finds a group that nobody has there.
fn admin_group(cluster: &Cluster, at: &Path, findings: &mut Findings) {
    let Some(group) = cluster.admin_group.as_deref() else { return };
    let groups: &[&str] = match cluster.provider {
        Provider::Local => &[Cluster::MASTERS],
        Provider::Kind => &[Cluster::MASTERS, Cluster::CLUSTER_ADMINS],
        // Which there are, its API server says.
        Provider::Existing => return,
    };
    if !groups.contains(&group) {
        let message = format!("on the provider {} there is no administrator in `{group}`", cluster.provider);
        let known = groups.iter().map(|group| format!("`{group}`")).collect::<Vec<_>>();
        findings
            .add(&at.key("adminGroup"), message)
            .help(format!("leave it out, or name {}", known.join(" or ")))
            .rests_on(at.key("provider"));
    }
}

fn batch(batch: &BatchProcessor, at: &Path, findings: &mut Findings) {
    // The environment variables hold whole milliseconds.
    let whole = |time: Duration| !time.is_zero() && time.as_nanos().is_multiple_of(1_000_000);
    let message = "must be one or more whole milliseconds";
    findings.require(whole(batch.schedule_delay), &at.key("scheduleDelay"), message);
    findings.require(batch.export_timeout.is_none_or(whole), &at.key("exportTimeout"), message);
    findings.require(batch.max_queue_size != Some(0), &at.key("maxQueueSize"), "must be at least 1");
    findings.require(
        batch.max_export_batch_size != Some(0),
        &at.key("maxExportBatchSize"),
        "must be at least 1",
    );
    let queue = batch.max_queue_size.unwrap_or(BatchProcessor::DEFAULT_MAX_QUEUE_SIZE);
    if let Some(export) = batch.max_export_batch_size.filter(|export| *export > queue) {
        findings
            .add(
                &at.key("maxExportBatchSize"),
                format!("{export} spans never wait at once: the queue holds {queue}"),
            )
            .help("make `maxQueueSize` larger or `maxExportBatchSize` smaller")
            .rests_on(at.clone());
    }
}
