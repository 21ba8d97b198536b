//! TLS on ring, with a client certificate or without.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use spangate_scenario::model::Protocol;

use super::{ClientError, ClientIdentity, Credential};

/// The ALPN name of HTTP/2 (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";
/// The ALPN name of HTTP/1.1 (RFC 7301, section 6).
const HTTP1: &[u8] = b"http/1.1";

/// TLS settings for `identity` towards a server that `ca_pem` vouches for.
pub(super) fn config(
    ca_pem: &str,
    identity: &ClientIdentity,
    protocol: Protocol,
) -> Result<Arc<ClientConfig>, ClientError> {
    let failed = |source| ClientError::Tls { user: identity.user.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("the CA certificate", ca_pem)? {
        roots.add(certificate).map_err(failed)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots);
    let mut config = match &identity.credential {
        Credential::Certificate { certificate_pem, key_pem } => {
            let chain = certificates("the client certificate", certificate_pem)?;
            let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
                .map_err(|source| ClientError::Pem { what: "the client key", source: Arc::new(source) })?;
            builder.with_client_auth_cert(chain, key).map_err(failed)?
        }
        Credential::Token(_) | Credential::None => builder.with_no_client_auth(),
    };
    let name = match protocol {
        Protocol::Http2 => H2,
        Protocol::Http1 => HTTP1,
    };
    config.alpn_protocols = vec![name.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| ClientError::Pem { what, source: Arc::new(source) })?;
    if certificates.is_empty() { Err(ClientError::NoCertificate(what)) } else { Ok(certificates) }
}
