//! A server that costs as little as one can: HTTP/2 over TLS on one thread, in a process of its own.

use std::{
    io::{self, Read, Write},
    net::Ipv4Addr,
    process::{self, ChildStdin, Command, Stdio},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Response, header::CONTENT_TYPE};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use spangate_benches::command::Failure;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
};
use tokio_rustls::TlsAcceptor;

use crate::{generator::Target, role};

/// The name of this part in the process that plays it.
pub(crate) const ROLE: &str = "stub";

/// What an API server answers to a GET of a small `ConfigMap`.
const BODY: &str = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"pool-0","namespace":"spangate-load","uid":"4d4a0f3e-6a3b-4c8e-9a57-5f4f4f7f6b1a","resourceVersion":"241","creationTimestamp":"2026-01-01T00:00:00Z","labels":{"app.kubernetes.io/managed-by":"spangate"}},"data":{"payload":"abcdefghijklmnopqrstuvwxyz0123456789"}}"#;

/// Streams on one connection, at most.
const STREAMS: u32 = 1_000;
const WINDOW: u32 = 64 << 20;

/// A stub that runs; it ends with this value.
pub(crate) struct Stub {
    pub(crate) target: Target,
    child: process::Child,
    /// Its end is the stub's.
    _stdin: ChildStdin,
}

// === impl Stub ===

impl Stub {
    pub(crate) fn start() -> Result<Self, Failure> {
        let mut command: Command = role(ROLE, &())?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("the stub has no standard input")?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the stub has no standard output")?;
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line)?;
        let target =
            serde_json::from_str(&line).map_err(|error| format!("the stub did not start: {error}"))?;
        Ok(Self { target, child, _stdin: stdin })
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // A stub that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends.
pub(crate) fn play() -> Result<(), Failure> {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?.to_string();
    let target = Target { addr, ca_pem: signed.cert.pem(), token: None };
    writeln!(io::stdout(), "{}", serde_json::to_string(&target)?)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        // A connection that breaks is the client's business.
        tokio::spawn(carry(tcp, acceptor.clone()));
    }
}

async fn carry(tcp: TcpStream, acceptor: TlsAcceptor) -> Result<(), Failure> {
    tcp.set_nodelay(true)?;
    let tls = acceptor.accept(tcp).await?;
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_connection_window_size(WINDOW)
        .handshake::<_, Bytes>(tls)
        .await?;
    while let Some(request) = connection.accept().await {
        let (_, respond) = request?;
        answer(respond)?;
    }
    Ok(())
}

fn answer(mut respond: SendResponse<Bytes>) -> Result<(), Failure> {
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header("audit-id", "5b1c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3")
        .body(())?;
    respond.send_response(response, false)?.send_data(Bytes::from_static(BODY.as_bytes()), true)?;
    Ok(())
}
