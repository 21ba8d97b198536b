//! What becomes of a node that was to stay.

use std::{fmt, process::ExitStatus};

use crate::docker::{DockerError, State};

/// What is known of a node for whose end nobody waits any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEnd {
    /// It ended.
    Ended {
        /// With what exit code.
        status: ExitStatus,
        /// Whether the kernel had ended a process in it for want of memory; in a pod, it may be.
        oom_killed: bool,
    },
    /// Somebody removed it.
    Removed,
    /// Docker tells of it no more, and did not say that it ended.
    Untold {
        /// How that is known.
        why: String,
    },
}

// === impl NodeEnd ===

impl NodeEnd {
    /// By what Docker says after its client that waited for the end has ended, which says nothing by itself.
    pub(super) fn of(told: Result<State, DockerError>, client: ExitStatus) -> Self {
        match told {
            Ok(State::Ended { status, oom_killed }) => Self::Ended { status, oom_killed },
            Ok(State::Gone) => Self::Removed,
            Ok(State::Runs) => Self::Untold { why: format!("docker wait ended with {client}") },
            Err(error) => Self::Untold { why: error.to_string() },
        }
    }
}

impl fmt::Display for NodeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { status, oom_killed } => {
                write!(f, "the node of the kind cluster ended with {status}")?;
                if *oom_killed {
                    f.write_str(" (the kernel had killed a process in it for want of memory)")?;
                }
                Ok(())
            }
            Self::Removed => f.write_str("the node of the kind cluster was removed"),
            Self::Untold { why } => {
                write!(f, "Docker no longer tells of the node of the kind cluster ({why})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    /// Scenario: the client that waits for a node ends, for each reason that it may have.
    /// Guarantees: its own status is never told as that of the node.
    #[test]
    fn the_end_of_a_node_is_not_that_of_the_client() {
        let (well, killed) = (ExitStatus::from_raw(0), ExitStatus::from_raw(137 << 8));
        let ended = |oom_killed| Ok(State::Ended { status: killed, oom_killed });
        let text = |told, client| NodeEnd::of(told, client).to_string();
        assert_eq!(text(ended(false), well), "the node of the kind cluster ended with exit status: 137");
        assert!(text(ended(true), well).ends_with("for want of memory)"));
        assert_eq!(text(Ok(State::Gone), well), "the node of the kind cluster was removed");
        let untold = text(Ok(State::Runs), ExitStatus::from_raw(1 << 8));
        assert!(
            untold.starts_with("Docker no longer tells") && untold.contains("exit status: 1"),
            "{untold}"
        );
        let failed = DockerError::Failed { what: "inspect".to_owned(), said: "no answer".to_owned() };
        assert!(text(Err(failed), well).contains("no answer"));
    }
}
