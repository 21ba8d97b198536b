//! What a replayed request sends.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use spangate_scenario::{
    model::{
        CreateOperation, DeleteOperation, GetOperation, ListOperation, PatchOperation, PutOperation,
        Resource, Sizes,
    },
    units::Size,
};

use super::{
    Replay,
    mapping::{Ask, Named, Query, Replayed},
};
use crate::{
    Arrival, Kind, Operation, Setting, Verb,
    engine::Task,
    operation::{delete, watch},
    request::Request,
    target::Target,
};

// === impl Replay ===

impl Replay {
    /// What `arrival` sends; nothing when there is no such request.
    pub(crate) fn task(&self, arrival: &Arrival, setting: &Setting) -> Option<Task<'_>> {
        let request = self.requests.get(usize::try_from(arrival.number).ok()?)?;
        let hold = match request.ask {
            Ask::Watch { seconds, .. } => Duration::from_secs(seconds.into()),
            _ => Duration::ZERO,
        };
        Some(Task {
            identity: self.tables.sender(request.sender),
            traceparent: request.traceparent,
            hold,
            operation: self.operation(request, arrival, setting),
        })
    }

    fn operation(&self, request: &Replayed, arrival: &Arrival, setting: &Setting) -> Operation {
        // The same object or namespace of the record is always the same one here.
        let arrival = Arrival { choice: request.choice, ..*arrival };
        let of = |kind: Kind<'_>| Operation::new(kind, &arrival, setting);
        match request.ask {
            Ask::Get { resource, stale } => {
                of(Kind::Get(&GetOperation { resource, resource_version: version(stale) }))
            }
            Ask::List(query) => of(Kind::List(&list(self.tables.query(query)))),
            Ask::Watch { query, seconds } => {
                Operation::one(watching(self.tables.query(query), seconds, &arrival, setting))
            }
            Ask::Create { resource, size } => of(Kind::Create(&create(resource, size))),
            Ask::Put { resource, size } => {
                of(Kind::Put(&PutOperation { resource, size: sizes(size), objects: None }))
            }
            Ask::Patch { resource, patch_type } => {
                of(Kind::Patch(&PatchOperation { resource, patch_type, objects: None }))
            }
            Ask::Apply { resource, size } => {
                let (Named::Made(number) | Named::Victim(number)) = request.named;
                let maker = Arrival { number, ..arrival };
                Operation::new(Kind::Apply(&create(resource, size)), &maker, setting)
            }
            Ask::Delete { resource } => {
                let (Named::Made(number) | Named::Victim(number)) = request.named;
                let arrival = Arrival { number, ..arrival };
                Operation::one(match request.named {
                    Named::Made(_) => delete::made(resource, &arrival, setting),
                    Named::Victim(_) => delete::object(&DeleteOperation { resource }, &arrival, setting),
                })
            }
            Ask::DeleteCollection(resource) => of(Kind::DeleteCollection(&DeleteOperation { resource })),
            Ask::Discovery(path) => {
                let target = Target::path(self.tables.path(path));
                Operation::one(Request::new(Verb::Discovery, Method::GET, target))
            }
        }
    }
}

fn version(stale: bool) -> Option<String> {
    stale.then(|| "0".to_owned())
}

fn sizes(size: u32) -> Sizes {
    Sizes::Fixed(Size(size.into()))
}

fn create(resource: Resource, size: u32) -> CreateOperation {
    CreateOperation { resource, size: sizes(size), labels: BTreeMap::new() }
}

fn list(query: &Query) -> ListOperation {
    ListOperation {
        resource: query.resource,
        resource_version: version(query.stale),
        limit: query.limit,
        label_selector: query.label_selector.clone(),
        field_selector: query.field_selector.clone(),
        scope: query.scope,
    }
}

/// A watch begins with the state that is there: the version at which the recorded one began is of another cluster.
fn watching(query: &Query, seconds: u32, arrival: &Arrival, setting: &Setting) -> Request {
    let target = setting
        .scoped(query.resource, query.scope, arrival)
        .query("watch", "true")
        .query("timeoutSeconds", seconds.to_string())
        .query_some("labelSelector", query.label_selector.as_deref())
        .query_some("fieldSelector", query.field_selector.as_deref())
        .query_some("allowWatchBookmarks", query.bookmarks.then_some("true"));
    if query.initial_events {
        Request::new(Verb::WatchList, Method::GET, watch::with_initial_events(target))
    } else {
        Request::new(Verb::Watch, Method::GET, target)
    }
}
