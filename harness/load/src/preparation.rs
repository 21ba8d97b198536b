//! What must exist before load starts, worked out from the load and the schedule.

use std::collections::{BTreeMap, BTreeSet};

use spangate_scenario::model::{Identity, Load, MixEntry, PopulationEntry, Resource, Scope};

use crate::{
    Arrival, Namespaces, Schedule, object,
    object::COLLECTION_LABEL,
    operation::{
        Kind,
        kubectl::{Command, commands},
    },
    setting,
};

/// Everything to make before load starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// Who sends anything, and so needs rights and connections.
    pub identities: BTreeSet<Identity>,
    /// Those who read over all namespaces.
    pub cluster_readers: BTreeSet<Identity>,
    /// Whether custom resources are worked on, so that their definition is needed.
    pub custom_resources: bool,
    namespaces: Namespaces,
    pools: BTreeMap<Resource, PopulationEntry>,
    /// What single arrivals need for themselves, each once.
    singles: BTreeMap<(Resource, String), Single>,
}

/// What a single arrival needs, beside resource and name.
#[derive(Debug, Clone, PartialEq)]
struct Single {
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// One object to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Where it is and how large; its `count` means nothing here.
    pub entry: PopulationEntry,
    /// The namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

// === impl Preparation ===

impl Preparation {
    /// What `load` needs: what `prepare` names, a pool of each resource that is read or changed, a victim for
    /// each delete of `schedule`, and a collection for each `deleteCollection`.
    ///
    /// A pool has as many objects as the load says, or as many as an operation is spread over.
    pub fn new(load: &Load, schedule: &Schedule) -> Self {
        let mut preparation = Self {
            identities: BTreeSet::new(),
            cluster_readers: BTreeSet::new(),
            custom_resources: false,
            namespaces: Namespaces::new(load),
            pools: load.prepare.objects.iter().map(|entry| (entry.resource, entry.clone())).collect(),
            singles: BTreeMap::new(),
        };
        preparation.custom_resources = preparation.pools.contains_key(&Resource::Widgets);
        let entries: Vec<&MixEntry> = load.entries().collect();
        for entry in entries.iter().filter(|entry| entry.weight.0 > 0) {
            preparation.add_entry(load, entry);
        }
        for watchers in &load.watchers {
            preparation.custom_resources |= watchers.resource == Resource::Widgets;
            preparation.add_sender(&watchers.identity, watchers.scope);
        }
        let kinds: Vec<_> = entries.into_iter().map(Kind::of).collect();
        if kinds.iter().flatten().any(|kind| destroys(*kind)) {
            for arrival in schedule.arrivals() {
                if let Some(Some(kind)) = kinds.get(arrival.entry) {
                    preparation.add_arrival(load, *kind, &arrival);
                }
            }
        }
        preparation
    }

    /// The objects, each once.
    pub fn objects(&self) -> impl Iterator<Item = Prepared> {
        let pools = self.pools.values().flat_map(|entry| {
            (0..entry.count).map(|index| Prepared {
                entry: entry.clone(),
                namespace: self.namespaces.of_object(index).to_owned(),
                name: object::pool(index),
            })
        });
        pools.chain(self.singles.iter().map(|((resource, name), Single { namespace, labels })| Prepared {
            entry: PopulationEntry { labels: labels.clone(), ..plain(*resource) },
            namespace: namespace.clone(),
            name: name.clone(),
        }))
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.pools.values().map(|entry| entry.count as usize).sum::<usize>() + self.singles.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes sure of a pool of `resource`, as large as the load says or as `spread`.
    pub fn add_pool(&mut self, load: &Load, resource: Resource, spread: Option<u32>) {
        let pool = self.pools.entry(resource).or_insert_with(|| setting::pool(load, resource));
        pool.count = pool.count.max(spread.unwrap_or_default());
        self.custom_resources |= resource == Resource::Widgets;
    }

    /// Makes sure that `identity` can send, and read in `scope`.
    pub fn add_sender(&mut self, identity: &Identity, scope: Scope) {
        self.identities.insert(identity.clone());
        if scope == Scope::Cluster {
            self.cluster_readers.insert(identity.clone());
        }
    }

    fn add_entry(&mut self, load: &Load, entry: &MixEntry) {
        let Some(kind) = Kind::of(entry) else { return };
        self.add_sender(&entry.identity, kind.scope());
        self.custom_resources |= kind.resource() == Some(Resource::Widgets);
        match kind {
            Kind::Create(_)
            | Kind::Apply(_)
            | Kind::PostDelete(_)
            | Kind::Delete(_)
            | Kind::DeleteCollection(_) => {}
            Kind::Get(get) => self.add_pool(load, get.resource, None),
            Kind::List(list) => self.add_pool(load, list.resource, None),
            Kind::WatchList(list) => self.add_pool(load, list.resource, None),
            Kind::Watch(watch) => self.add_pool(load, watch.resource, None),
            Kind::Update(update) => self.add_pool(load, update.resource, update.objects),
            Kind::Put(put) => self.add_pool(load, put.resource, put.objects),
            Kind::Patch(patch) => self.add_pool(load, patch.resource, patch.objects),
            Kind::Kubectl(steps) => {
                for command in commands(steps, 0) {
                    match command {
                        Command::Scale(None) => self.add_pool(load, Resource::Deployments, None),
                        Command::Get(resource) => self.add_pool(load, resource, None),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Makes sure of the object that `arrival` deletes.
    pub fn add_victim(&mut self, resource: Resource, arrival: &Arrival) {
        self.add_single(resource, object::victim(arrival.number, 0), BTreeMap::new(), arrival);
    }

    /// Makes sure of the collection that `arrival` deletes.
    pub fn add_collection(&mut self, load: &Load, resource: Resource, arrival: &Arrival) {
        let labels = BTreeMap::from([(COLLECTION_LABEL.to_owned(), arrival.number.to_string())]);
        for index in 0..load.objects {
            self.add_single(resource, object::member(arrival.number, index), labels.clone(), arrival);
        }
    }

    fn add_single(
        &mut self,
        resource: Resource,
        name: String,
        labels: BTreeMap<String, String>,
        arrival: &Arrival,
    ) {
        let namespace = self.namespaces.of_arrival(arrival).to_owned();
        self.singles.insert((resource, name), Single { namespace, labels });
        self.custom_resources |= resource == Resource::Widgets;
    }

    /// Adds what `arrival` destroys.
    fn add_arrival(&mut self, load: &Load, kind: Kind<'_>, arrival: &Arrival) {
        match kind {
            Kind::Delete(delete) => self.add_victim(delete.resource, arrival),
            Kind::DeleteCollection(delete) => self.add_collection(load, delete.resource, arrival),
            Kind::Kubectl(steps) => {
                for command in commands(steps, arrival.number) {
                    if let Command::Delete { resource, name, prepared: true } = command {
                        self.add_single(resource, name, BTreeMap::new(), arrival);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether operations of `kind` destroy what was made for each of them.
fn destroys(kind: Kind<'_>) -> bool {
    match kind {
        Kind::Delete(_) | Kind::DeleteCollection(_) => true,
        Kind::Kubectl(steps) => {
            commands(steps, 0).iter().any(|command| matches!(command, Command::Delete { prepared: true, .. }))
        }
        _ => false,
    }
}

/// An object with what is usual.
fn plain(resource: Resource) -> PopulationEntry {
    setting::pool(&Load::default(), resource)
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::{
        DeleteOperation, IdentitySpec, KubectlStep, ListOperation, Sizes, UpdateOperation, Weight,
    };

    use super::*;
    use crate::testing;

    fn of(load: &Load) -> Preparation {
        Preparation::new(load, &Schedule::new(load, 7))
    }

    fn prepare(entry: MixEntry) -> (Preparation, usize) {
        let load = testing::load(vec![entry]);
        let arrivals = Schedule::new(&load, 7).arrivals().count();
        assert!(arrivals > 1);
        (of(&load), arrivals)
    }

    fn names(preparation: &Preparation) -> BTreeSet<String> {
        let names: BTreeSet<_> = preparation.objects().map(|object| object.name).collect();
        assert_eq!(names.len(), preparation.len());
        names
    }

    fn list(resource: Resource, scope: Scope) -> MixEntry {
        let list = ListOperation {
            resource,
            resource_version: None,
            limit: None,
            label_selector: None,
            field_selector: None,
            scope,
        };
        MixEntry { list: Some(list), ..MixEntry::default() }
    }

    #[test]
    fn reads_and_changes_share_one_pool() {
        let update = Some(UpdateOperation { resource: Resource::Pods, objects: Some(12) });
        let mut load = testing::load(vec![
            list(Resource::Pods, Scope::Namespace),
            MixEntry { update, identity: Identity::unprivileged(), ..MixEntry::default() },
        ]);
        load.objects = 5;
        let preparation = of(&load);
        assert_eq!(preparation.len(), 12);
        assert!(names(&preparation).contains("pool-11"));
        assert!(preparation.identities.contains(&Identity::unprivileged()));
        assert!(preparation.cluster_readers.is_empty() && !preparation.custom_resources);
    }

    #[test]
    fn a_population_is_made_though_nothing_asks_for_it() {
        let mut load = testing::load(Vec::new());
        load.prepare.namespaces = 3;
        load.prepare.objects = vec![PopulationEntry {
            resource: Resource::Widgets,
            count: 10,
            size: Sizes::Fixed(spangate_scenario::units::Size(2048)),
            labels: [("tier".to_owned(), "gold".to_owned())].into(),
        }];
        let preparation = of(&load);
        assert!(preparation.custom_resources);
        let mut by_namespace = BTreeMap::<_, Vec<_>>::new();
        for Prepared { entry, namespace, name } in preparation.objects() {
            assert_eq!((entry.size, entry.labels["tier"].as_str()), (load.prepare.objects[0].size, "gold"));
            by_namespace.entry(namespace).or_default().push(name);
        }
        assert_eq!(by_namespace["ns-2"], ["pool-1", "pool-4", "pool-7"]);
        assert_eq!(by_namespace.values().map(Vec::len).collect::<Vec<_>>(), [4, 3, 3]);
    }

    #[test]
    fn who_reads_everywhere_is_known() {
        let somebody = Identity::new("somebody");
        let mut load = testing::load(vec![
            list(Resource::Secrets, Scope::Namespace),
            MixEntry { identity: somebody.clone(), ..list(Resource::Secrets, Scope::Cluster) },
            MixEntry {
                identity: Identity::unprivileged(),
                weight: Weight(0),
                ..list(Resource::Pods, Scope::Cluster)
            },
        ]);
        load.identities =
            vec![IdentitySpec { name: somebody.clone(), service_accounts: Some(1), impersonate: None }];
        let preparation = of(&load);
        assert_eq!(preparation.cluster_readers, [somebody.clone()].into());
        assert_eq!(preparation.identities, [Identity::admin(), somebody].into());
    }

    #[test]
    fn every_delete_has_a_victim_where_it_looks_for_it() {
        let delete = Some(DeleteOperation { resource: Resource::Configmaps });
        let mut load = testing::load(vec![MixEntry { delete, ..MixEntry::default() }]);
        load.prepare.namespaces = 2;
        let (preparation, setting) = (of(&load), crate::Setting::new(&load, "run", 7));
        let places: BTreeSet<_> =
            preparation.objects().map(|object| (object.namespace, object.name)).collect();
        let looked_for = Schedule::new(&load, 7).arrivals().map(|arrival| {
            (setting.namespaces.of_arrival(&arrival).to_owned(), object::victim(arrival.number, 0))
        });
        assert_eq!(places, looked_for.collect());
        assert_eq!(places.iter().map(|(namespace, _)| namespace).collect::<BTreeSet<_>>().len(), 2);
    }

    #[test]
    fn every_collection_is_told_from_the_others() {
        let delete_collection = Some(DeleteOperation { resource: Resource::Configmaps });
        let (preparation, arrivals) = prepare(MixEntry { delete_collection, ..MixEntry::default() });
        let objects = testing::load(Vec::new()).objects as usize;
        assert_eq!(names(&preparation).len(), arrivals * objects);
        let labels: BTreeSet<_> =
            preparation.objects().map(|object| object.entry.labels[COLLECTION_LABEL].clone()).collect();
        assert_eq!(labels.len(), arrivals);
    }

    #[test]
    fn a_sequence_prepares_only_what_it_does_not_make() {
        let kubectl =
            |steps: &[KubectlStep]| MixEntry { kubectl: Some(steps.to_vec()), ..MixEntry::default() };
        let (own, _) = prepare(kubectl(&[KubectlStep::CreateDeployment, KubectlStep::Delete]));
        assert!(own.is_empty());
        let (other, arrivals) = prepare(kubectl(&[KubectlStep::Delete]));
        assert_eq!(other.len(), arrivals);
    }
}
