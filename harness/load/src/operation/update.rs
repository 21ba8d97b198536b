//! `update`: GET, then PUT with the resource version that was read.
//!
//! A conflict (409) is what it is: recorded, not tried again.

use http::Method;
use serde_json::json;
use spangate_scenario::model::UpdateOperation;

use super::Steps;
use crate::{
    Arrival, Setting, Verb, object,
    object::REVISION,
    request::{JSON, Read, Reply, Request},
    target::Target,
};

/// GET and PUT of one of the prepared objects.
pub(crate) struct Update {
    target: Target,
    revision: String,
    put: bool,
}

// === impl Update ===

impl Update {
    /// Replaces the object that `arrival` chooses.
    pub(crate) fn new(update: &UpdateOperation, arrival: &Arrival, setting: &Setting) -> Self {
        let name = object::pool(arrival.choose(update.objects.unwrap_or(setting.objects)));
        let target = setting.collection(update.resource).named(name);
        Self { target, revision: arrival.number.to_string(), put: false }
    }
}

impl Steps for Update {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        let Some(reply) = reply else {
            return Some(Request::new(Verb::Get, Method::GET, self.target.clone()).read(Read::Keep));
        };
        if self.put {
            return None;
        }
        let mut object = reply.object()?;
        object.get_mut("metadata")?.as_object_mut()?.entry("annotations").or_insert_with(|| json!({}))
            [REVISION] = json!(self.revision);
        self.put = true;
        Some(Request::new(Verb::Update, Method::PUT, self.target.clone()).body(JSON, &object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use spangate_scenario::model::Resource;

    use super::*;
    use crate::testing::{arrival, reply, setting};

    fn update() -> Update {
        let update = UpdateOperation { resource: Resource::Configmaps, objects: Some(1) };
        Update::new(&update, &arrival(3), &setting())
    }

    #[test]
    fn a_put_sends_back_what_was_read_with_a_new_revision() {
        let mut update = update();
        assert_eq!(update.next(None).unwrap().target, "/api/v1/namespaces/ns/configmaps/pool-0");
        let got = r#"{"metadata":{"name":"pool-0","resourceVersion":"9"},"data":{"k":"v"}}"#;
        let put = update.next(Some(&reply(200, got))).unwrap();
        assert_eq!((put.method, put.verb), (Method::PUT, Verb::Update));
        assert_eq!(
            serde_json::from_slice::<Value>(&put.body).unwrap(),
            json!({
                "metadata": {"name": "pool-0", "resourceVersion": "9", "annotations": {REVISION: "3"}},
                "data": {"k": "v"},
            })
        );
        assert_eq!(update.next(Some(&reply(409, "{}"))), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_replaced() {
        let mut update = update();
        update.next(None).unwrap();
        assert_eq!(update.next(Some(&reply(404, r#"{"metadata":{}}"#))), None);
    }
}
