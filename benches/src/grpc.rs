//! Unary gRPC calls of raw bytes over one HTTP/2 connection.
//!
//! No codec and no channel stand between the bench and the wire, so the client costs little beside what is
//! measured.

use std::{io, net::SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{
    RecvStream,
    client::{self, SendRequest},
};
use http::{HeaderMap, HeaderValue, Request, Version, header};
use tokio::{net::TcpStream, task::JoinHandle};

/// A call that was not answered with OK.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody listens.
    #[error("cannot connect to {addr}")]
    Connect {
        /// The server.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection or the stream broke.
    #[error("the HTTP/2 connection to the server broke")]
    Http2(#[from] h2::Error),
    /// The server answered with an error.
    #[error("the server answered {path} with gRPC status {status:?}: {message:?}")]
    Status {
        /// The method.
        path: String,
        /// The status, empty when there was none.
        status: String,
        /// What the server said of it.
        message: String,
    },
}

/// A connection, which closes when this is dropped.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

/// A method of a server, ready to be called often.
#[derive(Debug, Clone)]
pub struct Method(Request<()>);

/// `message` with the prefix of a message that is not compressed.
///
/// # Panics
///
/// When the message is longer than 4 GiB.
pub fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("gRPC has no longer messages"));
    framed.put_slice(message);
    framed.freeze()
}

// === impl Client ===

impl Client {
    /// Connects without TLS.
    pub async fn connect(addr: SocketAddr) -> Result<Self, CallError> {
        let failed = |source| CallError::Connect { addr, source };
        let stream = TcpStream::connect(addr).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (requests, connection) = client::Builder::new().enable_push(false).handshake(stream).await?;
        // A connection that breaks is told to every call on it.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Self { addr, requests, driver })
    }

    /// The method at `path`: `/package.Service/Method`.
    ///
    /// # Panics
    ///
    /// When that is no path.
    pub fn method(&self, path: &str) -> Method {
        let request = Request::post(format!("http://{}{path}", self.addr))
            .version(Version::HTTP_2)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .header(header::TE, HeaderValue::from_static("trailers"));
        Method(request.body(()).expect("the path of a method is one of a URI"))
    }

    /// Calls a method with a [framed] message, and gives the length of the answer without its prefix.
    pub async fn call(&self, method: &Method, message: Bytes) -> Result<usize, CallError> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(method.0.clone(), false)?;
        drop(requests);
        body.send_data(message, true)?;
        let (head, mut body) = response.await?.into_parts();
        let length = read(&mut body).await?;
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        if trailers.get("grpc-status").is_some_and(|status| status == "0") {
            return Ok(length.saturating_sub(5));
        }
        let text = |name| text(&trailers, name);
        let path = method.0.uri().path().to_owned();
        Err(CallError::Status { path, status: text("grpc-status"), message: text("grpc-message") })
    }
}

async fn read(body: &mut RecvStream) -> Result<usize, h2::Error> {
    let mut length = 0;
    while let Some(chunk) = body.data().await.transpose()? {
        length += chunk.len();
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(length)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[cfg(test)]
mod tests {
    use spangate_sink::{Sink, SinkConfig, shape};

    use super::*;

    #[tokio::test]
    async fn calls_are_answered_and_errors_told() {
        let sink = Sink::start(SinkConfig::default()).await.unwrap();
        let client = Client::connect(sink.grpc_addr()).await.unwrap();
        let export = client.method("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        // Longer than the window of a fresh stream.
        let message = framed(&shape::request(7, 512));
        assert!(message.len() > 65_535);
        assert_eq!(client.call(&export, message).await.unwrap(), 0);
        assert_eq!(sink.store().stats().stored_spans, 512);

        let malformed = client.call(&export, framed(b"\xff")).await.unwrap_err();
        assert!(matches!(&malformed, CallError::Status { status, .. } if status == "3"), "{malformed:?}");
        sink.shutdown().await;
        assert!(client.call(&export, framed(b"")).await.is_err());
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Client::connect(closed).await.unwrap_err();
        assert!(matches!(error, CallError::Connect { addr, .. } if addr == closed), "{error:?}");
    }
}
