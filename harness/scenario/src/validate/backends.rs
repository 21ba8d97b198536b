//! Rules for what runs in containers beside local processes.

use super::{Findings, Optional, Parts, collector::collector_at, expect::needs_collector};
use crate::{
    model::{Fault, Provider},
    path::Path,
};

/// Where the backends are.
pub(super) fn backends_at() -> Path {
    Path::root().key("spec.backends")
}

pub(super) fn check(parts: &Parts<'_>, findings: &mut Findings) {
    if let Optional::There(collector) = parts.collector
        && let Some(container) = &collector.container
    {
        let at = collector_at().key("container");
        elsewhere(
            parts,
            &at,
            "a Collector in a container runs beside local processes: on kind it is in a pod",
            findings,
        );
        image(container.image.as_deref(), &at, findings);
        if container.image.is_some() && collector.binary.is_some() {
            findings
                .add(&at.key("image"), "the image has a Collector in it, and `binary` names another one")
                .help("keep one of them")
                .rests_on(collector_at().key("binary"));
        }
        if !collector.resources.requests.is_empty() {
            findings
                .add(
                    &collector_at().key("resources.requests"),
                    "nothing is set aside for a container without a kubelet",
                )
                .help("write `limits`, or take the provider `kind`");
        }
    }
    let Some(backends) = parts.backends else { return };
    let at = backends_at();
    for (key, backend) in backends.each() {
        elsewhere(parts, &at.key(key), "backends run beside local processes", findings);
        image(backend.image.as_deref(), &at.key(key), findings);
    }
    if backends.prometheus.is_some() {
        needs_collector(parts, &at.key("prometheus"), findings);
    }
    for (index, fault) in parts.faults.into_iter().flatten().enumerate() {
        if matches!(fault, Fault::Sink(_)) && backends.jaeger.is_some() {
            findings
                .add(&at.key("jaeger"), "what a sink takes while it misbehaves is not sent on to Jaeger")
                .help("leave Jaeger or the fault out")
                .rests_on(Path::root().key("spec.faults").index(index));
        }
    }
}

/// Finds what is beside local processes only, where there are others.
fn elsewhere(parts: &Parts<'_>, at: &Path, message: &str, findings: &mut Findings) {
    if parts.cluster.is_some_and(|cluster| cluster.provider != Provider::Local) {
        findings
            .add(at, message)
            .help("take the provider `local`, or leave it out")
            .rests_on(Path::root().key("spec.cluster.provider"));
    }
}

fn image(image: Option<&str>, at: &Path, findings: &mut Findings) {
    let fine = image.is_none_or(|image| !image.is_empty() && !image.contains(char::is_whitespace));
    findings.require(fine, &at.key("image"), "is not the name of an image");
}
