//! The etcd proxy in front of a real etcd: what comes through it is what etcd says, byte for byte.
//!
//! Requests are made by hand, as frames: a gRPC library would hide what this is about.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
};
use http::{HeaderMap, Request};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use spangate_cluster::{
    Assets, AssetsEnv, Child, Component, EtcdConfig, EtcdPki, Found, Lifetime, LocalEtcd, Wanted, ports,
    process::Spec,
};
use spangate_inject::{EtcdProxy, EtcdProxyConfig, EtcdProxyHandle, EtcdTls, Upstream};
use spangate_scenario::model::{BatchProcessor, EtcdFault};
use spangate_trace::{Clock, UnixNanos};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::harness::alone;

/// Everything that a caller sees of an answer.
#[derive(Debug, PartialEq)]
struct Answer {
    headers: BTreeMap<String, String>,
    body: Bytes,
    trailers: BTreeMap<String, String>,
}

/// A connection that speaks gRPC in frames.
struct Caller(SendRequest<Bytes>);

// === impl Caller ===

impl Caller {
    async fn connect(address: std::net::SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await.unwrap()
    }

    /// With a client's certificate or without; nothing when it is not let in.
    async fn connect_tls(address: SocketAddr, pki: &EtcdPki, shown: bool) -> Option<Self> {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&pki.authority.cert_pem)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if shown {
            let key = PrivateKeyDer::from_pem_slice(pki.proxy.key_pem.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate(&pki.proxy.cert_pem)], key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.ok()?;
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let mut caller = Self::over(stream).await?;
        // With TLS 1.3 a client learns only by its first read that it was refused.
        caller.0 = caller.0.ready().await.ok()?;
        let request = Request::post("http://etcd/etcdserverpb.Maintenance/Status")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let (response, mut body) = caller.0.send_request(request, false).ok()?;
        body.send_data(framed(&[]), true).ok()?;
        response.await.ok().map(|_| caller)
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Option<Self> {
        let (sender, connection) = client::handshake(stream).await.ok()?;
        tokio::spawn(connection);
        Some(Self(sender))
    }

    async fn open(&self, method: &str) -> (client::ResponseFuture, SendStream<Bytes>) {
        let request = Request::post(format!("http://etcd/etcdserverpb.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        self.0.clone().ready().await.unwrap().send_request(request, false).unwrap()
    }

    async fn call(&self, method: &str, message: &[u8]) -> Answer {
        let (response, mut body) = self.open(method).await;
        body.send_data(framed(message), true).unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.data().await {
            bytes.put(take(&mut body, chunk.unwrap()));
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        Answer { headers: texts(&head.headers), body: bytes.freeze(), trailers: texts(&trailers) }
    }
}

/// Gives the window back for a chunk that was read.
fn take(body: &mut RecvStream, chunk: Bytes) -> Bytes {
    body.flow_control().release_capacity(chunk.len()).unwrap();
    chunk
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// A message with its gRPC prefix: not compressed, and its length.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// A length-delimited protobuf field.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::bytes::encode(number, &value.to_vec(), &mut bytes);
    bytes
}

fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    [field(1, key), field(2, value)].concat()
}

/// `RangeRequest` from `key` up to `end`, as of `rpc.proto`.
fn range(key: &[u8], end: &[u8]) -> Vec<u8> {
    [field(1, key), field(2, end)].concat()
}

/// etcd with data in it, and a proxy before it with a rule for the RPC that never meets the key.
async fn start(dir: &Path) -> (LocalEtcd, EtcdProxyHandle) {
    let found = binary().await;
    let etcd = LocalEtcd::start(
        &EtcdConfig {
            binary: found.path,
            version: found.version,
            dir: dir.to_owned(),
            tracing: None,
            batch: BatchProcessor::default(),
            lifetime: Lifetime::WithParent,
        },
        &(),
    )
    .await
    .unwrap();
    let (ledger, _) = mpsc::unbounded_channel();
    let proxy = EtcdProxy::start(EtcdProxyConfig {
        upstream: etcd.address().into(),
        tls: None,
        faults: vec![fault("KV/Range"), fault("KV/Put")],
        seed: 1,
        clock: Clock::new(),
        ledger,
        listen: "127.0.0.1:0".parse().unwrap(),
    })
    .await
    .unwrap();
    proxy.arm(UnixNanos(0));
    (etcd, proxy)
}

/// A fault that meets no key.
fn fault(rpc: &str) -> EtcdFault {
    EtcdFault {
        name: "elsewhere".to_owned(),
        rpc: rpc.to_owned(),
        key_prefix: Some("/elsewhere/".to_owned()),
        delay: Some(spangate_scenario::model::Delay::Fixed(spangate_scenario::units::Duration::from_secs(
            60,
        ))),
        hold: spangate_scenario::model::HeldSide::Request,
        status: None,
        share: spangate_scenario::units::Ratio::one(),
        during: None,
    }
}

/// An etcd that takes TLS alone. Its end is that of the child.
struct TlsEtcd {
    port: u16,
    _child: Child,
}

// === impl TlsEtcd ===

impl TlsEtcd {
    async fn start(dir: &Path, pki: &EtcdPki) -> Self {
        let binary = binary().await.path;
        let [client, peer] = ports::free().unwrap();
        let file = |name: &str, pem: &str| {
            let path = dir.join(name);
            std::fs::write(&path, pem).unwrap();
            path.display().to_string()
        };
        let args = [
            ("data-dir", dir.join("data").display().to_string()),
            ("listen-client-urls", format!("https://{client}")),
            ("advertise-client-urls", format!("https://{client}")),
            ("listen-peer-urls", format!("http://{peer}")),
            ("initial-advertise-peer-urls", format!("http://{peer}")),
            ("initial-cluster", format!("default=http://{peer}")),
            ("cert-file", file("cert.pem", &pki.proxy.cert_pem)),
            ("key-file", file("key.pem", &pki.proxy.key_pem)),
            ("trusted-ca-file", file("ca.pem", &pki.authority.cert_pem)),
            ("client-cert-auth", "true".to_owned()),
        ];
        let child = Child::spawn(Spec {
            name: "etcd",
            program: binary,
            args: args.into_iter().map(|(name, value)| format!("--{name}={value}")).collect(),
            env: BTreeMap::new(),
            log: dir.join("etcd.log"),
            lifetime: Lifetime::WithParent,
        })
        .unwrap();
        // It listens once it has a leader.
        while Caller::connect_tls(client, pki, true).await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { port: client.port(), _child: child }
    }
}

async fn binary() -> Found {
    let assets = Assets::new(AssetsEnv::from_process());
    let version = assets.catalogue().default_version(Component::Etcd).unwrap();
    let wanted = Wanted { component: Component::Etcd, spec: version.into(), path: None };
    tokio::task::spawn_blocking(move || assets.ensure(&wanted, &())).await.unwrap().unwrap()
}

/// Scenario: reads, pages of megabytes, a transaction, errors and an unknown method, directly and by the proxy.
/// Guarantees: headers, every byte of the body, and trailers are the same.
#[test]
fn answers_are_the_same_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    alone(async {
        let (etcd, proxy) = start(dir.path()).await;
        let direct = Caller::connect(etcd.address()).await;
        let proxied = Caller::connect(proxy.addr()).await;
        for number in 0..40_u8 {
            let value = vec![number; 100_000];
            let message = put(format!("/registry/configmaps/{number:03}").as_bytes(), &value);
            let caller = if number % 2 == 0 { &direct } else { &proxied };
            assert_eq!(caller.call("KV/Put", &message).await.trailers["grpc-status"], "0");
        }
        let everything = range(b"/registry/", b"/registry0");
        for (method, message) in [
            ("KV/Range", range(b"/registry/configmaps/007", b"")),
            ("KV/Range", everything.clone()),
            ("KV/Range", range(b"/nothing/", b"/nothing0")),
            ("KV/Range", Vec::new()),
            ("KV/Range", vec![0xff; 16]),
            // TxnRequest { success: [RequestOp { request_range }] }: read only.
            ("KV/Txn", field(2, &field(1, &everything))),
            ("KV/RangeStream", everything.clone()),
            ("Lease/LeaseLeases", Vec::new()),
            ("Cluster/MemberList", Vec::new()),
            ("KV/NoSuchMethod", Vec::new()),
        ] {
            let (one, other) = (direct.call(method, &message).await, proxied.call(method, &message).await);
            assert_eq!(one, other, "{method}");
        }
        assert!(direct.call("KV/Range", &everything).await.body.len() > 4_000_000);
    });
}

/// Scenario: a real etcd that takes no client without a certificate of its authority, and a proxy with one; calls are
/// made by the proxy, with a client's certificate and without.
/// Guarantees: writes of megabytes come back as they were, and who shows no certificate gets no answer.
#[test]
fn a_real_etcd_is_reached_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    alone(async {
        let pki = EtcdPki::generate([127, 0, 0, 1].into()).unwrap();
        let etcd = TlsEtcd::start(dir.path(), &pki).await;
        let (ledger, mut noted) = mpsc::unbounded_channel();
        let proxy = EtcdProxy::start(EtcdProxyConfig {
            upstream: Upstream::BesideClient(etcd.port),
            tls: Some(EtcdTls {
                ca_pem: pki.authority.cert_pem.clone(),
                certificate_pem: pki.proxy.cert_pem.clone(),
                key_pem: pki.proxy.key_pem.clone(),
            }),
            faults: vec![EtcdFault { key_prefix: Some("/slow/".to_owned()), ..fault("KV/Put") }],
            seed: 1,
            clock: Clock::new(),
            ledger,
            listen: "127.0.0.1:0".parse().unwrap(),
        })
        .await
        .unwrap();
        let caller = Caller::connect_tls(proxy.addr(), &pki, true).await.unwrap();
        let value: Vec<u8> = (0_u8..251).cycle().take(1_400_000).collect();
        assert_eq!(caller.call("KV/Put", &put(b"/a", &value)).await.trailers["grpc-status"], "0");
        let read = caller.call("KV/Range", &range(b"/a", b"")).await;
        assert!(read.body.windows(1000).any(|part| part == &value[..1000]) && read.body.len() > value.len());
        assert!(noted.try_recv().is_err(), "no call met the key of the fault");
        assert!(Caller::connect_tls(proxy.addr(), &pki, false).await.is_none());
    });
}

/// Scenario: two watches on one prefix, one directly and one by the proxy, while keys are put.
/// Guarantees: both get the same stream of bytes, and the proxied one ends when its caller does.
#[test]
fn watches_get_the_same_events() {
    let dir = tempfile::tempdir().unwrap();
    alone(async {
        let (etcd, proxy) = start(dir.path()).await;
        let (direct, proxied) = (Caller::connect(etcd.address()).await, Caller::connect(proxy.addr()).await);
        // WatchRequest { create_request { key, range_end } }
        let create = field(1, &range(b"/registry/", b"/registry0"));
        let mut streams = Vec::new();
        for caller in [&direct, &proxied] {
            let (response, mut sender) = caller.open("Watch/Watch").await;
            sender.send_data(framed(&create), false).unwrap();
            let mut body = response.await.unwrap().into_body();
            let created = next_message(&mut body).await;
            streams.push((sender, body, vec![created]));
        }
        for number in 0..20_u32 {
            let message = put(format!("/registry/pods/{number}").as_bytes(), &number.to_be_bytes());
            let caller = if number % 2 == 0 { &direct } else { &proxied };
            caller.call("KV/Put", &message).await;
            for (_, body, seen) in &mut streams {
                seen.push(next_message(body).await);
            }
        }
        assert_eq!(streams[0].2, streams[1].2);
        assert_eq!(streams[0].2.len(), 21);
    });
}

/// The next whole gRPC message of a stream.
async fn next_message(body: &mut RecvStream) -> Bytes {
    let mut bytes = BytesMut::new();
    loop {
        if bytes.len() >= 5 {
            let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            if bytes.len() == 5 + length {
                return bytes.freeze();
            }
            assert!(bytes.len() < 5 + length, "two messages came at once; one was expected");
        }
        let chunk = timeout(Duration::from_secs(10), body.data()).await.expect("a message within 10 s");
        let chunk = chunk.unwrap().unwrap();
        bytes.put(take(body, chunk));
    }
}
