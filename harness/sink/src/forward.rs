//! The way on to another receiver: a sink that forwards is a tap.
//!
//! What comes in is kept first and then sent on as the bytes that came, over OTLP/gRPC; the client is told what the
//! receiver behind answered. So the sink knows what that receiver was given, when, and what it said to it.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use spangate_scenario::model::GrpcStatus;
use spangate_trace::{Clock, UnixNanos};
use tonic::{
    Code, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};

use crate::{
    grpc::{EXPORT, RawCodec},
    receive::Answer,
    rpc_status,
};

/// How long the receiver behind may take to answer one export; the exporters of OpenTelemetry's SDKs wait as long.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection to it may take.
const CONNECT: Duration = Duration::from_secs(2);

/// An export that was sent on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Passage {
    /// When it was sent on.
    pub sent: UnixNanos,
    /// When the answer was there, or it was clear that none would come.
    pub answered: UnixNanos,
    /// The rows of the sink's store that hold its spans.
    pub rows: Range<u32>,
    /// Spans in it.
    pub spans: u64,
    /// Its size in bytes, uncompressed.
    pub bytes: u64,
    /// What the receiver behind made of it.
    pub outcome: PassageOutcome,
}

/// What the receiver behind made of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PassageOutcome {
    /// It took all spans but these.
    Accepted {
        /// Spans that it rejected (`partial_success`).
        rejected: u64,
    },
    /// It answered with an error: it has none of the spans.
    Refused {
        /// The gRPC status.
        status: GrpcStatus,
        /// What it said.
        message: String,
    },
    /// There was no answer: nobody knows whether it has the spans.
    Failed {
        /// What happened.
        message: String,
    },
}

/// The receiver behind a sink.
#[derive(Debug)]
pub(crate) struct Forward {
    channel: Channel,
    clock: Clock,
    passages: Mutex<Vec<Passage>>,
}

// === impl Forward ===

impl Forward {
    /// The OTLP/gRPC receiver at `to`; it need not be there yet.
    pub(crate) fn new(to: SocketAddr, clock: Clock) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{to}")).expect("a socket address makes a URI");
        let channel = endpoint.connect_timeout(CONNECT).tcp_nodelay(true).connect_lazy();
        Self { channel, clock, passages: Mutex::default() }
    }

    /// Sends `export` on, whose spans are in `rows`, notes how that went, and gives what to answer.
    pub(crate) async fn send(&self, export: &Bytes, rows: Range<u32>, spans: u64) -> Answer {
        let sent = self.clock.now();
        let answer = tokio::time::timeout(PATIENCE, self.call(export.clone())).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!("no answer within {} s", PATIENCE.as_secs())))
        });
        let (outcome, answer) = match answer {
            Ok(response) => {
                let partial = response.partial_success.unwrap_or_default();
                let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default();
                let answer = Answer::Accepted { rejected, message: partial.error_message.into() };
                (PassageOutcome::Accepted { rejected }, answer)
            }
            Err(status) => (PassageOutcome::of(&status), refusal(&status)),
        };
        let passage =
            Passage { sent, answered: self.clock.now(), rows, spans, bytes: export.len() as u64, outcome };
        self.lock().push(passage);
        answer
    }

    async fn call(&self, export: Bytes) -> Result<ExportTraceServiceResponse, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
        let path = PathAndQuery::from_static(EXPORT);
        let response = grpc.unary(tonic::Request::new(export), path, RawCodec).await?;
        ExportTraceServiceResponse::decode(response.into_inner())
            .map_err(|error| Status::internal(format!("the answer is no export response: {error}")))
    }

    /// What was sent on, in the order of the answers.
    pub(crate) fn passages(&self) -> Vec<Passage> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Passage>> {
        self.passages.lock().expect("nothing panics while it holds the lock")
    }
}

/// What the client is told of an error of the receiver behind.
fn refusal(status: &Status) -> Answer {
    Answer::Refused {
        status: grpc_status(status.code()),
        message: status.message().to_owned().into(),
        retry_after: rpc_status::retry_after(status.details()),
    }
}

fn grpc_status(code: Code) -> GrpcStatus {
    match code {
        Code::Cancelled => GrpcStatus::Cancelled,
        // An error is never OK.
        Code::Ok | Code::Unknown => GrpcStatus::Unknown,
        Code::InvalidArgument => GrpcStatus::InvalidArgument,
        Code::DeadlineExceeded => GrpcStatus::DeadlineExceeded,
        Code::NotFound => GrpcStatus::NotFound,
        Code::AlreadyExists => GrpcStatus::AlreadyExists,
        Code::PermissionDenied => GrpcStatus::PermissionDenied,
        Code::ResourceExhausted => GrpcStatus::ResourceExhausted,
        Code::FailedPrecondition => GrpcStatus::FailedPrecondition,
        Code::Aborted => GrpcStatus::Aborted,
        Code::OutOfRange => GrpcStatus::OutOfRange,
        Code::Unimplemented => GrpcStatus::Unimplemented,
        Code::Internal => GrpcStatus::Internal,
        Code::Unavailable => GrpcStatus::Unavailable,
        Code::DataLoss => GrpcStatus::DataLoss,
        Code::Unauthenticated => GrpcStatus::Unauthenticated,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

// === impl PassageOutcome ===

impl PassageOutcome {
    /// An error that the receiver sent, or one that the way to it made.
    fn of(status: &Status) -> Self {
        // The client side makes a status of its own where the connection breaks; only that has a source.
        let broken = std::error::Error::source(status).is_some() || status.code() == Code::DeadlineExceeded;
        let message = status.message().to_owned();
        if broken {
            Self::Failed { message }
        } else {
            Self::Refused { status: grpc_status(status.code()), message }
        }
    }
}
