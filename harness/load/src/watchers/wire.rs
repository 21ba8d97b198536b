//! A request of a watcher on the wire: the only place that knows the client's types.

use bytes::Bytes;
use http::{
    Response,
    header::{HeaderName, HeaderValue},
};
use spangate_trace::{Clock, TraceContext, UnixNanos};

pub(super) use crate::client::Body;
use crate::{Client, client::chain, engine::head, request::Request};

/// Sends `request`; gives the head of the answer and the body to come. The error is text for the ledger.
pub(super) async fn open(
    client: &Client,
    clock: &Clock,
    request: &Request,
    context: Option<TraceContext>,
    headers: &[(HeaderName, HeaderValue)],
    started: &mut Option<UnixNanos>,
) -> Result<Response<Body>, String> {
    let head = head(client, request, context, headers).map_err(|error| chain(&error))?;
    let connection = client.connection().await.map_err(|error| chain(&error))?;
    *started = Some(clock.now());
    connection.send(head).await.map_err(|error| chain(&error))
}

/// The next piece of a body; `None` at its end. The error is text for the ledger.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>, String> {
    body.chunk().await.transpose().map_err(|error| chain(&error))
}
