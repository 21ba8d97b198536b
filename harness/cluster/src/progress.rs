//! What goes on while binaries are fetched and processes start, for whoever shows it.
//!
//! This crate never writes to a terminal. A front end implements [`Progress`]; a closure over [`Event`] is
//! one, and `()` is silence.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{
    assets::{Component, Found},
    version::{Version, VersionSpec},
};

/// Something that was done, or is being waited for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The search for a binary has begun.
    Looking {
        /// What is looked for.
        component: Component,
        /// The wanted version.
        spec: VersionSpec,
    },
    /// A binary was found and not taken.
    PassedOver {
        /// The binary.
        path: PathBuf,
        /// Why it was not taken.
        why: String,
    },
    /// Another process fetches the same binary; this one waits for it.
    Waiting {
        /// What is waited for.
        component: Component,
        /// Its version.
        version: Version,
    },
    /// Nothing can be downloaded for this machine.
    DownloadSkipped {
        /// What would be downloaded.
        component: Component,
        /// Its version.
        version: Version,
        /// Why not.
        why: String,
    },
    /// Bytes have arrived.
    Downloading {
        /// What is downloaded.
        component: Component,
        /// Its version.
        version: Version,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, when the server told.
        total: Option<u64>,
    },
    /// The download failed; a build is tried next, if there is a recipe.
    DownloadFailed {
        /// What was to be downloaded.
        component: Component,
        /// Its version.
        version: Version,
        /// Why it failed.
        why: String,
    },
    /// The Go compiler is at work. Sent when it begins and about twice a second.
    Building {
        /// What is built.
        component: Component,
        /// Its version.
        version: Version,
        /// Time since the build began.
        elapsed: Duration,
        /// The last line that the compiler wrote; empty at first.
        last_line: String,
    },
    /// Something that takes long is under way. Sent when it begins and about twice a second.
    Working {
        /// What is done.
        what: String,
        /// Time since it began.
        elapsed: Duration,
        /// The last line that was written about it; empty at first.
        last_line: String,
    },
    /// Something that the user should know.
    Noted(String),
    /// A binary is at hand.
    Done(Found),
    /// A process is being started.
    Starting {
        /// The process.
        what: &'static str,
        /// Its version.
        version: Version,
    },
    /// A process is started again, on another port, since its port was taken in the meantime.
    Retrying {
        /// The process.
        what: &'static str,
        /// Which attempt comes next, counted from 1.
        attempt: u32,
    },
    /// A process answers.
    Ready {
        /// The process.
        what: &'static str,
        /// Time from its start until it answered.
        elapsed: Duration,
    },
}

/// Takes events as they happen. Must not block for long: the work waits meanwhile.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

// === impl Progress ===

impl Progress for () {
    fn event(&self, _: Event) {}
}

impl<F: Fn(Event) + Send + Sync> Progress for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

// === impl Event ===

impl fmt::Display for Event {
    /// One plain line, for logs and for terminals that show no bars.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Looking { component, spec } => write!(f, "looking for {component} {spec}"),
            Self::PassedOver { path, why } => write!(f, "passed over {}: {why}", path.display()),
            Self::Waiting { component, version } => {
                write!(f, "waiting for another process that fetches {component} {version}")
            }
            Self::DownloadSkipped { component, version, why } => {
                write!(f, "not downloading {component} {version}: {why}")
            }
            Self::Downloading { component, version, done, total } => {
                write!(f, "downloading {component} {version}: {done}")?;
                total.map_or(Ok(()), |total| write!(f, " of {total}"))?;
                f.write_str(" bytes")
            }
            Self::DownloadFailed { component, version, why } => {
                write!(f, "could not download {component} {version}: {why}")
            }
            Self::Building { component, version, elapsed, last_line } => {
                write!(f, "building {component} {version}, {} s", elapsed.as_secs())?;
                if last_line.is_empty() { Ok(()) } else { write!(f, ": {last_line}") }
            }
            Self::Working { what, elapsed, last_line } => {
                write!(f, "{what}, {} s", elapsed.as_secs())?;
                if last_line.is_empty() { Ok(()) } else { write!(f, ": {last_line}") }
            }
            Self::Noted(text) => f.write_str(text),
            Self::Done(found) => write!(f, "{found}"),
            Self::Starting { what, version } => write!(f, "starting {what} {version}"),
            Self::Retrying { what, attempt } => {
                write!(f, "the port of {what} was taken meanwhile; attempt {attempt} on another")
            }
            Self::Ready { what, elapsed } => write!(f, "{what} is ready after {} ms", elapsed.as_millis()),
        }
    }
}
