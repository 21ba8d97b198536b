//! Rules for what load does: the entries of mixes, and the steps of sessions.

use super::{
    exactly_one, identity, load_at,
    population::{labels, sizes},
};
use crate::{
    model::{CreateOperation, KubectlStep, Load, MixEntry, PatchType, Resource, Stage},
    path::Path,
    validate::{Finding, Findings, fields, limited, selector},
};

pub(super) fn check(load: &Load, at: &Path, findings: &mut Findings) {
    need(load, at, findings);
    drawn(&load.mix, load, &at.key("mix"), findings);
    let stages = load.arrivals.iter().flat_map(|arrivals| &arrivals.stages).enumerate();
    for (index, mix) in stages.filter_map(|(index, stage)| Some((index, stage.mix.as_ref()?))) {
        let at = at.key("arrivals.stages").index(index).key("mix");
        findings.require(!mix.is_empty(), &at, "must have at least one entry");
        drawn(mix, load, &at, findings);
    }
    for (index, session) in load.users.iter().flat_map(|users| &users.sessions).enumerate() {
        let list = at.key("users.sessions").index(index).key("steps");
        findings.require(!session.steps.is_empty(), &list, "must have at least one step");
        for (index, step) in limited(&session.steps, &list, findings).iter().enumerate() {
            let at = list.index(index);
            let plain = step.weight == MixEntry::default().weight;
            findings.require(plain, &at.key("weight"), "the steps of a session come in order, each once");
            entry(step, load, &at, findings);
        }
    }
}

/// Finds loads that lack a mix, and those that have one that is never drawn from.
fn need(load: &Load, at: &Path, findings: &mut Findings) {
    let at_mix = at.key("mix");
    let mut check = |needed: bool, who: &str, why_not: &str| {
        if needed && load.mix.is_empty() {
            findings.add(&at_mix, format!("{who} have nothing to do: `mix` has no entry"));
        } else if !needed && !load.mix.is_empty() {
            let finding = findings.add(&at_mix, format!("is never used: {why_not}"));
            finding.help("leave it out").rests_on(load_at());
        }
    };
    match (&load.arrivals, &load.users, &load.replay) {
        (Some(arrivals), None, None) => {
            let own = |stage: &Stage| stage.mix.is_some();
            let all_own = !arrivals.stages.is_empty() && arrivals.stages.iter().all(own);
            check(!all_own, "arrivals", "every stage has a `mix` of its own");
        }
        (None, Some(users), None) => {
            check(users.sessions.is_empty(), "users", "users do the steps of their sessions");
        }
        (None, None, Some(_)) => check(false, "", "a replay sends what was recorded"),
        // The sources themselves are wrong.
        _ => {}
    }
}

/// Entries of which one is drawn for each arrival.
fn drawn(mix: &[MixEntry], load: &Load, at: &Path, findings: &mut Findings) {
    if !mix.is_empty() && mix.iter().all(|entry| entry.weight.0 == 0) {
        findings.add(at, "no entry is ever chosen: all weights are 0");
    }
    for (index, entry) in limited(mix, at, findings).iter().enumerate() {
        self::entry(entry, load, &at.index(index), findings);
    }
}

fn entry(entry: &MixEntry, load: &Load, at: &Path, findings: &mut Findings) {
    let advice = "make an entry of each";
    exactly_one(&entry.operations(), MixEntry::OPERATIONS, "operation", advice, at, findings);
    identity(&entry.identity, load, &at.key("as"), findings);
    let made = [("create", &entry.create), ("apply", &entry.apply), ("postDelete", &entry.post_delete)];
    for (key, operation) in made {
        if let Some(operation) = operation {
            create(operation, &at.key(key), findings);
        }
    }
    reads(entry, at, findings);
    let get = entry.get.as_ref().map(|get| ("get", get.resource, None));
    let update = entry.update.as_ref().map(|update| ("update", update.resource, update.objects));
    let put = entry.put.as_ref().map(|put| ("put", put.resource, put.objects));
    let patch = entry.patch.as_ref().map(|patch| ("patch", patch.resource, patch.objects));
    for (key, resource, objects) in [get, update, put, patch].into_iter().flatten() {
        spread(objects, resource, load, &at.key(key), findings);
    }
    if let Some(put) = &entry.put {
        // `AllowUnconditionalUpdate` of `k8s.io/apiextensions-apiserver/pkg/registry/customresource/strategy.go`.
        if put.resource == Resource::Widgets {
            findings
                .add(
                    &at.key("put.resource"),
                    "the API server replaces no custom resource without its version",
                )
                .help("use `update`, which reads the version first");
        }
        sizes(&put.size, put.resource, &at.key("put.size"), findings);
    }
    if let Some(patch) = &entry.patch
        && (patch.resource, patch.patch_type) == (Resource::Widgets, PatchType::Strategic)
    {
        findings
            .add(&at.key("patch.type"), "the API server takes no strategic merge patches of custom resources")
            .help("use `merge` or `json`");
    }
    if let Some(steps) = &entry.kubectl {
        kubectl(steps, &at.key("kubectl"), findings);
    }
}

fn create(operation: &CreateOperation, at: &Path, findings: &mut Findings) {
    sizes(&operation.size, operation.resource, &at.key("size"), findings);
    labels(&operation.labels, &at.key("labels"), findings);
}

/// Collections.
fn reads(entry: &MixEntry, at: &Path, findings: &mut Findings) {
    if let Some(list) = &entry.list {
        let at = at.key("list");
        findings.require(list.limit != Some(0), &at.key("limit"), "must be at least 1, or left out");
        let (labels, fields) = (&list.label_selector, &list.field_selector);
        selectors(labels.as_deref(), fields.as_deref(), list.resource, &at, findings);
    }
    if let Some(list) = &entry.watch_list {
        let (labels, fields) = (&list.label_selector, &list.field_selector);
        selectors(labels.as_deref(), fields.as_deref(), list.resource, &at.key("watchList"), findings);
    }
    if let Some(watch) = &entry.watch {
        let at = at.key("watch");
        findings.require(!watch.duration.is_zero(), &at.key("for"), "must be longer than 0s");
        selectors(watch.label_selector.as_deref(), None, watch.resource, &at, findings);
    }
}

/// Finds selectors that the API server refuses.
pub(super) fn selectors(
    labels: Option<&str>,
    fields: Option<&str>,
    resource: Resource,
    at: &Path,
    findings: &mut Findings,
) {
    if let Some(Err(wrong)) = labels.map(selector::check) {
        findings
            .add(&at.key("labelSelector"), wrong)
            .help("write it as for `kubectl get -l`: `app=web,tier in (a, b),!canary`");
    }
    if let Some(Err(wrong)) = fields.map(|fields| fields::check(fields, resource)) {
        findings.add(&at.key("fieldSelector"), wrong.message).help(wrong.help);
    }
}

/// Finds operations on prepared objects of which there are none, or not as many.
fn spread(objects: Option<u32>, resource: Resource, load: &Load, at: &Path, findings: &mut Findings) {
    let prepared = load.pool(resource);
    let own = load.prepare.objects.iter().any(|entry| entry.resource == resource);
    let key = if own { "load.prepare" } else { "load.objects" };
    if prepared == 0 {
        let plural = resource.plural();
        rest_on_pool(
            findings
                .add(
                    at,
                    format!("works on {plural} that exist before load starts, and there are none (`{key}`)"),
                )
                .help(format!("make `{key}` at least 1")),
        );
    }
    match objects {
        Some(0) => {
            findings.add(&at.key("objects"), "must be at least 1");
        }
        Some(objects) if prepared > 0 && objects > prepared => {
            let message = format!("only {prepared} objects exist before load starts (`{key}`)");
            rest_on_pool(findings.add(&at.key("objects"), message));
        }
        _ => {}
    }
}

fn rest_on_pool(finding: &mut Finding) {
    finding.rests_on(load_at().key("objects")).rests_on(load_at().key("prepare"));
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
            KubectlStep::Scale | KubectlStep::RolloutStatus if !deployment => {
                let what = if *step == KubectlStep::Scale { "to scale" } else { "to wait for" };
                findings
                    .add(&at, format!("there is no deployment {what} yet"))
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
            | KubectlStep::RolloutStatus
            | KubectlStep::Discovery
            | KubectlStep::GetPods
            | KubectlStep::GetDeployments => {}
        }
    }
}
