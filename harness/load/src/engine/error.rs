//! Why the load could not be prepared or cleaned up.

use crate::ClientError;

/// Why the load could not be prepared or cleaned up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No connection.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API server said no.
    #[error("{what} was answered with {status}: {message}")]
    Refused {
        /// Method and target.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The message of the API server.
        message: String,
    },
    /// The API server said nothing.
    #[error("{what} had no answer: {reason}")]
    Unanswered {
        /// Method and target.
        what: String,
        /// Why.
        reason: String,
    },
    /// The namespace is on its way out.
    #[error("the namespace {0:?} is being removed: wait until it is gone, or name another in the scenario")]
    Terminating(String),
    /// RBAC does not let the unprivileged user in.
    #[error(
        "user {user:?} still has no rights in the namespace {namespace:?}: does the API server run with RBAC, \
         and is that the common name of the certificate?"
    )]
    NoRights {
        /// The user.
        user: String,
        /// Where.
        namespace: String,
    },
}
