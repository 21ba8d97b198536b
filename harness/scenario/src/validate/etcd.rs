//! Rules for faults between the API server and etcd.

use super::{Findings, faults};
use crate::{model::EtcdFault, path::Path, suggest};

/// The RPCs of etcd that a fault can name, without the package `etcdserverpb`
/// (`api/etcdserverpb/rpc.proto`).
pub const ETCD_RPCS: &[&str] = &[
    "KV/Range",
    "KV/RangeStream",
    "KV/Put",
    "KV/DeleteRange",
    "KV/Txn",
    "KV/Compact",
    "Watch/Watch",
    "Lease/LeaseGrant",
    "Lease/LeaseRevoke",
    "Lease/LeaseKeepAlive",
    "Lease/LeaseTimeToLive",
    "Lease/LeaseLeases",
    "Cluster/MemberList",
    "Maintenance/Alarm",
    "Maintenance/Defragment",
    "Maintenance/Hash",
    "Maintenance/HashKV",
    "Maintenance/Snapshot",
    "Maintenance/Status",
];

/// RPCs whose requests name keys.
const WITH_KEYS: &[&str] =
    &["KV/Range", "KV/RangeStream", "KV/Put", "KV/DeleteRange", "KV/Txn", "Watch/Watch"];

/// RPCs whose one stream carries the requests of many callers.
const SHARED_STREAMS: &[&str] = &["Watch/Watch", "Lease/LeaseKeepAlive"];

pub(super) fn check(fault: &EtcdFault, at: &Path, findings: &mut Findings) {
    let rpc = fault.rpc.as_str();
    if !ETCD_RPCS.contains(&rpc) {
        let short = rpc.trim_start_matches('/').trim_start_matches("etcdserverpb.");
        let help = suggest::help(short, ETCD_RPCS);
        findings.add(&at.key("rpc"), format!("etcd has no RPC `{rpc}`")).help(help);
    }
    if let Some(prefix) = &fault.key_prefix {
        let at = at.key("keyPrefix");
        if !prefix.starts_with('/') {
            findings
                .add(&at, format!("`{prefix}` is no key of the API server's"))
                .help("its keys begin with `/registry/`, as in `/registry/configmaps`");
        }
        if ETCD_RPCS.contains(&rpc) && !WITH_KEYS.contains(&rpc) {
            findings.add(&at, format!("requests of {rpc} name no key")).help("leave `keyPrefix` out");
        }
    }
    if fault.status.is_some() && SHARED_STREAMS.contains(&rpc) {
        // A status ends the stream for all that use it, so `share` and `keyPrefix` would not mean what they say.
        findings
            .add(
                &at.key("status"),
                format!("one stream of {rpc} serves many callers, so it cannot fail for some"),
            )
            .help("give the fault a `delay` instead");
    }
    faults::share(fault.share, at, findings);
    match (&fault.delay, fault.status) {
        (Some(delay), _) => faults::delay(delay, &at.key("delay"), findings),
        (None, Some(_)) => {}
        (None, None) => {
            findings
                .add(at, "the fault does nothing: it neither delays calls nor fails them")
                .help("give it a `delay`, a `status`, or both");
        }
    }
}
