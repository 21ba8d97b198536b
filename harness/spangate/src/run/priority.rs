//! Real-time scheduling for the time of a run, where the system allows it.
//!
//! A span is compared with what was held to the millisecond, while every handover between etcd, the API server
//! and the harness waits for the scheduler. Under the fair scheduler a woken thread may wait some milliseconds
//! for one that runs, its own or a stranger's; under `SCHED_RR` it does not wait for strangers at all
//! (`sched(7)`). Threads and processes that are started later inherit it, so the control plane has it too.
//! Among its own the run has four priorities, by who must not wait for whom (docs/adr/0009).
//!
//! It is set by `chrt` of util-linux, which is on every Linux system: setting it for every thread of a process
//! is one call there, and unsafe code here. Without the right to it (`CAP_SYS_NICE`), or without `chrt`, the run
//! goes on as it is, and the report says so. The kernel keeps a twentieth of each second for everybody else
//! (`sched_rt_runtime_us`), so the machine stays usable.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::thread::Pid;
use spangate_inject::THREADS;
use spangate_load::engine::THREAD;

/// etcd: its garbage collector takes every idle CPU, and what a call waits for it is in the ledger.
const ETCD: &str = "1";
/// The API server, and the sink beside it; the load too where something is injected.
const RUN: &str = "2";
/// The injectors: what a call waits for them, or they for a CPU, is in a span and in no ledger.
const INJECTORS: &str = "3";
/// What watches all the others.
const MONITOR: &str = "4";

/// Where cgroup v1 has the processes of the root of its CPU cgroups.
const ROOT_CGROUP: &str = "/sys/fs/cgroup/cpu/cgroup.procs";

/// Real-time scheduling of this process, and of those that it was lent to; given back when this is dropped.
pub(super) struct Realtime {
    lent: Vec<Lent>,
}

/// A process that goes on after the run.
struct Lent {
    process: String,
    /// Where it was taken from, if it had to be moved.
    home: Option<PathBuf>,
}

/// The processes of a control plane that are raised.
const PODS: [&str; 2] = ["etcd", "kube-apiserver"];

// === impl Realtime ===

impl Realtime {
    /// Asks for it; the error says why it cannot be had. etcd, when it is started now, gets it too.
    pub(super) fn ask() -> Result<Self, String> {
        chrt(&["--all-tasks", "--rr", "--pid", ETCD, &us()]).map(|()| Self { lent: Vec::new() })
    }

    /// Puts this process, and what it starts from now on, above etcd.
    #[expect(clippy::unused_self, reason = "only who has real-time scheduling may have more of it")]
    pub(super) fn raise_run(&self) -> Result<(), String> {
        chrt(&["--all-tasks", "--rr", "--pid", RUN, &us()])
    }

    /// Gives etcd and the API server among these processes, by number and name, what they would have inherited as
    /// children of ours.
    ///
    /// With cgroup v1 a kernel may have real time for those in the root of its CPU cgroups only (`RT_GROUP_SCHED`), so that
    /// they are moved there. They are the cluster's own, and nothing limits or counts their CPU time.
    #[expect(clippy::unused_self, reason = "only who has real-time scheduling may have more of it")]
    pub(super) fn raise_pods(&self, processes: &[(u32, String)]) -> Result<(), String> {
        let raise = |name: &str, priority: &str| {
            let found = processes.iter().find(|(_, known)| known == name);
            let (process, _) = found.ok_or_else(|| format!("no process {name} is seen in the cluster"))?;
            in_pod(*process, priority)
        };
        raise(PODS[0], ETCD)?;
        raise(PODS[1], RUN)
    }

    /// As [`raise_pods`](Self::raise_pods), for a control plane that outlives the run.
    pub(super) fn lend(&mut self, processes: &[(u32, String)]) -> Result<(), String> {
        let ours = processes.iter().filter(|(_, name)| PODS.contains(&name.as_str()));
        let lent = ours.map(|(process, _)| Lent { process: process.to_string(), home: home(*process) });
        self.lent.extend(lent);
        self.raise_pods(processes)
    }

    /// Puts a process of a pod beside the injectors, as [`raise_pods`](Self::raise_pods) does: it stands before one.
    #[expect(clippy::unused_self, reason = "only who has real-time scheduling may have more of it")]
    pub(super) fn raise_relay(&self, process: u32) -> Result<(), String> {
        in_pod(process, INJECTORS)
    }

    /// Puts the threads of the injectors above harness and control plane.
    #[expect(clippy::unused_self, reason = "only who has real-time scheduling may have more of it")]
    pub(super) fn raise_injectors(&self) -> Result<(), String> {
        raise_threads(&THREADS)
    }

    /// Puts the thread of the load above the API server, which it then never waits for: not for a run with injectors, since
    /// there it would stand between a call and its span.
    #[expect(clippy::unused_self, reason = "only who has real-time scheduling may have more of it")]
    pub(super) fn raise_load(&self) -> Result<(), String> {
        raise_threads(&[THREAD])
    }

    /// Puts one thread of this process above everything else of the run.
    #[expect(clippy::unused_self, reason = "only who has real-time scheduling may have more of it")]
    pub(super) fn raise_monitor(&self, thread: Pid) -> Result<(), String> {
        chrt(&["--rr", "--pid", MONITOR, &thread.as_raw_nonzero().to_string()])
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        if let Err(why) = chrt(&["--all-tasks", "--other", "--pid", "0", &us()]) {
            tracing::warn!(why, "cannot give real-time scheduling back");
        }
        for Lent { process, home } in &self.lent {
            // One that has ended needs nothing any more.
            let back = chrt(&["--all-tasks", "--other", "--pid", "0", process]);
            let moved = home.as_ref().map_or(Ok(()), |home| fs::write(home, process));
            if back.is_err() || moved.is_err() {
                tracing::debug!(process, "it may keep its real-time scheduling");
            }
        }
    }
}

/// Where a process is among cgroup v1's CPU cgroups, if there are some.
fn home(process: u32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1)?;
        controllers.split(',').any(|controller| controller == "cpu").then(|| fields.next())?
    })?;
    Some(Path::new("/sys/fs/cgroup/cpu").join(path.trim_start_matches('/')).join("cgroup.procs"))
}

/// Puts our threads with one of these names above harness and control plane.
fn raise_threads(names: &[&str]) -> Result<(), String> {
    let threads = threads_named(names).map_err(|error| format!("cannot find our threads: {error}"))?;
    threads.iter().try_for_each(|thread| chrt(&["--rr", "--pid", INJECTORS, thread]))
}

/// The numbers of our threads with one of these names.
fn threads_named(names: &[&str]) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        // A thread may have ended meanwhile.
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if names.contains(&name.trim_end()) {
            found.push(task.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// Gives a process of a pod real-time scheduling, in the root of the CPU cgroups if need be.
fn in_pod(process: u32, priority: &str) -> Result<(), String> {
    let process = process.to_string();
    let ask = || chrt(&["--all-tasks", "--rr", "--pid", priority, &process]);
    ask().or_else(|why| fs::write(ROOT_CGROUP, &process).map_err(|_| why).and_then(|()| ask()))
}

fn us() -> String {
    std::process::id().to_string()
}

fn chrt(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("chrt");
    let output = command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("chrt cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().unwrap_or("chrt failed without a word").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scheduling policies of all threads of this process (field 41 of `/proc/PID/task/TID/stat`).
    fn policies() -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
        stats
            .map(|stat| stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().to_owned())
            .collect()
    }

    /// Says that the process runs this one test, so that its threads stay as they are.
    const ALONE: &str = "SPANGATE_TEST_ALONE";

    /// Scenario: real-time scheduling is asked for, by whomever runs the tests, in a process of its own, since
    /// other tests start threads whenever they like.
    /// Guarantees: either every thread has it and gets rid of it again, or there is a reason and nothing changed.
    #[test]
    fn it_is_had_whole_or_not_at_all_and_given_back() {
        if std::env::var_os(ALONE).is_none() {
            let (_, module) = module_path!().split_once("::").unwrap();
            let name = format!("{module}::it_is_had_whole_or_not_at_all_and_given_back");
            let mut alone = Command::new(std::env::current_exe().unwrap());
            let output = alone.args(["--exact", &name]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let (rr, other) = ("2", "0");
        match Realtime::ask() {
            Ok(realtime) => {
                assert!(policies().iter().all(|policy| policy == rr), "{:?}", policies());
                drop(realtime);
            }
            Err(why) => assert!(!why.is_empty()),
        }
        assert!(policies().iter().all(|policy| policy == other), "{:?}", policies());
    }

    #[test]
    fn the_threads_of_an_injector_are_found() {
        let timer = spangate_inject::Timer::start().unwrap();
        let found = threads_named(&THREADS).unwrap();
        assert!(!found.is_empty() && !found.contains(&us()), "{found:?}");
        drop(timer);
    }
}
