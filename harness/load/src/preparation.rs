//! What must exist before load starts, worked out from the schedule.

use std::collections::{BTreeMap, BTreeSet};

use spangate_scenario::model::{Identity, Load, Resource};

use crate::{
    Schedule, object,
    object::COLLECTION_LABEL,
    operation::{
        Kind,
        kubectl::{Command, commands},
    },
};

/// Everything to make before load starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// The objects, each once.
    pub objects: Vec<Prepared>,
    /// Whether the unprivileged user takes part and needs rights.
    pub unprivileged: bool,
}

/// One object to make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prepared {
    /// What it is.
    pub resource: Resource,
    /// Its name.
    pub name: String,
    /// Labels beside those that every object has.
    pub labels: BTreeMap<String, String>,
}

/// Bytes of payload of every prepared object, as a created one has unless the scenario says otherwise.
pub(crate) const SIZE: u64 = 1024;

// === impl Preparation ===

impl Preparation {
    /// What `schedule` needs: a pool of each resource that is read or changed, a victim for each delete, and
    /// a collection for each `deleteCollection`.
    ///
    /// The pool has `objects` of a resource, or as many as an update or a patch is spread over.
    pub fn new(load: &Load, schedule: &Schedule) -> Self {
        let mut pools: BTreeMap<Resource, u32> = BTreeMap::new();
        let mut pool = |resource, count: u32| {
            let size = pools.entry(resource).or_default();
            *size = count.max(*size);
        };
        let mut objects = BTreeSet::new();
        let mut entries = BTreeSet::new();
        for arrival in schedule.arrivals() {
            let Some(kind) = Kind::of(&load.mix[arrival.entry]) else { continue };
            entries.insert(arrival.entry);
            match kind {
                Kind::Create(_) | Kind::Apply(_) => {}
                Kind::Get(get) => pool(get.resource, load.objects),
                Kind::List(list) => pool(list.resource, load.objects),
                Kind::Watch(watch) => pool(watch.resource, load.objects),
                Kind::Update(update) => pool(update.resource, update.objects.unwrap_or(load.objects)),
                Kind::Patch(patch) => pool(patch.resource, patch.objects.unwrap_or(load.objects)),
                Kind::Delete(delete) => {
                    objects.insert(Prepared::new(delete.resource, object::victim(arrival.number, 0)));
                }
                Kind::DeleteCollection(delete) => objects.extend((0..load.objects).map(|index| {
                    let mut member = Prepared::new(delete.resource, object::member(arrival.number, index));
                    member.labels.insert(COLLECTION_LABEL.to_owned(), arrival.number.to_string());
                    member
                })),
                Kind::Kubectl(steps) => {
                    for command in commands(steps, &arrival, load.objects) {
                        match command {
                            Command::Scale(_) => pool(Resource::Deployments, load.objects),
                            Command::Get(resource) => pool(resource, load.objects),
                            Command::Delete { resource, name, prepared: true } => {
                                objects.insert(Prepared::new(resource, name));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        for (resource, count) in pools {
            objects.extend((0..count).map(|index| Prepared::new(resource, object::pool(index))));
        }
        Self {
            objects: objects.into_iter().collect(),
            unprivileged: entries.iter().any(|entry| load.mix[*entry].identity == Identity::unprivileged()),
        }
    }
}

impl Prepared {
    fn new(resource: Resource, name: String) -> Self {
        Self { resource, name, labels: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::{
        DeleteOperation, KubectlStep, ListOperation, MixEntry, Scope, UpdateOperation,
    };

    use super::*;
    use crate::testing;

    fn prepare(entry: MixEntry) -> (Preparation, usize) {
        let load = testing::load(vec![entry]);
        let schedule = Schedule::new(&load, 7);
        assert!(schedule.arrivals().count() > 1);
        (Preparation::new(&load, &schedule), schedule.arrivals().count())
    }

    fn names(preparation: &Preparation) -> BTreeSet<&str> {
        preparation.objects.iter().map(|object| object.name.as_str()).collect()
    }

    #[test]
    fn reads_and_changes_share_one_pool() {
        let list = ListOperation {
            resource: Resource::Pods,
            resource_version: None,
            limit: None,
            label_selector: None,
            field_selector: None,
            scope: Scope::Namespace,
        };
        let update = UpdateOperation { resource: Resource::Pods, objects: Some(12) };
        let mut load = testing::load(vec![
            MixEntry { list: Some(list), ..MixEntry::default() },
            MixEntry { update: Some(update), identity: Identity::unprivileged(), ..MixEntry::default() },
        ]);
        load.objects = 5;
        let preparation = Preparation::new(&load, &Schedule::new(&load, 7));
        assert_eq!(preparation.objects.len(), 12);
        assert!(preparation.unprivileged && names(&preparation).contains("pool-11"));
    }

    #[test]
    fn every_delete_has_a_victim() {
        let delete = Some(DeleteOperation { resource: Resource::Configmaps });
        let (preparation, arrivals) = prepare(MixEntry { delete, ..MixEntry::default() });
        assert_eq!(names(&preparation).len(), arrivals);
        assert!(!preparation.unprivileged && names(&preparation).contains("victim-0-0"));
    }

    #[test]
    fn every_collection_is_told_from_the_others() {
        let delete_collection = Some(DeleteOperation { resource: Resource::Configmaps });
        let (preparation, arrivals) = prepare(MixEntry { delete_collection, ..MixEntry::default() });
        let objects = testing::load(Vec::new()).objects as usize;
        assert_eq!(names(&preparation).len(), arrivals * objects);
        let labels: BTreeSet<_> =
            preparation.objects.iter().map(|o| o.labels[COLLECTION_LABEL].as_str()).collect();
        assert_eq!(labels.len(), arrivals);
    }

    #[test]
    fn a_sequence_prepares_only_what_it_does_not_make() {
        let kubectl =
            |steps: &[KubectlStep]| MixEntry { kubectl: Some(steps.to_vec()), ..MixEntry::default() };
        let (own, _) = prepare(kubectl(&[KubectlStep::CreateDeployment, KubectlStep::Delete]));
        assert!(own.objects.is_empty());
        let (other, arrivals) = prepare(kubectl(&[KubectlStep::Delete]));
        assert_eq!(other.objects.len(), arrivals);
    }
}
