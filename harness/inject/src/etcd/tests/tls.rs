//! TLS on both sides: the calls are the same, and nobody talks to a stranger.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    super::{
        EtcdProxy, EtcdProxyConfig, EtcdProxyError, EtcdTls, Upstream, key::tests::txn,
        message::tests::framed,
    },
    peer::{Client, LOOPBACK, Peer, Proxy, soon},
};

const MS: Duration = Duration::from_millis(1);

/// An authority with its certificate.
struct Authority(Issuer<'static, KeyPair>, String);

// === impl Authority ===

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// A server on loopback and a client, of this authority and trusting it.
    fn issue(&self) -> EtcdTls {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        EtcdTls { ca_pem: self.1.clone(), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

fn roots(tls: &EtcdTls) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(tls.ca_pem.as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

fn identity(tls: &EtcdTls) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(tls.certificate_pem.as_bytes()).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).unwrap())
}

/// Takes TLS, with a certificate of every client, and hands on what it carries: etcd with `--client-cert-auth`.
async fn behind_tls(peer: SocketAddr, tls: &EtcdTls) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots(tls), Arc::clone(&provider)).build().unwrap();
    let (chain, key) = identity(tls);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                let mut onward = TcpStream::connect(peer).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
    });
    addr
}

/// A client of the proxy, with a certificate or without.
async fn client(proxy: &Proxy, trusted: &EtcdTls, shown: Option<&EtcdTls>) -> Option<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(trusted));
    let mut config = match shown.map(identity) {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(proxy.handle.addr()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.ok()?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    Client::over(stream).await.ok()
}

#[tokio::test]
async fn calls_are_carried_and_held_as_without_tls() {
    let tls = Authority::new().issue();
    let etcd = behind_tls(Peer::start().await.echo(), &tls).await;
    let faults = json!([{"name": "slow", "rpc": "KV/Txn", "keyPrefix": "/a", "delay": {"fixed": "20ms"}}]);
    let proxy = Proxy::with_tls(Upstream::BesideClient(etcd.port()), tls.clone(), faults).await;
    proxy.arm(Duration::ZERO);
    let client = client(&proxy, &tls, Some(&tls)).await.unwrap();
    for (key, length) in [("/a", 10), ("/b", 10), ("/b", 3 << 20)] {
        let sent = framed(0, &txn(key.as_bytes(), &vec![7; length]));
        let (_, body, trailers) = client.unary("KV/Txn", sent.clone()).await.unwrap();
        assert!(body == sent, "{key}, {length} bytes");
        assert_eq!(trailers["grpc-status"], "0");
    }
    let noted = proxy.all_noted().await;
    let held: Vec<_> = noted.iter().filter_map(|entry| entry.held).collect();
    assert_eq!((noted.len(), held.len()), (1, 1));
    assert!(held[0].to.since(held[0].from) >= 20 * MS, "{held:?}");
}

#[tokio::test]
async fn nobody_talks_to_a_stranger() {
    let (ours, theirs) = (Authority::new().issue(), Authority::new().issue());
    let peer = Peer::start().await.echo();
    let body = || Bytes::from_static(b"\0\0\0\0\0");
    for (etcd, shown, carried) in [
        (&ours, Some(&ours), true),
        (&ours, None, false),
        (&ours, Some(&theirs), false),
        (&theirs, Some(&ours), false),
    ] {
        let etcd = behind_tls(peer, etcd).await;
        let proxy = Proxy::with_tls(etcd.into(), ours.clone(), json!([])).await;
        // With TLS 1.3 a client learns only by its first read that it was refused.
        let answered = match client(&proxy, &ours, shown).await {
            Some(client) => client.unary("KV/Range", body()).await.is_ok(),
            None => false,
        };
        assert_eq!(answered, carried);
    }
}

#[tokio::test]
async fn what_is_no_pem_is_named_and_no_key_is_shown() {
    let tls = EtcdTls { certificate_pem: "none".to_owned(), ..Authority::new().issue() };
    assert!(!format!("{tls:?}").contains("PRIVATE"));
    let config = EtcdProxyConfig {
        upstream: LOOPBACK.into(),
        tls: Some(tls),
        faults: Vec::new(),
        seed: 7,
        clock: spangate_trace::Clock::new(),
        ledger: tokio::sync::mpsc::unbounded_channel().0,
        listen: LOOPBACK,
    };
    let error = EtcdProxy::start(config).await.unwrap_err();
    assert!(matches!(error, EtcdProxyError::Tls(_)), "{error}");
}
