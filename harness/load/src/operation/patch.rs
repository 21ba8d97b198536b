//! `patch`: one PATCH that sets an annotation to a new value.

use http::Method;
use serde_json::{Value, json};
use spangate_scenario::model::{PatchOperation, PatchType};

use crate::{Arrival, Setting, Verb, object::REVISION, request::Request};

/// PATCH of one of the prepared objects.
pub(crate) fn request(patch: &PatchOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let (content_type, body) = body(patch.patch_type, &arrival.number.to_string());
    let target = setting.chosen(patch.resource, patch.objects, arrival);
    Request::new(Verb::Patch, Method::PATCH, target).body(content_type, &body)
}

fn body(patch_type: PatchType, revision: &str) -> (&'static str, Value) {
    let merge = json!({"metadata": {"annotations": {REVISION: revision}}});
    match patch_type {
        PatchType::Merge => ("application/merge-patch+json", merge),
        PatchType::Strategic => ("application/strategic-merge-patch+json", merge),
        // Prepared objects have annotations, so `add` finds the map that it adds to. `/` is `~1` in a path.
        PatchType::Json => (
            "application/json-patch+json",
            json!([{
                "op": "add",
                "path": format!("/metadata/annotations/{}", REVISION.replace('/', "~1")),
                "value": revision,
            }]),
        ),
    }
}
