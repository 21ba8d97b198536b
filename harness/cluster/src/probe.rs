//! A tiny HTTP/1.1 client that asks a starting server whether it is ready.
//!
//! It keeps its connection from one question to the next, so that asking every few milliseconds costs a
//! starting server next to nothing.

use std::{net::SocketAddr, sync::Arc};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, IpAddr, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::kubeconfig::Access;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The trace context of a probe: not sampled. A privileged caller's flag decides, so that probes leave no
/// server span in the capture, whatever the sampling rate.
const NOT_SAMPLED: &str = "00-5370616e676174652070726f62650001-5370616e70726f62-00";

/// Asks one server.
pub(crate) struct Probe {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    connection: Option<http1::SendRequest<Empty<Bytes>>>,
}

// === impl Probe ===

impl Probe {
    /// Asks over plain TCP.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, connection: None }
    }

    /// Asks over TLS, as the privileged client.
    pub(crate) fn privileged(address: SocketAddr, access: &Access) -> Result<Self, BoxError> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(access.ca_pem.as_bytes())?)?;
        let cert = CertificateDer::from_pem_slice(access.admin.cert_pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(access.admin.key_pem.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert], key)?;
        Ok(Self { address, tls: Some(TlsConnector::from(Arc::new(config))), connection: None })
    }

    /// Gets `path`: the status and the body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(StatusCode, String), BoxError> {
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let request = Request::get(path)
            .header(http::header::HOST, self.address.to_string())
            .header("traceparent", NOT_SAMPLED)
            .body(Empty::new())?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        self.connection = Some(connection);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn connect(&self) -> Result<http1::SendRequest<Empty<Bytes>>, BoxError> {
        let stream = TcpStream::connect(self.address).await?;
        match &self.tls {
            Some(tls) => {
                let name = ServerName::IpAddress(IpAddr::from(self.address.ip()));
                handshake(tls.connect(name, stream).await?).await
            }
            None => handshake(stream).await,
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<http1::SendRequest<Empty<Bytes>>, BoxError> {
    let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the connection is closed, which dropping the sender does.
    tokio::spawn(driver);
    Ok(connection)
}
