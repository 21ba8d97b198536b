//! Clients as exporters have them, and waiting with a deadline.

use std::{future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
};
use prost::Message as _;
use spangate_sink::{SinkHandle, shape};
use tokio::net::TcpStream;
use tonic::transport::Channel;

/// Far more than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// An HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The export that [`shape::request`] gives.
pub(crate) fn export(seed: u64, spans: usize) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(shape::request(seed, spans)).unwrap()
}

/// A gRPC client.
pub(crate) async fn grpc(sink: &SinkHandle) -> TraceServiceClient<Channel> {
    TraceServiceClient::connect(format!("http://{}", sink.grpc_addr())).await.unwrap()
}

/// Sends one HTTP/1.1 request on a connection of its own.
pub(crate) async fn send(
    addr: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(header::HeaderName, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, hyper::Error> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, addr.to_string());
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = sender.send_request(request.body(Full::new(body.into())).unwrap()).await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// Posts to `/v1/traces`.
pub(crate) async fn post(sink: &SinkHandle, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let headers = [(header::CONTENT_TYPE, content_type)];
    send(sink.http_addr(), Method::POST, "/v1/traces", &headers, body).await.unwrap()
}

/// Waits for a future that must end soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} took over {DEADLINE:?}"))
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let polling = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    soon(what, polling).await;
}
