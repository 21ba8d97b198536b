//! A client and a server that speak HTTP/2, and a proxy between them.

use std::{future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response, Version};
use spangate_scenario::model::EtcdFault;
use spangate_trace::{Clock, UnixNanos};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::super::{EtcdProxy, EtcdProxyConfig, EtcdProxyHandle, EtcdTls, Upstream};
use crate::ledger::Injection;

pub(super) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The patience of every wait in these tests.
#[track_caller]
pub(super) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, future).await;
        outcome.unwrap_or_else(|_| panic!("{caller}: nothing within {PATIENCE:?}"))
    }
}

/// A server that stands for etcd.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    /// Every call that arrives.
    pub(super) calls: UnboundedReceiver<(Request<RecvStream>, SendResponse<Bytes>)>,
    /// One task for each connection; it ends with the connection.
    pub(super) connections: UnboundedReceiver<Connection>,
}

/// A connection that a server took.
pub(super) struct Connection {
    pub(super) task: JoinHandle<()>,
    shutdown: CancellationToken,
}

/// A proxy with its ledger.
pub(super) struct Proxy {
    pub(super) handle: EtcdProxyHandle,
    pub(super) ledger: UnboundedReceiver<Injection>,
    pub(super) clock: Clock,
}

/// A client's connection.
pub(super) struct Client {
    pub(super) requests: SendRequest<Bytes>,
    /// Ends with the connection.
    pub(super) task: JoinHandle<()>,
}

// === impl Peer ===

impl Peer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (call, calls) = mpsc::unbounded_channel();
        let (taken, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shutdown = CancellationToken::new();
                let (call, told) = (call.clone(), shutdown.clone());
                let task = tokio::spawn(async move {
                    let mut connection = server::handshake(stream).await.unwrap();
                    let mut leaving = false;
                    loop {
                        tokio::select! {
                            accepted = connection.accept() => match accepted {
                                Some(Ok(accepted)) => drop(call.send(accepted)),
                                _ => return,
                            },
                            () = told.cancelled(), if !leaving => {
                                leaving = true;
                                connection.graceful_shutdown();
                            }
                        }
                    }
                });
                // Not every test looks at the connections.
                let _ = taken.send(Connection { task, shutdown });
            }
        });
        Self { addr, calls, connections }
    }

    pub(super) async fn call(&mut self) -> (Request<RecvStream>, SendResponse<Bytes>) {
        soon(self.calls.recv()).await.unwrap()
    }

    /// Answers every call with what it sent, and the trailers of gRPC.
    pub(super) fn echo(mut self) -> SocketAddr {
        let addr = self.addr;
        tokio::spawn(async move {
            while let Some((request, mut respond)) = self.calls.recv().await {
                tokio::spawn(async move {
                    let (body, _) = read(request.into_body()).await.unwrap();
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    write(&mut stream, body.into(), false).await;
                    stream.send_trailers(trailers([("grpc-status", "0")])).unwrap();
                });
            }
        });
        addr
    }
}

impl Connection {
    /// Sends `GOAWAY`, and closes once all calls are over.
    pub(super) fn shut_down(&self) {
        self.shutdown.cancel();
    }
}

// === impl Proxy ===

impl Proxy {
    /// A proxy without faults.
    pub(super) async fn transparent(upstream: SocketAddr) -> Self {
        Self::start(upstream, serde_json::json!([])).await
    }

    /// As [`start`](Self::start), with TLS on both sides.
    pub(super) async fn with_tls(upstream: Upstream, tls: EtcdTls, faults: serde_json::Value) -> Self {
        Self::of(upstream, Some(tls), faults).await
    }

    /// A proxy with faults that have not been armed.
    pub(super) async fn start(upstream: SocketAddr, faults: serde_json::Value) -> Self {
        Self::of(upstream.into(), None, faults).await
    }

    async fn of(upstream: Upstream, tls: Option<EtcdTls>, faults: serde_json::Value) -> Self {
        let (sender, ledger) = mpsc::unbounded_channel();
        let clock = Clock::new();
        let faults: Vec<EtcdFault> = serde_json::from_value(faults).unwrap();
        let config =
            EtcdProxyConfig { upstream, tls, faults, seed: 7, clock, ledger: sender, listen: LOOPBACK };
        Self { handle: EtcdProxy::start(config).await.unwrap(), ledger, clock }
    }

    /// Lets the faults act as if load had started `ago`.
    pub(super) fn arm(&self, ago: Duration) {
        let now = self.clock.now();
        self.handle.arm(UnixNanos(now.0 - u64::try_from(ago.as_nanos()).unwrap()));
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.handle.addr()).await
    }

    pub(super) async fn noted(&mut self) -> Injection {
        soon(self.ledger.recv()).await.unwrap()
    }

    /// Everything that was noted, when the proxy is done.
    pub(super) async fn all_noted(mut self) -> Vec<Injection> {
        soon(self.handle.shutdown()).await;
        let mut noted = Vec::new();
        while let Ok(entry) = self.ledger.try_recv() {
            noted.push(entry);
        }
        noted.sort_by_key(|entry| (entry.received, entry.fault.clone()));
        noted
    }
}

// === impl Client ===

impl Client {
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap()).await.unwrap()
    }

    /// Over a connection that is there.
    pub(super) async fn over<S>(stream: S) -> Result<Self, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = client::Builder::new();
        // More than a stream may use, so that one that is not read does not stop the others.
        builder.initial_connection_window_size(1 << 20);
        // `h2` ends a connection that was reset too often; what the proxy does is of interest here.
        builder.max_concurrent_reset_streams(10_000).max_local_error_reset_streams(None);
        let (requests, connection) = builder.handshake(stream).await?;
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, task })
    }

    /// Sends a whole request; the status, the body and the trailers that came back.
    pub(super) async fn unary(
        &self,
        rpc: &str,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes, HeaderMap), h2::Error> {
        let (response, mut stream) = self.requests.clone().send_request(post(rpc), false)?;
        write(&mut stream, body, true).await;
        let (head, body) = soon(response).await?.into_parts();
        let (body, trailers) = read(body).await?;
        Ok((head.headers, body.into(), trailers))
    }
}

/// A call of an RPC of etcd.
pub(super) fn post(rpc: &str) -> Request<()> {
    Request::post(format!("http://etcd.example:2379/etcdserverpb.{rpc}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

pub(super) fn trailers<const N: usize>(pairs: [(&'static str, &'static str); N]) -> HeaderMap {
    pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// Reads a body to its end: the data and the trailers.
pub(super) async fn read(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut data = Vec::new();
    while let Some(chunk) = soon(body.data()).await.transpose()? {
        body.flow_control().release_capacity(chunk.len())?;
        data.extend_from_slice(&chunk);
    }
    Ok((data, soon(body.trailers()).await?.unwrap_or_default()))
}

/// Sends data as the other side takes it; stops when that resets the stream.
pub(super) async fn write(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        if stream.capacity() == 0 {
            let Some(Ok(_)) = soon(std::future::poll_fn(|cx| stream.poll_capacity(cx))).await else { return };
        }
        let part = data.split_to(stream.capacity().min(data.len()));
        if stream.send_data(part, end && data.is_empty()).is_err() {
            return;
        }
        if end && data.is_empty() {
            return;
        }
    }
    if end {
        let _ = stream.send_data(data, true);
    }
}
