//! A container of ours, on the network of this machine, started by testcontainers.
//!
//! It is like a child process in what matters to a run: it has a number here, a log that grows while it runs, an end that is
//! noticed when it happens, and it goes when its handle does. What it is not is tied to this process by the kernel: after
//! SIGKILL a [`Leftover`](super::Leftover) finds it by its labels.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitStatus,
    sync::{
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

use super::{Docker, DockerError, Owner, State};
use crate::{mark, private, process::PidFd};

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
    exit: watch::Receiver<Option<Ended>>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// With what exit code; 128 and the number of a signal where one ended it. `None` where nobody told.
    pub status: Option<ExitStatus>,
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
/// The same, where nothing else tells of the end of a container that runs.
const POLL_EVERY: Duration = Duration::from_millis(500);

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
        // Other machines, and containers of this one, have the same numbers: what is removed by its name must be ours.
        let name = format!("spangate-{}-{}-{number}-{}", config.what, std::process::id(), mark());
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
        let told = removal.pid().await?;
        // In this order: what the descriptor names cannot change any more, so the check holds from here on.
        let process = told.and_then(|pid| PidFd::open(pid).ok());
        let pid = told.filter(|pid| is_in(*pid, handle.id()));
        // It may have ended meanwhile, of which Docker will tell.
        if told.is_some() && pid.is_none() && removal.goes_on().await {
            return Err(ContainerError::Elsewhere { what: config.what });
        }
        let exit = watch_end(process.filter(|_| pid.is_some()), &removal, logged);
        Ok(Self { handle: Box::new(handle), removal, pid: pid.unwrap_or_default(), config, exit })
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
    pub(crate) fn exit(&self) -> watch::Receiver<Option<Ended>> {
        self.exit.clone()
    }

    /// Waits until it ends. The future does not borrow this.
    pub fn ended(&self) -> impl Future<Output = Ended> + Send + use<> {
        ended(self.exit())
    }

    /// Asks it to end, kills it when it has not after `grace`, and removes it. Gives how it ended, if anybody told.
    pub async fn stop(self, grace: Duration) -> Option<ExitStatus> {
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
        let status = timeout(PATIENCE + LOGGED, ended(exit)).await.ok().and_then(|ended| ended.status);
        match handle.rm().await {
            Ok(()) => removal.done = true,
            Err(error) => tracing::debug!(what = config.what, %error, "removed by Docker's client instead"),
        }
        status
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.removal.name;
        f.debug_struct("Container").field("name", name).field("pid", &self.pid).finish_non_exhaustive()
    }
}

// === impl Ended ===

impl Ended {
    fn of(state: State, at: Instant) -> Self {
        match state {
            State::Ended { status, oom_killed } => Self { status: Some(status), oom_killed, at },
            State::Runs | State::Gone => Self { status: None, oom_killed: false, at },
        }
    }
}

/// Waits for the end of a container.
pub(crate) async fn ended(mut exit: watch::Receiver<Option<Ended>>) -> Ended {
    let told = exit.wait_for(Option::is_some).await.ok().and_then(|ended| *ended);
    told.unwrap_or_else(|| Ended::of(State::Gone, Instant::now()))
}

/// Whether a process of this machine is in the container `id`: its control groups have that name.
fn is_in(pid: u32, id: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(id))
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
/// Where the process is not held, Docker is asked all the time.
fn watch_end(
    process: Option<PidFd>,
    removal: &Removal,
    logged: mpsc::Receiver<()>,
) -> watch::Receiver<Option<Ended>> {
    let (sender, exit) = watch::channel(None);
    let (docker, name) = (removal.docker.clone(), removal.name.clone());
    // A thread of its own: one of the runtime's would keep it from ending.
    thread::spawn(move || {
        let seen = process.is_some_and(|process| has_ended(&process)).then(Instant::now);
        let state = match seen {
            Some(at) => settled(&docker, &name, LOOK_EVERY, || at.elapsed() < PATIENCE),
            // As long as anybody wants to know.
            None => settled(&docker, &name, POLL_EVERY, || !sender.is_closed()),
        };
        let at = seen.unwrap_or_else(Instant::now);
        // It is an error: nobody is left who could send.
        let _ = logged.recv_timeout(LOGGED);
        sender.send_replace(Some(Ended::of(state, at)));
    });
    exit
}

/// Waits until a process has ended; `false` where the kernel does not tell.
fn has_ended(process: &PidFd) -> bool {
    const LONG: Duration = Duration::from_hours(1);
    loop {
        match process.wait(LONG) {
            Ok(false) => {}
            ended => return ended.is_ok(),
        }
    }
}

/// Looks until Docker says that a container has ended or is gone, or as long as `waits` says; a look that fails tells
/// nothing. Blocks.
fn settled(docker: &Docker, name: &str, every: Duration, waits: impl Fn() -> bool) -> State {
    loop {
        match State::of(docker, name) {
            Ok(State::Runs) | Err(_) if waits() => thread::sleep(every),
            Ok(state) => return state,
            Err(_) => return State::Runs,
        }
    }
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

    /// Whether Docker keeps to it that the container runs.
    async fn goes_on(&self) -> bool {
        let (docker, name) = (self.docker.clone(), self.name.clone());
        let deadline = Instant::now() + PATIENCE;
        let look = move || settled(&docker, &name, LOOK_EVERY, || Instant::now() < deadline);
        tokio::task::spawn_blocking(look).await.is_ok_and(|state| state == State::Runs)
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
    use crate::docker::testing;

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
        // Elsewhere, or it has ended; it is not for procfs to say which.
        assert!(!is_in(u32::MAX, first));
    }

    /// Scenario: Docker does not answer, then says that the container runs, then how it ended.
    /// Guarantees: neither of the first two is an end.
    #[test]
    fn a_look_that_fails_is_not_an_end() {
        let (_dir, docker) = testing::docker(
            "inspect*)
               echo >>$here/looks
               case $(wc -l <$here/looks) in
                 1) echo 'no answer' >&2; exit 1;;
                 2) echo 'true 0 false';;
                 *) echo 'false 137 true';;
               esac;;",
        );
        let state = settled(&docker, "one", Duration::ZERO, || true);
        let State::Ended { status, oom_killed } = state else { panic!("{state:?}") };
        assert_eq!((status.code(), oom_killed), (Some(137), true));
    }

    /// Scenario: somebody else removes the container, whose process is not held.
    /// Guarantees: its end is known, and not how.
    #[tokio::test]
    async fn an_end_that_nobody_tells_of_is_unknown() {
        let (_dir, docker) = testing::docker("inspect*) echo 'Error: No such object: one' >&2; exit 1;;");
        let removal = Removal { docker, name: "one".to_owned(), done: true };
        // Nobody writes its log any more.
        let (_, logged) = mpsc::channel();
        assert_eq!(ended(watch_end(None, &removal, logged)).await.status, None);
    }

    /// Scenario: Docker goes on saying that a container runs whose process has ended, or says nothing.
    /// Guarantees: that is waited for no longer than is worth it, and is no end.
    #[test]
    fn what_docker_does_not_tell_stays_open() {
        for case in ["inspect*) echo 'true 0 false';;", "inspect*) exit 1;;"] {
            let (_dir, docker) = testing::docker(case);
            assert_eq!(settled(&docker, "one", Duration::ZERO, || false), State::Runs);
        }
    }
}
