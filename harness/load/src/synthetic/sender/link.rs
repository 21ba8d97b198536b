//! The connection to a receiver.

use std::{
    io,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use tokio::{net::TcpStream, sync::Mutex};

use super::{SenderError, Target};

/// A connection that is opened when it is first needed, and again when it has died.
#[derive(Debug)]
pub(super) struct Link {
    target: Target,
    /// All who need a connection wait here for the same attempt.
    open: Mutex<Option<SendRequest<Bytes>>>,
}

// === impl Link ===

impl Link {
    pub(super) fn new(target: Target) -> Self {
        Self { target, open: Mutex::new(None) }
    }

    /// What sends the next request.
    pub(super) async fn open(&self) -> Result<SendRequest<Bytes>, SenderError> {
        let mut open = self.open.lock().await;
        if let Some(requests) = &*open {
            let mut requests = requests.clone();
            // A new handle has nothing to wait for, but knows of an end.
            let ready = requests.poll_ready(&mut Context::from_waker(Waker::noop()));
            if matches!(ready, Poll::Ready(Ok(()))) {
                return Ok(requests);
            }
        }
        *open = None;
        let requests = self.connect().await?;
        *open = Some(requests.clone());
        Ok(requests)
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, SenderError> {
        let target = || self.target.to_string();
        let tcp = self.tcp().await.map_err(|source| SenderError::Connect { target: target(), source })?;
        let (requests, connection) = client::Builder::new()
            .enable_push(false)
            .handshake(tcp)
            .await
            .map_err(|source| SenderError::Http2 { target: target(), source })?;
        // It ends when nobody can send over it any more; that it broke is told to every request on it.
        tokio::spawn(async { drop(connection.await) });
        Ok(requests)
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}
