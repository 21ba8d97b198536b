//! Why the load could not be prepared or cleaned up.

use std::io;

use spangate_scenario::delay::DelayError;

use crate::ClientError;

/// Why the load could not be prepared or cleaned up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No connection.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The users' think time is no distribution.
    #[error("the think time of users cannot be drawn")]
    ThinkTime(#[from] DelayError),
    /// The load cannot have a thread.
    #[error("cannot start the thread of the load: are there too many threads or open files?")]
    Thread(#[source] io::Error),
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
    /// A watcher could not begin.
    #[error("watcher {watcher:?} is not established: {reason}")]
    NotWatching {
        /// What it is called.
        watcher: String,
        /// How its last request ended.
        reason: String,
    },
    /// The namespace is on its way out.
    #[error("the namespace {0:?} is being removed: wait until it is gone, or name another in the scenario")]
    Terminating(String),
    /// RBAC does not let somebody in.
    #[error(
        "user {user:?} still has no rights in {place}: does the API server run with RBAC, and is that the name \
         by which it knows the user?"
    )]
    NoRights {
        /// The user.
        user: String,
        /// Where.
        place: String,
    },
    /// The API server gave no token to a service account.
    #[error(
        "there is no token for the service account {0:?}: does the API server sign tokens (TokenRequest)?"
    )]
    NoToken(String),
    /// The definition of the custom resources is not accepted.
    #[error(
        "the custom resource definition {name:?} is not established: {conditions}; remove what it conflicts with, \
         or leave widgets out of the scenario"
    )]
    NotEstablished {
        /// The definition.
        name: String,
        /// Its conditions.
        conditions: String,
    },
    /// The definition of an earlier run does not go.
    #[error("the custom resource definition {name:?} of an earlier run is still there: {conditions}")]
    NotRemoved {
        /// The definition.
        name: String,
        /// Its conditions.
        conditions: String,
    },
}
