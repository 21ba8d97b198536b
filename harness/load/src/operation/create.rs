//! `create` (POST), `apply` (server-side apply), and `postDelete` (POST and DELETE).

use http::Method;
use spangate_scenario::model::CreateOperation;

use super::Steps;
use crate::{
    Arrival, Setting, Verb, object,
    object::{Body, Object},
    request::{Reply, Request},
};

/// POST of a new object.
pub(crate) fn post(create: &CreateOperation, arrival: &Arrival, setting: &Setting) -> Request {
    // A create names its object in the body only.
    let target = setting.collection(create.resource, arrival);
    Request::new(Verb::Create, Method::POST, target).object(&body(create, arrival, setting), setting.encoding)
}

/// Server-side apply of a new object. A JSON body is valid YAML, which is what the media type asks for.
pub(crate) fn apply(apply: &CreateOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let target = setting
        .collection(apply.resource, arrival)
        .named(object::made(arrival.number, 0))
        .query("fieldManager", "spangate")
        .query("force", "true");
    let body = body(apply, arrival, setting).value();
    Request::new(Verb::Apply, Method::PATCH, target).body("application/apply-patch+yaml", &body)
}

fn body(create: &CreateOperation, arrival: &Arrival, setting: &Setting) -> Body {
    let CreateOperation { resource, size, labels } = create;
    setting.body(&Object {
        resource: *resource,
        namespace: setting.namespaces.of_arrival(arrival),
        name: &object::made(arrival.number, 0),
        sizes: size,
        labels,
        revision: Some(arrival.number),
    })
}

/// POST of a new object, then its DELETE.
pub(crate) struct PostDelete {
    /// Both, in the reverse of their order.
    requests: Vec<Request>,
}

// === impl PostDelete ===

impl PostDelete {
    /// Makes the object of `arrival`, and deletes it.
    pub(crate) fn new(create: &CreateOperation, arrival: &Arrival, setting: &Setting) -> Self {
        let target = setting.collection(create.resource, arrival).named(object::made(arrival.number, 0));
        let delete =
            Request::new(Verb::Delete, Method::DELETE, target).accept(setting.accept(create.resource));
        Self { requests: vec![delete, post(create, arrival, setting)] }
    }
}

impl Steps for PostDelete {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        // What was not made is not deleted.
        if reply.is_some_and(|reply| !reply.status.is_success()) {
            return None;
        }
        self.requests.pop()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use spangate_scenario::{
        model::{Resource, Sizes},
        units::Size,
    };

    use super::*;
    use crate::testing::{arrival, reply, setting};

    fn create() -> CreateOperation {
        CreateOperation { resource: Resource::Secrets, size: Sizes::Fixed(Size(99)), labels: [].into() }
    }

    #[test]
    fn a_create_has_the_size_that_it_is_given() {
        let request = post(&create(), &arrival(3), &setting());
        assert_eq!(request.target, "/api/v1/namespaces/ns/secrets");
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["stringData"]["payload"].as_str().unwrap().len(), 99);
        assert_eq!(body["metadata"]["name"], "load-3-0");
    }

    #[test]
    fn what_was_made_is_deleted_and_nothing_else() {
        let both = || PostDelete::new(&create(), &arrival(3), &setting());
        let mut operation = both();
        assert_eq!(operation.next(None), Some(post(&create(), &arrival(3), &setting())));
        let delete = operation.next(Some(&reply(201, ""))).unwrap();
        assert_eq!(
            (delete.verb, delete.target.as_str()),
            (Verb::Delete, "/api/v1/namespaces/ns/secrets/load-3-0")
        );
        assert_eq!(operation.next(Some(&reply(200, ""))), None);

        let mut refused = both();
        refused.next(None).unwrap();
        assert_eq!(refused.next(Some(&reply(403, ""))), None);
    }
}
