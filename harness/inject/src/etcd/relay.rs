//! One connection of a client and its connection to etcd.
//!
//! Both connections and all their calls live in one task: a frame goes from one socket to the other without
//! waking another task, and often within one poll. What a round has for a socket is written at its end.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, stream::FuturesUnordered};
use h2::{client, server};
use tokio::net::TcpStream;

use super::{
    bell::Rounds,
    call::carry,
    rules::Rules,
    socket::{Socket, Writer},
};

/// What one stream may have in flight, in bytes: some pages of a list.
const STREAM_WINDOW: u32 = 1 << 20;

/// What all streams of a connection may have in flight, in bytes: so much more that a few streams whose
/// receiver has stopped reading do not starve the others.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// What a stream may have queued for the socket, in bytes.
const SEND_BUFFER: usize = 1 << 20;

/// How many streams that were reset on one side are remembered, for frames that were under way. An API server
/// cancels calls in bulk.
const RESET_STREAMS: usize = 10_000;

/// Why the two connections could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// etcd is not there.
    #[error("cannot connect to etcd")]
    Connect(#[source] io::Error),
    /// etcd does not speak HTTP/2.
    #[error("no HTTP/2 with etcd")]
    Etcd(#[source] h2::Error),
}

/// The side of etcd.
struct Upstream {
    /// `None` once it is closed.
    connection: Option<(client::Connection<Socket, Bytes>, Writer)>,
    requests: client::SendRequest<Bytes>,
    /// Whether it still takes calls.
    open: bool,
}

/// Carries calls until either side is gone.
pub(crate) async fn relay(
    downstream: TcpStream,
    upstream: SocketAddr,
    rules: Arc<Rules>,
) -> Result<(), RelayError> {
    let mut upstream = Upstream::connect(upstream).await?;
    let socket = Socket::new(downstream);
    let to_client = socket.writer();
    let mut downstream = match server_builder().handshake::<_, Bytes>(socket).await {
        Ok(downstream) => downstream,
        Err(error) => {
            tracing::debug!(%error, "a client of etcd did not speak HTTP/2");
            return Ok(());
        }
    };
    let mut calls = FuturesUnordered::new();
    let rounds = Rounds::new();
    to_client.gather();
    poll_fn(|cx| {
        rounds.poll(cx, |cx| {
            // In the order in which frames travel: responses first, then requests.
            upstream.poll(cx, &mut downstream);
            drive(&mut calls, cx);
            loop {
                match downstream.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        calls.push(carry(request, respond, upstream.requests.clone(), Arc::clone(&rules)));
                    }
                    Poll::Ready(Some(Err(error))) => {
                        tracing::debug!(%error, "a client of etcd broke its connection");
                        return Poll::Ready(());
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            drive(&mut calls, cx);
            // The caller waits; etcd may be told of its pings and windows after that.
            to_client.end_round(cx);
            upstream.end_round(cx);
            Poll::Pending
        })
    })
    .await;
    Ok(())
}

/// Polls the calls that were woken.
fn drive<F: Future<Output = ()>>(calls: &mut FuturesUnordered<F>, cx: &mut Context<'_>) {
    while let Poll::Ready(Some(())) = Pin::new(&mut *calls).poll_next(cx) {}
}

fn server_builder() -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(None);
    builder
}

fn client_builder() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(None)
        // etcd sets no limit, and says so only by leaving it out of its settings.
        .initial_max_send_streams(usize::MAX);
    builder
}

// === impl Upstream ===

impl Upstream {
    async fn connect(addr: SocketAddr) -> Result<Self, RelayError> {
        let stream = TcpStream::connect(addr).await.map_err(RelayError::Connect)?;
        stream.set_nodelay(true).map_err(RelayError::Connect)?;
        let socket = Socket::new(stream);
        let writer = socket.writer();
        let (requests, connection) = client_builder().handshake(socket).await.map_err(RelayError::Etcd)?;
        writer.gather();
        Ok(Self { connection: Some((connection, writer)), requests, open: true })
    }

    /// Reads and writes frames. When etcd takes no more calls, or is gone, the client is told.
    fn poll(&mut self, cx: &mut Context<'_>, downstream: &mut server::Connection<Socket, Bytes>) {
        let Some((connection, _)) = &mut self.connection else { return };
        if let Poll::Ready(result) = Pin::new(connection).poll(cx) {
            if let Err(error) = result {
                tracing::debug!(%error, "the connection to etcd broke");
            }
            self.connection = None;
        }
        if self.open && matches!(self.requests.poll_ready(cx), Poll::Ready(Err(_))) {
            self.open = false;
            downstream.graceful_shutdown();
        }
    }

    /// Writes what this round had for etcd.
    fn end_round(&self, cx: &mut Context<'_>) {
        if let Some((_, writer)) = &self.connection {
            writer.end_round(cx);
        }
    }
}
