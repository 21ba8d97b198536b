//! Named control planes that stay up after the command that started them: `spangate cluster up|down|list`.
//!
//! Each has a directory below `$XDG_STATE_HOME/spangate/clusters` with its data, logs, kubeconfig and
//! `state.json`. The state names each process by number, start time and boot, so that a number which was
//! given to another process since is never signalled.

mod state;

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::state::{PlayProcess, PlayState};
use crate::{
    assets::lock::Lock,
    local::{ControlPlaneConfig, LocalApiServer, LocalEtcd, StartError},
    pki::Pki,
    private,
    process::{Child, Lifetime},
    progress::Progress,
};

/// Why a named control plane cannot be started, stopped or listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The name does not do for a directory.
    #[error("{name:?} is no name for a cluster: take 1 to 63 of a-z, 0-9 and -, and begin with a letter")]
    Name {
        /// The name.
        name: String,
    },
    /// There is no place for state.
    #[error("there is no directory for the state of clusters: set HOME or XDG_STATE_HOME")]
    NoState,
    /// It is up already.
    #[error("the cluster {name} is up already: use it, or stop it with `spangate cluster down {name}`")]
    Running {
        /// Its name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no cluster {name}: `spangate cluster list` shows those there are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It did not start.
    #[error("the cluster {name} did not start")]
    Start {
        /// Its name.
        name: String,
        /// The cause.
        #[source]
        source: StartError,
    },
    /// A process could not be stopped.
    #[error("cannot stop {process} (process {pid}) of the cluster {name}")]
    Stop {
        /// The cluster's name.
        name: String,
        /// The process.
        process: String,
        /// Its number.
        pid: u32,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A named control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayCluster {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// What was written down about it.
    pub state: PlayState,
    /// Whether all of its processes run.
    pub running: bool,
}

/// All named control planes.
#[derive(Debug, Clone)]
pub struct Play {
    root: PathBuf,
}

/// How long each process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(5);

// === impl Play ===

impl Play {
    /// The control planes kept below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The control planes of this user: below `$XDG_STATE_HOME`, or `~/.local/state`.
    pub fn from_process() -> Result<Self, PlayError> {
        Self::from_vars(|name| env::var_os(name))
    }

    /// The control planes of the user that `var` answers for.
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, PlayError> {
        let xdg = var("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || {
            let home = var("HOME").filter(|home| !home.is_empty())?;
            Some(Path::new(&home).join(".local").join("state"))
        };
        let state = xdg.or_else(home).ok_or(PlayError::NoState)?;
        Ok(Self::new(state.join("spangate").join("clusters")))
    }

    /// Where a control plane of that name has its directory; give it to [`ControlPlaneConfig::dir`].
    pub fn dir(&self, name: &str) -> Result<PathBuf, PlayError> {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !first || !rest || name.len() > 63 {
            return Err(PlayError::Name { name: name.to_owned() });
        }
        Ok(self.root.join(name))
    }

    /// Starts a control plane that stays up. `config` says what is in it; its directory and lifetime are ours
    /// to set. One of that name that is no longer running is replaced.
    pub async fn up(
        &self,
        name: &str,
        config: &ControlPlaneConfig,
        progress: &dyn Progress,
    ) -> Result<PlayCluster, PlayError> {
        let dir = self.dir(name)?;
        let _lock = self.lock(name)?;
        if let Some(cluster) = self.read(name)? {
            if cluster.state.processes.iter().any(PlayProcess::is_running) {
                return Err(PlayError::Running { name: name.to_owned() });
            }
            remove(&dir)?;
        }
        private::create_dir(&dir).map_err(io_error(&dir))?;
        let config = ControlPlaneConfig { dir: dir.clone(), lifetime: Lifetime::Detached, ..config.clone() };
        let state = self.start(name, &config, progress).await?;
        Ok(PlayCluster { name: name.to_owned(), dir, state, running: true })
    }

    /// Starts both processes. On an error they are killed, as their handles are dropped. Each is written down before it is
    /// ready: should we be killed ourselves meanwhile, the state tells of those that run.
    async fn start(
        &self,
        name: &str,
        config: &ControlPlaneConfig,
        progress: &dyn Progress,
    ) -> Result<PlayState, PlayError> {
        let failed = |source| PlayError::Start { name: name.to_owned(), source };
        let mut state = PlayState::new(config);
        let mut spawned = |child: &Child| record(&mut state, &config.dir, child);
        let etcd =
            LocalEtcd::start_recorded(&config.etcd_config(), progress, &mut spawned).await.map_err(failed)?;
        let pki = Pki::generate().map_err(|error| failed(error.into()))?;
        let api_server_config = config.api_server_config(etcd.url());
        let api_server = LocalApiServer::start_recorded(&api_server_config, &pki, progress, &mut spawned)
            .await
            .map_err(failed)?;
        state.endpoint = Some(api_server.access().endpoint.clone());
        state.kubeconfig = Some(api_server.kubeconfig().to_owned());
        state.write(&config.dir).map_err(io_error(&config.dir))?;
        api_server.release();
        etcd.release();
        Ok(state)
    }

    /// Stops the control plane of that name and deletes its directory. Blocks until its processes are gone.
    pub fn down(&self, name: &str) -> Result<(), PlayError> {
        let dir = self.dir(name)?;
        let unknown = || PlayError::Unknown { name: name.to_owned() };
        // Looked at before the lock is taken: the file of a lock stays.
        if !dir.exists() {
            return Err(unknown());
        }
        let _lock = self.lock(name)?;
        end(&self.read(name)?.ok_or_else(unknown)?)
    }

    /// Ends the control planes that never came up, since their start failed or was killed, removes their files, and gives
    /// their names. One that is being started is waited for. Blocks.
    pub fn prune(&self) -> Result<Vec<String>, PlayError> {
        let unfinished = |cluster: &PlayCluster| cluster.state.endpoint.is_none();
        let mut removed = Vec::new();
        for name in self.list()?.into_iter().filter(unfinished).map(|cluster| cluster.name) {
            let _lock = self.lock(&name)?;
            // Who held the lock may have brought it up, or taken it down.
            if let Some(cluster) = self.read(&name)?.filter(unfinished) {
                end(&cluster)?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Whether `dir` is where a cluster of that name has its files, and no local control plane has it now.
    pub(crate) fn lends(&self, name: &str, dir: &Path) -> bool {
        self.dir(name).is_ok_and(|own| own == dir) && matches!(self.read(name), Ok(None))
    }

    /// All control planes, by name.
    pub fn list(&self) -> Result<Vec<PlayCluster>, PlayError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error(&self.root)(error)),
        };
        let mut clusters = Vec::new();
        for entry in entries {
            let name = entry.map_err(io_error(&self.root))?.file_name();
            if let Some(name) = name.to_str().filter(|name| self.dir(name).is_ok()) {
                clusters.extend(self.read(name)?);
            }
        }
        clusters.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(clusters)
    }

    /// What is known of the control plane of that name. A directory without a state is one whose start was killed before
    /// its first process.
    fn read(&self, name: &str) -> Result<Option<PlayCluster>, PlayError> {
        let dir = self.dir(name)?;
        let state = match PlayState::read(&dir) {
            Ok(state) => state,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&dir)(error)),
        };
        let running = state.endpoint.is_some() && state.processes.iter().all(PlayProcess::is_running);
        Ok(Some(PlayCluster { name: name.to_owned(), dir, state, running }))
    }

    /// One `up` or `down` at a time for each name.
    fn lock(&self, name: &str) -> Result<Lock, PlayError> {
        private::create_dir(&self.root).map_err(io_error(&self.root))?;
        let path = self.root.join(format!("{name}.lock"));
        Lock::take(&path, || tracing::info!(name, "waiting for another command that works on this cluster"))
            .map_err(io_error(&path))
    }
}

/// Writes down a process that has just begun, in place of an earlier attempt at the same.
fn record(state: &mut PlayState, dir: &Path, child: &Child) -> io::Result<()> {
    let process = match PlayProcess::of(child) {
        Ok(process) => process,
        // It has ended already, and who waits for it says why.
        Err(_) if child.status().is_some() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    state.processes.retain(|earlier| earlier.name != process.name);
    state.processes.push(process);
    state.write(dir)
}

/// Stops the processes of a control plane and deletes its directory.
fn end(cluster: &PlayCluster) -> Result<(), PlayError> {
    // The API server first: it must not see its store go.
    for process in cluster.state.processes.iter().rev() {
        process.stop(GRACE).map_err(|source| PlayError::Stop {
            name: cluster.name.clone(),
            process: process.name.clone(),
            pid: process.pid,
            source,
        })?;
    }
    remove(&cluster.dir)
}

fn remove(dir: &Path) -> Result<(), PlayError> {
    fs::remove_dir_all(dir).map_err(io_error(dir))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> PlayError + use<> {
    let path = path.to_owned();
    move |source| PlayError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{local, process::Spec};

    fn play() -> (tempfile::TempDir, Play) {
        let dir = tempfile::tempdir().unwrap();
        let play = Play::new(dir.path().join("clusters"));
        (dir, play)
    }

    /// A process that stays until it is stopped, in place of a server.
    fn sleeper(dir: &Path) -> Child {
        let spec = Spec {
            name: "etcd",
            program: "/bin/sleep".into(),
            args: vec!["1000".to_owned()],
            env: std::collections::BTreeMap::new(),
            log: dir.join("sleep.log"),
            lifetime: Lifetime::Detached,
        };
        Child::spawn(spec).unwrap()
    }

    /// Writes down a cluster that consists of `process`.
    fn record_cluster(play: &Play, name: &str, process: PlayProcess) {
        let dir = play.dir(name).unwrap();
        private::create_dir(&dir).unwrap();
        let state = PlayState { processes: vec![process], ..state::tests::example() };
        state.write(&dir).unwrap();
    }

    #[tokio::test]
    async fn down_stops_the_processes_and_forgets_the_cluster() {
        let (dir, play) = play();
        let child = sleeper(dir.path());
        record_cluster(&play, "one", PlayProcess::of(&child).unwrap());
        let list = play.list().unwrap();
        assert_eq!(list.len(), 1);
        assert!(list[0].running, "{list:?}");
        play.down("one").unwrap();
        child.exited().await;
        assert_eq!(play.list().unwrap(), []);
        assert!(matches!(play.down("one"), Err(PlayError::Unknown { .. })));
    }

    #[tokio::test]
    async fn a_process_is_written_down_before_it_is_ready() {
        let (dir, play) = play();
        let config = ControlPlaneConfig {
            lifetime: Lifetime::Detached,
            ..local::tests::control_plane(dir.path(), "exec sleep 1000")
        };
        let written = async {
            loop {
                if let [cluster] = &play.list().unwrap()[..] {
                    return cluster.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let cluster = tokio::select! {
            started = play.up("one", &config, &()) => panic!("{started:?}"),
            cluster = written => cluster,
        };
        let [process] = &cluster.state.processes[..] else { panic!("{cluster:?}") };
        assert_eq!(process.name, "etcd");
        assert!(!cluster.running && cluster.state.endpoint.is_none(), "{cluster:?}");
    }

    #[tokio::test]
    async fn another_attempt_replaces_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = state::tests::example();
        let (first, second) = (sleeper(dir.path()), sleeper(dir.path()));
        for child in [&first, &second] {
            record(&mut state, dir.path(), child).unwrap();
        }
        let read = PlayState::read(dir.path()).unwrap();
        assert_eq!(read.processes, [PlayProcess::of(&second).unwrap()]);
        // One that has ended is no error here: who waits for it says why.
        first.stop(GRACE).await;
        record(&mut state, dir.path(), &first).unwrap();
        assert_eq!(state.processes, read.processes);
    }

    #[tokio::test]
    async fn prune_ends_only_what_never_came_up() {
        let (dir, play) = play();
        let (up, unfinished) = (sleeper(dir.path()), sleeper(dir.path()));
        record_cluster(&play, "up", PlayProcess::of(&up).unwrap());
        record_cluster(&play, "unfinished", PlayProcess::of(&unfinished).unwrap());
        let directory = play.dir("unfinished").unwrap();
        let state = PlayState { endpoint: None, ..PlayState::read(&directory).unwrap() };
        state.write(&directory).unwrap();
        assert_eq!(play.prune().unwrap(), ["unfinished"]);
        unfinished.exited().await;
        assert!(!directory.exists());
        assert_eq!(play.list().unwrap().len(), 1);
        assert_eq!(up.status(), None, "one that is up was ended");
        assert_eq!(play.prune().unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn a_process_that_only_has_the_same_number_is_left_alone() {
        let (dir, play) = play();
        let child = sleeper(dir.path());
        let ours = PlayProcess::of(&child).unwrap();
        let later = PlayProcess { start_time: ours.start_time + 1, ..ours.clone() };
        let rebooted = PlayProcess { boot: "another".to_owned(), ..ours.clone() };
        for (name, stranger) in [("later", later), ("rebooted", rebooted)] {
            record_cluster(&play, name, stranger);
            assert!(!play.list().unwrap()[0].running, "{name}");
            play.down(name).unwrap();
            assert!(ours.is_running(), "{name}: a stranger was stopped");
        }
    }

    #[test]
    fn a_directory_is_lent_to_its_name_only() {
        let (dir, play) = play();
        let own = play.dir("demo").unwrap();
        assert!(play.lends("demo", &own));
        assert!(!play.lends("demo", dir.path()) && !play.lends("other", &own));
        private::create_dir(&own).unwrap();
        state::tests::example().write(&own).unwrap();
        assert!(!play.lends("demo", &own), "it is that of a local control plane");
    }

    #[test]
    fn an_unknown_name_leaves_nothing_behind() {
        let (_dir, play) = play();
        assert!(matches!(play.down("nobody"), Err(PlayError::Unknown { .. })));
        assert!(!play.root.exists(), "a lock file was left");
    }

    #[test]
    fn names_stay_within_the_directory() {
        let (_dir, play) = play();
        for name in ["", "..", "a/b", "A", "1a", "-a", "a b", &"a".repeat(64)] {
            assert!(matches!(play.dir(name), Err(PlayError::Name { .. })), "{name:?}");
        }
        assert!(play.dir("demo-1").is_ok());
    }

    #[test]
    fn the_state_follows_xdg() {
        let root = |xdg: Option<&str>, home: Option<&str>| {
            let var = |name: &str| if name == "HOME" { home } else { xdg }.map(OsString::from);
            Play::from_vars(var).map(|play| play.root.display().to_string()).ok()
        };
        assert_eq!(root(Some("/x"), Some("/h")).as_deref(), Some("/x/spangate/clusters"));
        assert_eq!(root(Some("rel"), Some("/h")).as_deref(), Some("/h/.local/state/spangate/clusters"));
        assert_eq!(root(None, None), None);
    }

    #[test]
    fn no_directory_is_no_clusters() {
        let (_dir, play) = play();
        assert_eq!(play.list().unwrap(), []);
    }
}
