//! Docker: its client, images that need no registry, and containers of our own.
//!
//! The client is the user's command line: whatever reaches the engine for the user (contexts, `DOCKER_HOST`, rootless) does
//! so for us. [`Container`]s are started by testcontainers, which speaks to the engine itself.

pub(crate) mod archive;
mod container;
mod leftover;
mod owner;
mod program_image;
mod state;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

pub(crate) use self::{container::ended, state::State};
pub use self::{
    container::{Container, ContainerConfig, ContainerError, Ended},
    leftover::Leftover,
    owner::{LABEL, Owner},
    program_image::ProgramImage,
};
use crate::{assets::path_directories, process};

/// Why Docker cannot do what is wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerError {
    /// There is no client.
    #[error(
        "docker is not on PATH: install Docker (https://docs.docker.com/engine/install/; Debian: apt-get install \
         docker.io iptables) and start it"
    )]
    NoClient,
    /// The client may not talk to the engine.
    #[error(
        "this user may not use Docker ({said}): add the user to the group docker and log in again, or run as root"
    )]
    NoRights {
        /// What the client said.
        said: String,
    },
    /// Nobody answers.
    #[error(
        "no Docker engine answers ({said}): start it (systemctl start docker, or dockerd), or point DOCKER_HOST at one"
    )]
    NoEngine {
        /// What the client said.
        said: String,
    },
    /// The engine starts no container that kind could use.
    #[error(
        "Docker starts no privileged container, which every kind node is ({said}): run where containers may be \
         privileged, or take the provider `local`"
    )]
    NoPrivileges {
        /// What the client said.
        said: String,
    },
    /// An image is nowhere.
    #[error(
        "the image {name} is not on this machine and cannot be pulled ({said}): check its name, or name none, so that one is \
         built"
    )]
    NoImage {
        /// The image.
        name: String,
        /// What the client said.
        said: String,
    },
    /// A command failed.
    #[error("docker {what} failed: {said}")]
    Failed {
        /// The beginning of the command.
        what: String,
        /// What the client said.
        said: String,
    },
    /// The client could not be run.
    #[error("cannot run {}: check that it is an executable of this machine's kind", path.display())]
    Run {
        /// The client.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

// === impl DockerError ===

impl DockerError {
    /// Whether the client said that what it was asked about is not there.
    pub(crate) fn is_missing(&self) -> bool {
        let Self::Failed { said, .. } = self else { return false };
        let said = said.to_ascii_lowercase();
        ["no such object", "no such container", "no such network"].iter().any(|words| said.contains(words))
            || (said.starts_with("network ") && said.ends_with(" not found"))
    }
}

/// A Docker engine that answers.
#[derive(Debug, Clone)]
pub struct Docker {
    client: PathBuf,
    path: OsString,
}

/// The value of our label on node images.
pub(crate) const NODE: &str = "node";

// === impl Docker ===

impl Docker {
    /// Finds the client on `path`, and asks whether its engine answers. Blocks.
    pub fn find(path: Option<&OsStr>) -> Result<Self, DockerError> {
        let client = path_directories(path).map(|dir| dir.join("docker")).find(|client| client.is_file());
        let docker =
            Self { client: client.ok_or(DockerError::NoClient)?, path: path.unwrap_or_default().to_owned() };
        docker.run(["version", "--format", "{{.Server.Version}}"]).map_err(|error| match error {
            DockerError::Failed { said, .. } if said.contains("permission denied") => {
                DockerError::NoRights { said }
            }
            DockerError::Failed { said, .. } => DockerError::NoEngine { said },
            error => error,
        })?;
        Ok(docker)
    }

    /// Whether an image is on this machine. Blocks.
    pub fn has_image(&self, name: &str) -> bool {
        self.run(["image", "inspect", "--format", "{{.Id}}", name]).is_ok()
    }

    /// Whether an image on this machine is a node image that we have built, by whatever name. Blocks.
    pub fn is_own_node_image(&self, name: &str) -> bool {
        let format = format!("{{{{index .Config.Labels {LABEL:?}}}}}");
        self.run(["image", "inspect", "--format", &format, name]).is_ok_and(|label| label == NODE)
    }

    /// Pulls an image that is not on this machine. Blocks.
    pub fn ensure_image(&self, name: &str) -> Result<(), DockerError> {
        if self.has_image(name) {
            return Ok(());
        }
        self.run(["pull", "--quiet", name]).map(drop).map_err(|error| match error {
            DockerError::Failed { said, .. } => DockerError::NoImage { name: name.to_owned(), said },
            error => error,
        })
    }

    /// The client.
    pub(crate) fn client(&self) -> &Path {
        &self.client
    }

    /// The `PATH` on which it was found.
    pub(crate) fn path(&self) -> &OsStr {
        &self.path
    }

    /// Runs a command to its end, and gives what it printed, less the white space around it. Blocks.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, DockerError> {
        let args: Vec<S> = args.into_iter().collect();
        let mut command = self.command(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = process::spawn(&mut command).and_then(std::process::Child::wait_with_output);
        self.finished(&args, output)
    }

    /// As [`run`](Self::run), with what `write` writes on its standard input.
    pub(crate) fn run_with(
        &self,
        args: &[&str],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<String, DockerError> {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let at = |source| DockerError::Run { path: self.client.clone(), source };
        let mut child = process::spawn(&mut command).map_err(at)?;
        let written = match child.stdin.take() {
            Some(mut input) => write(&mut input),
            None => Ok(()),
        };
        let output = self.finished(args, child.wait_with_output())?;
        written.map_err(at)?;
        Ok(output)
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.client);
        command.args(args).stdin(Stdio::null());
        command
    }

    fn finished<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        output: io::Result<Output>,
    ) -> Result<String, DockerError> {
        let output = output.map_err(|source| DockerError::Run { path: self.client.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let words = args.iter().take(2).map(|word| word.as_ref().to_string_lossy().into_owned());
        let what = words.collect::<Vec<_>>().join(" ");
        Err(DockerError::Failed { what, said: said(&output) })
    }
}

/// The last line that a client wrote about its failure, with what can be thrown away left out.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with("See '"));
    let line = line.unwrap_or("it said nothing");
    line.strip_prefix("Error response from daemon: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// A client that fails with these words.
    fn failing(words: &str) -> DockerError {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker");
        fs::write(&path, format!("#!/bin/sh\necho '{words}' >&2\nexit 1\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Docker::find(Some(dir.path().as_os_str())).unwrap_err()
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        assert!(matches!(Docker::find(Some(OsStr::new("/nowhere"))), Err(DockerError::NoClient)));
        let error = failing("permission denied while trying to connect to the Docker daemon socket");
        assert!(matches!(error, DockerError::NoRights { .. }), "{error}");
        let error = failing("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.");
        assert!(matches!(error, DockerError::NoEngine { .. }), "{error}");
        assert!(error.to_string().contains("systemctl start docker"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_told_from_no_answer() {
        let missing = |said: &str| {
            DockerError::Failed { what: "inspect".to_owned(), said: said.to_owned() }.is_missing()
        };
        assert!(missing("Error: No such object: a") && missing("error: no such object: a"));
        assert!(missing("No such container: a") && missing("Error: No such network: a"));
        assert!(missing("network spangate-a not found"));
        assert!(!missing("context \"a\": context not found"));
        assert!(!missing("Cannot connect to the Docker daemon"));
    }
}
