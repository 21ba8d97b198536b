//! Why there is no kind cluster.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use crate::{
    docker::DockerError,
    process::ProcessError,
    version::{Version, VersionSpec},
};

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// Docker does not do what is wanted.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A file could not be written.
    #[error("cannot write {}: check that the directory is writable and the disk not full", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The network has no address for this machine.
    #[error("the Docker network {network} has no gateway ({said}), so that no node could reach this machine")]
    NoGateway {
        /// The network.
        network: String,
        /// What Docker says of its gateway.
        said: String,
    },
    /// A program could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// kind, or what was run on a node, failed.
    #[error("{what} ended with {status}{}; the last lines of {}:\n{tail}",
        reason.as_ref().map(|reason| format!(", kube-apiserver said: {reason}")).unwrap_or_default(), log.display())]
    Failed {
        /// What failed.
        what: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The line of the API server's log that tells why, if there is one.
        reason: Option<String>,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// What a node says cannot be understood.
    #[error("cannot understand {what} of the node {node}")]
    Unclear {
        /// What it was.
        what: &'static str,
        /// The node.
        node: String,
    },
    /// The client certificate cannot be used, or the API server does not answer any more.
    #[error("the API server cannot be asked")]
    Probe(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server tells no version.
    #[error("kube-apiserver on kind does not tell its version, but {answer:?}")]
    NoVersion {
        /// What it answered.
        answer: String,
    },
    /// The image has another Kubernetes than it was said to have.
    #[error(
        "the image {image} has Kubernetes {found} in it, and {wanted} was expected, by its tag or by \
         spec.cluster.kubernetes: name the right one, since configuration and verdicts depend on it"
    )]
    OtherVersion {
        /// The image of the nodes.
        image: String,
        /// What was expected.
        wanted: VersionSpec,
        /// What the API server says.
        found: Version,
    },
    /// The API server is there and not ready.
    #[error("kube-apiserver on kind was not ready after {} s (last answer: {answer})", limit.as_secs())]
    NotReady {
        /// How long it had.
        limit: Duration,
        /// What it answered last.
        answer: String,
    },
}

/// Turns an IO error at `path` into ours.
pub(super) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> KindError + use<> {
    let path = path.to_owned();
    |source| KindError::Write { path, source }
}
