//! `AdmissionReview` as it is read and answered (`k8s.io/api/admission/v1`, types.go).

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger::Target;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// What a webhook needs to know of a request; the objects in it are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Request {
    /// The id that the answer must repeat.
    pub(crate) uid: String,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub(crate) operation: String,
    resource: Resource,
    /// Empty for cluster-wide objects.
    #[serde(default)]
    pub(crate) namespace: String,
    /// Empty when the server is to make one.
    #[serde(default)]
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Resource {
    resource: String,
}

/// Why a body is not a review.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewError {
    /// Not the JSON of a review.
    #[error("not the JSON of an admission review")]
    Json(#[from] serde_json::Error),
    /// Something else than a review.
    #[error("expected {KIND} of {API_VERSION}, got {kind:?} of {api_version:?}")]
    Kind { api_version: String, kind: String },
    /// A review without a request is an answer.
    #[error("an admission review without a request")]
    NoRequest,
}

// === impl Request ===

impl Request {
    /// Reads the body of a call.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ReviewError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Review {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
            request: Option<Request>,
        }
        let Review { api_version, kind, request } = serde_json::from_slice(body)?;
        if api_version != API_VERSION || kind != KIND {
            return Err(ReviewError::Kind { api_version, kind });
        }
        request.ok_or(ReviewError::NoRequest)
    }

    /// The resource, plural.
    pub(crate) fn resource(&self) -> &str {
        &self.resource.resource
    }

    /// The same for the ledger.
    pub(crate) fn target(&self) -> Target {
        Target::Webhook {
            uid: self.uid.clone(),
            operation: self.operation.clone(),
            resource: self.resource.resource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// The request `uid` is allowed.
pub(crate) fn allowed(uid: &str) -> Value {
    answer(&json!({"uid": uid, "allowed": true}))
}

/// The request `uid` is denied.
pub(crate) fn denied(uid: &str, code: u16, message: &str) -> Value {
    answer(&json!({"uid": uid, "allowed": false, "status": {"code": code, "message": message}}))
}

/// The request `uid` is allowed once `patch`, a JSON patch, is applied.
pub(crate) fn patched(uid: &str, patch: &Value) -> Value {
    let patch = BASE64_STANDARD.encode(patch.to_string());
    answer(&json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

fn answer(response: &Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": KIND, "response": response})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review() -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "request": {
                "uid": "u-1",
                "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
                "resource": {"group": "", "version": "v1", "resource": "configmaps"},
                "name": "a",
                "namespace": "default",
                "operation": "CREATE",
                "userInfo": {"username": "admin"},
                "object": {"data": {"k": "v"}},
                "dryRun": false,
            },
        })
    }

    #[test]
    fn a_request_is_read_and_its_objects_are_skipped() {
        let request = Request::parse(review().to_string().as_bytes()).unwrap();
        assert_eq!(
            request.target(),
            Target::Webhook {
                uid: "u-1".to_owned(),
                operation: "CREATE".to_owned(),
                resource: "configmaps".to_owned(),
                namespace: "default".to_owned(),
                name: "a".to_owned(),
            }
        );
    }

    #[test]
    fn a_cluster_wide_object_to_be_named_by_the_server_has_neither_namespace_nor_name() {
        let mut review = review();
        let request = review["request"].as_object_mut().unwrap();
        request.remove("namespace");
        request.remove("name");
        let request = Request::parse(review.to_string().as_bytes()).unwrap();
        assert_eq!((request.namespace.as_str(), request.name.as_str()), ("", ""));
    }

    #[test]
    fn other_bodies_are_refused() {
        let answer = allowed("u").to_string();
        let beta = review().to_string().replace("k8s.io/v1", "k8s.io/v1beta1");
        assert!(matches!(Request::parse(b"{"), Err(ReviewError::Json(_))));
        assert!(matches!(Request::parse(answer.as_bytes()), Err(ReviewError::NoRequest)));
        assert!(matches!(Request::parse(beta.as_bytes()), Err(ReviewError::Kind { .. })));
    }

    #[test]
    fn a_patch_is_carried_in_base64() {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]);
        let answer = patched("u", &patch);
        let carried = BASE64_STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&carried).unwrap(), patch);
    }
}
