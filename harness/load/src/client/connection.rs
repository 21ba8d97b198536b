//! One connection, opened by whoever needs it first.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use spangate_scenario::model::Protocol;
use tokio::{
    io::BufReader,
    net::TcpStream,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ClientError, Endpoint,
    body::{Body, Source},
    pool::Lease,
    tls::H2,
};

/// Time for TCP, TLS and HTTP to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that the server may send ahead on one stream, so that a large list is not slowed by this side.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes that the server may send ahead on all streams of a connection.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Bytes that are read from a socket at once; TLS alone would read 4 KiB at a time.
const READ_AHEAD: usize = 32 << 10;

/// A place for one request on an open connection.
pub struct Connection {
    sender: Sender,
    lease: Lease,
}

/// What sends one request.
enum Sender {
    Http2(Http2),
    Http1(OwnedMutexGuard<Http1>),
}

type Http2 = h2::client::SendRequest<Bytes>;
pub(super) type Http1 = http1::SendRequest<Full<Bytes>>;

/// How to open a connection.
#[derive(Clone)]
pub(super) struct Via {
    endpoint: Endpoint,
    name: ServerName<'static>,
    tls: TlsConnector,
    protocol: Protocol,
}

/// A place for one connection.
pub(super) struct Slot {
    via: Via,
    state: Mutex<State>,
}

struct State {
    /// Number of the current connection.
    number: u64,
    current: Current,
}

enum Current {
    Closed,
    Opening(Opening),
    Open(Link),
}

/// An open connection, which may have died.
#[derive(Clone)]
pub(super) enum Link {
    Http2(Http2),
    Http1(Arc<AsyncMutex<Http1>>),
}

/// All who need a connection wait for the same attempt.
type Opening = Shared<BoxFuture<'static, Result<Link, ClientError>>>;

// === impl Connection ===

impl Connection {
    /// Opens the connection of `lease` if it is not open.
    pub(super) async fn open(lease: Lease) -> Result<Self, ClientError> {
        let slot = lease.slot();
        // One that has died since its last request is replaced; one that dies at once is meant to.
        for _ in 0..2 {
            let (number, link) = slot.link().await?;
            match link.sender().await {
                Some(sender) => return Ok(Self { sender, lease }),
                None => slot.forget(number),
            }
        }
        Err(ClientError::Closed { endpoint: slot.via.endpoint.to_string() })
    }

    /// Sends `request`; the head of the answer is there when this is ready.
    ///
    /// Dropping the future gives the request up as dropping the [`Body`] does.
    pub async fn send(self, request: Request<Bytes>) -> Result<Response<Body>, ClientError> {
        let Self { sender, lease } = self;
        match sender {
            Sender::Http2(mut sender) => {
                let (parts, body) = request.into_parts();
                let (response, mut stream) = sender
                    .send_request(Request::from_parts(parts, ()), body.is_empty())
                    .map_err(ClientError::http2)?;
                if !body.is_empty() {
                    stream.send_data(body, true).map_err(ClientError::http2)?;
                }
                let response = response.await.map_err(ClientError::http2)?;
                Ok(response.map(|stream| Body::new(Source::Http2(stream), lease)))
            }
            Sender::Http1(mut sender) => {
                let response =
                    sender.send_request(request.map(Full::new)).await.map_err(ClientError::http1)?;
                Ok(response.map(|body| Body::new(Source::Http1 { body, _sender: sender }, lease)))
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Via { endpoint, protocol, .. } = &self.lease.slot().via;
        f.debug_struct("Connection")
            .field("endpoint", endpoint)
            .field("protocol", protocol)
            .finish_non_exhaustive()
    }
}

// === impl Via ===

impl Via {
    pub(super) fn new(
        endpoint: Endpoint,
        tls: Arc<ClientConfig>,
        protocol: Protocol,
    ) -> Result<Self, ClientError> {
        let name = ServerName::try_from(endpoint.host.clone())
            .map_err(|_| ClientError::Host(endpoint.host.clone()))?;
        Ok(Self { endpoint, name, tls: tls.into(), protocol })
    }

    async fn open(self) -> Result<Link, ClientError> {
        let endpoint = self.endpoint.to_string();
        timeout(CONNECT_TIMEOUT, self.establish())
            .await
            .map_err(|_| ClientError::ConnectTimeout { endpoint, limit: CONNECT_TIMEOUT })?
    }

    async fn establish(self) -> Result<Link, ClientError> {
        let Endpoint { host, port } = &self.endpoint;
        let failed =
            |source| ClientError::Connect { endpoint: self.endpoint.to_string(), source: Arc::new(source) };
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let tcp = BufReader::with_capacity(READ_AHEAD, tcp);
        let tls = self.tls.connect(self.name.clone(), tcp).await.map_err(failed)?;
        match self.protocol {
            Protocol::Http2 => self.http2(tls).await,
            Protocol::Http1 => self.http1(tls).await,
        }
    }

    async fn http2(self, tls: TlsStream<BufReader<TcpStream>>) -> Result<Link, ClientError> {
        let endpoint = self.endpoint.to_string();
        if tls.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(ClientError::NotHttp2 { endpoint });
        }
        let (sender, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(tls)
            .await
            .map_err(ClientError::http2)?;
        drive(endpoint, connection);
        Ok(Link::Http2(sender))
    }

    async fn http1(self, tls: TlsStream<BufReader<TcpStream>>) -> Result<Link, ClientError> {
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(ClientError::http1)?;
        drive(self.endpoint.to_string(), connection);
        Ok(Link::Http1(Arc::new(AsyncMutex::new(sender))))
    }
}

/// Carries what a connection sends and receives until it ends.
fn drive<E: fmt::Display>(
    endpoint: String,
    connection: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%endpoint, %error, "connection ended");
        }
    });
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(via: Via) -> Self {
        Self { via, state: Mutex::new(State { number: 0, current: Current::Closed }) }
    }

    /// The connection with its number, opened if it is not.
    pub(super) async fn link(&self) -> Result<(u64, Link), ClientError> {
        let (number, opening) = {
            let mut state = self.state();
            match &state.current {
                Current::Open(link) => return Ok((state.number, link.clone())),
                Current::Opening(opening) => (state.number, opening.clone()),
                Current::Closed => {
                    let opening = self.opening();
                    state.number += 1;
                    state.current = Current::Opening(opening.clone());
                    (state.number, opening)
                }
            }
        };
        let opened = opening.await;
        let mut state = self.state();
        if state.number == number {
            state.current = opened.clone().map_or(Current::Closed, Current::Open);
        }
        opened.map(|link| (number, link))
    }

    /// Lets the next one open a new connection, unless somebody has done so already.
    fn forget(&self, number: u64) {
        let mut state = self.state();
        if state.number == number {
            state.current = Current::Closed;
        }
    }

    /// Opens a connection in a task of its own: whoever asked first may give up, the others go on waiting.
    fn opening(&self) -> Opening {
        let endpoint = self.via.endpoint.to_string();
        let task = tokio::spawn(self.via.clone().open());
        // A task that is gone went with its runtime.
        async move { task.await.unwrap_or(Err(ClientError::Closed { endpoint })) }.boxed().shared()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

// === impl Link ===

impl Link {
    /// What sends the next request; `None` when the connection has died.
    async fn sender(self) -> Option<Sender> {
        match self {
            Self::Http2(mut sender) => {
                // It has nothing to wait for, but knows of an end.
                let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
                matches!(ready, Poll::Ready(Ok(()))).then_some(Sender::Http2(sender))
            }
            Self::Http1(sender) => {
                let mut sender = sender.lock_owned().await;
                sender.ready().await.ok().map(|()| Sender::Http1(sender))
            }
        }
    }
}
