//! What is written down about a named control plane.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::{
    local::ControlPlaneConfig,
    private,
    process::{Child, PidFd},
    version::Version,
};

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlayState {
    /// When it was started.
    pub created: Timestamp,
    /// The API server's version.
    pub kubernetes: Version,
    /// etcd's version.
    pub etcd: Version,
    /// Where clients connect. Absent while it starts.
    pub endpoint: Option<String>,
    /// The kubeconfig. Absent while it starts.
    pub kubeconfig: Option<PathBuf>,
    /// The OTLP/gRPC receiver that spans go to.
    pub otlp: Option<String>,
    /// The processes, in the order in which they were started.
    pub processes: Vec<PlayProcess>,
}

/// One process, told apart from any later one that gets its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlayProcess {
    /// What it is called.
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
    /// The boot that the start time counts from.
    pub boot: String,
    /// The namespace in which it has that number; `None` where that was not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<String>,
}

const FILE: &str = "state.json";

// === impl PlayState ===

impl PlayState {
    /// The state before anything runs.
    pub(super) fn new(config: &ControlPlaneConfig) -> Self {
        Self {
            created: Timestamp::now(),
            kubernetes: config.kube_apiserver.version,
            etcd: config.etcd.version,
            endpoint: None,
            kubeconfig: None,
            otlp: config.otlp.clone(),
            processes: Vec::new(),
        }
    }

    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(dir.join(FILE))?)?)
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        private::write(&dir.join(FILE), &serde_json::to_string_pretty(self)?)
    }
}

// === impl PlayProcess ===

impl PlayProcess {
    /// The process of `child`.
    pub(super) fn of(child: &Child) -> io::Result<Self> {
        Self::found(child.name(), child.pid())
    }

    /// This process.
    pub fn this() -> io::Result<Self> {
        Self::found("spangate", std::process::id())
    }

    fn found(name: &str, pid: u32) -> io::Result<Self> {
        let (start_time, boot, pid_namespace) = (start_time(pid)?, boot()?, pid_namespace());
        Ok(Self { name: name.to_owned(), pid, start_time, boot, pid_namespace })
    }

    /// Whether this very process still runs.
    pub fn is_running(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.boot)
            && start_time(self.pid).is_ok_and(|time| time == self.start_time)
    }

    /// Whether this very process has ended, which was one of this machine. Of one in another PID namespace that is known only
    /// after another boot: its number is that of somebody else here.
    pub fn has_ended(&self) -> bool {
        let Ok(boot) = boot() else { return false };
        boot != self.boot || (self.pid_namespace == pid_namespace() && !self.is_running())
    }

    /// Asks this very process to end, and kills it when it has not after `grace`. One that is gone is fine.
    pub(super) fn stop(&self, grace: Duration) -> io::Result<()> {
        // In this order: what the descriptor names cannot change any more, so the check holds from here on.
        let Ok(process) = PidFd::open(self.pid) else { return Ok(()) };
        if !self.is_running() {
            return Ok(());
        }
        process.signal(Signal::TERM)?;
        if !process.wait(grace)? {
            process.signal(Signal::KILL)?;
            process.wait(grace)?;
        }
        Ok(())
    }
}

/// When the process started. A zombie counts as ended.
fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process has ended"))
}

/// The start time out of `/proc/PID/stat` (`proc_pid_stat(5)`), unless the process is a zombie or dead.
fn parse_stat(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    // The fields now begin with the fourth, and the start time is the twenty-second.
    fields.nth(18)?.parse().ok()
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The PID namespace of this process, as procfs names it.
fn pid_namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.display().to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cluster that is up, as far as the state says.
    pub(in crate::play) fn example() -> PlayState {
        PlayState {
            created: Timestamp::UNIX_EPOCH,
            kubernetes: Version::new(1, 37, 2),
            etcd: Version::new(3, 7, 3),
            endpoint: Some("https://127.0.0.1:6443".to_owned()),
            kubeconfig: Some("kubeconfig".into()),
            otlp: None,
            processes: Vec::new(),
        }
    }

    #[test]
    fn the_state_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (name, boot, pid_namespace) = ("etcd".to_owned(), "b".to_owned(), Some("n".to_owned()));
        let process = PlayProcess { name, pid: 7, start_time: 9, boot, pid_namespace };
        let state = PlayState { processes: vec![process], ..example() };
        state.write(dir.path()).unwrap();
        assert_eq!(PlayState::read(dir.path()).unwrap(), state);
    }

    #[test]
    fn a_program_name_may_hold_parentheses() {
        let stat =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1000 1 18446744073709551615";
        assert_eq!(parse_stat(stat), Some(123_456));
        assert_eq!(parse_stat(&stat.replace(" S ", " Z ")), None);
        assert_eq!(parse_stat("42 (sh) S 1"), None);
    }

    /// Scenario: a process that runs, one that had its number before, and the same two of another PID namespace, of one that
    /// nobody has written down, and of another boot.
    /// Guarantees: none has ended of which that cannot be known.
    #[test]
    fn only_what_can_be_seen_from_here_has_ended() {
        let this = PlayProcess::this().unwrap();
        let earlier = PlayProcess { start_time: this.start_time + 1, ..this.clone() };
        assert!(!this.has_ended() && earlier.has_ended());
        let other = PlayProcess { pid_namespace: Some("pid:[1]".to_owned()), ..earlier.clone() };
        assert!(!other.has_ended());
        assert!(PlayProcess { boot: "another".to_owned(), ..other }.has_ended());
        let text = serde_json::to_string(&PlayProcess { pid_namespace: None, ..earlier }).unwrap();
        assert!(!text.contains("pidNamespace"), "{text}");
        assert!(!serde_json::from_str::<PlayProcess>(&text).unwrap().has_ended());
    }

    #[test]
    fn our_own_start_time_is_read() {
        assert!(start_time(std::process::id()).unwrap() > 0);
        assert!(boot().unwrap().len() > 10);
    }
}
