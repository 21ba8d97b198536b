//! The authority of a kubeadm cluster's etcd, made before the cluster, so that a proxy of ours can stand before it.
//!
//! kubeadm takes an authority that lies in its place for its own, and signs with it what etcd and its clients show
//! (kubeadm, `app/phases/certs/certs.go`). So no key has to be taken from the node.

use std::net::IpAddr;

use rcgen::ExtendedKeyUsagePurpose;

use super::{Authority, Identity, PkiError};

/// An authority for etcd, and what a proxy before etcd shows.
#[derive(Debug, Clone)]
pub struct EtcdPki {
    /// The authority, with its key.
    pub authority: Identity,
    /// The proxy: a server where it listens, and a client of etcd.
    pub proxy: Identity,
}

// === impl EtcdPki ===

impl EtcdPki {
    /// Makes an authority, and a certificate for a proxy that is reached at `proxy`.
    pub fn generate(proxy: IpAddr) -> Result<Self, PkiError> {
        let authority = Authority::generate()?;
        let usage = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let name = "spangate-etcd-proxy";
        let proxy = authority.issue("etcd proxy certificate", name, None, &[&proxy.to_string()], &usage)?;
        let key_pem = authority.issuer.key().serialize_pem();
        Ok(Self { authority: Identity { cert_pem: authority.pem, key_pem }, proxy })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
        server::WebPkiClientVerifier,
    };

    use super::*;

    #[test]
    fn the_proxy_is_server_and_client_of_its_authority() {
        let pki = EtcdPki::generate([172, 20, 0, 1].into()).unwrap();
        let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(read(&pki.authority.cert_pem)).unwrap();
        let (roots, provider) = (Arc::new(roots), Arc::new(rustls::crypto::ring::default_provider()));
        let shown = read(&pki.proxy.cert_pem);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider.clone())
            .build()
            .unwrap();
        clients.verify_client_cert(&shown, &[], UnixTime::now()).unwrap();
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
        let at = |name: &'static str| {
            servers.verify_server_cert(
                &shown,
                &[],
                &ServerName::try_from(name).unwrap(),
                &[],
                UnixTime::now(),
            )
        };
        at("172.20.0.1").unwrap();
        assert!(at("172.20.0.2").is_err());
        assert!(!format!("{pki:?}").contains("PRIVATE"));
    }
}
