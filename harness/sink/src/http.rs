//! OTLP/HTTP: `POST /v1/traces`, protobuf or JSON, plain, gzip or zstd, with the errors that the specification asks for.

use std::{borrow::Cow, io::Read, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use prost::Message as _;
use serde_json::json;
use spangate_scenario::model::GrpcStatus;
use tonic::body::Body;

use crate::{
    grpc, otlp_json,
    receive::{Answer, Receiver},
    rpc_status::RpcStatus,
};

/// The only path.
const TRACES: &str = "/v1/traces";

/// How messages are encoded, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

/// How a body is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
}

/// A request that was answered with an error status before it was an export.
#[derive(Debug)]
struct Rejection {
    status: StatusCode,
    code: GrpcStatus,
    message: String,
    retry_after: Option<Duration>,
}

/// Answers one request.
pub(crate) async fn serve(receiver: Arc<Receiver>, request: Request<Incoming>) -> Response<Body> {
    let encoding = Encoding::of(request.headers());
    // Errors must be readable to the client: protobuf unless it speaks JSON.
    let shown = encoding.unwrap_or(Encoding::Protobuf);
    match export(&receiver, request, encoding).await {
        Ok((rejected, message)) => shown.accepted(rejected, &message),
        Err(rejection) => shown.rejected(&rejection),
    }
}

/// Takes an export in and gives the number of spans that were not kept, with the reason.
async fn export(
    receiver: &Receiver,
    request: Request<Incoming>,
    encoding: Option<Encoding>,
) -> Result<(u64, Cow<'static, str>), Rejection> {
    if request.uri().path() != TRACES {
        let message = format!("{} is not served here, only {TRACES}", request.uri().path());
        return Err(Rejection::new(StatusCode::NOT_FOUND, GrpcStatus::NotFound, message));
    }
    if request.method() != Method::POST {
        let message = format!("{} is not allowed here, only POST", request.method());
        return Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, GrpcStatus::Unimplemented, message));
    }
    let encoding = encoding.ok_or_else(|| {
        Rejection::unsupported("content-type must be application/x-protobuf or application/json")
    })?;
    let packing = match request.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => None,
        Some(b"gzip") => Some(Packing::Gzip),
        Some(b"zstd") => Some(Packing::Zstd),
        Some(_) => return Err(Rejection::unsupported("content-encoding must be gzip, zstd or identity")),
    };

    let limit = receiver.max_message_bytes;
    let body = Limited::new(request.into_body(), limit).collect().await;
    let body = body.map_err(|error| Rejection::of_body(&*error, limit))?.to_bytes();
    let body = match packing {
        Some(packing) => unpack(packing, &body, receiver)?,
        None => body,
    };
    let message = match encoding {
        Encoding::Protobuf => body,
        Encoding::Json => match otlp_json::read(&body) {
            Ok(request) => request.encode_to_vec().into(),
            Err(error) => {
                receiver.store.note_malformed();
                return Err(Rejection::malformed(format!("not an OTLP trace export in JSON: {error}")));
            }
        },
    };
    match receiver.receive(&message).await {
        Answer::Accepted { rejected, message } => Ok((rejected, message)),
        Answer::Refused { status, message, retry_after } => {
            Err(Rejection { retry_after, ..Rejection::new(http_status(status), status, message) })
        }
        Answer::Malformed(error) => Err(Rejection::malformed(error.to_string())),
    }
}

/// Unpacks `body`, and stops when it gets larger than a message may be.
fn unpack(packing: Packing, body: &[u8], receiver: &Receiver) -> Result<Bytes, Rejection> {
    let limit = receiver.max_message_bytes;
    let most = limit as u64 + 1;
    let mut unpacked = Vec::new();
    let (name, read) = match packing {
        Packing::Gzip => ("gzip", MultiGzDecoder::new(body).take(most).read_to_end(&mut unpacked)),
        Packing::Zstd => {
            let decoder = zstd::Decoder::with_buffer(body);
            ("zstd", decoder.and_then(|decoder| decoder.take(most).read_to_end(&mut unpacked)))
        }
    };
    match read {
        Ok(length) if length > limit => Err(Rejection::too_large(limit)),
        Ok(_) => Ok(unpacked.into()),
        Err(error) => {
            receiver.store.note_malformed();
            Err(Rejection::malformed(format!("the body is not {name}: {error}")))
        }
    }
}

/// The HTTP status of a refusal, as the Collector's receiver maps it
/// (`receiver/otlpreceiver/internal/errors`, `GetHTTPStatusCodeFromStatus`).
fn http_status(status: GrpcStatus) -> StatusCode {
    match status {
        GrpcStatus::Cancelled
        | GrpcStatus::DeadlineExceeded
        | GrpcStatus::Aborted
        | GrpcStatus::OutOfRange
        | GrpcStatus::Unavailable
        | GrpcStatus::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
        GrpcStatus::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        GrpcStatus::InvalidArgument => StatusCode::BAD_REQUEST,
        GrpcStatus::Unauthenticated => StatusCode::UNAUTHORIZED,
        GrpcStatus::PermissionDenied => StatusCode::FORBIDDEN,
        GrpcStatus::Unimplemented => StatusCode::NOT_FOUND,
        GrpcStatus::Unknown
        | GrpcStatus::NotFound
        | GrpcStatus::AlreadyExists
        | GrpcStatus::FailedPrecondition
        | GrpcStatus::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

// === impl Encoding ===

impl Encoding {
    /// The encoding that the content type names; parameters such as `charset` do not matter.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        match content_type.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }

    fn accepted(self, rejected: u64, message: &str) -> Response<Body> {
        let body = match self {
            Self::Protobuf => grpc::response(rejected, message).encode_to_vec(),
            Self::Json if rejected == 0 => b"{}".to_vec(),
            // Numbers of 64 bits are strings in the JSON mapping of protobuf.
            Self::Json => json!({
                "partialSuccess": {"rejectedSpans": rejected.to_string(), "errorMessage": message}
            })
            .to_string()
            .into_bytes(),
        };
        self.response(StatusCode::OK, body)
    }

    fn rejected(self, rejection: &Rejection) -> Response<Body> {
        let status =
            RpcStatus::new(i32::from(rejection.code as u8), &*rejection.message, rejection.retry_after);
        let body = match self {
            Self::Protobuf => status.encode_to_vec(),
            Self::Json => status.to_json().to_string().into_bytes(),
        };
        let mut response = self.response(rejection.status, body);
        let headers = response.headers_mut();
        if rejection.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(delay) = rejection.retry_after {
            // The header has no fractions: rounding down would ask for a retry that comes too early.
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }

    fn response(self, status: StatusCode, body: Vec<u8>) -> Response<Body> {
        let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, self.content_type());
        response
    }
}

// === impl Rejection ===

impl Rejection {
    fn new(status: StatusCode, code: GrpcStatus, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    fn malformed(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, GrpcStatus::InvalidArgument, message)
    }

    fn unsupported(message: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, GrpcStatus::InvalidArgument, message)
    }

    fn too_large(limit: usize) -> Self {
        let message = format!("the message is larger than the limit of {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, GrpcStatus::ResourceExhausted, message)
    }

    fn of_body(error: &(dyn std::error::Error + 'static), limit: usize) -> Self {
        if error.is::<LengthLimitError>() {
            Self::too_large(limit)
        } else {
            Self::malformed(format!("the body did not come in whole: {error}"))
        }
    }
}
