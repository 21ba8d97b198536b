//! One request and its answer.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use spangate_trace::{Clock, TraceContext, UnixNanos};

use crate::{
    Client,
    client::chain,
    request::{Read, Reply, Request},
};

/// The `user-agent` of every request, in the form of kubectl's.
pub(super) const AGENT: &str = concat!("kubectl/v1.37.2 (linux/amd64) spangate/", env!("CARGO_PKG_VERSION"));

/// Response header with the audit id of a request (`apiserver/pkg/apis/audit`).
const AUDIT_ID: &str = "audit-id";

/// What is known of a request so far. It outlives an exchange that is given up.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When it was handed to the connection.
    pub(super) started: Option<UnixNanos>,
    pub(super) audit_id: Option<String>,
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
    progress: &mut Progress,
) -> Result<Reply, String> {
    let head = head(client, request, context).map_err(|error| chain(&error))?;
    let mut connection = client.connection().await.map_err(|error| chain(&error))?;
    progress.started = Some(clock.now());
    let response = connection.send(head).await.map_err(|error| chain(&error))?;
    let status = response.status();
    progress.audit_id = audit_id(response.headers());
    let body = read(response.into_body(), request.read, progress).await.map_err(|error| chain(&error))?;
    Ok(Reply { status, body })
}

fn head(
    client: &Client,
    request: &Request,
    context: Option<TraceContext>,
) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let mut builder = http::Request::builder()
        .method(&request.method)
        .uri(format!("https://{}{}", client.endpoint(), request.target))
        .header(ACCEPT, request.accept)
        .header(USER_AGENT, AGENT);
    if let Some(content_type) = request.content_type {
        builder = builder.header(CONTENT_TYPE, content_type);
    }
    if let Some(context) = context {
        builder = builder.header(TraceContext::HEADER, context.to_string());
    }
    builder.body(Full::new(request.body.clone()))
}

fn audit_id(headers: &HeaderMap<HeaderValue>) -> Option<String> {
    headers.get(AUDIT_ID)?.to_str().ok().map(str::to_owned)
}

async fn read(mut body: Incoming, how: Read, progress: &mut Progress) -> Result<Bytes, hyper::Error> {
    let mut kept = BytesMut::new();
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        progress.received += data.len() as u64;
        match how {
            Read::Keep => kept.extend_from_slice(&data),
            Read::UntilDeleted if lines.deleted(&data) => break,
            Read::UntilDeleted | Read::Discard => {}
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
