//! `create` (POST) and `apply` (server-side apply).

use http::Method;
use spangate_scenario::model::CreateOperation;

use crate::{
    Arrival, Setting, Verb, object,
    object::Object,
    request::{JSON, Request},
};

/// POST of a new object.
pub(crate) fn post(create: &CreateOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let name = object::made(arrival.number, 0);
    let body = setting.body(&object(create, &name));
    // A create names its object in the body only.
    Request::new(Verb::Create, Method::POST, setting.collection(create.resource)).body(JSON, &body)
}

/// Server-side apply of a new object. A JSON body is valid YAML, which is what the media type asks for.
pub(crate) fn apply(apply: &CreateOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let name = object::made(arrival.number, 0);
    let body = setting.body(&object(apply, &name));
    let target = setting
        .collection(apply.resource)
        .named(name)
        .query("fieldManager", "spangate")
        .query("force", "true");
    Request::new(Verb::Apply, Method::PATCH, target).body("application/apply-patch+yaml", &body)
}

fn object<'a>(create: &'a CreateOperation, name: &'a str) -> Object<'a> {
    Object { resource: create.resource, name, size: 1024, labels: &create.labels }
}
