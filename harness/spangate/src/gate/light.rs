//! What every gate shows in the end: a colour, and the exit code that belongs to it.

use crate::{exit::Exit, report::summary::Style, verdict::Status};

// === impl Status ===

impl Status {
    /// The exit code of a gate.
    pub(crate) const fn gate_exit(self) -> Exit {
        match self {
            Self::Pass => Exit::Pass,
            Self::Fail => Exit::Regression,
            Self::Inconclusive => Exit::Inconclusive,
        }
    }

    /// What a gate shows, in a word.
    pub(crate) const fn light(self) -> &'static str {
        match self {
            Self::Pass => "green",
            Self::Fail => "red",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// That word in its colour.
    pub(crate) fn painted(self, style: Style) -> String {
        let colour = match self {
            Self::Pass => "32",
            Self::Fail => "31",
            Self::Inconclusive => "33",
        };
        style.paint(self.light(), colour)
    }
}
