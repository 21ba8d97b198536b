//! OTLP/gRPC: `TraceService/Export` with messages that stay the bytes they came as.
//!
//! Generated services decode a message before they hand it over. This one does what such a service does,
//! but with a codec that passes bytes through.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::{Buf, BufMut, Bytes};
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::{
    Code, Status,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, UnaryService},
};

use crate::{
    receive::{Answer, Receiver},
    rpc_status::RpcStatus,
};

/// The only method.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Messages below this are copied out of the receive buffer, which is larger than they are.
const SMALL: usize = 16 * 1024;

/// Passes messages through as bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawCodec;

struct Export(Arc<Receiver>);

/// Answers one request.
pub(crate) async fn serve(receiver: Arc<Receiver>, request: Request<Incoming>) -> Response<Body> {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    if request.uri().path() != EXPORT {
        let message = format!("{} is not served here, only {EXPORT}", request.uri().path());
        return Status::unimplemented(message).into_http();
    }
    Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(receiver.max_message_bytes)
        .unary(Export(receiver), request)
        .await
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let receiver = Arc::clone(&self.0);
        Box::pin(async move {
            match receiver.receive(request.get_ref()).await {
                Answer::Accepted { rejected, message } => {
                    let response = response(rejected, &message).encode_to_vec();
                    Ok(tonic::Response::new(response.into()))
                }
                Answer::Refused { status, message, retry_after } => {
                    let code = i32::from(status as u8);
                    let details = retry_after
                        .map(|_| RpcStatus::new(code, &*message, retry_after).encode_to_vec())
                        .unwrap_or_default();
                    Err(Status::with_details(Code::from_i32(code), message, details.into()))
                }
                Answer::Malformed(error) => Err(Status::invalid_argument(error.to_string())),
            }
        })
    }
}

/// The answer to an export of which `rejected` spans were not kept.
pub(crate) fn response(rejected: u64, message: &str) -> ExportTraceServiceResponse {
    let rejected_spans = i64::try_from(rejected).unwrap_or(i64::MAX);
    let partial = ExportTracePartialSuccess { rejected_spans, error_message: message.to_owned() };
    ExportTraceServiceResponse { partial_success: (rejected != 0).then_some(partial) }
}

// === impl RawCodec ===

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        if length >= SMALL {
            // Splits the message off the buffer without a copy.
            return Ok(Some(buffer.copy_to_bytes(length)));
        }
        let message = Bytes::copy_from_slice(buffer.chunk());
        buffer.advance(length);
        Ok(Some(message))
    }
}
