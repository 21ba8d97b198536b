//! A container of ours, on the network of this machine, started by testcontainers.
//!
//! It is like a child process in what matters to a run: it has a number here, a log that grows while it runs, an end that is
//! noticed when it happens, and it goes when its handle does. What it is not is tied to this process by the kernel: after
//! SIGKILL a [`Leftover`](super::Leftover) finds it by its labels.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitStatus,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt as _, TestcontainersError,
    core::{Mount, error::ClientError},
    runners::AsyncRunner as _,
};
use tokio::{
    io::{AsyncBufRead, AsyncWriteExt as _},
    sync::watch,
    time::timeout,
};

use super::{Docker, DockerError, Owner};
use crate::{
    private,
    process::{self, PidFd, Stopped},
};

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Docker does not do what is wanted.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// It was not started.
    #[error("the container of {what} does not start from the image {image}")]
    Start {
        /// What runs in it.
        what: &'static str,
        /// Its image.
        image: String,
        /// The cause.
        #[source]
        source: Box<TestcontainersError>,
    },
    /// Its process is not one of this machine.
    #[error(
        "the container of {what} runs, and its process is not seen here: Docker's engine must be on this machine itself, not in \
         a virtual one or elsewhere"
    )]
    Elsewhere {
        /// What runs in it.
        what: &'static str,
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
}

/// What a container is made from.
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// What runs in it; a part of its name.
    pub what: &'static str,
    /// Its image, with its tag. One that is not on this machine is pulled.
    pub image: String,
    /// The arguments of the image's program.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Texts that are files in it, by their paths.
    pub files: BTreeMap<String, String>,
    /// Directories of this machine that it has at the same place, and may write to.
    pub directories: Vec<PathBuf>,
    /// The most memory that it may use, in bytes: with more it is killed.
    pub memory: Option<u64>,
    /// The most CPU time that it may use, in nanoseconds a second.
    pub cpu: Option<u64>,
    /// Where its output is appended.
    pub log: PathBuf,
    /// Whose it is.
    pub owner: Owner,
}

/// A container that was started. Dropping it removes it.
pub struct Container {
    // In this order they are dropped: what testcontainers leaves is removed after it.
    handle: Box<ContainerAsync<GenericImage>>,
    removal: Removal,
    pid: u32,
    config: ContainerConfig,
    exit: watch::Receiver<Option<ExitStatus>>,
    how: Arc<OnceLock<How>>,
}

/// What is known of an end beside its status: whether the kernel ended it for its memory, and when.
type How = (bool, Instant);

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// With what exit code; 128 and the number of a signal where one ended it.
    pub status: ExitStatus,
    /// Whether the kernel ended it, since it had more memory than it may have.
    pub oom_killed: bool,
    /// When its process ended.
    pub at: Instant,
}

/// Removes a container when it is dropped, whatever became of it.
#[derive(Debug)]
struct Removal {
    docker: Docker,
    name: String,
    done: bool,
}

/// Time after the end of a container in which Docker must know of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time after that in which Docker must have told all that it wrote.
const LOGGED: Duration = Duration::from_secs(2);
/// Time between two looks at what Docker knows.
const LOOK_EVERY: Duration = Duration::from_millis(50);

// === impl ContainerConfig ===

impl ContainerConfig {
    /// What testcontainers is asked for.
    fn request(&self, name: &str) -> ContainerRequest<GenericImage> {
        let (image, tag) = name_and_tag(&self.image);
        let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
        let mut request = GenericImage::new(image, tag)
            .with_container_name(name)
            .with_network("host")
            .with_cmd(self.args.iter().cloned())
            .with_labels(self.owner.labels("container"))
            // What it writes to directories of ours must be ours.
            .with_user(format!("{}:{}", user.as_raw(), group.as_raw()));
        for (variable, value) in &self.env {
            request = request.with_env_var(variable, value);
        }
        for (path, text) in &self.files {
            request = request.with_copy_to(path.clone(), text.clone().into_bytes());
        }
        for directory in &self.directories {
            let path = directory.display().to_string();
            request = request.with_mount(Mount::bind_mount(path.clone(), path));
        }
        let amount = |amount: Option<u64>| amount.and_then(|amount| i64::try_from(amount).ok());
        let (memory, cpu) = (amount(self.memory), amount(self.cpu));
        request.with_host_config_modifier(move |host| {
            host.memory = memory;
            // No swap beside it, as in a pod.
            host.memory_swap = memory;
            host.nano_cpus = cpu;
        })
    }

    /// What of testcontainers' errors there is a better word for.
    fn not_started(&self, error: TestcontainersError) -> ContainerError {
        match error {
            TestcontainersError::Client(ClientError::PullImage { err, .. }) => {
                DockerError::NoImage { name: self.image.clone(), said: err.to_string() }.into()
            }
            error => {
                ContainerError::Start { what: self.what, image: self.image.clone(), source: Box::new(error) }
            }
        }
    }
}

/// The name and the tag of an image; `latest`, where it has none, as Docker takes it. What comes after the last colon of an
/// image that is named by its digest will do: the two are put together again.
fn name_and_tag(image: &str) -> (&str, &str) {
    let tagged = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    tagged.unwrap_or((image, "latest"))
}

// === impl Container ===

impl Container {
    /// Starts a container. When this returns, its process runs, or has run.
    pub async fn start(docker: &Docker, config: ContainerConfig) -> Result<Self, ContainerError> {
        static STARTED: AtomicU32 = AtomicU32::new(1);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("spangate-{}-{}-{number}", config.what, std::process::id());
        let opened = private::append(&config.log).and_then(|file| Ok([file.try_clone()?, file]));
        let files = opened.map_err(|source| ContainerError::Log { path: config.log.clone(), source })?;
        // From here on it is removed, also where nobody waits for its start any more.
        let removal = Removal { docker: docker.clone(), name: name.clone(), done: false };
        let started = config.request(&name).start().await;
        let handle = started.map_err(|error| config.not_started(error))?;
        let [to_err, to_out] = files.map(tokio::fs::File::from_std);
        // Nobody sends anything: the receiver sees when both have gone.
        let (logging, logged) = mpsc::channel();
        follow(handle.stderr(true), to_err, logging.clone());
        follow(handle.stdout(true), to_out, logging);
        let pid = removal.pid().await?;
        if pid.is_some_and(|pid| !is_in(pid, handle.id())) {
            return Err(ContainerError::Elsewhere { what: config.what });
        }
        let how = Arc::default();
        let exit = watch_end(pid, &removal, logged, Arc::clone(&how));
        Ok(Self { handle: Box::new(handle), removal, pid: pid.unwrap_or_default(), config, exit, how })
    }

    /// The number that its process has on this machine; 0 where it ended before that was known.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.config.what
    }

    /// Its name in Docker.
    pub fn docker_name(&self) -> &str {
        &self.removal.name
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.config.log
    }

    /// How it ended, once it has.
    pub(crate) fn exit(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.exit.clone()
    }

    /// Waits until it ends. The future does not borrow this.
    pub fn ended(&self) -> impl Future<Output = Ended> + Send + use<> {
        let (exit, how) = (self.exit(), Arc::clone(&self.how));
        async move {
            let status = process::exited(exit).await;
            let (oom_killed, at) = how.get().copied().unwrap_or((false, Instant::now()));
            Ended { status, oom_killed, at }
        }
    }

    /// Asks it to end, kills it when it has not after `grace`, and removes it.
    pub async fn stop(self, grace: Duration) -> Stopped {
        let Self { handle, mut removal, exit, config, .. } = self;
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let told = if grace.is_zero() {
            // Its stop signal would come first.
            removal.run(&["kill"]).await.map(drop).map_err(|error| error.to_string())
        } else {
            handle.stop_with_timeout(Some(seconds)).await.map_err(|error| error.to_string())
        };
        if let Err(error) = told
            && exit.borrow().is_none()
        {
            tracing::warn!(what = config.what, error, "cannot end the container: it is removed as it is");
        }
        let status = timeout(PATIENCE + LOGGED, process::exited(exit)).await.unwrap_or_default();
        match handle.rm().await {
            Ok(()) => removal.done = true,
            Err(error) => tracing::debug!(what = config.what, %error, "removed by Docker's client instead"),
        }
        Stopped { status, killed: !grace.is_zero() && status.code() == Some(KILLED) }
    }
}

/// What Docker gives as exit code of what SIGKILL ended.
const KILLED: i32 = 128 + 9;

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.removal.name;
        f.debug_struct("Container").field("name", name).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Whether a process of this machine is in the container `id`: its control groups have that name.
fn is_in(pid: u32, id: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
        Ok(groups) => groups.contains(id),
        // It has ended meanwhile, of which Docker will tell.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Copies what a container says to its log, to the end of it, and drops `logging` then.
fn follow(mut said: Pin<Box<dyn AsyncBufRead + Send>>, mut log: tokio::fs::File, logging: mpsc::Sender<()>) {
    tokio::spawn(async move {
        // The stream of a container that was removed ends with an error.
        let _ = tokio::io::copy_buf(&mut said, &mut log).await;
        let _ = log.flush().await;
        drop(logging);
    });
}

/// Notices the end of the process when it happens, and tells of it when Docker has said how it ended, and its log is whole.
fn watch_end(
    pid: Option<u32>,
    removal: &Removal,
    logged: mpsc::Receiver<()>,
    how: Arc<OnceLock<How>>,
) -> watch::Receiver<Option<ExitStatus>> {
    const LONG: Duration = Duration::from_hours(1);
    let (sender, exit) = watch::channel(None);
    let (docker, name) = (removal.docker.clone(), removal.name.clone());
    // A thread of its own: one of the runtime's would keep it from ending.
    thread::spawn(move || {
        if let Some(process) = pid.and_then(|pid| PidFd::open(pid).ok()) {
            while !process.wait(LONG).unwrap_or(true) {}
        }
        let at = Instant::now();
        let (status, oom_killed) = state(&docker, &name).unwrap_or_default();
        // It is an error: nobody is left who could send.
        let _ = logged.recv_timeout(LOGGED);
        how.get_or_init(|| (oom_killed, at));
        sender.send_replace(Some(status));
    });
    exit
}

/// How a container ended that is about to; nothing where it is gone, or Docker never hears of its end. Blocks.
fn state(docker: &Docker, name: &str) -> Option<(ExitStatus, bool)> {
    let format = "{{.State.Running}} {{.State.ExitCode}} {{.State.OOMKilled}}";
    let looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        let told = docker.run(["inspect", "--format", format, name]).ok()?;
        if let ["false", code, killed] = told.split(' ').collect::<Vec<_>>().as_slice() {
            let code: i32 = code.parse().unwrap_or_default();
            return Some((ExitStatus::from_raw(code << 8), *killed == "true"));
        }
        thread::sleep(LOOK_EVERY);
    }
    None
}

// === impl Removal ===

impl Removal {
    /// Has the client do something with the container.
    async fn run(&self, command: &[&'static str]) -> Result<String, DockerError> {
        let (docker, name) = (self.docker.clone(), self.name.clone());
        let args: Vec<String> = command.iter().map(|word| (*word).to_owned()).chain([name]).collect();
        let done = tokio::task::spawn_blocking(move || docker.run(&args)).await;
        done.unwrap_or_else(|panic| {
            let what = command.first().copied().unwrap_or_default().to_owned();
            Err(DockerError::Failed { what, said: panic.to_string() })
        })
    }

    /// The number of the container's process; none where it has ended.
    async fn pid(&self) -> Result<Option<u32>, DockerError> {
        let told = self.run(&["inspect", "--format", "{{.State.Pid}}"]).await?;
        Ok(told.parse().ok().filter(|pid| *pid > 0))
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Err(error) = super::leftover::remove(&self.docker, &self.name) {
            tracing::warn!(
                name = self.name,
                %error,
                "cannot remove the container: `spangate cluster prune` tries again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_name_and_a_tag() {
        assert_eq!(name_and_tag("otel/collector:0.161.0"), ("otel/collector", "0.161.0"));
        assert_eq!(name_and_tag("localhost:5000/collector"), ("localhost:5000/collector", "latest"));
        assert_eq!(name_and_tag("a/b:1@sha256:0a"), ("a/b:1@sha256", "0a"));
    }

    #[test]
    fn a_process_is_in_its_own_control_groups_only() {
        let this = std::process::id();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let first = groups.lines().next().unwrap();
        assert!(is_in(this, first) && !is_in(this, "a container of this name there is not"));
    }
}
