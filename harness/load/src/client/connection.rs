//! One HTTP/2 connection, opened by whoever needs it first.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{ClientError, Endpoint, tls::H2};

/// Time for TCP, TLS and HTTP/2 to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that the server may send ahead on one stream, so that a large list is not slowed by this side.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes that the server may send ahead on all streams of a connection.
const CONNECTION_WINDOW: u32 = 64 << 20;

/// An open connection.
#[derive(Clone)]
pub struct Connection(SendRequest<Full<Bytes>>);

/// How to open a connection.
#[derive(Clone)]
pub(super) struct Via {
    endpoint: Endpoint,
    name: ServerName<'static>,
    tls: TlsConnector,
}

/// A place for one connection.
pub(super) struct Slot {
    via: Via,
    current: Mutex<Option<Opening>>,
}

/// A connection that is being opened, is open, failed to open or has died.
type Opening = Shared<BoxFuture<'static, Result<Connection, ClientError>>>;

// === impl Connection ===

impl Connection {
    /// Hands `request` to the connection; the head of the response is there when the future is ready.
    ///
    /// Dropping the future, or the body of the response, resets the stream and leaves the connection usable.
    pub fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, hyper::Error>> + use<> {
        self.0.send_request(request)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("closed", &self.0.is_closed()).finish()
    }
}

// === impl Via ===

impl Via {
    pub(super) fn new(endpoint: Endpoint, tls: Arc<ClientConfig>) -> Result<Self, ClientError> {
        let name = ServerName::try_from(endpoint.host.clone())
            .map_err(|_| ClientError::Host(endpoint.host.clone()))?;
        Ok(Self { endpoint, name, tls: tls.into() })
    }

    async fn open(self) -> Result<Connection, ClientError> {
        let endpoint = self.endpoint.to_string();
        timeout(CONNECT_TIMEOUT, self.establish())
            .await
            .map_err(|_| ClientError::ConnectTimeout { endpoint, limit: CONNECT_TIMEOUT })?
    }

    async fn establish(self) -> Result<Connection, ClientError> {
        let Endpoint { host, port } = &self.endpoint;
        let failed =
            |source| ClientError::Connect { endpoint: self.endpoint.to_string(), source: Arc::new(source) };
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let tls = self.tls.connect(self.name.clone(), tcp).await.map_err(failed)?;
        if tls.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(ClientError::NotHttp2 { endpoint: self.endpoint.to_string() });
        }
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|source| ClientError::Handshake {
                endpoint: self.endpoint.to_string(),
                source: Arc::new(source),
            })?;
        let endpoint = self.endpoint.to_string();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%endpoint, %error, "connection ended");
            }
        });
        Ok(Connection(sender))
    }
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(via: Via) -> Self {
        Self { via, current: Mutex::new(None) }
    }

    /// The connection, opened if it is not. All who ask meanwhile wait for the same attempt.
    pub(super) fn open(&self) -> Opening {
        let mut current = self.current.lock().expect("nothing panics while it holds this lock");
        match &*current {
            Some(opening) if !over(opening) => opening.clone(),
            _ => current.insert(self.via.clone().open().boxed().shared()).clone(),
        }
    }
}

/// Whether a connection has failed to open or has died since.
fn over(opening: &Opening) -> bool {
    match opening.peek() {
        None => false,
        Some(Ok(connection)) => connection.0.is_closed(),
        Some(Err(_)) => true,
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("endpoint", &self.via.endpoint).finish_non_exhaustive()
    }
}
