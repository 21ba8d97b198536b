//! Child processes that do not outlive us, unless they are meant to.
//!
//! A [`Lifetime::WithParent`] child dies when this process does, however it ends, SIGKILL included: the
//! kernel sends it SIGKILL (`PR_SET_PDEATHSIG`). It lives in a process group of its own, so that Ctrl-C in a
//! terminal reaches only us, and we decide in which order things stop. A [`Lifetime::Detached`] child gets
//! its own session and stays until it is stopped.
//!
//! The kernel takes the *thread* that forked for the parent: a child that was started on a worker thread of
//! an async runtime dies when that worker retires. So every child is started from one thread that lives as
//! long as this process.
//!
//! Signals go through pidfds. A process number that was given to another process is never hit.

mod log;
mod pidfd;
mod step_down;
mod told;

use std::{
    collections::BTreeMap,
    fmt, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::sync::watch;

pub(crate) use self::log::end_of;
pub use self::log::log_tail;
use self::step_down::step_down;
pub(crate) use self::{pidfd::PidFd, told::told};
use crate::private;

/// Why a process cannot be started, or is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program could not be started.
    #[error("cannot start {}: check that it is an executable of this machine's kind", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The log file could not be opened.
    #[error("cannot write the log {}: check that the run directory is writable", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The process ended though nobody asked it to.
    #[error("{name} ended unexpectedly with {status}; the last lines of {}:\n{tail}", log.display())]
    Exited {
        /// What the process is called.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
}

/// How long a child lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// At most as long as this process.
    #[default]
    WithParent,
    /// Until it is stopped.
    Detached,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What messages call it.
    pub name: &'static str,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, beyond `PATH`, `HOME`, `TMPDIR` and `TZ` of ours. Nothing else is inherited: a stray
    /// `OTEL_` or proxy variable must not change what is measured.
    pub env: BTreeMap<String, String>,
    /// Where its output is appended.
    pub log: PathBuf,
    /// How long it lives.
    pub lifetime: Lifetime,
}

/// A running child. Dropping it kills the process, unless it was [released](Child::release).
pub struct Child {
    name: &'static str,
    pid: u32,
    pidfd: PidFd,
    log: PathBuf,
    exit: watch::Receiver<Option<ExitStatus>>,
    released: bool,
}

/// How a child was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it was killed, since it did not end within the grace period.
    pub killed: bool,
}

/// How many lines of a log an error shows.
pub(crate) const TAIL: usize = 20;
/// How long a program may be busy, since another thread forks, before that is an error.
const BUSY: Duration = Duration::from_secs(2);
/// Longer than any run, and short enough for a deadline.
const FOREVER: Duration = Duration::from_hours(24 * 365);
/// Variables that a child takes over from us.
const INHERITED: [&str; 4] = ["PATH", "HOME", "TMPDIR", "TZ"];

// === impl Child ===

impl Child {
    /// Starts a process.
    pub fn spawn(spec: Spec) -> Result<Self, ProcessError> {
        let at_log = |source| ProcessError::Log { path: spec.log.clone(), source };
        let output = private::append(&spec.log).map_err(at_log)?;
        let errors = output.try_clone().map_err(at_log)?;
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.args)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(&spec.env).stdin(Stdio::null()).stdout(output).stderr(errors);
        match spec.lifetime {
            Lifetime::WithParent => {
                command.process_group(0);
                before_exec(&mut command, Before::TieToParent(Signal::KILL));
            }
            Lifetime::Detached => before_exec(&mut command, Before::NewSession),
        }
        let started = on_spawner(move || {
            let child = spawn(&mut command)?;
            // Nobody has waited for the child yet, so the number is still its own.
            let pidfd = PidFd::open(child.id())?;
            Ok((child, pidfd))
        });
        let (child, pidfd) =
            started.map_err(|source| ProcessError::Spawn { program: spec.program.clone(), source })?;
        let pid = child.id();
        let exit = reap(spec.name, child, PidFd::open(pid));
        Ok(Self { name: spec.name, pid, pidfd, log: spec.log, exit, released: false })
    }

    /// The process number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// How it ended, once it has.
    pub(crate) fn exit(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.exit.clone()
    }

    /// Waits until it ends. The future does not borrow the child.
    pub fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        exited(self.exit())
    }

    /// The error that says that the process ended with `status` though nobody asked it to.
    pub fn unexpected_exit(&self, status: ExitStatus) -> ProcessError {
        ProcessError::Exited {
            name: self.name,
            status,
            log: self.log.clone(),
            tail: log_tail(&self.log, TAIL),
        }
    }

    /// Asks the process to end (SIGTERM), and kills it when it has not after `grace`.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        self.signal(Signal::TERM);
        if let Ok(status) = tokio::time::timeout(grace, self.exited()).await {
            return Stopped { status, killed: false };
        }
        self.signal(Signal::KILL);
        Stopped { status: self.exited().await, killed: true }
    }

    /// Kills the process and all that it started and that did not leave its process group.
    pub(crate) fn kill_group(&self) {
        let group = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group.filter(|_| self.status().is_none()) {
            // It may have ended just now.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    /// Stops it no more when this handle is dropped. Of use only for a [`Lifetime::Detached`] child.
    pub fn release(mut self) {
        self.released = true;
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = self.pidfd.signal(signal)
            && self.status().is_none()
            && error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error())
        {
            tracing::warn!(name = self.name, pid = self.pid, %error, "cannot signal the process");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.released && self.status().is_none() {
            self.signal(Signal::KILL);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("name", &self.name).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Waits for the end of a process. Who watches it sends a status before it ends itself, so there is always one.
pub(crate) async fn exited(mut exit: watch::Receiver<Option<ExitStatus>>) -> ExitStatus {
    exit.wait_for(Option::is_some).await.ok().and_then(|status| *status).unwrap_or_default()
}

/// Starts `command`, also when its program was written a moment ago by this process: a thread that forks just
/// then gives its child a copy of the descriptor that was written through, until that child executes its own
/// program (execve(2), `ETXTBSY`).
pub(crate) fn spawn(command: &mut Command) -> io::Result<std::process::Child> {
    let deadline = Instant::now() + BUSY;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Sends SIGINT to `command`'s process when the thread that starts it ends. For short work that this very
/// thread waits for.
pub(crate) fn interrupt_with_parent(command: &mut Command) {
    before_exec(command, Before::TieToParent(Signal::INT));
}

/// As [`interrupt_with_parent`], for what does not end when it is interrupted.
pub(crate) fn kill_with_parent(command: &mut Command) {
    before_exec(command, Before::TieToParent(Signal::KILL));
}

/// Waits for a child until a deadline; `None` when it has not ended by then.
pub(crate) fn wait_until(
    child: &mut std::process::Child,
    deadline: Instant,
) -> io::Result<Option<ExitStatus>> {
    let ended = PidFd::open(child.id())?.wait(deadline.saturating_duration_since(Instant::now()))?;
    if ended { child.wait().map(Some) } else { Ok(None) }
}

/// Waits for the child in a thread of its own, so that it never stays a zombie. It is reaped without real-time scheduling,
/// which this thread may have been given meanwhile ([`step_down`]).
fn reap(
    name: &str,
    mut child: std::process::Child,
    ended: io::Result<PidFd>,
) -> watch::Receiver<Option<ExitStatus>> {
    let (sender, exit) = watch::channel(None);
    let name = name.to_owned();
    thread::spawn(move || {
        let ordinary = ended.and_then(|ended| ended.wait(FOREVER)).and_then(|_| step_down());
        if let Err(error) = ordinary {
            tracing::warn!(name, %error, "the process may be reaped with real-time scheduling");
        }
        let status = child.wait().unwrap_or_else(|error| {
            // Only a process that ignores SIGCHLD gets here.
            tracing::warn!(name, %error, "cannot learn how the process ended");
            ExitStatus::default()
        });
        sender.send_replace(Some(status));
    });
    exit
}

/// Runs `work` on the thread that starts children, and waits for it.
fn on_spawner<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    type Job = Box<dyn FnOnce() + Send>;
    static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        sender
    });
    let (sender, result) = mpsc::sync_channel(1);
    let job = Box::new(move || {
        // The receiver waits below until it has the result.
        let _ = sender.send(work());
    });
    SPAWNER.send(job).expect("the spawner lives as long as the process");
    result.recv().expect("the spawner runs every job to its end")
}

/// What a child does to itself between fork and exec.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Has the kernel signal it when its parent thread ends.
    TieToParent(Signal),
    /// Leaves our session and terminal.
    NewSession,
}

#[expect(unsafe_code, reason = "the standard library has no safe way to act between fork and exec")]
fn before_exec(command: &mut Command, before: Before) {
    let parent = rustix::process::getpid();
    let hook = move || -> io::Result<()> {
        match before {
            Before::TieToParent(signal) => {
                rustix::process::set_parent_process_death_signal(Some(signal))?;
                // A parent that died before that call sends no signal any more.
                if rustix::process::getppid() != Some(parent) {
                    return Err(rustix::io::Errno::SRCH.into());
                }
            }
            Before::NewSession => {
                rustix::process::setsid()?;
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook makes system calls only; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

#[cfg(test)]
mod tests;
