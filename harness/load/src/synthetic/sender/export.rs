//! One export: a unary gRPC call of bytes that are encoded already.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderValue, Request, Version, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use spangate_trace::{Clock, UnixNanos};
use tokio::time::{sleep, timeout};

use super::{
    super::{batch::Batch, ledger::ExportOutcome},
    SenderConfig,
    link::Link,
};
use crate::client::chain;

/// The only method.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The longest answer that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// Sends exports, with retries if they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Exporter {
    pub(super) link: Arc<Link>,
    head: Arc<Request<()>>,
    timeout: Duration,
    retries: u32,
    retry_after: Duration,
}

/// An export that is over.
pub(super) struct Exported {
    /// When it was first handed to the connection; if it never was, when it was first given up.
    pub(super) at: UnixNanos,
    pub(super) ended: UnixNanos,
    pub(super) retries: u32,
    pub(super) outcome: ExportOutcome,
}

/// An answer, and whether it may be another one next time.
struct Answer {
    outcome: ExportOutcome,
    is_retryable: bool,
}

// === impl Exporter ===

impl Exporter {
    pub(super) fn new(config: &SenderConfig) -> Self {
        let mut head = Request::new(());
        *head.method_mut() = http::Method::POST;
        *head.version_mut() = Version::HTTP_2;
        // A target without a path is an authority; whatever is none is refused by the resolver with a better message.
        *head.uri_mut() = format!("http://{}{EXPORT}", config.target).parse().unwrap_or_default();
        head.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        head.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        Self {
            link: Arc::new(Link::new(config.target.clone())),
            head: Arc::new(head),
            timeout: config.timeout,
            retries: config.retries,
            retry_after: config.retry_after,
        }
    }

    /// Sends a message with its prefix.
    pub(super) async fn export(&self, message: Bytes, clock: &Clock) -> Exported {
        let (mut at, mut retries) = (None, 0);
        loop {
            let attempt = self.attempt(message.clone(), clock, &mut at);
            let answer = timeout(self.timeout, attempt).await;
            let answer =
                answer.unwrap_or_else(|_| Answer::failed(format!("no answer within {:?}", self.timeout)));
            if !answer.is_retryable || retries == self.retries {
                let ended = clock.now();
                return Exported { at: at.unwrap_or(ended), ended, retries, outcome: answer.outcome };
            }
            sleep(self.retry_after).await;
            retries += 1;
        }
    }

    async fn attempt(&self, message: Bytes, clock: &Clock, at: &mut Option<UnixNanos>) -> Answer {
        let requests = match self.link.open().await {
            Ok(requests) => requests,
            Err(error) => return Answer::failed(chain(&error)),
        };
        let mut sent = || {
            at.get_or_insert_with(|| clock.now());
        };
        self.call(requests, message, &mut sent).await.unwrap_or_else(|error| Answer::failed(chain(&error)))
    }

    async fn call(
        &self,
        requests: h2::client::SendRequest<Bytes>,
        message: Bytes,
        sent: &mut (dyn FnMut() + Send),
    ) -> Result<Answer, h2::Error> {
        // More requests than the receiver wants on one connection wait here.
        let mut requests = requests.ready().await?;
        sent();
        let (response, mut body) = requests.send_request(Request::clone(&self.head), false)?;
        drop(requests);
        body.send_data(message, true)?;
        let (head, mut body) = response.await?.into_parts();
        let message = read(&mut body).await?;
        // Without a message, the trailers may be the headers.
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        Ok(Answer::read(head.status, &message, &trailers))
    }
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut message = Vec::new();
    while let Some(chunk) = body.data().await.transpose()? {
        body.flow_control().release_capacity(chunk.len())?;
        if message.len() + chunk.len() <= LONGEST {
            message.extend_from_slice(&chunk);
        }
    }
    Ok(message)
}

// === impl Answer ===

impl Answer {
    fn failed(reason: String) -> Self {
        Self { outcome: ExportOutcome::Failed { reason }, is_retryable: true }
    }

    fn read(http: http::StatusCode, message: &[u8], trailers: &HeaderMap) -> Self {
        let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
        let Some(status) = status else {
            return Self::failed(format!("the answer is not of gRPC: HTTP status {}", http.as_u16()));
        };
        if status == 0 {
            return Self::success(message.get(Batch::PREFIX..).unwrap_or_default());
        }
        let text =
            |name| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let message = text("grpc-message").unwrap_or_default();
        // https://opentelemetry.io/docs/specs/otlp/#failures: CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE,
        // UNAVAILABLE, DATA_LOSS; RESOURCE_EXHAUSTED only with details that say when.
        let is_retryable = match status {
            1 | 4 | 10 | 11 | 14 | 15 => true,
            8 => trailers.contains_key("grpc-status-details-bin"),
            _ => false,
        };
        Self { outcome: ExportOutcome::Refused { status, message }, is_retryable }
    }

    fn success(message: &[u8]) -> Self {
        let partial = match ExportTraceServiceResponse::decode(message) {
            Ok(response) => response.partial_success.unwrap_or_default(),
            Err(error) => return Self::failed(format!("the answer cannot be decoded: {error}")),
        };
        let outcome = match u64::try_from(partial.rejected_spans).unwrap_or_default() {
            // A message alone is a warning.
            0 => ExportOutcome::Accepted,
            rejected => ExportOutcome::Partial { rejected, message: partial.error_message },
        };
        Self { outcome, is_retryable: false }
    }
}
