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
    /// HTTP/2 failed at its start.
    #[error("cannot start HTTP/2 with {endpoint}")]
    Handshake {
        /// Where.
        endpoint: String,
        /// Why.
        #[source]
        source: Arc<hyper::Error>,
    },
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
