//! TLS on both sides of the proxy, as a kubeadm cluster has it: one authority for clients and servers of etcd, and a
//! certificate without which neither talks to the other.

use std::{fmt, io, net::IpAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// What a proxy needs to stand between a client and an etcd that speak TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authority of etcd's own certificate, and of those of its clients, as PEM.
    pub ca_pem: String,
    /// The proxy's certificate, signed by that authority: of a server where it listens, and of a client of etcd.
    pub certificate_pem: String,
    /// The key of the certificate.
    pub key_pem: String,
}

/// Why certificates and key do not make TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdTlsError {
    /// Something is not PEM.
    #[error("cannot read the PEM {what}")]
    Pem {
        /// What it should have been.
        what: &'static str,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// The authority cannot be used to check clients.
    #[error("the authority cannot check clients")]
    Clients(#[source] VerifierBuilderError),
    /// Certificate and key cannot be used.
    #[error("the certificate and its key cannot be used")]
    Certificate(#[source] rustls::Error),
}

/// Both sides, ready for connections.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

/// gRPC is refused by clients and servers that have not agreed on it (grpc-go, `credentials/tls.go`).
const HTTP2: &[u8] = b"h2";

// === impl Tls ===

impl Tls {
    pub(crate) fn new(tls: &EtcdTls) -> Result<Self, EtcdTlsError> {
        let unreadable = |what| move |source| EtcdTlsError::Pem { what, source };
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(tls.ca_pem.as_bytes()).map_err(unreadable("authority"))?;
        roots.add(ca).map_err(EtcdTlsError::Certificate)?;
        let roots = Arc::new(roots);
        let chain = CertificateDer::pem_slice_iter(tls.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).map_err(unreadable("private key"))?;
        // The provider is named, so that no process-wide default is needed.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(EtcdTlsError::Clients)?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_client_cert_verifier(clients).with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(EtcdTlsError::Certificate)?;
        server.alpn_protocols = vec![HTTP2.to_vec()];
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(EtcdTlsError::Certificate)?;
        client.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// Shakes hands with both: a client of the authority, and the etcd at `etcd`.
    pub(crate) async fn shake(
        &self,
        downstream: TcpStream,
        upstream: TcpStream,
        etcd: IpAddr,
    ) -> io::Result<(server::TlsStream<TcpStream>, client::TlsStream<TcpStream>)> {
        let accepting = self.acceptor.accept(downstream);
        let connecting = self.connector.connect(ServerName::from(etcd), upstream);
        futures::try_join!(accepting, connecting)
    }
}

// === impl EtcdTls ===

/// Leaves the private key out.
impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}
