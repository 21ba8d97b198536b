//! Writes of the request ledger, and the event that each of them must cause.

use spangate_load::{Outcome, RequestRecord, Verb, WatchEvent, WatchRecord, object};
use spangate_scenario::model::Load;

/// A write that was acknowledged, and what its event is known by.
pub(super) struct Write<'e> {
    pub(super) request: &'e RequestRecord,
    pub(super) namespace: &'e str,
    /// The object's name.
    pub(super) name: String,
    mark: Mark,
}

/// What tells the event of a write from the others of its object.
enum Mark {
    /// There is one such event of an object.
    Only(WatchEvent),
    /// The annotation has the number of the arrival.
    Revision(u64),
}

/// The acknowledged write that `request` is, if it is one; an error says why its event cannot be told.
pub(super) fn of<'e>(request: &'e RequestRecord, load: &Load) -> Option<Result<Write<'e>, &'static str>> {
    let Outcome::Status(status @ 200..300) = request.outcome else { return None };
    if request.is_of_watcher() {
        return None;
    }
    let entry = load.entries().nth(request.entry);
    let kubectl = entry.is_some_and(|entry| entry.kubectl.is_some());
    let mark = match request.verb {
        Verb::Create => Ok(Mark::Only(WatchEvent::Added)),
        Verb::Delete => Ok(Mark::Only(WatchEvent::Deleted)),
        Verb::Apply if status == 201 => Ok(Mark::Only(WatchEvent::Added)),
        Verb::Apply => Err("applied to an object that was there"),
        // What `kubectl apply` writes more than once, it marks alike.
        Verb::Update | Verb::Patch if kubectl => Err("changed by a kubectl sequence"),
        Verb::Update | Verb::Patch => Ok(Mark::Revision(request.arrival)),
        Verb::DeleteCollection => Err("deleted as a collection"),
        Verb::Get | Verb::List | Verb::Watch | Verb::WatchList | Verb::Discovery => return None,
    };
    if request.subresource.is_some() {
        return Some(Err("changed through a subresource"));
    }
    let made = entry.is_some_and(|entry| entry.create.is_some() || entry.post_delete.is_some());
    let made = made || load.replay.is_some();
    let name = request.name.clone().or_else(|| made.then(|| object::made(request.arrival, 0)));
    Some(mark.and_then(|mark| {
        let name = name.ok_or("created under a name that the ledger does not have")?;
        let namespace = namespace(&request.target).ok_or("not in a namespace")?;
        Ok(Write { request, namespace, name, mark })
    }))
}

/// The namespace that a path names.
fn namespace(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("/namespaces/")?;
    rest.split(['/', '?']).next()
}

// === impl Write ===

impl Write<'_> {
    /// Whether `event`, one of its object, is its own.
    pub(super) fn caused(&self, event: &WatchRecord) -> bool {
        let own = match self.mark {
            Mark::Only(kind) => event.event == kind,
            Mark::Revision(number) => event.event == WatchEvent::Modified && event.revision == Some(number),
        };
        own && !event.initial && event.at >= self.request.started
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::{KubectlStep, MixEntry};

    use super::*;
    use crate::testing::request;

    fn load() -> Load {
        let mut load = crate::testing::scenario().spec.load;
        let kubectl = Some(vec![KubectlStep::Apply]);
        load.mix.push(MixEntry { kubectl, ..MixEntry::default() });
        load
    }

    fn tied(request: &RequestRecord) -> Option<Result<(String, String), &'static str>> {
        let write = of(request, &load())?;
        Some(write.map(|write| (write.namespace.to_owned(), write.name)))
    }

    #[test]
    fn an_object_is_known_by_namespace_and_name() {
        let create = RequestRecord { arrival: 7, ..request() };
        let namespace = "spangate-load".to_owned();
        assert_eq!(tied(&create), Some(Ok((namespace.clone(), "load-7-0".to_owned()))));
        let named = RequestRecord {
            verb: Verb::Patch,
            name: Some("pool-1".to_owned()),
            outcome: Outcome::Status(200),
            target: "/api/v1/namespaces/spangate-load/configmaps/pool-1".to_owned(),
            ..request()
        };
        assert_eq!(tied(&named), Some(Ok((namespace, "pool-1".to_owned()))));
    }

    #[test]
    fn what_was_not_acknowledged_is_no_write() {
        for outcome in
            [Outcome::Status(409), Outcome::Timeout, Outcome::Error("reset".to_owned()), Outcome::Shed]
        {
            assert_eq!(tied(&RequestRecord { outcome, ..request() }), None);
        }
        assert_eq!(tied(&RequestRecord { verb: Verb::List, ..request() }), None);
    }

    #[test]
    fn what_cannot_be_told_apart_says_so() {
        let scale = RequestRecord {
            verb: Verb::Patch,
            subresource: Some("scale".into()),
            name: Some("x".to_owned()),
            ..request()
        };
        assert_eq!(tied(&scale), Some(Err("changed through a subresource")));
        let kubectl = RequestRecord { entry: 1, ..request() };
        assert_eq!(tied(&kubectl), Some(Err("created under a name that the ledger does not have")));
        let collection = RequestRecord { verb: Verb::DeleteCollection, ..request() };
        assert_eq!(tied(&collection), Some(Err("deleted as a collection")));
    }
}
