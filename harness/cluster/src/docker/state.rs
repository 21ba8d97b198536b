//! What Docker knows of the life of a container.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use super::{Docker, DockerError};

/// The life of a container, as Docker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, or Docker has not heard of its end yet.
    Runs,
    /// It has ended.
    Ended {
        /// With what exit code; 128 and the number of a signal where one ended it.
        status: ExitStatus,
        /// Whether the kernel ended it, since it had more memory than it may have.
        oom_killed: bool,
    },
    /// It was removed.
    Gone,
}

// === impl State ===

impl State {
    /// Asks Docker. An error is no word on the container. Blocks.
    pub(crate) fn of(docker: &Docker, name: &str) -> Result<Self, DockerError> {
        let format = "{{.State.Running}} {{.State.ExitCode}} {{.State.OOMKilled}}";
        match docker.run(["inspect", "--format", format, name]) {
            Ok(said) => {
                Self::read(&said).ok_or_else(|| DockerError::Failed { what: format!("inspect {name}"), said })
            }
            Err(error) if error.is_missing() => Ok(Self::Gone),
            Err(error) => Err(error),
        }
    }

    fn read(told: &str) -> Option<Self> {
        match told.split(' ').collect::<Vec<_>>().as_slice() {
            ["true", ..] => Some(Self::Runs),
            ["false", code, oom_killed] => {
                let code: i32 = code.parse().ok()?;
                Some(Self::Ended {
                    status: ExitStatus::from_raw(code << 8),
                    oom_killed: *oom_killed == "true",
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::testing;

    #[test]
    fn an_end_has_its_exit_code() {
        let ended =
            |code: i32, oom_killed| State::Ended { status: ExitStatus::from_raw(code << 8), oom_killed };
        assert_eq!(State::read("true 0 false"), Some(State::Runs));
        assert_eq!(State::read("false 0 false"), Some(ended(0, false)));
        assert_eq!(State::read("false 137 true"), Some(ended(137, true)));
        assert_eq!(State::read(""), None);
    }

    /// Scenario: Docker says that there is no such container; another time it says nothing.
    /// Guarantees: only the first is a word on the container.
    #[test]
    fn no_answer_is_no_end() {
        let (_dir, docker) = testing::docker(
            "inspect*gone) echo 'Error: No such object: gone' >&2; exit 1;;
             inspect*) echo 'Cannot connect to the Docker daemon' >&2; exit 1;;",
        );
        assert_eq!(State::of(&docker, "gone").unwrap(), State::Gone);
        assert!(State::of(&docker, "there").is_err());
    }
}
