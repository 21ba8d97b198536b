//! An HTTPS server in the process, with client certificates, that answers as the test says and keeps what
//! it was asked.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, header::RETRY_AFTER};
use http_body_util::{BodyExt, Collected, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use spangate_load::{ClientIdentity, Endpoint};
use spangate_scenario::model::Identity;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use tokio_rustls::TlsAcceptor;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) identity: Identity,
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

/// What the server does about a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status and a body.
    Status(u16, String),
    /// The same, not before this time.
    At(Instant, u16, String),
    /// A body that goes on and on after these pieces.
    Endless(Vec<&'static str>),
    /// `429 Too Many Requests`, to be tried again after so many seconds.
    TryAfter(u32),
    /// The connection breaks.
    Break,
    /// Nothing, ever.
    Silence,
}

/// How the server is set up.
pub(crate) struct Options {
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub(crate) streams: u32,
    /// Whether ALPN offers HTTP/2.
    pub(crate) h2: bool,
}

/// The server; it ends with this value.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) ca_pem: String,
    pub(crate) admin: ClientIdentity,
    pub(crate) user: ClientIdentity,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    answer: Box<dyn Fn(&Seen) -> Answer + Send + Sync>,
    admin: CertificateDer<'static>,
    seen: Mutex<Vec<Seen>>,
    changed: Notify,
}

// === impl Seen ===

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Method and target.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { streams: 250, h2: true }
    }
}

// === impl Server ===

impl Server {
    pub(crate) async fn start(
        options: Options,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let pki = Pki::new();
        let (certificate, admin) = pki.client("admin");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            admin: certificate,
            seen: Mutex::default(),
            changed: Notify::new(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(pki.server(options.h2)));
        let mut tasks = JoinSet::new();
        let accepted = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&accepted));
                connections.spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let session = tls.get_ref().1;
                    let identity = match session.peer_certificates() {
                        Some([peer, ..]) if *peer == shared.admin => Identity::admin(),
                        Some(_) => Identity::unprivileged(),
                        None => Identity::new("nobody"),
                    };
                    let is_http2 = session.alpn_protocol() == Some(b"h2");
                    let broken = Arc::new(Notify::new());
                    let service = service_fn({
                        let broken = Arc::clone(&broken);
                        move |request| {
                            let (shared, broken) = (Arc::clone(&shared), Arc::clone(&broken));
                            let identity = identity.clone();
                            async move { shared.serve(identity, request, &broken).await }
                        }
                    });
                    let tls = TokioIo::new(tls);
                    let serve = async {
                        if is_http2 {
                            http2::Builder::new(TokioExecutor::new())
                                .max_concurrent_streams(options.streams)
                                .serve_connection(tls, service)
                                .await
                        } else {
                            http1::Builder::new().serve_connection(tls, service).await
                        }
                    };
                    tokio::select! {
                        _ = serve => {}
                        () = broken.notified() => {}
                    }
                });
            }
        });
        Self {
            endpoint: format!("https://127.0.0.1:{port}").parse().unwrap(),
            ca_pem: pki.ca_pem.clone(),
            admin,
            user: pki.client("user").1,
            shared,
            _tasks: tasks,
        }
    }

    /// Everything seen since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }

    /// Waits until `count` requests have been seen.
    pub(crate) async fn wait_for(&self, count: usize) {
        let enough = async {
            loop {
                // Asked for before the look, so that what happens between the two is not missed.
                let changed = self.shared.changed.notified();
                if self.shared.seen.lock().unwrap().len() >= count {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), enough).await.expect("requests arrive");
    }
}

// === impl Shared ===

impl Shared {
    async fn serve(
        &self,
        identity: Identity,
        request: Request<Incoming>,
        broken: &Notify,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        let at = Instant::now();
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        let target = parts.uri.path_and_query().unwrap().to_string();
        let seen = Seen { identity, method: parts.method, target, headers: parts.headers, body, at };
        let answer = (self.answer)(&seen);
        self.seen.lock().unwrap().push(seen);
        self.changed.notify_waiters();
        match answer {
            Answer::Status(status, body) => Ok(response(status, body)),
            Answer::At(at, status, body) => {
                tokio::time::sleep_until(at.into()).await;
                Ok(response(status, body))
            }
            Answer::Endless(pieces) => {
                let pieces = stream::iter(pieces).map(|piece| Ok(Frame::data(Bytes::from(piece))));
                let body = StreamBody::new(pieces.chain(stream::pending()));
                Ok(Response::new(BoxBody::new(body)))
            }
            Answer::TryAfter(seconds) => {
                let mut response = response(429, String::new());
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
                Ok(response)
            }
            Answer::Break => {
                broken.notify_one();
                std::future::pending().await
            }
            Answer::Silence => std::future::pending().await,
        }
    }
}

fn response(status: u16, body: String) -> Response<BoxBody<Bytes, Infallible>> {
    let response = Response::builder().status(status).header("audit-id", "3c5e6a0e");
    response.body(BoxBody::new(http_body_util::Full::from(body))).unwrap()
}

/// A CA and what it signs.
struct Pki {
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

// === impl Pki ===

impl Pki {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self { ca_pem, issuer: Issuer::new(params, key) }
    }

    fn client(&self, user: &str) -> (CertificateDer<'static>, ClientIdentity) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = ClientIdentity::certificate(user, certificate.pem(), key.serialize_pem());
        (certificate.der().clone(), identity)
    }

    fn server(&self, h2: bool) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        if h2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        config
    }
}
