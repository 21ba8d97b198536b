//! A port that can be left and taken again, and the connections on it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tonic::body::Body;

use crate::{grpc, http as otlp_http, misbehave::Misbehaviour, receive::Receiver};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after a failure that may pass, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// HTTP/2 windows: a batch of 512 spans is about 240 KB, and a sender should never wait for us.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, over HTTP/1.1 or HTTP/2.
    Http,
}

/// A port that stays ours while nobody listens on it.
///
/// A sink that went away must come back on the same port. Linux lets sockets with `SO_REUSEADDR` share a port
/// as long as only one of them listens. So a second socket that is bound but never listens keeps the kernel from
/// giving the port to someone who asks for any, while clients are refused as if nobody was there.
#[derive(Debug)]
pub(crate) struct Port {
    addr: SocketAddr,
    _reservation: TcpSocket,
}

// === impl Port ===

impl Port {
    /// Reserves the port of `addr`, or any when that is 0.
    pub(crate) fn reserve(addr: SocketAddr) -> io::Result<Self> {
        let reservation = bind(addr)?;
        Ok(Self { addr: reservation.local_addr()?, _reservation: reservation })
    }

    /// The address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Starts to listen.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        bind(self.addr)?.listen(BACKLOG)
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Serves a port until the sink stops; while it is away, nobody listens and no connection stays open.
pub(crate) async fn serve(protocol: Protocol, port: Port, first: TcpListener, receiver: Arc<Receiver>) {
    let mut misbehaviour = receiver.misbehaviour.subscribe();
    let mut connections = JoinSet::new();
    let mut listener = Some(first);
    while !receiver.stop.is_cancelled() {
        tokio::select! {
            () = accept(protocol, &port, listener.take(), &mut connections, &receiver) => {}
            () = until_away(&mut misbehaviour, true) => {}
            () = receiver.stop.cancelled() => {}
        }
        connections.shutdown().await;
        tokio::select! {
            () = until_away(&mut misbehaviour, false) => {}
            () = receiver.stop.cancelled() => {}
        }
    }
}

/// Returns when the sink is away, or when it is not.
async fn until_away(misbehaviour: &mut watch::Receiver<Option<Misbehaviour>>, away: bool) {
    let wanted = |now: &Option<Misbehaviour>| now.as_ref().is_some_and(Misbehaviour::is_away) == away;
    // It fails when the sender is gone, and the receiver that serves here keeps it.
    let _ = misbehaviour.wait_for(wanted).await;
}

/// Accepts connections, on `listener` or a new one, until it is dropped.
async fn accept(
    protocol: Protocol,
    port: &Port,
    mut listener: Option<TcpListener>,
    connections: &mut JoinSet<()>,
    receiver: &Arc<Receiver>,
) {
    loop {
        let open = match listener.take().map_or_else(|| port.listen(), Ok) {
            Ok(open) => listener.insert(open),
            Err(error) => {
                pause(port, &error).await;
                continue;
            }
        };
        tokio::select! {
            accepted = open.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(protocol, stream, Arc::clone(receiver)));
                }
                Err(error) => pause(port, &error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Waits for a failure to pass.
async fn pause(port: &Port, error: &io::Error) {
    tracing::warn!(addr = %port.addr, %error, "the sink cannot accept connections");
    tokio::time::sleep(PAUSE).await;
}

/// Serves one connection until either side closes it.
async fn connection(protocol: Protocol, stream: TcpStream, receiver: Arc<Receiver>) {
    // Answers are small and awaited. A socket that cannot be told so works all the same.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    if protocol == Protocol::Grpc {
        builder = builder.http2_only();
    }
    let service = service_fn(|request| answer(protocol, Arc::clone(&receiver), request));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(?protocol, %error, "a connection to the sink ended early");
    }
}

async fn answer(
    protocol: Protocol,
    receiver: Arc<Receiver>,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::convert::Infallible> {
    Ok(match protocol {
        Protocol::Grpc => grpc::serve(receiver, request).await,
        Protocol::Http => otlp_http::serve(receiver, request).await,
    })
}
