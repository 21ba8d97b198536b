//! Why a request could not be sent.

use std::{error::Error, io, sync::Arc, time::Duration};

use rustls::pki_types::pem;

/// Why a client or one of its connections could not be had.
///
/// It can be cloned, because all requests that wait for a connection share its failure.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A certificate or key is not readable PEM.
    #[error("cannot read {what}: give it in PEM")]
    Pem {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: Arc<pem::Error>,
    },
    /// PEM text without a certificate in it.
    #[error("no certificate in {0}: give at least one in PEM")]
    NoCertificate(&'static str),
    /// Certificates that TLS cannot use.
    #[error("cannot set up TLS for user {user:?}: check that certificate and key belong together")]
    Tls {
        /// Whose certificate.
        user: String,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// A host that cannot stand in a certificate.
    #[error("{0:?} is neither a host name nor an address")]
    Host(String),
    /// A name or a token that cannot be sent.
    #[error("{user:?}, its groups or its token cannot stand in a header: leave control characters out")]
    Header {
        /// The user.
        user: String,
        /// What is wrong.
        #[source]
        source: Arc<http::header::InvalidHeaderValue>,
    },
    /// TCP or TLS failed.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where to.
        endpoint: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// No answer from TCP, TLS or HTTP/2.
    #[error("no connection to {endpoint} within {}s", limit.as_secs())]
    ConnectTimeout {
        /// Where to.
        endpoint: String,
        /// How long it was tried.
        limit: Duration,
    },
    /// The server chose another protocol.
    #[error("{endpoint} does not speak HTTP/2: is it an API server, and is its HTTP/2 on?")]
    NotHttp2 {
        /// Where.
        endpoint: String,
    },
    /// The connection cannot be used, or the request failed on it.
    #[error("the HTTP/2 connection or stream failed")]
    Http2(#[source] Arc<h2::Error>),
    /// The connection cannot be used, or the request failed on it.
    #[error("the HTTP/1.1 connection failed")]
    Http1(#[source] Arc<hyper::Error>),
    /// The server closes connections as soon as they are open.
    #[error("{endpoint} closes connections before a request can be sent")]
    Closed {
        /// Where.
        endpoint: String,
    },
}

// === impl ClientError ===

impl ClientError {
    pub(super) fn http2(error: h2::Error) -> Self {
        Self::Http2(Arc::new(error))
    }

    pub(super) fn http1(error: hyper::Error) -> Self {
        Self::Http1(Arc::new(error))
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors already tell what their cause says.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
