//! One request and its answer.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use spangate_trace::{Clock, TraceContext, UnixNanos};

use crate::{
    Client,
    client::{Body, ClientError, chain},
    initial::InitialEvents,
    request::{Read, Reply, Request},
    rollout::RolloutEvents,
};

/// Response header with the audit id of a request (`apiserver/pkg/apis/audit`).
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// The `traceparent` header.
const TRACEPARENT: HeaderName = HeaderName::from_static(TraceContext::HEADER);

/// What is known of a request so far. It outlives an exchange that is given up.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When it was handed to the connection.
    pub(super) started: Option<UnixNanos>,
    pub(super) audit_id: Option<String>,
    /// Seconds of the `Retry-After` header.
    pub(super) retry_after: Option<u32>,
    /// Bytes of the body.
    pub(super) received: u64,
}

/// Sends `request` and reads the answer to its end, or as far as [`Read`] says. The error is text for the
/// ledger.
pub(super) async fn exchange(
    client: &Client,
    clock: &Clock,
    request: &Request,
    context: Option<TraceContext>,
    further: &[(HeaderName, HeaderValue)],
    progress: &mut Progress,
) -> Result<Reply, String> {
    let head = head(client, request, context, further).map_err(|error| chain(&error))?;
    let connection = client.connection().await.map_err(|error| chain(&error))?;
    progress.started = Some(clock.now());
    let response = connection.send(head).await.map_err(|error| chain(&error))?;
    let status = response.status();
    progress.audit_id = audit_id(response.headers());
    progress.retry_after = retry_after(response.headers());
    let body = read(response.into_body(), request, progress).await.map_err(|error| chain(&error))?;
    Ok(Reply { status, body })
}

/// `request` with all its headers, as `client` sends it.
pub(crate) fn head(
    client: &Client,
    request: &Request,
    context: Option<TraceContext>,
    further: &[(HeaderName, HeaderValue)],
) -> Result<http::Request<Bytes>, http::Error> {
    let mut head = client.request(&request.method, &request.target, request.body.clone())?;
    let headers = head.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(request.accept));
    if let Some(content_type) = request.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some(context) = context {
        let mut value = HeaderValue::from_bytes(&context.to_ascii())?;
        // It is never the same twice: in the table of HTTP/2's header compression it would only push out others.
        value.set_sensitive(true);
        headers.insert(TRACEPARENT, value);
    }
    for (name, value) in further {
        headers.append(name, value.clone());
    }
    Ok(head)
}

pub(crate) fn audit_id(headers: &HeaderMap<HeaderValue>) -> Option<String> {
    headers.get(AUDIT_ID)?.to_str().ok().map(str::to_owned)
}

/// Kubernetes gives seconds (`retryAfter` of `k8s.io/apiserver/pkg/server/filters`); a date is left aside.
fn retry_after(headers: &HeaderMap<HeaderValue>) -> Option<u32> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

async fn read(mut body: Body, request: &Request, progress: &mut Progress) -> Result<Bytes, ClientError> {
    let mut kept = BytesMut::new();
    let mut lines = Lines::default();
    let mut rollout = RolloutEvents::default();
    let mut initial = InitialEvents::new(request.accept);
    while let Some(data) = body.chunk().await.transpose()? {
        progress.received += data.len() as u64;
        match request.read {
            Read::Keep => kept.extend_from_slice(&data),
            Read::UntilDeleted if lines.deleted(&data) => break,
            Read::UntilListed if initial.end(&data) => break,
            Read::UntilAvailable if rollout.done(&data) => break,
            Read::UntilDeleted | Read::UntilAvailable | Read::UntilListed | Read::Discard => {}
        }
    }
    Ok(kept.freeze())
}

/// Finds the first `DELETED` in a stream of watch events, one JSON object a line, cut anywhere.
#[derive(Debug, Default)]
struct Lines {
    /// How much of [`Lines::DELETED`] the current line has; `None` once it differs.
    matched: Matched,
}

#[derive(Debug, Clone, Copy)]
enum Matched {
    Bytes(usize),
    Other,
}

// === impl Lines ===

impl Lines {
    /// How such a line begins: Go writes the fields of `metav1.WatchEvent` in their order.
    const DELETED: &[u8] = br#"{"type":"DELETED""#;

    /// Takes the next bytes; true when one of the lines so far is a deletion.
    fn deleted(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| {
            self.matched = match self.matched {
                _ if *byte == b'\n' => Matched::Bytes(0),
                Matched::Bytes(n) if Self::DELETED.get(n) == Some(byte) => Matched::Bytes(n + 1),
                _ => Matched::Other,
            };
            matches!(self.matched, Matched::Bytes(n) if n == Self::DELETED.len())
        })
    }
}

impl Default for Matched {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDED: &str =
        "{\"type\":\"ADDED\",\"object\":{\"data\":{\"k\":\"{\\\"type\\\":\\\"DELETED\\\"\"}}}\n";
    const DELETED: &str = "{\"type\":\"DELETED\",\"object\":{}}\n";

    #[test]
    fn only_the_start_of_a_line_counts() {
        assert!(!Lines::default().deleted(ADDED.as_bytes()));
        assert!(!Lines::default().deleted(br#" {"type":"DELETED""#));
        assert!(Lines::default().deleted(DELETED.as_bytes()));
    }

    proptest! {
        #[test]
        fn a_deletion_is_found_however_the_stream_is_cut(added in 0_usize..5, chunk in 1_usize..80) {
            let mut lines = Lines::default();
            for piece in ADDED.repeat(added).as_bytes().chunks(chunk) {
                prop_assert!(!lines.deleted(piece));
            }
            prop_assert!(DELETED.as_bytes().chunks(chunk).any(|piece| lines.deleted(piece)));
        }
    }
}
