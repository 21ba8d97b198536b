//! `delete` and `deleteCollection`.

use http::Method;
use spangate_scenario::model::DeleteOperation;

use crate::{Arrival, Setting, Verb, object, request::Request};

/// DELETE of the object that was prepared for this arrival.
pub(crate) fn object(delete: &DeleteOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let target = setting.collection(delete.resource).named(object::victim(arrival.number, 0));
    Request::new(Verb::Delete, Method::DELETE, target)
}

/// DELETE of the collection that was prepared for this arrival, told from the others by its label.
pub(crate) fn collection(delete: &DeleteOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let selector = format!("{},{}={}", setting.selector(), object::COLLECTION_LABEL, arrival.number);
    let target = setting.collection(delete.resource).query("labelSelector", selector);
    Request::new(Verb::DeleteCollection, Method::DELETE, target)
}
