//! A proxy between an API server and etcd that knows gRPC, and can slow or fail single RPCs.
//!
//! It carries HTTP/2 frames, without TLS or with TLS on both sides, where client and proxy, and proxy and etcd, each
//! check the other's certificate. Each connection of a client gets one connection to etcd, and the two live and die
//! together. Frames are passed on one for one: headers, data and its padding, trailers,
//! resets with their reason, credits, pings, settings and their acknowledgement. Client and etcd so keep the flow
//! control, the keepalive and the limits that they would have without the proxy.
//!
//! What differs from a direct connection:
//! - both sides are told to keep no table of headers (`SETTINGS_HEADER_TABLE_SIZE` 0), so that each block of
//!   headers stands on its own (RFC 7541, 4.2); the client is said not to want pushes;
//! - numbers of streams at etcd are the proxy's, in the order in which calls are sent on, and `GOAWAY` of etcd
//!   is told in the client's numbers; a call that etcd did not take, and of which the client cannot know that
//!   by its number, is reset with `REFUSED_STREAM`, which gRPC clients retry;
//! - priorities and frames of unknown types are dropped (RFC 9113, 5.3.2 and 5.5), and so is what comes for a
//!   stream that is over, with its data given back to the sender;
//! - what is held of a call is given back to the sender as to the connection's window, so that held calls do not
//!   stop others; of a stream only while its first message is incomplete, which may be longer than its window;
//! - when etcd is not there, the client's connection is closed right after it was accepted;
//! - when the connection to etcd breaks, calls in flight end with the gRPC status `UNAVAILABLE`, as a client
//!   would have concluded itself, held ones after their hold; then the client's connection is closed;
//! - a peer that breaks the rules of HTTP/2 so that the connection cannot go on, or sends a block of headers
//!   longer than 1 MiB, has both connections closed without a word but in the log.
//!
//! # Faults
//!
//! A fault names an RPC and, if need be, a prefix of the key. The key is that of the first message of the
//! call: of a transaction the first key that it compares or changes, of a watch that of the first watcher,
//! since a client may run many watchers over one stream. A first message that is compressed or longer than
//! [`LONGEST_FIRST_MESSAGE`] has no key here; etcd's own client never compresses.
//!
//! All faults that match a call apply, in file order: first every request-side delay, one after the other,
//! then the first status there is, in place of etcd, then every response-side delay before the first
//! response frame. A watch is so held once, when it is created, and not before its events. Each fault notes
//! the call in the ledger, with the part of the delay that is its own.

use std::{io, net::SocketAddr, sync::Arc};

use spangate_scenario::{delay::DelayError, model::EtcdFault};
use spangate_trace::{Clock, UnixNanos};
use tokio::{net::TcpStream, sync::mpsc::UnboundedSender};
use tokio_util::task::TaskTracker;

use crate::{
    etcd::{rules::Rules, tls::Tls},
    hold::Timer,
    ledger::Injection,
    listen::Listening,
    note::Recorder,
    thread::{self, Thread},
};

mod connection;
mod frame;
mod hpack;
mod key;
mod message;
mod relay;
mod rules;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod window;

pub use message::LONGEST_FIRST_MESSAGE;
pub use tls::{EtcdTls, EtcdTlsError};

/// What an etcd proxy does.
#[derive(Debug, Clone)]
pub struct EtcdProxyConfig {
    /// Where etcd's client port is.
    pub upstream: Upstream,
    /// TLS on both sides; `None` is neither.
    pub tls: Option<EtcdTls>,
    /// The faults, in the order of the scenario.
    pub faults: Vec<EtcdFault>,
    /// Seed of the run; every fault derives its own from it.
    pub seed: u64,
    /// The time line of the ledger.
    pub clock: Clock,
    /// Where calls are noted.
    pub ledger: UnboundedSender<Injection>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Where etcd takes clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// At this address.
    At(SocketAddr),
    /// At this port of the host from which the client came: an API server and its etcd on one node, whose address
    /// nobody knows before the node is there.
    BesideClient(u16),
}

/// Why an etcd proxy could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdProxyError {
    /// The port could not be had.
    #[error("cannot listen for etcd clients on {listen}; take a free port or 0")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The thread that ends holds could not be started.
    #[error("cannot start the thread that holds etcd calls")]
    Timer(#[source] io::Error),
    /// The thread that carries calls could not be started.
    #[error("cannot start the thread that carries etcd calls")]
    Thread(#[source] io::Error),
    /// What was given for TLS cannot be used.
    #[error("the etcd proxy cannot speak TLS")]
    Tls(#[source] EtcdTlsError),
    /// A fault asks for an impossible delay.
    #[error("etcd fault {fault:?} has an impossible delay")]
    Delay {
        /// The fault's name.
        fault: String,
        /// The cause.
        #[source]
        source: DelayError,
    },
}

/// Starts etcd proxies.
#[derive(Debug, Clone, Copy)]
pub struct EtcdProxy;

/// A proxy at work. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct EtcdProxyHandle {
    listening: Listening,
    rules: Arc<Rules>,
}

// === impl EtcdProxy ===

impl EtcdProxy {
    /// Listens and carries until the handle is dropped. etcd need not be there yet.
    pub async fn start(config: EtcdProxyConfig) -> Result<EtcdProxyHandle, EtcdProxyError> {
        let recorder = Recorder {
            clock: config.clock,
            timer: Timer::start().map_err(EtcdProxyError::Timer)?,
            ledger: config.ledger,
        };
        let rules = Arc::new(Rules::new(config.faults, config.seed, recorder)?);
        let tls = config.tls.as_ref().map(Tls::new).transpose().map_err(EtcdProxyError::Tls)?;
        let serve = {
            let rules = Arc::clone(&rules);
            move |downstream, peer| {
                let (rules, tls) = (Arc::clone(&rules), tls.clone());
                async move {
                    let etcd = config.upstream.of(peer);
                    if let Err(error) = carry(downstream, etcd, tls, rules).await {
                        tracing::warn!(%peer, %etcd, %error, "cannot connect a client to etcd");
                    }
                }
            }
        };
        let tasks = TaskTracker::new();
        let thread = Thread::start(thread::ETCD, tasks.clone()).map_err(EtcdProxyError::Thread)?;
        let listening = (thread.run(Listening::start(config.listen, tasks, serve)).await)
            .map_err(|source| EtcdProxyError::Listen { listen: config.listen, source })?;
        tracing::debug!(addr = %listening.addr, upstream = ?config.upstream, "proxying etcd");
        Ok(EtcdProxyHandle { listening, rules })
    }
}

/// Connects a client to etcd, and carries its calls until either is gone.
async fn carry(client: TcpStream, etcd: SocketAddr, tls: Option<Tls>, rules: Arc<Rules>) -> io::Result<()> {
    let upstream = TcpStream::connect(etcd).await?;
    // Without it the kernel delays small frames while an acknowledgement is due.
    let _ = upstream.set_nodelay(true);
    match tls {
        None => connection::carry(client, upstream, rules).await,
        Some(tls) => {
            let (client, upstream) = tls.shake(client, upstream, etcd.ip()).await?;
            connection::carry(client, upstream, rules).await;
        }
    }
    Ok(())
}

// === impl Upstream ===

impl Upstream {
    /// Where etcd is for a client that came from `peer`.
    fn of(self, peer: SocketAddr) -> SocketAddr {
        match self {
            Self::At(etcd) => etcd,
            Self::BesideClient(port) => SocketAddr::new(peer.ip(), port),
        }
    }
}

impl From<SocketAddr> for Upstream {
    fn from(etcd: SocketAddr) -> Self {
        Self::At(etcd)
    }
}

// === impl EtcdProxyHandle ===

impl EtcdProxyHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listening.addr
    }

    /// Lets the faults act from `load_start` on; their windows count from there.
    pub fn arm(&self, load_start: UnixNanos) {
        self.rules.gate.arm(load_start);
    }

    /// Carries every call as it is again. Calls that are being held stay so.
    pub fn disarm(&self) {
        self.rules.gate.disarm();
    }

    /// Closes the port and every connection. When it returns, every touched call is in the ledger.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}
