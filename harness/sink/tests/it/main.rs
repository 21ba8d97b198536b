//! The sink over real connections: tonic's and hyper's clients against its two ports.

#![expect(clippy::unwrap_used, reason = "in a test, the panic is the report")]

mod clients;
mod forward;
mod grpc;
mod http;
mod load;
mod misbehaviour;
