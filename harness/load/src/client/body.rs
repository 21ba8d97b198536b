//! The body of an answer.

use std::fmt;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::OwnedMutexGuard;

use super::{ClientError, connection::Http1, pool::Lease};

/// The body of an answer. To drop it before its end gives the rest up: with HTTP/2 the stream is reset and the
/// connection stays usable, with HTTP/1.1 the connection is closed.
pub struct Body {
    source: Source,
    /// A request is under way until its answer has been read.
    _lease: Lease,
}

/// Where the bytes come from.
pub(super) enum Source {
    Http2(h2::RecvStream),
    Http1 {
        body: Incoming,
        /// The next request of the connection waits for the end of this one.
        _sender: OwnedMutexGuard<Http1>,
    },
}

// === impl Body ===

impl Body {
    pub(super) fn new(source: Source, lease: Lease) -> Self {
        Self { source, _lease: lease }
    }

    /// The next piece; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, ClientError>> {
        match &mut self.source {
            Source::Http2(stream) => {
                let piece = match stream.data().await? {
                    Ok(piece) => piece,
                    Err(error) => return Some(Err(ClientError::http2(error))),
                };
                // The window is as large as what may be ahead; what has been read makes room again.
                let _ = stream.flow_control().release_capacity(piece.len());
                Some(Ok(piece))
            }
            Source::Http1 { body, .. } => loop {
                match body.frame().await? {
                    // What is no data is trailers.
                    Ok(frame) => {
                        if let Ok(piece) = frame.into_data() {
                            return Some(Ok(piece));
                        }
                    }
                    Err(error) => return Some(Err(ClientError::http1(error))),
                }
            },
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
