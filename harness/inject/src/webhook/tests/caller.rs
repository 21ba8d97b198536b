//! A server with a certificate of its own, and callers that trust it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use serde_json::{Value, json};
use spangate_trace::{Clock, UnixNanos};
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::{WebhookConfig, WebhookHandle, WebhookServer};
use crate::ledger::Injection;

pub(super) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The `traceparent` that every call carries.
pub(super) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The protocol that a caller offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpn {
    Http1,
    Http2,
}

/// A server, its ledger, and the authority of its certificate.
pub(super) struct Fixture {
    pub(super) handle: WebhookHandle,
    pub(super) ledger: UnboundedReceiver<Injection>,
    pub(super) clock: Clock,
    authority: CertificateDer<'static>,
}

/// One connection to a server.
pub(super) struct Caller {
    sender: Sender,
    /// Ends with the connection.
    pub(super) connection: JoinHandle<Result<(), hyper::Error>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer on its way: its status and body.
pub(super) type Call = BoxFuture<'static, Result<(StatusCode, String), hyper::Error>>;

#[track_caller]
pub(super) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, future).await;
        outcome.unwrap_or_else(|_| panic!("{caller}: nothing within {PATIENCE:?}"))
    }
}

/// The review of the creation of a config map.
pub(super) fn review(uid: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "operation": "CREATE",
            "namespace": "default",
            "name": "a",
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        },
    })
}

/// A configuration for `faults` with a fresh certificate for the loopback address.
pub(super) fn config(
    faults: Value,
) -> (WebhookConfig, UnboundedReceiver<Injection>, CertificateDer<'static>) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer_key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&issuer_key).unwrap();
    let issuer = rcgen::Issuer::new(params, issuer_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let (sender, ledger) = mpsc::unbounded_channel();
    let config = WebhookConfig {
        faults: serde_json::from_value(faults).unwrap(),
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        ca_pem: authority.pem(),
        seed: 7,
        clock: Clock::new(),
        ledger: sender,
        listen: LOOPBACK,
    };
    (config, ledger, authority.der().clone())
}

// === impl Fixture ===

impl Fixture {
    pub(super) async fn start(faults: Value) -> Self {
        let (config, ledger, authority) = config(faults);
        let clock = config.clock;
        Self { handle: WebhookServer::start(config).await.unwrap(), ledger, clock, authority }
    }

    /// Lets the faults act as if load had started `ago`.
    pub(super) fn arm(&self, ago: Duration) {
        let now = self.clock.now();
        self.handle.arm(UnixNanos(now.0 - u64::try_from(ago.as_nanos()).unwrap()));
    }

    pub(super) async fn noted(&mut self) -> Injection {
        soon(self.ledger.recv()).await.unwrap()
    }

    /// Everything that was noted, when the server is done.
    pub(super) async fn all_noted(mut self) -> Vec<Injection> {
        soon(self.handle.shutdown()).await;
        let mut noted = Vec::new();
        while let Ok(entry) = self.ledger.try_recv() {
            noted.push(entry);
        }
        noted
    }

    /// Waits until the fault `slow` has taken a call.
    pub(super) async fn took_a_call(&self) {
        soon(async {
            while self.handle.server.hooks["slow"].calls.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(super) async fn caller(&self, alpn: Alpn) -> Caller {
        let stream = self.tls(&[alpn]).await;
        Caller::new(stream, alpn).await
    }

    /// A connection that offers these protocols.
    pub(super) async fn tls(&self, offered: &[Alpn]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = offered.iter().map(|alpn| alpn.name().to_vec()).collect();
        let addr = self.handle.addr();
        let stream = TcpStream::connect(addr).await.unwrap();
        let connector = TlsConnector::from(Arc::new(tls));
        soon(connector.connect(addr.ip().into(), stream)).await.unwrap()
    }
}

// === impl Alpn ===

impl Alpn {
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

// === impl Caller ===

impl Caller {
    async fn new(stream: TlsStream<TcpStream>, alpn: Alpn) -> Self {
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.name()));
        let io = TokioIo::new(stream);
        match alpn {
            Alpn::Http1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                Self { sender: Sender::Http1(sender), connection: tokio::spawn(connection) }
            }
            Alpn::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                Self { sender: Sender::Http2(sender), connection: tokio::spawn(connection) }
            }
        }
    }

    /// Posts a review.
    pub(super) fn review(&mut self, path: &str, review: &Value) -> Call {
        self.post(path, review.to_string())
    }

    /// Posts any body.
    pub(super) fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Call {
        let request = Request::post(format!("https://127.0.0.1{path}"))
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .header("traceparent", PARENT)
            .body(Full::new(body.into()))
            .unwrap();
        let response: BoxFuture<'static, _> = match &mut self.sender {
            Sender::Http1(sender) => Box::pin(sender.send_request(request)),
            Sender::Http2(sender) => Box::pin(sender.send_request(request)),
        };
        Box::pin(async move {
            let (head, body) = soon(response).await?.into_parts();
            let body = soon(body.collect()).await?.to_bytes();
            Ok((head.status, String::from_utf8(body.to_vec()).unwrap()))
        })
    }

    /// Gives a call up as a client does: over HTTP/2 its stream is reset, over HTTP/1.1 the connection closes.
    pub(super) fn give_up(&self, call: Call) {
        drop(call);
        if matches!(self.sender, Sender::Http1(_)) {
            self.connection.abort();
        }
    }
}
