//! TLS with a client certificate, on ring.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{ClientError, ClientIdentity};

/// The ALPN name of HTTP/2 (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";

/// TLS settings for `identity` towards a server that `ca_pem` vouches for.
pub(super) fn config(ca_pem: &str, identity: &ClientIdentity) -> Result<Arc<ClientConfig>, ClientError> {
    let failed = |source| ClientError::Tls { user: identity.user.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("the CA certificate", ca_pem)? {
        roots.add(certificate).map_err(failed)?;
    }
    let chain = certificates("the client certificate", &identity.certificate_pem)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|source| ClientError::Pem { what: "the client key", source: Arc::new(source) })?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| ClientError::Pem { what, source: Arc::new(source) })?;
    if certificates.is_empty() { Err(ClientError::NoCertificate(what)) } else { Ok(certificates) }
}
