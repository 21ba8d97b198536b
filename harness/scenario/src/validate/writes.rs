//! Who writes what: only what is written can meet an admission webhook or a transaction with etcd.

use crate::model::{AdmissionOperation, KubectlStep, Load, MixEntry, Resource};

/// A write as admission sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) operation: AdmissionOperation,
    pub(super) resource: Resource,
    /// Empty for the object itself.
    pub(super) subresource: &'static str,
}

/// What the API server writes on its own account, and where in etcd below `/registry/` (seen in the etcd of
/// kube-apiserver 1.37). It may do so at any time: leases every few seconds, the rest when it is amiss.
///
/// The resources of load are missing on purpose. Of them it writes only the config map of the cluster's
/// authentication, before load starts.
const OWN: &[(&str, &str)] = &[
    ("apiservices", "apiregistration.k8s.io/apiservices/"),
    ("clusterrolebindings", "clusterrolebindings/"),
    ("clusterroles", "clusterroles/"),
    ("endpoints", "services/endpoints/"),
    ("endpointslices", "endpointslices/"),
    ("flowschemas", "flowschemas/"),
    ("ipaddresses", "ipaddresses/"),
    ("leases", "leases/"),
    ("namespaces", "namespaces/"),
    ("priorityclasses", "priorityclasses/"),
    ("prioritylevelconfigurations", "prioritylevelconfigurations/"),
    ("rolebindings", "rolebindings/"),
    ("roles", "roles/"),
    ("servicecidrs", "servicecidrs/"),
    ("services", "services/specs/"),
];

/// What it writes below `/registry/` without a request that admission sees.
const OWN_KEYS: &[&str] = &["masterleases/", "peerserverleases/", "ranges/"];

/// What load writes, each once; an entry that is never chosen writes nothing. What a replay writes is not known
/// before its records are read.
pub(super) fn of_load(load: &Load) -> Option<Vec<Write>> {
    if load.replay.is_some() {
        return None;
    }
    let mut writes = Vec::new();
    for entry in chosen(load) {
        of_entry(entry, |operation, resource, subresource| {
            let write = Write { operation, resource, subresource };
            if !writes.contains(&write) {
                writes.push(write);
            }
        });
    }
    Some(writes)
}

/// The entries that are done at all. The steps of a session are, whatever their weight.
fn chosen(load: &Load) -> impl Iterator<Item = &MixEntry> {
    let stages = load.arrivals.iter().flat_map(|arrivals| &arrivals.stages);
    let mixes = stages.filter_map(|stage| stage.mix.as_ref());
    let drawn = load.mix.iter().chain(mixes.flatten()).filter(|entry| entry.weight.0 > 0);
    let sessions = load.users.iter().flat_map(|users| &users.sessions);
    let sessions = sessions.filter(|session| session.weight.0 > 0);
    drawn.chain(sessions.flat_map(|session| &session.steps))
}

fn of_entry(entry: &MixEntry, mut add: impl FnMut(AdmissionOperation, Resource, &'static str)) {
    use AdmissionOperation::{Create, Delete, Update};
    let made = [&entry.create, &entry.apply, &entry.post_delete];
    made.into_iter().flatten().for_each(|made| add(Create, made.resource, ""));
    if let Some(apply) = &entry.apply {
        add(Update, apply.resource, "");
    }
    if let Some(update) = &entry.update {
        add(Update, update.resource, "");
    }
    if let Some(put) = &entry.put {
        add(Update, put.resource, "");
    }
    if let Some(patch) = &entry.patch {
        add(Update, patch.resource, "");
    }
    let deleted = [&entry.delete, &entry.delete_collection];
    deleted.into_iter().flatten().for_each(|deleted| add(Delete, deleted.resource, ""));
    if let Some(made) = &entry.post_delete {
        add(Delete, made.resource, "");
    }
    let steps = entry.kubectl.as_deref().unwrap_or_default();
    // `apply` and `delete` work on what the steps before them made, and that may be a config map.
    let configmap = steps.contains(&KubectlStep::CreateConfigmap).then_some(Resource::Configmaps);
    for step in steps {
        match step {
            KubectlStep::CreateDeployment => add(Create, Resource::Deployments, ""),
            KubectlStep::CreateConfigmap => add(Create, Resource::Configmaps, ""),
            KubectlStep::Apply => {
                add(Create, Resource::Deployments, "");
                let changed = configmap.into_iter().chain([Resource::Deployments]);
                changed.for_each(|resource| add(Update, resource, ""));
            }
            KubectlStep::Scale => add(Update, Resource::Deployments, "scale"),
            KubectlStep::Delete => {
                let deleted = configmap.into_iter().chain([Resource::Deployments]);
                deleted.for_each(|resource| add(Delete, resource, ""));
            }
            KubectlStep::RolloutStatus
            | KubectlStep::Discovery
            | KubectlStep::GetPods
            | KubectlStep::GetDeployments => {}
        }
    }
}

/// Whether the API server may write this resource on its own account; `*` is any.
pub(super) fn is_own(resource: &str) -> bool {
    resource == "*" || OWN.iter().any(|(own, _)| *own == resource)
}

/// Where the API server keeps what it writes on its own account.
pub(super) fn own_keys() -> impl Iterator<Item = String> {
    let own = OWN.iter().map(|(_, key)| *key);
    own.chain(OWN_KEYS.iter().copied()).map(|key| format!("{REGISTRY}{key}"))
}

/// What every key of the API server begins with, unless its flag `etcd-prefix` says otherwise.
pub(super) const REGISTRY: &str = "/registry/";

/// Where the objects of a resource are kept.
///
/// Those of custom resources are kept below their group.
pub(super) fn keys_of(resource: Resource) -> String {
    match resource {
        Resource::Widgets => format!("{REGISTRY}load.spangate.dev/widgets/"),
        _ => format!("{REGISTRY}{}/", resource.plural()),
    }
}

// === impl Write ===

impl Write {
    /// How a user would write it down: `UPDATE deployments/scale`.
    pub(super) fn text(self) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        let operation = match self.operation {
            AdmissionOperation::Create => "CREATE",
            AdmissionOperation::Update => "UPDATE",
            AdmissionOperation::Delete => "DELETE",
            AdmissionOperation::Connect => "CONNECT",
            AdmissionOperation::Any => "*",
        };
        format!("{operation} {}{slash}{}", self.resource.plural(), self.subresource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mix: &str) -> Vec<String> {
        let load = format!(r#"{{"arrivals": {{"rate": "1/s", "for": "1s"}}, "mix": [{mix}]}}"#);
        let load: Load = serde_json::from_str(&load).unwrap();
        of_load(&load).expect("it is no replay").into_iter().map(Write::text).collect()
    }

    #[test]
    fn operations_are_seen_as_admission_sees_them() {
        for (entry, writes) in [
            (r#"{"create": {"resource": "pods"}}"#, &["CREATE pods"][..]),
            (r#"{"apply": {"resource": "pods"}}"#, &["CREATE pods", "UPDATE pods"]),
            (r#"{"update": {"resource": "events"}}"#, &["UPDATE events"]),
            (r#"{"patch": {"resource": "events"}}"#, &["UPDATE events"]),
            (r#"{"put": {"resource": "secrets"}}"#, &["UPDATE secrets"]),
            (r#"{"postDelete": {"resource": "widgets"}}"#, &["CREATE widgets", "DELETE widgets"]),
            (r#"{"delete": {"resource": "pods"}}"#, &["DELETE pods"]),
            (r#"{"deleteCollection": {"resource": "pods"}}"#, &["DELETE pods"]),
            (r#"{"get": {"resource": "pods"}}, {"list": {"resource": "pods"}}"#, &[]),
            (r#"{"weight": 0, "create": {"resource": "pods"}}"#, &[]),
        ] {
            assert_eq!(written(entry), writes, "{entry}");
        }
    }

    #[test]
    fn steps_of_kubectl_write_what_they_made() {
        for (steps, writes) in [
            (r#""discovery", "get pods", "get deployments""#, &[][..]),
            (
                r#""create deployment", "scale", "delete""#,
                &["CREATE deployments", "UPDATE deployments/scale", "DELETE deployments"],
            ),
            (r#""apply", "apply""#, &["CREATE deployments", "UPDATE deployments"]),
            (
                r#""create configmap", "delete""#,
                &["CREATE configmaps", "DELETE configmaps", "DELETE deployments"],
            ),
        ] {
            assert_eq!(written(&format!(r#"{{"kubectl": [{steps}]}}"#)), writes, "{steps}");
        }
    }
}
