//! Rules for the provider kind: what it cannot do, and what is possible there only.

use super::{Findings, Optional, Parts, collector::collector_at, load::load_at};
use crate::{
    model::{Fault, KubectlStep, MixEntry, Provider, Via},
    path::Path,
};

pub(super) fn check(parts: &Parts<'_>, findings: &mut Findings) {
    let Some(cluster) = parts.cluster else { return };
    let root = Path::root();
    let at = root.key("spec.cluster.kind");
    for (key, is_empty) in [
        ("configFile", cluster.kind.config_file.as_ref().is_some_and(|path| path.as_os_str().is_empty())),
        ("image", cluster.kind.image.as_ref().is_some_and(|image| image.trim().is_empty())),
    ] {
        findings.require(!is_empty, &at.key(key), "must not be empty");
    }
    let provider = root.key("spec.cluster.provider");
    if cluster.provider == Provider::Local {
        if cluster.kubelet.tracing.is_some() {
            findings
                .add(&root.key("spec.cluster.kubelet.tracing"), "there is no kubelet beside local processes")
                .help("take the provider `kind`, or leave it out")
                .rests_on(provider.clone());
        }
        let waits = |entry: &MixEntry| {
            entry.kubectl.as_ref().is_some_and(|steps| steps.contains(&KubectlStep::RolloutStatus))
        };
        if parts.load.is_some_and(|load| load.entries().any(waits)) {
            findings
                .add(
                    &load_at(),
                    "`rollout status` would wait for ever: nothing makes pods beside local processes",
                )
                .help("take the provider `kind`, or leave it out")
                .rests_on(provider.clone());
        }
    }
    if cluster.provider != Provider::Kind {
        only_on_kind(parts, findings);
        return;
    }
    let mut refuse = |at: Path, message: &str, help: &str| {
        findings.add(&at, message).help(help).rests_on(provider.clone());
    };
    let at = root.key("spec.cluster");
    for (key, is_given, instead) in [
        ("binaries.kubeApiserver", cluster.binaries.kube_apiserver.is_some(), "`kind.image`"),
        ("binaries.etcd", cluster.binaries.etcd.is_some(), "`kind.image`"),
        ("etcd.version", cluster.etcd.version.is_some(), "`kubernetes` or `kind.image`"),
    ] {
        if is_given {
            let help = format!("choose what runs by {instead}, or take the provider `local`");
            refuse(at.key(key), "on kind the binaries are those of the node image", &help);
        }
    }
}

/// Finds what needs a kubelet.
fn only_on_kind(parts: &Parts<'_>, findings: &mut Findings) {
    let root = Path::root();
    for (index, fault) in parts.faults.into_iter().flatten().enumerate() {
        if matches!(fault, Fault::Webhook(webhook) if webhook.via == Via::Service) {
            findings
                .add(
                    &root.key("spec.faults").index(index).key("webhook.via"),
                    "a webhook is behind a Service on kind only",
                )
                .help("take the provider `kind`, or leave it out")
                .rests_on(root.key("spec.cluster.provider"));
        }
    }
    let Optional::There(collector) = parts.collector else { return };
    let contained = collector.container.is_some();
    for (key, is_given) in
        [("kind", collector.kind.is_some()), ("resources", !contained && !collector.resources.is_empty())]
    {
        if is_given {
            findings
                .add(&collector_at().key(key), "a Collector is in a pod on kind only")
                .help(if key == "kind" {
                    "take the provider `kind`, or leave it out"
                } else {
                    "take the provider `kind`, or run it in a container: `container: {}`"
                })
                .rests_on(root.key("spec.cluster.provider"));
        }
    }
}
