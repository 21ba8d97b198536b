//! Types of `k8s.io/api/apps/v1`.

use prost::Message;
use serde::Serialize;

use super::{LabelSelector, ObjectMeta, PodTemplateSpec};

/// Pods that are all alike.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct Deployment {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) spec: Option<DeploymentSpec>,
}

/// What a deployment is to be.
#[derive(Clone, PartialEq, Serialize, Message)]
pub(crate) struct DeploymentSpec {
    #[prost(int32, optional, tag = "1")]
    pub(crate) replicas: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) selector: Option<LabelSelector>,
    #[prost(message, optional, tag = "3")]
    pub(crate) template: Option<PodTemplateSpec>,
}
