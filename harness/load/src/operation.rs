//! What each kind of operation sends.
//!
//! An operation is a sequence of HTTP requests in which each may depend on the answer to the one before. It
//! does no IO: [`Operation::next`] takes an answer and gives a request, and the engine does the rest.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod kubectl;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod update;
pub(crate) mod watch;

use std::{fmt, time::Duration, vec};

use spangate_scenario::model::{
    CreateOperation, DeleteOperation, GetOperation, KubectlStep, ListOperation, MixEntry, PatchOperation,
    PutOperation, Resource, Scope, UpdateOperation, WatchListOperation, WatchOperation,
};

use crate::{Arrival, Setting, request::Reply, request::Request};

/// What a mix entry does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind<'a> {
    /// Creates an object.
    Create(&'a CreateOperation),
    /// Reads an object.
    Get(&'a GetOperation),
    /// Reads a collection.
    List(&'a ListOperation),
    /// Reads a collection as a stream.
    WatchList(&'a WatchListOperation),
    /// Watches a collection.
    Watch(&'a WatchOperation),
    /// Replaces an object that it reads first.
    Update(&'a UpdateOperation),
    /// Replaces an object.
    Put(&'a PutOperation),
    /// Patches an object.
    Patch(&'a PatchOperation),
    /// Server-side apply.
    Apply(&'a CreateOperation),
    /// Deletes an object.
    Delete(&'a DeleteOperation),
    /// Creates an object and deletes it again.
    PostDelete(&'a CreateOperation),
    /// Deletes a collection.
    DeleteCollection(&'a DeleteOperation),
    /// A sequence of kubectl commands.
    Kubectl(&'a [KubectlStep]),
}

/// The requests of one arrival, one after the other.
pub struct Operation(Box<dyn Steps>);

/// Gives one request after the other.
pub(crate) trait Steps: Send {
    /// The next request, given the answer to the one before; `None` when the operation is over.
    ///
    /// The first call has no answer. When a request got none (an error, a timeout), the operation is not
    /// asked again.
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request>;
}

/// Requests that depend on no answer.
pub(crate) struct Fixed(vec::IntoIter<Request>);

// === impl Kind ===

impl<'a> Kind<'a> {
    /// The operation of `entry`: the first, should there be several; `None` if there is none.
    pub fn of(entry: &'a MixEntry) -> Option<Self> {
        let create = entry.create.as_ref().map(Self::Create);
        create
            .or_else(|| entry.get.as_ref().map(Self::Get))
            .or_else(|| entry.list.as_ref().map(Self::List))
            .or_else(|| entry.watch_list.as_ref().map(Self::WatchList))
            .or_else(|| entry.watch.as_ref().map(Self::Watch))
            .or_else(|| entry.update.as_ref().map(Self::Update))
            .or_else(|| entry.put.as_ref().map(Self::Put))
            .or_else(|| entry.patch.as_ref().map(Self::Patch))
            .or_else(|| entry.apply.as_ref().map(Self::Apply))
            .or_else(|| entry.delete.as_ref().map(Self::Delete))
            .or_else(|| entry.post_delete.as_ref().map(Self::PostDelete))
            .or_else(|| entry.delete_collection.as_ref().map(Self::DeleteCollection))
            .or_else(|| entry.kubectl.as_deref().filter(|steps| !steps.is_empty()).map(Self::Kubectl))
    }

    /// The resource that it works on; that of a kubectl sequence depends on its commands.
    pub fn resource(self) -> Option<Resource> {
        Some(match self {
            Self::Create(operation) | Self::Apply(operation) | Self::PostDelete(operation) => {
                operation.resource
            }
            Self::Get(operation) => operation.resource,
            Self::List(operation) => operation.resource,
            Self::WatchList(operation) => operation.resource,
            Self::Watch(operation) => operation.resource,
            Self::Update(operation) => operation.resource,
            Self::Put(operation) => operation.resource,
            Self::Patch(operation) => operation.resource,
            Self::Delete(operation) | Self::DeleteCollection(operation) => operation.resource,
            Self::Kubectl(_) => return None,
        })
    }

    /// Where it reads.
    pub fn scope(self) -> Scope {
        match self {
            Self::List(list) => list.scope,
            Self::WatchList(list) => list.scope,
            _ => Scope::Namespace,
        }
    }

    /// How long the operation takes by intent, beside what the server needs: watches are held open.
    pub fn hold(self) -> Duration {
        match self {
            Self::Watch(watch) => watch::held(watch),
            _ => Duration::ZERO,
        }
    }
}

// === impl Operation ===

impl Operation {
    /// The operation of `kind` that `arrival` does.
    pub fn new(kind: Kind<'_>, arrival: &Arrival, setting: &Setting) -> Self {
        match kind {
            Kind::Create(create) => Self::one(create::post(create, arrival, setting)),
            Kind::Get(get) => Self::one(read::get(get, arrival, setting)),
            Kind::List(list) => Self(Box::new(read::Pages::list(list, arrival, setting))),
            Kind::WatchList(list) => Self::one(watch::list(list, arrival, setting)),
            Kind::Watch(watch) => Self::one(watch::request(watch, arrival, setting)),
            Kind::Update(update) => Self(Box::new(update::Update::new(update, arrival, setting))),
            Kind::Put(put) => Self::one(update::put(put, arrival, setting)),
            Kind::Patch(patch) => Self::one(patch::request(patch, arrival, setting)),
            Kind::Apply(apply) => Self::one(create::apply(apply, arrival, setting)),
            Kind::Delete(delete) => Self::one(delete::object(delete, arrival, setting)),
            Kind::PostDelete(create) => Self(Box::new(create::PostDelete::new(create, arrival, setting))),
            Kind::DeleteCollection(delete) => Self::one(delete::collection(delete, arrival, setting)),
            Kind::Kubectl(steps) => Self(Box::new(kubectl::Sequence::new(steps, arrival, setting))),
        }
    }

    /// One request.
    pub(crate) fn one(request: Request) -> Self {
        Self(Box::new(Some(request)))
    }

    /// The next request, given the answer to the one before; `None` when the operation is over.
    pub fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        self.0.next(reply)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").finish_non_exhaustive()
    }
}

impl Steps for Option<Request> {
    fn next(&mut self, _: Option<&Reply>) -> Option<Request> {
        self.take()
    }
}

// === impl Fixed ===

impl Fixed {
    pub(crate) fn new(requests: Vec<Request>) -> Self {
        Self(requests.into_iter())
    }
}

impl Steps for Fixed {
    fn next(&mut self, _: Option<&Reply>) -> Option<Request> {
        self.0.next()
    }
}
