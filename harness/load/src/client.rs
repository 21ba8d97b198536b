//! An HTTP/2 client that adds nothing to what is measured.
//!
//! It sends each request once, on one of a fixed number of connections in turn. It does not retry, does not
//! follow redirects and does not decompress. A connection that died is opened again by the next request
//! that its turn falls on; the requests that were on it have failed.
//!
//! More requests than the server allows on one connection (`--http2-max-streams-per-connection` of
//! kube-apiserver) wait in the connection. That wait is part of the service time, since it begins with
//! [`Connection::send`].

mod connection;
mod endpoint;
mod error;
mod tls;

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

pub use connection::Connection;
pub use endpoint::{Endpoint, ParseEndpointError};
pub use error::ClientError;
pub(crate) use error::chain;
use futures::future::try_join_all;

use self::connection::{Slot, Via};

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The API server.
    pub endpoint: Endpoint,
    /// Certificates that the server's may be signed by, in PEM.
    pub ca_pem: String,
    /// Who the client is.
    pub identity: ClientIdentity,
    /// Connections that requests take in turn; at least one.
    pub connections: u16,
}

/// Who a client is, by its certificate.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The user name that the API server reads from the certificate: its common name.
    pub user: String,
    /// The certificate and those between it and the server's CA, in PEM.
    pub certificate_pem: String,
    /// The private key, in PEM.
    pub key_pem: String,
}

/// An HTTP/2 client with a fixed number of connections.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    slots: Vec<Slot>,
    turn: AtomicUsize,
}

// === impl ClientIdentity ===

impl fmt::Debug for ClientIdentity {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("user", &self.user).finish_non_exhaustive()
    }
}

// === impl Client ===

impl Client {
    /// Reads the certificates. Connections are opened when they are first used, or by [`Client::connect`].
    pub fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let tls = tls::config(&config.ca_pem, &config.identity)?;
        let via = Via::new(config.endpoint.clone(), tls)?;
        let slots = (0..config.connections.max(1)).map(|_| Slot::new(via.clone())).collect();
        Ok(Self { endpoint: config.endpoint.clone(), slots, turn: AtomicUsize::new(0) })
    }

    /// The API server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Opens every connection that is not open.
    pub async fn connect(&self) -> Result<(), ClientError> {
        try_join_all(self.slots.iter().map(Slot::open)).await.map(drop)
    }

    /// The connection whose turn it is, opened first if need be.
    pub async fn connection(&self) -> Result<Connection, ClientError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.slots[turn % self.slots.len()].open().await
    }
}
