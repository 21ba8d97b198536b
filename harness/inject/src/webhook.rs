//! Admission webhooks that are slow or broken on purpose.
//!
//! One HTTPS server, HTTP/1.1 and HTTP/2, answers the webhooks of all faults, each on its own path. It gives
//! the `admissionregistration.k8s.io/v1` objects that make an API server call it. Until it is armed it allows
//! every call at once and notes none; from then on every call is in the ledger, whether it was affected or
//! not.
//!
//! Each configuration ends with a *canary*: a webhook that only matches config maps in the namespace
//! [`CANARY_NAMESPACE`]. An API server loads a configuration some time after it was created; once creating a
//! config map there is seen by [`WebhookHandle::canary_calls`], the whole configuration is loaded.
//!
//! A reset kills the TCP connection, and over HTTP/2 every other call on it. The API server speaks HTTP/2 to
//! webhooks on `localhost` (`apiserver/pkg/util/webhook/client.go`), so a server with a fault that resets
//! offers HTTP/1.1 only: there a connection carries one call at a time, and no other fault's call is hit.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use serde_json::Value;
use spangate_scenario::{
    delay::DelayError,
    model::{WebhookAnswer, WebhookFault},
};
use spangate_trace::{Clock, UnixNanos};
use tokio::sync::{mpsc::UnboundedSender, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::{
    gate::Gate,
    hold::Timer,
    ledger::Injection,
    listen::Listening,
    note::Recorder,
    thread::{self, Thread},
    webhook::{hook::Hook, serve::Server},
};

mod connection;
mod hook;
mod registration;
mod review;
mod serve;
#[cfg(test)]
mod tests;

/// The namespace whose config maps go to the canary webhooks.
pub const CANARY_NAMESPACE: &str = "spangate-canary";

/// The Service by which API servers reach webhooks that are not reached by their URL ([`Via::Service`]). Its pods pass
/// the bytes on to the server; its certificate must be valid for `NAME.NAMESPACE.svc`.
///
/// [`Via::Service`]: spangate_scenario::model::Via::Service
pub const WEBHOOK_SERVICE: ServiceReference = ServiceReference { namespace: "spangate", name: "webhooks" };

/// A Service, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceReference {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// What a webhook server serves.
#[derive(Clone)]
pub struct WebhookConfig {
    /// The faults, in the order of the scenario; API servers call mutating webhooks in this order.
    pub faults: Vec<WebhookFault>,
    /// The server's certificate chain, leaf first; must be valid for the host that API servers connect to.
    pub certificate_pem: String,
    /// The private key of the leaf.
    pub key_pem: String,
    /// The certificate that signed the chain: the `caBundle` of the registrations.
    pub ca_pem: String,
    /// Seed of the run; every fault derives its own from it.
    pub seed: u64,
    /// The time line of the ledger.
    pub clock: Clock,
    /// Where calls are noted.
    pub ledger: UnboundedSender<Injection>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Why a webhook server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The port could not be had.
    #[error("cannot listen for webhook calls on {listen}; take a free port or 0")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The thread that ends holds could not be started.
    #[error("cannot start the thread that holds webhook calls")]
    Timer(#[source] io::Error),
    /// The thread that answers calls could not be started.
    #[error("cannot start the thread that answers webhook calls")]
    Thread(#[source] io::Error),
    /// The certificate chain or the key is not PEM.
    #[error("cannot read the PEM {what} of the webhook server")]
    Pem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// The certificate chain and the key do not make a TLS server.
    #[error("cannot serve webhooks with this certificate and key")]
    Tls(#[source] rustls::Error),
    /// A fault asks for an impossible delay.
    #[error("webhook fault {fault:?} has an impossible delay")]
    Delay {
        /// The fault's name.
        fault: String,
        /// The cause.
        #[source]
        source: DelayError,
    },
}

/// How often each canary was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CanaryCalls {
    /// Calls through the mutating configuration.
    pub mutating: u64,
    /// Calls through the validating configuration.
    pub validating: u64,
}

/// Starts webhook servers.
#[derive(Debug, Clone, Copy)]
pub struct WebhookServer;

/// A webhook server at work. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct WebhookHandle {
    listening: Listening,
    server: Arc<Server>,
    faults: Vec<WebhookFault>,
    ca_pem: String,
}

// === impl WebhookServer ===

impl WebhookServer {
    /// Listens and serves until the handle is dropped.
    pub async fn start(config: WebhookConfig) -> Result<WebhookHandle, WebhookError> {
        let acceptor = TlsAcceptor::from(Arc::new(tls(&config)?));
        let recorder = Recorder {
            clock: config.clock,
            timer: Timer::start().map_err(WebhookError::Timer)?,
            ledger: config.ledger,
        };
        let hooks = (config.faults.iter().cloned())
            .map(|fault| Ok((fault.name.clone(), Hook::new(fault, config.seed)?)))
            .collect::<Result<_, WebhookError>>()?;
        let server = Arc::new(Server {
            recorder: Arc::new(recorder),
            gate: Gate::default(),
            hooks,
            canaries: watch::Sender::default(),
        });
        let tasks = TaskTracker::new();
        let serve = {
            let (server, tasks) = (Arc::clone(&server), tasks.clone());
            move |stream, peer| {
                connection::serve(stream, peer, acceptor.clone(), Arc::clone(&server), tasks.clone())
            }
        };
        let thread = Thread::start(thread::WEBHOOKS, tasks.clone()).map_err(WebhookError::Thread)?;
        let listening = (thread.run(Listening::start(config.listen, tasks, serve)).await)
            .map_err(|source| WebhookError::Listen { listen: config.listen, source })?;
        tracing::debug!(addr = %listening.addr, faults = config.faults.len(), "serving webhooks");
        Ok(WebhookHandle { listening, server, faults: config.faults, ca_pem: config.ca_pem })
    }
}

fn tls(config: &WebhookConfig) -> Result<ServerConfig, WebhookError> {
    let chain = CertificateDer::pem_slice_iter(config.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| WebhookError::Pem { what: "certificate", source })?;
    let key = PrivateKeyDer::from_pem_slice(config.key_pem.as_bytes())
        .map_err(|source| WebhookError::Pem { what: "private key", source })?;
    // The provider is named, so that no process-wide default is needed.
    let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(WebhookError::Tls)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if config.faults.iter().any(|fault| fault.answer == WebhookAnswer::Reset) {
        tls.alpn_protocols.remove(0);
    }
    Ok(tls)
}

// === impl WebhookHandle ===

impl WebhookHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listening.addr
    }

    /// The URL of the server, without a slash at the end.
    pub fn url(&self) -> String {
        format!("https://{}", self.listening.addr)
    }

    /// The objects to create in an API server that reaches this server at [`url`](Self::url): a
    /// `MutatingWebhookConfiguration`, a `ValidatingWebhookConfiguration`, or both, as the faults ask.
    pub fn configurations(&self) -> Vec<Value> {
        self.configurations_at(&self.url())
    }

    /// The same for an API server that reaches this server at another URL, such as one in a container.
    pub fn configurations_at(&self, url: &str) -> Vec<Value> {
        registration::configurations(&self.faults, url, &self.ca_pem)
    }

    /// Counts the calls of the canaries, armed or not.
    pub fn canary_calls(&self) -> watch::Receiver<CanaryCalls> {
        self.server.canaries.subscribe()
    }

    /// Lets the faults act from `load_start` on; their windows count from there.
    pub fn arm(&self, load_start: UnixNanos) {
        self.server.gate.arm(load_start);
    }

    /// Allows every call at once again. Calls that are being held stay so.
    pub fn disarm(&self) {
        self.server.gate.disarm();
    }

    /// Closes the port and every connection. When it returns, every call is in the ledger.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

// === impl WebhookConfig ===

/// Leaves the private key out.
impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("faults", &self.faults)
            .field("seed", &self.seed)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
