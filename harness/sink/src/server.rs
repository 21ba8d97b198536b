//! The sink as a running thing: two ports, a store, and a switch for misbehaviour.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use spangate_trace::Clock;
use tokio::task::JoinHandle;

use crate::{
    forward::{Forward, Passage},
    listen::{self, Port, Protocol},
    misbehave::{Misbehaviour, Misdeed},
    receive::{Arrival, Receiver},
    store::Store,
};

/// Starts sinks.
#[derive(Debug, Clone, Copy)]
pub struct Sink;

/// Where a sink listens and what it takes.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// Address for OTLP/gRPC; port 0 is any free one.
    pub grpc: SocketAddr,
    /// Address for OTLP/HTTP; port 0 is any free one.
    pub http: SocketAddr,
    /// The largest message, in bytes after decompression; less than 4 GiB.
    pub max_message_bytes: usize,
    /// An OTLP/gRPC receiver to which everything that is kept is sent on, and whose answers the clients get.
    pub forward: Option<SocketAddr>,
    /// Whether such a receiver is told of later ([`SinkHandle::forward_to`]). Until then everything is taken, so that
    /// no exporter backs off, and thrown away.
    pub awaits_receiver: bool,
    /// The time line of the record of misdeeds.
    pub clock: Clock,
}

/// A sink that cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// An address cannot be had.
    #[error("cannot listen on {addr} for OTLP: is it of this machine, and free?")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running sink, which ends when this is dropped.
#[derive(Debug)]
pub struct SinkHandle {
    grpc: SocketAddr,
    http: SocketAddr,
    receiver: Arc<Receiver>,
    clock: Clock,
    servers: Vec<JoinHandle<()>>,
}

// === impl SinkConfig ===

impl Default for SinkConfig {
    /// Any free port of the loopback interface, messages of up to 64 MiB.
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            grpc: any,
            http: any,
            max_message_bytes: 64 * 1024 * 1024,
            forward: None,
            awaits_receiver: false,
            clock: Clock::new(),
        }
    }
}

// === impl Sink ===

impl Sink {
    /// Starts a sink. When this returns, both ports accept connections.
    #[expect(
        clippy::unused_async,
        reason = "listening needs the runtime that an async call is sure to run in"
    )]
    pub async fn start(config: SinkConfig) -> Result<SinkHandle, SinkError> {
        let receiver =
            Receiver::new(config.max_message_bytes, config.clock, config.forward, config.awaits_receiver);
        let receiver = Arc::new(receiver);
        let open = |addr| {
            let opened = Port::reserve(addr).and_then(|port| port.listen().map(|listener| (port, listener)));
            opened.map_err(|source| SinkError::Listen { addr, source })
        };
        let (grpc, http) = (open(config.grpc)?, open(config.http)?);
        let addrs = (grpc.0.addr(), http.0.addr());
        let servers = [(Protocol::Grpc, grpc), (Protocol::Http, http)].map(|(protocol, (port, listener))| {
            tokio::spawn(listen::serve(protocol, port, listener, Arc::clone(&receiver)))
        });
        let clock = config.clock;
        Ok(SinkHandle { grpc: addrs.0, http: addrs.1, receiver, clock, servers: servers.into() })
    }
}

// === impl SinkHandle ===

impl SinkHandle {
    /// The address for OTLP/gRPC.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    /// The address for OTLP/HTTP.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// What was received; it outlives the sink.
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.receiver.store)
    }

    /// Switches to a misbehaviour, or with `None` back to none.
    ///
    /// It holds for every export that comes in whole after this returns; what hangs goes on hanging. With
    /// [`Misbehaviour::Away`], ports and connections close a moment later.
    pub fn misbehave(&self, misbehaviour: Option<Misbehaviour>) {
        tracing::debug!(?misbehaviour, "the sink changes its behaviour");
        self.receiver.misbehaviour.send_replace(misbehaviour);
    }

    /// The exports that met a misbehaviour, in the order in which they were answered or given up.
    pub fn misdeeds(&self) -> Vec<Misdeed> {
        self.receiver.record.misdeeds()
    }

    /// What was sent on to the receiver behind, in the order of its answers; nothing where there is none.
    pub fn passages(&self) -> Vec<Passage> {
        self.receiver.forward.get().map(Forward::passages).unwrap_or_default()
    }

    /// From now on, what is kept is sent on to the OTLP/gRPC receiver at `to`. The first receiver stays.
    pub fn forward_to(&self, to: SocketAddr) {
        self.receiver.forward.get_or_init(|| Forward::new(to, self.clock));
    }

    /// When exports came that were taken and not sent on, those that met a misbehaviour left out.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.receiver.arrivals()
    }

    /// Closes ports and connections, and returns when they are closed.
    pub async fn shutdown(mut self) {
        self.receiver.stop.cancel();
        for server in self.servers.drain(..) {
            if let Err(error) = server.await {
                tracing::error!(%error, "a server of the sink ended badly");
            }
        }
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        self.receiver.stop.cancel();
    }
}
