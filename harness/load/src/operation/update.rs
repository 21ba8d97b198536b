//! `update`: GET, then PUT with the resource version that was read; and `put`, a PUT without one.
//!
//! A conflict (409) is what it is: recorded, not tried again.

use http::Method;
use serde_json::json;
use spangate_scenario::model::{PutOperation, UpdateOperation};

use super::Steps;
use crate::{
    Arrival, Setting, Verb,
    object::{Object, REVISION},
    request::{JSON, Read, Reply, Request},
    target::Target,
};

/// GET and PUT of one of the prepared objects.
pub(crate) struct Update {
    target: Target,
    revision: String,
    put: bool,
}

/// PUT of one of the prepared objects, whatever is there. It has another payload each time.
pub(crate) fn put(put: &PutOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let PutOperation { resource, size, objects } = put;
    let (namespace, name) = setting.choose(*resource, *objects, arrival);
    let body = setting.body(&Object {
        resource: *resource,
        namespace,
        name: &name,
        sizes: size,
        labels: setting.pool_labels(*resource),
        revision: Some(arrival.number),
    });
    let target = Target::collection(namespace, *resource).named(&name);
    Request::new(Verb::Update, Method::PUT, target).object(&body, setting.encoding)
}

// === impl Update ===

impl Update {
    /// Replaces the object that `arrival` chooses.
    pub(crate) fn new(update: &UpdateOperation, arrival: &Arrival, setting: &Setting) -> Self {
        let target = setting.chosen(update.resource, update.objects, arrival);
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
    use spangate_scenario::model::{Encoding, Resource, Sizes};

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
    fn a_put_has_no_version_and_another_payload_each_time() {
        let operation =
            PutOperation { resource: Resource::Configmaps, size: Sizes::default(), objects: Some(1) };
        let requests = [1, 2].map(|number| put(&operation, &arrival(number), &setting()));
        let [first, second] = requests.map(|request| {
            assert_eq!(request.target, "/api/v1/namespaces/ns/configmaps/pool-0");
            serde_json::from_slice::<Value>(&request.body).unwrap()
        });
        assert_eq!(
            (&first["metadata"]["name"], &first["metadata"]["resourceVersion"]),
            (&json!("pool-0"), &Value::Null)
        );
        assert_ne!(first["data"], second["data"]);
        let mut setting = setting();
        setting.encoding = Encoding::Protobuf;
        assert!(put(&operation, &arrival(1), &setting).body.starts_with(b"k8s"));
    }

    #[test]
    fn what_cannot_be_read_is_not_replaced() {
        let mut update = update();
        update.next(None).unwrap();
        assert_eq!(update.next(Some(&reply(404, r#"{"metadata":{}}"#))), None);
    }
}
