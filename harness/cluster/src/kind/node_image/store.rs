//! containerd's store with images in it, written by a containerd of our own that nobody else talks to.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{NodeImageError, TAIL, io_error};
use crate::process::{self, PidFd, log_tail};

/// A running containerd. Dropping it kills the process.
pub(super) struct Containerd {
    process: Child,
    /// Its socket and its transient files, in a short path: a socket's may have 107 bytes.
    state: tempfile::TempDir,
    log: PathBuf,
}

/// The namespace in which the kubelet's containerd looks.
const NAMESPACE: &str = "k8s.io";
/// How long it may take to start, and to end.
const LIMIT: Duration = Duration::from_secs(30);

// === impl Containerd ===

impl Containerd {
    /// Starts the program with its store at `root`; its log goes to `dir`.
    pub(super) fn start(program: &Path, root: &Path, dir: &Path) -> Result<Self, NodeImageError> {
        let state = tempfile::tempdir().map_err(io_error(&std::env::temp_dir()))?;
        let config = state.path().join("config.toml");
        // Only content and metadata are wanted: nothing is unpacked, and nothing runs.
        // A string of JSON is one of TOML too.
        let quoted = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
        let text = format!(
            "version = 3\nroot = {}\nstate = {}\ndisabled_plugins = [\"io.containerd.cri.v1.images\", \
             \"io.containerd.cri.v1.runtime\", \"io.containerd.grpc.v1.cri\", \"io.containerd.nri.v1.nri\"]\n\n\
             [grpc]\naddress = {}\n",
            quoted(root),
            quoted(&state.path().join("state")),
            quoted(&socket(state.path())),
        );
        fs::write(&config, text).map_err(io_error(&config))?;
        let log = dir.join("containerd.log");
        let output = File::create(&log).map_err(io_error(&log))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        process::interrupt_with_parent(&mut command);
        let process = process::spawn(&mut command).map_err(io_error(program))?;
        let mut this = Self { process, state, log };
        let deadline = Instant::now() + LIMIT;
        while !socket(this.state.path()).exists() {
            if let Some(status) = this.process.try_wait().map_err(io_error(program))? {
                return Err(NodeImageError::Failed {
                    what: "containerd",
                    status,
                    tail: log_tail(&this.log, TAIL),
                    log: this.log.clone(),
                });
            }
            if Instant::now() > deadline {
                let message =
                    format!("it does not listen; its log ends with:\n{}", log_tail(&this.log, TAIL));
                return Err(io_error(program)(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(this)
    }

    /// Puts the image of an archive into the store, by `ctr` at `client`.
    pub(super) fn import(&self, client: &Path, archive: &Path) -> Result<(), NodeImageError> {
        let mut command = Command::new(client);
        command.arg("--address").arg(socket(self.state.path()));
        command.args(["--namespace", NAMESPACE, "images", "import", "--no-unpack"]).arg(archive);
        let output = command.stdin(Stdio::null()).output().map_err(io_error(client))?;
        if output.status.success() {
            return Ok(());
        }
        Err(NodeImageError::Failed {
            what: "ctr images import",
            status: output.status,
            log: self.log.clone(),
            tail: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Ends it in order, so that all of the store is on disk.
    pub(super) fn stop(mut self) -> Result<(), NodeImageError> {
        let at = io_error(&self.log);
        PidFd::open(self.process.id()).and_then(|process| process.signal(Signal::TERM)).map_err(&at)?;
        let ended = process::wait_until(&mut self.process, Instant::now() + LIMIT).map_err(&at)?;
        ended.map(drop).ok_or_else(|| at(io::Error::new(io::ErrorKind::TimedOut, "containerd does not end")))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It may have ended; either way it is gone after this.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(state: &Path) -> PathBuf {
    state.join("s")
}
