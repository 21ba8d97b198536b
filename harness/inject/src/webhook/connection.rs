//! One connection of a caller: TLS, HTTP/1.1 or HTTP/2, and an end that can be a TCP reset.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{rt::Executor, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::serve::Server;

/// Calls that one HTTP/2 connection carries at once; held ones must not keep others waiting.
const CONCURRENT_CALLS: u32 = 100_000;

/// A socket that is closed with a reset when it was severed.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    severed: CancellationToken,
}

/// Runs the calls of a connection among the tasks that a shutdown waits for.
#[derive(Debug, Clone)]
struct Tracked(TaskTracker);

/// Serves the calls of one connection until it ends or is severed.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    server: Arc<Server>,
    tasks: TaskTracker,
) {
    let severed = CancellationToken::new();
    let socket = Socket { stream, severed: severed.clone() };
    let stream = match acceptor.accept(socket).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%peer, %error, "a caller of webhooks failed the TLS handshake");
            return;
        }
    };
    let service = service_fn({
        let severed = severed.clone();
        move |request| {
            let (server, severed) = (Arc::clone(&server), severed.clone());
            async move { Ok::<_, Infallible>(server.answer(request, &severed).await) }
        }
    });
    let mut http = auto::Builder::new(Tracked(tasks));
    http.http2().max_concurrent_streams(CONCURRENT_CALLS);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = severed.run_until_cancelled(connection).await {
        tracing::debug!(%peer, error, "a connection to the webhooks failed");
    }
}

// === impl Socket ===

impl Drop for Socket {
    fn drop(&mut self) {
        if self.severed.is_cancelled() {
            // With a linger time of zero, closing sends RST and no FIN (socket(7), SO_LINGER).
            if let Err(error) = self.stream.set_zero_linger() {
                tracing::warn!(%error, "cannot reset a connection, closing it");
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

// === impl Tracked ===

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
