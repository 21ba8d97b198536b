//! Makes what the load needs, and removes what was made.
//!
//! Everything has a label, so that a later run finds what an earlier one left behind when it was killed.

use std::{collections::BTreeSet, sync::Mutex};

use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::json;
use spangate_scenario::model::Resource;

use super::{
    EngineError, LoadEvent, Site,
    admin::{Admin, Created, conflict, is_ours, metadata},
    definition, rights,
};
use crate::{
    Preparation, Verb,
    object::{MANAGED_BY, Object},
    preparation::Prepared,
    request::Request,
    seed::Purpose,
    target::Target,
};

/// Label of a namespace with the first one of its load.
const LOAD_LABEL: &str = "spangate.io/load";
/// Collections that are emptied at once; the API server does the work.
const EMPTIED_AT_ONCE: usize = 4;

const NAMESPACES: &str = "/api/v1/namespaces";

/// What was made here, and is to be removed here.
#[derive(Debug, Default)]
pub(super) struct Owned(Mutex<Things>);

#[derive(Debug, Default)]
struct Things {
    namespaces: BTreeSet<String>,
    definition: bool,
}

/// Makes namespaces, the definition of custom resources, rights and objects.
pub(super) async fn prepare(
    site: &Site,
    preparation: &Preparation,
    owned: &Owned,
) -> Result<(), EngineError> {
    let population = Population { admin: Admin::new(site, Purpose::Prepare), preparation, owned };
    if preparation.custom_resources {
        let is_ours = definition::make(&population.admin).await?;
        population.owned.own(|things| things.definition = is_ours);
        definition::ready(&population.admin).await?;
    }
    population.remove_leftovers().await?;
    let each = |namespace| population.namespace(namespace);
    let names = site.setting.namespaces.iter();
    stream::iter(names.map(each)).buffer_unordered(EMPTIED_AT_ONCE).try_collect::<()>().await?;
    rights::grant(&population.admin, preparation).await?;
    population.objects().await
}

/// Removes what the run made; tries everything, and gives the first error.
pub(super) async fn cleanup(
    site: &Site,
    preparation: &Preparation,
    owned: &Owned,
) -> Result<(), EngineError> {
    let admin = Admin::new(site, Purpose::Cleanup);
    let population = Population { admin, preparation, owned };
    let Population { admin, .. } = &population;
    let names: Vec<&str> = site.setting.namespaces.iter().collect();
    let mut result = population.empty(&names, &site.setting.selector()).await;
    result = result.and(rights::revoke(admin, preparation).await);
    let Things { namespaces, definition } = owned.take();
    for namespace in namespaces {
        result = result.and(admin.delete(&format!("{NAMESPACES}/{namespace}")).await);
    }
    if definition {
        result = result.and(definition::remove(admin).await);
    }
    result
}

struct Population<'a> {
    admin: Admin<'a>,
    preparation: &'a Preparation,
    owned: &'a Owned,
}

// === impl Population ===

impl Population<'_> {
    /// Makes the namespace `name`. One that an earlier run left behind is taken over; one that was there before
    /// any run is used and kept. What an earlier run left in either would collide with what this one makes.
    async fn namespace(&self, name: &str) -> Result<(), EngineError> {
        let site = self.admin.site;
        let mut metadata = metadata(site, name);
        metadata["labels"][LOAD_LABEL] = json!(site.setting.namespaces.first());
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        if self.admin.create(NAMESPACES, &body).await? != Created::Conflict {
            self.own_namespace(name);
            return Ok(());
        }
        let found = self.admin.find(&format!("{NAMESPACES}/{name}")).await?.unwrap_or_default();
        if found["status"]["phase"] == "Terminating" {
            return Err(EngineError::Terminating(name.to_owned()));
        }
        if is_ours(&found) {
            self.own_namespace(name);
        }
        self.empty(&[name], &ours()).await
    }

    fn own_namespace(&self, name: &str) {
        self.owned.own(|things| _ = things.namespaces.insert(name.to_owned()));
    }

    /// Removes the namespaces that an earlier run of the load had beside those of this one.
    async fn remove_leftovers(&self) -> Result<(), EngineError> {
        let setting = &self.admin.site.setting;
        let selector = format!("{},{LOAD_LABEL}={}", ours(), setting.namespaces.first());
        let list = Target::path(NAMESPACES).query("labelSelector", selector).to_string();
        let list = self.admin.find(&list).await?.unwrap_or_default();
        let used: BTreeSet<&str> = setting.namespaces.iter().collect();
        let left: Vec<&str> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|namespace| namespace["status"]["phase"] != "Terminating")
            .filter_map(|namespace| namespace["metadata"]["name"].as_str())
            .filter(|name| !used.contains(name))
            .collect();
        self.empty(&left, &ours()).await?;
        for name in left {
            self.admin.delete(&format!("{NAMESPACES}/{name}")).await?;
        }
        Ok(())
    }

    /// Makes the objects, many at a time.
    async fn objects(&self) -> Result<(), EngineError> {
        let site = self.admin.site;
        let total = self.preparation.len();
        let parallel = usize::try_from(site.load.prepare.parallel.max(1)).unwrap_or(usize::MAX);
        let making = self.preparation.objects().map(|object| self.make(object));
        let mut made = stream::iter(making).buffer_unordered(parallel);
        let mut done = 0;
        while made.try_next().await?.is_some() {
            done += 1;
            // A caller who has gone away does not stop the work.
            let _ = site.events.send(LoadEvent::Prepared { done, total });
        }
        Ok(())
    }

    async fn make(&self, prepared: Prepared) -> Result<(), EngineError> {
        let Prepared { entry, namespace, name } = prepared;
        let setting = &self.admin.site.setting;
        let body = setting.body(&Object {
            resource: entry.resource,
            namespace: &namespace,
            name: &name,
            sizes: &entry.size,
            labels: &entry.labels,
            revision: None,
        });
        let target = Target::collection(&namespace, entry.resource);
        // The answer is not looked at, but a refusal is, and that is to be read.
        let request = Request::new(Verb::Create, Method::POST, target);
        let accept = request.accept;
        let request = request.object(&body, setting.encoding).accept(accept);
        match self.admin.send(&request).await? {
            Created::New(_) => Ok(()),
            Created::Conflict => Err(conflict(&request)),
        }
    }

    /// Removes from `namespaces` what `selector` selects.
    async fn empty(&self, namespaces: &[&str], selector: &str) -> Result<(), EngineError> {
        let paths = namespaces.iter().flat_map(|namespace| {
            let resources = Resource::ALL
                .into_iter()
                .filter(|resource| *resource != Resource::Widgets || self.preparation.custom_resources);
            let objects = resources.map(|resource| Target::collection(namespace, resource).to_string());
            objects.chain(rights::collections(namespace))
        });
        let emptying = paths.map(async |path| self.admin.delete_all(&path, selector).await);
        let results: Vec<_> = stream::iter(emptying).buffer_unordered(EMPTIED_AT_ONCE).collect().await;
        results.into_iter().collect()
    }
}

/// The selector of everything that Spangate makes.
fn ours() -> String {
    format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)
}

// === impl Owned ===

impl Owned {
    fn own(&self, add: impl FnOnce(&mut Things)) {
        add(&mut self.0.lock().expect("nothing panics while it holds this lock"));
    }

    fn take(&self) -> Things {
        std::mem::take(&mut self.0.lock().expect("nothing panics while it holds this lock"))
    }
}
