//! The trace backend of a run: an OTLP receiver that keeps what it is sent, and misbehaves when told to.
//!
//! Exports come in over OTLP/gRPC and OTLP/HTTP ([`server`]), are checked and indexed without being decoded
//! ([`wire`]) and kept as the bytes that came ([`store`]); a span is decoded when someone asks for it.
//! [`misbehave`] makes the sink slow, refuse or vanish, and counts what that cost.
//! [`capture_file`] keeps captures in the form of the Collector's file exporter.
//!
//! It is not a Collector: it processes nothing, and what it keeps lives in memory. Told so, it sends on what it
//! keeps as it came, and notes how that went ([`Passage`]).
//!
//! ```
//! use opentelemetry_proto::tonic::collector::trace::v1::{
//!     ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
//! };
//! use prost::Message as _;
//! use spangate_sink::{Sink, SinkConfig, shape};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sink = Sink::start(SinkConfig::default()).await?;
//! let export = ExportTraceServiceRequest::decode(shape::request(7, 512))?;
//! let mut client = TraceServiceClient::connect(format!("http://{}", sink.grpc_addr())).await?;
//! client.export(export).await?;
//!
//! let capture = sink.store().snapshot();
//! assert_eq!(capture.rows().len(), 512);
//! assert_eq!(&*capture.span(0).service, "apiserver");
//! sink.shutdown().await;
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
mod arbitrary;
pub mod capture_file;
mod decode;
mod forward;
mod grpc;
mod http;
mod listen;
pub mod misbehave;
mod otlp_json;
mod receive;
mod rpc_status;
pub mod server;
pub mod shape;
pub mod store;
pub mod wire;

pub use capture_file::CaptureFileError;
pub use forward::{Passage, PassageOutcome};
pub use misbehave::{DelayFn, Misbehaviour, Misdeed, MisdeedKind};
pub use receive::Arrival;
pub use server::{Sink, SinkConfig, SinkError, SinkHandle};
pub use store::{Receipt, Stats, Store};
pub use wire::WireError;
