//! `get` and `list`.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use spangate_scenario::model::{GetOperation, ListOperation};

use super::Steps;
use crate::{
    Arrival, Setting, Verb, protobuf,
    protobuf::PROTOBUF,
    request::{Read, Reply, Request},
    target::Target,
};

/// GET of one of the prepared objects.
pub(crate) fn get(get: &GetOperation, arrival: &Arrival, setting: &Setting) -> Request {
    let target = setting
        .chosen(get.resource, None, arrival)
        .query_some("resourceVersion", get.resource_version.as_deref());
    Request::new(Verb::Get, Method::GET, target).accept(setting.accept(get.resource))
}

/// GET of a collection, page after page.
pub(crate) struct Pages {
    /// The query of every page.
    every: Target,
    /// `resourceVersion` of the first page: the API server refuses it beside a continue token
    /// (`apimachinery/pkg/apis/meta/internalversion/validation`).
    resource_version: Option<String>,
    accept: &'static str,
    paged: bool,
}

/// As much of a list as paging needs.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    token: String,
}

// === impl Pages ===

impl Pages {
    /// The pages of a `list`.
    pub(crate) fn list(list: &ListOperation, arrival: &Arrival, setting: &Setting) -> Self {
        let every = setting
            .scoped(list.resource, list.scope, arrival)
            .query_some("limit", list.limit.map(|limit| limit.to_string()))
            .query_some("labelSelector", list.label_selector.as_deref())
            .query_some("fieldSelector", list.field_selector.as_deref());
        let accept = setting.accept(list.resource);
        Self { resource_version: list.resource_version.clone(), ..Self::of(every, accept) }
    }

    /// The pages of `every`, which says how large they are.
    pub(crate) fn of(every: Target, accept: &'static str) -> Self {
        let paged = every.to_string().contains("limit=");
        Self { every, resource_version: None, accept, paged }
    }

    fn page(&self, first: bool, token: Option<String>) -> Request {
        let version = self.resource_version.as_deref().filter(|_| first);
        let target = self.every.clone().query_some("resourceVersion", version).query_some("continue", token);
        let read = if self.paged { Read::Keep } else { Read::Discard };
        Request::new(Verb::List, Method::GET, target).accept(self.accept).read(read)
    }

    /// The token of the next page; empty if there is none.
    fn token(&self, body: &Bytes) -> Option<String> {
        match self.accept {
            PROTOBUF => protobuf::continue_token(body),
            _ => Some(serde_json::from_slice::<Page>(body).ok()?.metadata.token),
        }
    }
}

impl Steps for Pages {
    fn next(&mut self, reply: Option<&Reply>) -> Option<Request> {
        let Some(reply) = reply else { return Some(self.page(true, None)) };
        if !reply.status.is_success() {
            return None;
        }
        let token = self.token(&reply.body)?;
        (!token.is_empty()).then(|| self.page(false, Some(token)))
    }
}

#[cfg(test)]
mod tests {
    use spangate_scenario::model::{Encoding, Resource, Scope};

    use super::*;
    use crate::testing::{arrival, reply, setting};

    fn operation(limit: Option<u32>) -> ListOperation {
        ListOperation {
            resource: Resource::Pods,
            resource_version: Some("0".to_owned()),
            limit,
            label_selector: Some("a=b".to_owned()),
            field_selector: None,
            scope: Scope::Namespace,
        }
    }

    fn list(limit: Option<u32>) -> Pages {
        Pages::list(&operation(limit), &arrival(0), &setting())
    }

    #[test]
    fn a_list_may_select_by_fields_and_over_all_namespaces() {
        let field_selector = Some("status.phase=Pending".to_owned());
        let list = ListOperation { field_selector, scope: Scope::Cluster, ..operation(None) };
        assert_eq!(
            Pages::list(&list, &arrival(0), &setting()).next(None).unwrap().target,
            "/api/v1/pods?fieldSelector=status.phase%3DPending&labelSelector=a%3Db&resourceVersion=0"
        );
    }

    #[test]
    fn a_list_in_protobuf_goes_on_until_there_is_no_token() {
        let mut setting = setting();
        setting.encoding = Encoding::Protobuf;
        let mut list = Pages::list(&operation(Some(2)), &arrival(0), &setting);
        assert_eq!(list.next(None).unwrap().accept, PROTOBUF);
        // Unknown { raw: PodList { metadata: { continue } } }.
        let page = |raw: &'static str| reply(200, raw);
        let second = list.next(Some(&page("k8s\0\x12\x05\x0a\x03\x1a\x01x"))).unwrap();
        assert!(second.target.contains("continue=x&"), "{}", second.target);
        assert_eq!(list.next(Some(&page("k8s\0\x12\x02\x0a\x00"))), None);
    }

    #[test]
    fn a_list_goes_on_until_there_is_no_token() {
        let mut list = list(Some(2));
        let base = "/api/v1/namespaces/ns/pods";
        assert_eq!(
            list.next(None).unwrap().target,
            format!("{base}?labelSelector=a%3Db&limit=2&resourceVersion=0")
        );
        let second = list.next(Some(&reply(200, r#"{"metadata":{"continue":"x/y"},"items":[]}"#))).unwrap();
        assert_eq!(second.target, format!("{base}?continue=x%2Fy&labelSelector=a%3Db&limit=2"));
        assert_eq!(list.next(Some(&reply(200, r#"{"metadata":{"resourceVersion":"5"}}"#))), None);
    }

    #[test]
    fn a_list_ends_with_a_failed_page() {
        let mut list = list(Some(2));
        list.next(None).unwrap();
        assert_eq!(list.next(Some(&reply(410, r#"{"metadata":{"continue":"x"}}"#))), None);
    }

    #[test]
    fn an_unpaged_list_keeps_no_body() {
        let mut list = list(None);
        assert_eq!(list.next(None).unwrap().read, Read::Discard);
        assert_eq!(list.next(Some(&reply(200, ""))), None);
    }
}
