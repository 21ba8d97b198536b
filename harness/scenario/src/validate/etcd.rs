//! Rules for faults between the API server and etcd.

use super::{
    Findings, faults, load, names,
    writes::{self, REGISTRY, Write},
};
use crate::{
    model::{Cluster, EtcdFault, Resource},
    path::Path,
    suggest,
};

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

/// The RPC by which the API server writes; it has no other
/// (`staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go`).
const WRITE: &str = "KV/Txn";

/// The flag of the API server that moves its keys away from [`REGISTRY`].
const PREFIX_FLAG: &str = "etcd-prefix";

pub(super) fn check(
    fault: &EtcdFault,
    writes: Option<&[Write]>,
    cluster: Option<&Cluster>,
    at: &Path,
    findings: &mut Findings,
) {
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
        let moved = cluster.is_none_or(|cluster| cluster.api_server.extra_args.contains_key(PREFIX_FLAG));
        if prefix.starts_with('/') && WITH_KEYS.contains(&rpc) && !moved {
            reach(prefix, rpc, writes, &at, findings);
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

/// Finds a prefix that no key of such a request can have.
fn reach(prefix: &str, rpc: &str, writes: Option<&[Write]>, at: &Path, findings: &mut Findings) {
    let may_reach = |space: &str| prefix.starts_with(space) || space.starts_with(prefix);
    if !may_reach(REGISTRY) {
        let path = prefix.trim_start_matches('/');
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let help = meant_space(name).map_or_else(
            || "its keys begin with `/registry/`, as in `/registry/configmaps/`".to_owned(),
            |space| format!("did you mean `{space}{rest}`?"),
        );
        findings
            .add(at, format!("no key of the API server begins with `{prefix}`"))
            .help(help)
            .rests_on(flags_at());
        return;
    }
    // What follows the first part is up to the names of namespaces and objects.
    let part = prefix.strip_prefix(REGISTRY).and_then(|rest| rest.split_once('/'));
    if let Some((name, rest)) = part
        && let Some(space) = meant_space(name).filter(|space| !may_reach(space))
    {
        findings
            .add(at, format!("no key of the API server begins with `{REGISTRY}{name}/`"))
            .help(format!("did you mean `{space}{rest}`?"))
            .rests_on(flags_at());
        return;
    }
    // Reads are another matter: the API server counts the objects of every resource once a minute.
    let Some(writes) = writes.filter(|_| rpc == WRITE) else { return };
    let mut spaces: Vec<String> = writes.iter().map(|write| writes::keys_of(write.resource)).collect();
    spaces.sort_unstable();
    spaces.dedup();
    if !spaces.iter().cloned().chain(writes::own_keys()).any(|space| may_reach(&space)) {
        let help = if spaces.is_empty() {
            "load only reads; let it write something, as by `create`".to_owned()
        } else {
            format!("load writes below {}", suggest::list(&spaces))
        };
        findings
            .add(at, format!("nothing is written below `{prefix}`"))
            .help(help)
            .rests_on(load::load_at())
            .rests_on(flags_at());
    }
}

/// Where the objects of a resource are kept, by its name or by a word that was probably meant to be it.
fn meant_space(word: &str) -> Option<String> {
    let plural = names::meant_resource(word).unwrap_or(word);
    Resource::ALL.into_iter().find(|resource| resource.plural() == plural).map(writes::keys_of)
}

fn flags_at() -> Path {
    Path::root().key("spec.cluster.apiServer.extraArgs")
}
