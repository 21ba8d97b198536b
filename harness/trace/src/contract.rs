//! The names that kube-apiserver v1.37 gives its spans, and the little that follows from a name alone.
//!
//! Each constant cites the file that sets it; `A` is `k8s.io/apiserver@v0.37.2`, `CB` is
//! `k8s.io/component-base@v0.37.2`, and `OG` is `otelgrpc@v0.68.0`. `docs/span-contract.md` has the rest.

use crate::{Capture, Kind, Row};

/// The `service.name` of the API server (`A/pkg/server/options/tracing.go:115`).
pub const APISERVER: &str = "apiserver";

/// The `service.name` of etcd unless `--distributed-tracing-service-name` says otherwise.
pub const ETCD: &str = "etcd";

/// The filter span that lies outside the SERVER span (`A/pkg/server/config.go:1076`).
pub const AUTHENTICATION: &str = "authentication";

/// The audit filter (`A/pkg/server/config.go:1065`).
pub const AUDIT: &str = "audit";

/// The impersonation filter: with the gate `ConstrainedImpersonation`, and without it
/// (`A/pkg/server/config.go:1057`).
pub const IMPERSONATION: [&str; 2] = ["constrainedimpersonation", "impersonation"];

/// The filter of API Priority and Fairness (`A/pkg/server/config.go:1049`).
pub const PRIORITY_AND_FAIRNESS: &str = "priorityandfairness";

/// The authorization filter (`A/pkg/server/config.go:1041`).
pub const AUTHORIZATION: &str = "authorization";

/// The handlers (`A/pkg/endpoints/handlers/{create,update,patch,get,delete}.go`); a watch has none.
pub const HANDLERS: [&str; 7] = ["Create", "Update", "Patch", "Get", "List", "Delete", "WatchList"];

/// A call of a mutating webhook (`A/pkg/admission/plugin/webhook/mutating/dispatcher.go:266`).
pub const MUTATING_WEBHOOK: &str = "Call mutating webhook";

/// A call of a validating webhook (`A/pkg/admission/plugin/webhook/validating/dispatcher.go:267`).
pub const VALIDATING_WEBHOOK: &str = "Call validating webhook";

/// The attribute of a webhook call that names the webhook.
pub const WEBHOOK_ATTRIBUTE: &str = "webhook";

/// The attribute of a webhook call that names the webhook configuration.
pub const CONFIGURATION_ATTRIBUTE: &str = "configuration";

/// The attribute of a SERVER span that has the request's audit id, from 1.34 on
/// (`A/pkg/endpoints/filters/traces.go:59`).
pub const AUDIT_ID: &str = "audit-id";

/// What Spangate appends to the name of a fault to make the full name of a webhook out of it.
pub const WEBHOOK_SUFFIX: &str = ".spangate.dev";

/// What the spans of the watch cache begin with (`A/pkg/storage/cacher/cacher.go`).
pub const CACHE_PREFIX: &str = "cacher.";

/// What the spans of the storage layer end with (`A/pkg/storage/etcd3/store.go`).
pub const STORAGE_SUFFIX: &str = " etcd3";

/// What the calls to etcd begin with: the full gRPC method without its first slash
/// (`OG/stats_handler.go:235`).
pub const ETCD_PREFIX: &str = "etcdserverpb.";

/// What the spans of encryption at rest end with
/// (`A/pkg/storage/value/encrypt/envelope/kmsv2/envelope.go:168`, `:257`).
pub const ENVELOPE_SUFFIX: &str = " with envelopeTransformer";

/// The spans that turn objects into bytes and write them
/// (`A/pkg/endpoints/handlers/responsewriters/writers.go:92`, `A/pkg/endpoints/handlers/watch.go:364`).
pub const SERIALIZATION: [&str; 2] = ["SerializeObject", "WatchServer.HandleHTTP"];

/// What the CLIENT spans of HTTP calls begin with, the method follows (`CB/tracing/utils.go:119`).
pub const HTTP_CLIENT_PREFIX: &str = "HTTP ";

/// What the spans of dials through an egress proxy begin with
/// (`A/pkg/server/egressselector/egress_selector.go:259`).
pub const EGRESS_PREFIX: &str = "Proxy via ";

/// The etcd RPC that a span of this name is a call of: `KV/Txn` of `etcdserverpb.KV/Txn`.
pub fn etcd_rpc(span_name: &str) -> Option<&str> {
    span_name.strip_prefix(ETCD_PREFIX).filter(|rpc| !rpc.is_empty())
}

/// The full name of the webhook of a fault, as it is registered.
pub fn webhook_name(fault: &str) -> String {
    format!("{fault}{WEBHOOK_SUFFIX}")
}

/// The name of the fault behind a webhook of Spangate; other names stay as they are.
pub fn webhook_fault(webhook: &str) -> &str {
    webhook.strip_suffix(WEBHOOK_SUFFIX).filter(|fault| !fault.is_empty()).unwrap_or(webhook)
}

/// Whether `row` is the span of a request that the API server answered.
///
/// The kind is not enough: with tracing on, etcd's side of an RPC is a SERVER span too.
pub fn is_server_span(capture: &Capture, row: &Row) -> bool {
    row.kind == Kind::Server && **capture.names().get(row.service) == *APISERVER
}

/// The rows of all requests that the API server answered, in the order of arrival.
pub fn server_spans(capture: &Capture) -> impl Iterator<Item = usize> {
    let service = capture.names().find(APISERVER);
    let rows = capture.rows().iter().enumerate();
    rows.filter(move |(_, row)| row.kind == Kind::Server && Some(row.service) == service)
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Builder;

    #[test]
    fn etcds_side_of_a_call_is_no_request() {
        let mut builder = Builder::default();
        let request = builder.server(0, 10);
        let call = builder.span("etcdserverpb.KV/Txn", Some(request), 2, 8);
        builder.get(call).kind = Kind::Client;
        let callee = builder.span("etcdserverpb.KV/Txn", Some(call), 3, 7);
        builder.get(callee).kind = Kind::Server;
        builder.get(callee).service = ETCD.into();
        let capture = builder.capture();
        assert_eq!(server_spans(&capture).collect::<Vec<_>>(), [request]);
        assert!(is_server_span(&capture, &capture.rows()[request]));
        assert!(!is_server_span(&capture, &capture.rows()[callee]));
    }

    #[test]
    fn names_carry_the_rpc_and_the_fault() {
        assert_eq!(etcd_rpc("etcdserverpb.Lease/LeaseGrant"), Some("Lease/LeaseGrant"));
        assert_eq!(etcd_rpc("etcdserverpb."), None);
        assert_eq!(etcd_rpc("List(recursive=true) etcd3"), None);
        assert_eq!(webhook_fault("slow-mutate.spangate.dev"), "slow-mutate");
        assert_eq!(webhook_fault("policy.example.com"), "policy.example.com");
        assert_eq!(webhook_fault(".spangate.dev"), ".spangate.dev");
    }
}
