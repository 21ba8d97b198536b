//! Types of `k8s.io/api/core/v1`.

use std::collections::BTreeMap;

use prost::Message;
use serde::Serialize;

use super::ObjectMeta;

/// Plain data.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct ConfigMap {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) data: BTreeMap<String, String>,
}

/// Data that is kept apart.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Secret {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) string_data: BTreeMap<String, String>,
}

/// Containers on a node.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct Pod {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) spec: Option<PodSpec>,
}

/// What pods of a deployment are made from.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct PodTemplateSpec {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) spec: Option<PodSpec>,
}

/// What a pod is to be.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    #[prost(message, repeated, tag = "2")]
    pub(crate) containers: Vec<Container>,
    #[prost(string, tag = "8")]
    pub(crate) service_account_name: String,
    #[prost(bool, optional, tag = "21")]
    pub(crate) automount_service_account_token: Option<bool>,
    #[prost(string, tag = "19")]
    pub(crate) scheduler_name: String,
}

/// One container of a pod.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) image: String,
}

/// Something that happened to an object.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) involved_object: Option<ObjectReference>,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) source: Option<EventSource>,
    #[prost(string, tag = "9")]
    #[serde(rename = "type")]
    pub(crate) severity: String,
}

/// The object that an event is about.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectReference {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "5")]
    pub(crate) api_version: String,
}

/// Who noticed it.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct EventSource {
    #[prost(string, tag = "1")]
    pub(crate) component: String,
}
