//! Asks a binary for its version.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{process, version::Version};

/// Why a binary did not tell its version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionOfError {
    /// It could not be started.
    #[error("cannot run {} --version: check that it is an executable of this machine's kind", path.display())]
    Run {
        /// The binary.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It did not end.
    #[error("{} --version was not done after {} s", path.display(), LIMIT.as_secs())]
    Slow {
        /// The binary.
        path: PathBuf,
    },
    /// It printed something else.
    #[error("{} --version printed no version, but {output:?}", path.display())]
    Unclear {
        /// The binary.
        path: PathBuf,
        /// The beginning of what it printed.
        output: String,
    },
}

/// How long `--version` may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of its output is read.
const OUTPUT: u64 = 4096;

/// Runs `path --version` and reads the version from what it prints.
pub(super) fn ask(path: &Path) -> Result<Version, VersionOfError> {
    let at = |source| VersionOfError::Run { path: path.to_owned(), source };
    let deadline = Instant::now() + LIMIT;
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = process::spawn(&mut command).map_err(at)?;
    let stdout = child.stdout.take().expect("the output was piped");
    // Read in a thread of its own, so that a binary that says nothing cannot hold us up.
    let reader = thread::spawn(move || {
        let mut output = Vec::new();
        stdout.take(OUTPUT).read_to_end(&mut output).map(|_| output)
    });
    if process::wait_until(&mut child, deadline).map_err(at)?.is_none() {
        // It may have ended just now; either way it is gone after this.
        let _ = child.kill();
        let _ = child.wait();
        return Err(VersionOfError::Slow { path: path.to_owned() });
    }
    let output = reader.join().expect("reading does not panic").map_err(at)?;
    let output = String::from_utf8_lossy(&output);
    Version::find(&output).ok_or_else(|| VersionOfError::Unclear {
        path: path.to_owned(),
        output: output.chars().take(80).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn script(body: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("binary");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    #[test]
    fn the_version_is_in_the_output() {
        let (_dir, path) = script("[ \"$1\" = --version ] && echo Kubernetes v1.37.2");
        assert_eq!(ask(&path).unwrap(), Version::new(1, 37, 2));
    }

    #[test]
    fn other_output_is_shown() {
        let (_dir, path) = script("echo no such flag");
        let error = ask(&path).unwrap_err();
        assert!(
            matches!(&error, VersionOfError::Unclear { output, .. } if output == "no such flag\n"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_run_is_an_error() {
        let (_dir, path) = script("");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(ask(&path), Err(VersionOfError::Run { .. })));
    }
}
