//! The proxy in front of etcd: on loopback, or between the API server and the etcd of a kind cluster.

use std::net::{IpAddr, SocketAddr};

use spangate_cluster::{EtcdPki, Identity, LocalEtcd};
use spangate_inject::{EtcdProxy, EtcdProxyConfig, EtcdProxyHandle, EtcdTls, Upstream};
use spangate_scenario::model::{EtcdFault, Fault, Scenario};

use super::environment::{LOOPBACK, Notes, no_certificates};
use crate::{error::CommandError, plan::Plan};

/// A proxy that the API server of a kind cluster is pointed at.
pub(crate) struct OnKind {
    /// The proxy.
    pub(super) handle: EtcdProxyHandle,
    /// The authority that the cluster's etcd is to have.
    pub(super) authority: Identity,
}

// === impl OnKind ===

impl OnKind {
    /// What the API server is told of etcd.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.handle.addr())
    }
}

/// etcd's client port on a node of kubeadm (kubeadm, `app/constants/constants.go`).
const ETCD_PORT: u16 = 2379;

/// The faults of etcd.
pub(crate) fn faults(scenario: &Scenario) -> impl Iterator<Item = &EtcdFault> {
    scenario
        .spec
        .faults
        .iter()
        .filter_map(|fault| if let Fault::Etcd(fault) = fault { Some(fault) } else { None })
}

/// Starts the proxy in front of an etcd on loopback, if a fault needs it.
pub(super) async fn local(
    plan: &Plan,
    etcd: &LocalEtcd,
    notes: &Notes,
) -> Result<Option<EtcdProxyHandle>, CommandError> {
    start(plan, notes, etcd.address().into(), None, LOOPBACK).await
}

/// Starts the proxy in front of the etcd of a cluster that is not there yet and will reach it at `gateway`, if a fault
/// needs it.
pub(super) async fn on_kind(
    plan: &Plan,
    gateway: IpAddr,
    notes: &Notes,
) -> Result<Option<OnKind>, CommandError> {
    if faults(&plan.scenario).next().is_none() {
        return Ok(None);
    }
    let EtcdPki { authority, proxy } = EtcdPki::generate(gateway).map_err(no_certificates)?;
    let tls = EtcdTls {
        ca_pem: authority.cert_pem.clone(),
        certificate_pem: proxy.cert_pem,
        key_pem: proxy.key_pem,
    };
    let (etcd, listen) = (Upstream::BesideClient(ETCD_PORT), SocketAddr::new(gateway, 0));
    let started = start(plan, notes, etcd, Some(tls), listen).await?;
    Ok(started.map(|handle| OnKind { handle, authority }))
}

async fn start(
    plan: &Plan,
    notes: &Notes,
    upstream: Upstream,
    tls: Option<EtcdTls>,
    listen: SocketAddr,
) -> Result<Option<EtcdProxyHandle>, CommandError> {
    let faults: Vec<EtcdFault> = faults(&plan.scenario).cloned().collect();
    if faults.is_empty() {
        return Ok(None);
    }
    let config = EtcdProxyConfig {
        upstream,
        tls,
        faults,
        seed: plan.scenario.spec.seed,
        clock: notes.clock,
        ledger: notes.injections.clone(),
        listen,
    };
    let started = EtcdProxy::start(config).await;
    started
        .map(Some)
        .map_err(|error| CommandError::environment("the etcd proxy does not start").because(error))
}
