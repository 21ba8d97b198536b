//! What all operations of a run have in common, and where each of them works.

use std::collections::BTreeMap;

use spangate_scenario::model::{Encoding, Load, PopulationEntry, Resource, Scope, Sizes};

use crate::{
    Arrival, object,
    object::{Body, MANAGED_BY, Object, RUN_LABEL},
    protobuf::PROTOBUF,
    request::JSON,
    target::Target,
};

/// What all operations of a run have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The namespaces that they work in.
    pub namespaces: Namespaces,
    /// Value of [`RUN_LABEL`]: at most 63 letters, digits, `-`, `_` and `.`.
    pub run: String,
    /// Seed of payloads.
    pub seed: u64,
    /// How objects of built-in types are sent and asked for.
    pub encoding: Encoding,
    /// Objects of each resource that exist before load starts.
    pools: BTreeMap<Resource, PopulationEntry>,
}

/// The namespaces of a load.
///
/// Where something is depends on nothing but numbers, so that an operation finds what was prepared for it
/// without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespaces(Vec<String>);

/// The prepared objects of `resource`.
pub(crate) fn pool(load: &Load, resource: Resource) -> PopulationEntry {
    let named = load.prepare.objects.iter().find(|entry| entry.resource == resource);
    named.cloned().unwrap_or_else(|| PopulationEntry {
        resource,
        count: load.pool(resource),
        size: Sizes::default(),
        labels: BTreeMap::new(),
    })
}

// === impl Namespaces ===

impl Namespaces {
    /// The namespaces of `load`.
    pub fn new(load: &Load) -> Self {
        Self(load.namespaces().collect())
    }

    /// The load's own, which is always there.
    pub fn first(&self) -> &str {
        &self.0[0]
    }

    /// Where object `index` of those is that exist before load starts: the namespaces take turns.
    pub fn of_object(&self, index: u32) -> &str {
        &self.0[index as usize % self.0.len()]
    }

    /// Where `arrival` makes, lists, watches and deletes.
    pub fn of_arrival(&self, arrival: &Arrival) -> &str {
        self.of_object(arrival.choose(u32::try_from(self.0.len()).unwrap_or(u32::MAX)))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

// === impl Setting ===

impl Setting {
    /// The setting of `load` for the run called `run`.
    pub fn new(load: &Load, run: impl Into<String>, seed: u64) -> Self {
        Self {
            namespaces: Namespaces::new(load),
            run: run.into(),
            seed,
            encoding: load.client.encoding,
            pools: Resource::ALL.map(|resource| (resource, pool(load, resource))).into(),
        }
    }

    /// How many objects of `resource` exist before load starts, if any operation needs them.
    pub fn pool(&self, resource: Resource) -> u32 {
        self.pools[&resource].count
    }

    /// The selector of everything that the run made.
    pub fn selector(&self) -> String {
        format!("{RUN_LABEL}={}", self.run)
    }

    /// The collection of `resource` that `arrival` works on.
    pub(crate) fn collection(&self, resource: Resource, arrival: &Arrival) -> Target {
        Target::collection(self.namespaces.of_arrival(arrival), resource)
    }

    /// The collection of `resource` that `arrival` reads, in one namespace or in all.
    pub(crate) fn scoped(&self, resource: Resource, scope: Scope, arrival: &Arrival) -> Target {
        match scope {
            Scope::Namespace => self.collection(resource, arrival),
            Scope::Cluster => Target::everywhere(resource),
        }
    }

    /// The prepared object that `arrival` works on: one of the first `spread`, or of all.
    pub(crate) fn chosen(&self, resource: Resource, spread: Option<u32>, arrival: &Arrival) -> Target {
        let (namespace, name) = self.choose(resource, spread, arrival);
        Target::collection(namespace, resource).named(name)
    }

    /// Namespace and name of [`Setting::chosen`].
    pub(crate) fn choose(
        &self,
        resource: Resource,
        spread: Option<u32>,
        arrival: &Arrival,
    ) -> (&str, String) {
        let index = arrival.choose(spread.unwrap_or_else(|| self.pool(resource)));
        (self.namespaces.of_object(index), object::pool(index))
    }

    /// The labels that prepared objects of `resource` have, beside those that every object has.
    pub(crate) fn pool_labels(&self, resource: Resource) -> &BTreeMap<String, String> {
        &self.pools[&resource].labels
    }

    /// The media type in which `resource` is asked for.
    pub(crate) fn accept(&self, resource: Resource) -> &'static str {
        match self.encoding {
            Encoding::Protobuf if resource != Resource::Widgets => PROTOBUF,
            Encoding::Protobuf | Encoding::Json => JSON,
        }
    }

    /// The labels that every object of the run has.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        [MANAGED_BY, (RUN_LABEL, self.run.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// The whole body of `object`.
    pub(crate) fn body(&self, object: &Object<'_>) -> Body {
        object.body(self.labels(), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn setting() -> Setting {
        let mut load = testing::load(Vec::new());
        load.prepare.namespaces = 3;
        load.prepare.objects = vec![PopulationEntry {
            resource: Resource::Secrets,
            count: 7,
            size: Sizes::default(),
            labels: BTreeMap::new(),
        }];
        Setting::new(&load, "run", 7)
    }

    fn arrival(choice: u64) -> Arrival {
        Arrival { choice, ..testing::arrival(1) }
    }

    #[test]
    fn pools_are_spread_over_namespaces_in_turn() {
        let setting = setting();
        assert_eq!((setting.pool(Resource::Secrets), setting.pool(Resource::Pods)), (7, 4));
        for (choice, path) in
            [(0, "ns/secrets/pool-0"), (u64::MAX / 2, "ns/secrets/pool-3"), (u64::MAX, "ns/secrets/pool-6")]
        {
            let target = setting.chosen(Resource::Secrets, None, &arrival(choice)).to_string();
            assert_eq!(target, format!("/api/v1/namespaces/{path}"));
        }
        let second = setting.chosen(Resource::Secrets, Some(2), &arrival(u64::MAX)).to_string();
        assert_eq!(second, "/api/v1/namespaces/ns-2/secrets/pool-1");
    }

    #[test]
    fn arrivals_work_in_every_namespace() {
        let setting = setting();
        let seen: Vec<_> = [0, u64::MAX / 2, u64::MAX]
            .map(|choice| setting.namespaces.of_arrival(&arrival(choice)).to_owned())
            .into();
        assert_eq!(seen, ["ns", "ns-2", "ns-3"]);
    }

    #[test]
    fn the_whole_cluster_has_one_collection() {
        let setting = setting();
        let of = |resource, scope| setting.scoped(resource, scope, &arrival(0)).to_string();
        assert_eq!(of(Resource::Widgets, Scope::Cluster), "/apis/load.spangate.dev/v1/widgets");
        assert_eq!(of(Resource::Pods, Scope::Cluster), "/api/v1/pods");
        assert_eq!(of(Resource::Pods, Scope::Namespace), "/api/v1/namespaces/ns/pods");
    }

    #[test]
    fn only_built_in_types_are_asked_for_in_protobuf() {
        let mut setting = setting();
        assert_eq!(setting.accept(Resource::Pods), JSON);
        setting.encoding = Encoding::Protobuf;
        assert_eq!((setting.accept(Resource::Pods), setting.accept(Resource::Widgets)), (PROTOBUF, JSON));
    }
}
