//! An HTTP client that adds nothing to what is measured.
//!
//! It sends each request once, on the one of a fixed number of connections that has the fewest requests under
//! way. It does not retry, does not follow redirects and does not decompress. A connection that died is opened
//! again by the next request that is to go over it; the requests that were on it have failed.
//!
//! There are two places to wait:
//!
//! - [`Client::connection`] waits for one of the places that the caller allows itself: so many streams on each
//!   HTTP/2 connection, one request on each of HTTP/1.1. This queue is the caller's own: the wait is part of the
//!   response time and not of the service time.
//! - [`Connection::send`] waits for what the server allows on one connection
//!   (`--http2-max-streams-per-connection` of kube-apiserver). This wait is part of the service time.

mod body;
mod connection;
mod endpoint;
mod error;
mod head;
mod identity;
mod pool;
mod tls;

use std::{fmt, sync::Arc};

pub use body::Body;
use bytes::Bytes;
pub use connection::Connection;
pub use endpoint::{Endpoint, ParseEndpointError};
pub use error::ClientError;
pub(crate) use error::chain;
use http::Method;
pub(crate) use identity::bearer;
pub use identity::{ClientIdentity, Credential};
use spangate_scenario::model::Protocol;

use self::{connection::Via, head::Head, pool::Pool};

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The API server.
    pub endpoint: Endpoint,
    /// Certificates that the server's may be signed by, in PEM.
    pub ca_pem: String,
    /// Who the client is.
    pub identity: ClientIdentity,
    /// The version of HTTP.
    pub protocol: Protocol,
    /// Connections that requests are spread over; at least one.
    pub connections: u16,
    /// Requests under way on one connection, at most; at least one, and with HTTP/1.1 always one.
    pub streams: u32,
}

/// An HTTP client with a fixed number of connections.
pub struct Client {
    endpoint: Endpoint,
    head: Head,
    pool: Arc<Pool>,
}

// === impl Client ===

impl Client {
    /// Reads the certificates. Connections are opened when they are first used, or by [`Client::connect`].
    pub fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let tls = tls::config(&config.ca_pem, &config.identity, config.protocol)?;
        let via = Via::new(config.endpoint.clone(), tls, config.protocol)?;
        let streams = match config.protocol {
            Protocol::Http2 => config.streams,
            Protocol::Http1 => 1,
        };
        Ok(Self {
            endpoint: config.endpoint.clone(),
            head: Head::new(&config.endpoint, &config.identity, config.protocol)?,
            pool: Arc::new(Pool::new(&via, config.connections, streams)),
        })
    }

    /// The API server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Opens every connection that is not open.
    pub async fn connect(&self) -> Result<(), ClientError> {
        self.pool.connect().await
    }

    /// A request with the headers that all requests of this client have. The target is path and query.
    pub fn request(
        &self,
        method: &Method,
        target: &str,
        body: Bytes,
    ) -> Result<http::Request<Bytes>, http::Error> {
        self.head.request(method, target, body)
    }

    /// A place on the connection with the fewest requests under way, once there is one; the connection is opened
    /// first if need be.
    pub async fn connection(&self) -> Result<Connection, ClientError> {
        let lease = Arc::clone(&self.pool).lease().await;
        Connection::open(lease).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
