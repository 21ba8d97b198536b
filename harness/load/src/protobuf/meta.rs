//! Types of `k8s.io/apimachinery`: what every object has, and what objects travel in.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use serde::Serialize;

/// `pkg/apis/meta/v1`: what every object has.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct ObjectMeta {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    #[prost(btree_map = "string, string", tag = "11")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// `pkg/apis/meta/v1`: which objects are meant.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LabelSelector {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) match_labels: BTreeMap<String, String>,
}

/// Any list, by its metadata.
#[derive(Clone, PartialEq, Message)]
pub(super) struct List {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ListMeta>,
}

/// `pkg/apis/meta/v1`: what every list has.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ListMeta {
    #[prost(string, tag = "3")]
    pub(super) token: String,
}

/// `pkg/apis/meta/v1`: one event of a watch.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchEvent {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) object: Option<RawExtension>,
}

/// `pkg/runtime`: an object in its own envelope.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) raw: Bytes,
}

/// `pkg/runtime`: the envelope, but for the magic.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Unknown {
    #[prost(message, optional, tag = "1")]
    pub(super) type_meta: Option<TypeMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) raw: Bytes,
}

/// `pkg/runtime`: the type of what is in the envelope.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeMeta {
    #[prost(string, tag = "1")]
    pub(super) api_version: String,
    #[prost(string, tag = "2")]
    pub(super) kind: String,
}
