//! `delete` and `deleteCollection`.

use http::Method;
use spangate_scenario::model::{DeleteOperation, Resource};

use crate::{Arrival, Setting, Verb, object, request::Request};

/// DELETE of the object that was prepared for this arrival.
pub(crate) fn object(delete: &DeleteOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let target = setting.collection(delete.resource, arrival).named(object::victim(arrival.number, 0));
    Request::new(Verb::Delete, Method::DELETE, target).accept(setting.accept(delete.resource))
}

/// DELETE of what `maker` made.
pub(crate) fn made(resource: Resource, maker: &Arrival, setting: &Setting) -> Request {
    let target = setting.collection(resource, maker).named(object::made(maker.number, 0));
    Request::new(Verb::Delete, Method::DELETE, target).accept(setting.accept(resource))
}

/// DELETE of the collection that was prepared for this arrival, told from the others by its label.
pub(crate) fn collection(delete: &DeleteOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let selector = format!("{},{}={}", setting.selector(), object::COLLECTION_LABEL, arrival.number);
    let target = setting.collection(delete.resource, arrival).query("labelSelector", selector);
    Request::new(Verb::DeleteCollection, Method::DELETE, target).accept(setting.accept(delete.resource))
}
