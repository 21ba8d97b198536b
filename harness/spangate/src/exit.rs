//! How a command ended, as the caller's shell sees it. The codes are part of the interface.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// Everything that was asked is true.
    Pass,
    /// An expectation failed.
    Failed,
    /// The command line or a scenario is wrong; nothing was started.
    Usage,
    /// The environment could not be had: a binary, a port, a control plane that does not start.
    Environment,
    /// An expectation could not be decided.
    Inconclusive,
    /// Worse than the baseline.
    Regression,
    /// A bug of Spangate.
    Bug,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

// === impl Exit ===

impl Exit {
    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Inconclusive => 4,
            Self::Regression => 5,
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }

    /// The graver of two, for a command that did several things. What says least about the scenarios weighs
    /// most: a bug of ours hides everything else, and a failure is certain where "inconclusive" is not.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.weight() >= other.weight() { self } else { other }
    }

    const fn weight(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Inconclusive => 1,
            Self::Regression => 2,
            Self::Failed => 3,
            Self::Usage => 4,
            Self::Environment => 5,
            Self::Interrupted => 6,
            Self::Bug => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inconclusive_is_never_green_and_never_hides_a_failure() {
        assert_eq!(Exit::Pass.worst(Exit::Inconclusive), Exit::Inconclusive);
        assert_eq!(Exit::Inconclusive.worst(Exit::Failed), Exit::Failed);
        assert_eq!(Exit::Failed.worst(Exit::Pass), Exit::Failed);
    }
}
