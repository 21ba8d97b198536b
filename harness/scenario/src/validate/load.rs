//! Rules for load.

use std::collections::BTreeMap;

use super::{Findings, limited, names, selector};
use crate::{
    model::{CreateOperation, KubectlStep, Load, MixEntry, Resource},
    path::{Path, Step},
    suggest,
    units::{Duration, Size},
};

/// Arrivals of a run: the schedule and the ledger are held in memory.
const MAX_ARRIVALS: f64 = 10_000_000.0;

/// Bytes of a config map's data (`MaxSecretSize`, which `pkg/apis/core/validation` uses for both).
const MAX_DATA: Size = Size(1 << 20);

/// Bytes of an object's annotations, where other objects keep their payload (`TotalAnnotationSizeLimitB`).
const MAX_ANNOTATIONS: Size = Size(256 << 10);

/// Objects of each resource that are made before load starts.
const MAX_OBJECTS: u32 = 1_000_000;

pub(super) fn check(load: &Load, at: &Path, findings: &mut Findings) {
    arrivals(load, &at.key("arrivals"), findings);
    namespace(&load.namespace, &at.key("namespace"), findings);
    let objects = load.objects;
    let message = format!("must be at most {MAX_OBJECTS}, got {objects}");
    findings.require(objects <= MAX_OBJECTS, &at.key("objects"), message);
    findings.require(load.client.connections >= 1, &at.key("client.connections"), "must be at least 1");
    findings.require(load.max_in_flight >= 1, &at.key("maxInFlight"), "must be at least 1");
    findings.require(!load.timeout.is_zero(), &at.key("timeout"), "must be longer than 0s");
    let at_mix = at.key("mix");
    findings.require(!load.mix.is_empty(), &at_mix, "must have at least one entry");
    if !load.mix.is_empty() && load.mix.iter().all(|entry| entry.weight.0 == 0) {
        findings.add(&at_mix, "no entry is ever chosen: all weights are 0");
    }
    for (index, entry) in limited(&load.mix, &at_mix, findings).iter().enumerate() {
        check_entry(entry, load, &at_mix.index(index), findings);
    }
}

fn arrivals(load: &Load, at: &Path, findings: &mut Findings) {
    let Some(arrivals) = &load.arrivals else { return };
    for stage in arrivals.stages() {
        findings.require(!stage.duration.is_zero(), &at.key("for"), "must be longer than 0s");
    }
}

fn namespace(name: &str, at: &Path, findings: &mut Findings) {
    names::dns_label(name, at, findings);
    if name == "default" || name.starts_with("kube-") {
        findings
            .add(at, format!("`{name}` belongs to the cluster, and the namespace is removed after the run"))
            .help("leave it out, or choose a name of your own");
    }
}

fn check_entry(entry: &MixEntry, load: &Load, at: &Path, findings: &mut Findings) {
    match entry.operations().as_slice() {
        [_] => {}
        [] => {
            let help = format!("give it one of {}", suggest::list(MixEntry::OPERATIONS));
            findings.add(at, "has no operation").help(help);
        }
        several => {
            findings
                .add(at, format!("has more than one operation: {}", suggest::list(several)))
                .help("make an entry of each");
        }
    }
    for (key, operation) in [("create", &entry.create), ("apply", &entry.apply)] {
        if let Some(operation) = operation {
            create(operation, &at.key(key), findings);
        }
    }
    let update = entry.update.as_ref().map(|update| ("update", update.objects));
    let patch = entry.patch.as_ref().map(|patch| ("patch", patch.objects));
    for (key, objects) in update.into_iter().chain(patch) {
        spread(objects, load.objects, &at.key(key), findings);
    }
    if entry.get.is_some() {
        spread(None, load.objects, &at.key("get"), findings);
    }
    if let Some(list) = &entry.list {
        findings.require(list.limit != Some(0), &at.key("list.limit"), "must be at least 1, or left out");
        label_selector(list.label_selector.as_deref(), &at.key("list"), findings);
    }
    if let Some(watch) = &entry.watch {
        findings.require(
            watch.duration > Duration::default(),
            &at.key("watch.for"),
            "must be longer than 0s",
        );
        label_selector(watch.label_selector.as_deref(), &at.key("watch"), findings);
    }
    if let Some(steps) = &entry.kubectl {
        kubectl(steps, &at.key("kubectl"), findings);
    }
}

fn create(operation: &CreateOperation, at: &Path, findings: &mut Findings) {
    let (limit, place) = match operation.resource {
        Resource::Configmaps => (MAX_DATA, "data of a config map"),
        _ => (MAX_ANNOTATIONS, "annotations"),
    };
    if operation.size.largest() > limit {
        let size = operation.size;
        findings.add(
            &at.key("size"),
            format!("{size} are too much: the API server takes at most {limit} of {place}"),
        );
    }
    labels(&operation.labels, &at.key("labels"), findings);
}

fn labels(labels: &BTreeMap<String, String>, at: &Path, findings: &mut Findings) {
    for (key, value) in labels {
        let at = at.clone().then(Step::Key(key.clone()));
        findings.require(names::is_qualified_name(key), &at, format!("`{key}` is not the key of a label"));
        findings.require(names::is_label_value(value), &at, format!("`{value}` is not the value of a label"));
    }
}

/// Finds operations on prepared objects of which there are none, or not as many.
fn spread(objects: Option<u32>, prepared: u32, at: &Path, findings: &mut Findings) {
    if prepared == 0 {
        findings
            .add(at, "works on objects that exist before load starts, and `load.objects` is 0")
            .help("make `load.objects` at least 1")
            .rests_on(prepared_at());
    }
    match objects {
        Some(0) => {
            findings.add(&at.key("objects"), "must be at least 1");
        }
        Some(objects) if prepared > 0 && objects > prepared => {
            let message = format!("only {prepared} objects exist before load starts (`load.objects`)");
            findings.add(&at.key("objects"), message).rests_on(prepared_at());
        }
        _ => {}
    }
}

fn prepared_at() -> Path {
    Path::root().key("spec.load.objects")
}

fn label_selector(text: Option<&str>, at: &Path, findings: &mut Findings) {
    if let Some(Err(wrong)) = text.map(selector::check) {
        findings
            .add(&at.key("labelSelector"), wrong)
            .help("write it as for `kubectl get -l`: `app=web,tier in (a, b),!canary`");
    }
}

/// Finds steps that need an object which no step before them has made.
fn kubectl(steps: &[KubectlStep], list: &Path, findings: &mut Findings) {
    findings.require(!steps.is_empty(), list, "must have at least one step");
    let (mut object, mut deployment) = (false, false);
    for (index, step) in steps.iter().enumerate() {
        let at = list.index(index);
        match step {
            KubectlStep::CreateDeployment | KubectlStep::Apply => (object, deployment) = (true, true),
            KubectlStep::CreateConfigmap => object = true,
            KubectlStep::Scale if !deployment => {
                findings
                    .add(&at, "there is no deployment to scale yet")
                    .help("put `create deployment` or `apply` before it")
                    .rests_on(list.clone());
            }
            KubectlStep::Delete if !object => {
                findings
                    .add(&at, "there is nothing to delete yet")
                    .help("put `create deployment`, `create configmap` or `apply` before it")
                    .rests_on(list.clone());
            }
            KubectlStep::Delete => (object, deployment) = (false, false),
            KubectlStep::Scale
            | KubectlStep::Discovery
            | KubectlStep::GetPods
            | KubectlStep::GetDeployments => {}
        }
    }
}
