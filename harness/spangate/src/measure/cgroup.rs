//! What a control group has used, of version 1 and 2 (Documentation/admin-guide/cgroup-v1/cpuacct.rst and memory.rst, and
//! cgroup-v2.rst of Linux): a second opinion on a process that has one of its own, as each container of a kind cluster has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// What a control group has used, threads and children that have ended included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupUsage {
    /// Time on a CPU, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_nanos: Option<u64>,
    /// Memory that is charged to it now, caches of files included, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The most that was ever charged to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
}

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

// === impl CgroupUsage ===

impl CgroupUsage {
    /// What the control group of a process has used; nothing where it is not the process's alone, or cannot be read.
    ///
    /// That of a child process is mostly its parent's, and what others use is no figure of it.
    pub fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::read(&text, Path::new(MOUNT), pid)
    }

    /// The same of what `/proc/PID/cgroup` says, with control groups at `mount`.
    fn read(text: &str, mount: &Path, pid: u32) -> Option<Self> {
        let own = |place: &Place| place.is_only(pid);
        let mut usage = Self::default();
        for place in places(text, mount).into_iter().filter(own) {
            let number = |file: &str| place.number(file);
            let cpu = match place.version {
                Version::One => number("cpuacct.usage"),
                Version::Two => place.usage_micros().map(|micros| micros.saturating_mul(1_000)),
            };
            let [memory, peak] = match place.version {
                Version::One => ["memory.usage_in_bytes", "memory.max_usage_in_bytes"],
                Version::Two => ["memory.current", "memory.peak"],
            };
            usage.cpu_nanos = usage.cpu_nanos.or(cpu);
            usage.memory = usage.memory.or_else(|| number(memory));
            usage.peak_memory = usage.peak_memory.or_else(|| number(peak));
        }
        Some(usage).filter(|usage| *usage != Self::default())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The directory of a control group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    directory: PathBuf,
}

/// Where the control groups of a process are, those left out that are the whole machine or outside of what is mounted here.
fn places(text: &str, mount: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        if path.is_empty() || path.split('/').any(|part| part == "..") {
            continue;
        }
        if controllers.is_empty() {
            // Alone, or beside those of version 1.
            let roots = [mount.join("unified"), mount.to_owned()];
            let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists());
            places.extend(root.map(|root| Place { version: Version::Two, directory: root.join(path) }));
        } else if controllers.split(',').any(|it| it == "cpuacct" || it == "memory") {
            places.push(Place { version: Version::One, directory: mount.join(controllers).join(path) });
        }
    }
    places
}

// === impl Place ===

impl Place {
    /// Whether a process is all that is in it.
    fn is_only(&self, pid: u32) -> bool {
        let processes = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        processes.split_whitespace().eq([pid.to_string().as_str()])
    }

    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.directory.join(file)).ok()?.trim().parse().ok()
    }

    fn usage_micros(&self) -> Option<u64> {
        let text = fs::read_to_string(self.directory.join("cpu.stat")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below a directory that stands for the mount.
    fn mount(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn both_versions_are_read() {
        let one = mount(&[
            ("cpu,cpuacct/pod/a/cgroup.procs", "7\n"),
            ("cpu,cpuacct/pod/a/cpuacct.usage", "123456\n"),
            ("memory/pod/a/cgroup.procs", "7\n"),
            ("memory/pod/a/memory.usage_in_bytes", "4096\n"),
            ("memory/pod/a/memory.max_usage_in_bytes", "8192\n"),
        ]);
        let wanted = CgroupUsage { cpu_nanos: Some(123_456), memory: Some(4096), peak_memory: Some(8192) };
        let text = "5:memory:/pod/a\n4:cpu,cpuacct:/pod/a\n1:pids:/pod/a\n0::/pod/a\n";
        assert_eq!(CgroupUsage::read(text, one.path(), 7), Some(wanted));

        let two = mount(&[
            ("cgroup.controllers", "cpu memory\n"),
            ("pod/a/cgroup.procs", "7\n"),
            ("pod/a/cpu.stat", "usage_usec 250\nuser_usec 200\n"),
            ("pod/a/memory.current", "4096\n"),
        ]);
        let wanted = CgroupUsage { cpu_nanos: Some(250_000), memory: Some(4096), peak_memory: None };
        assert_eq!(CgroupUsage::read("0::/pod/a\n", two.path(), 7), Some(wanted));
    }

    /// Scenario: a process shares its control group, is in that of the whole machine, is outside of the mount, or none can be
    /// read.
    /// Guarantees: what others use is never taken for its own.
    #[test]
    fn what_is_not_its_own_is_nothing() {
        let root = mount(&[
            ("cgroup.controllers", "cpu\n"),
            ("cgroup.procs", "7\n"),
            ("cpu.stat", "usage_usec 250\n"),
            ("shared/cgroup.procs", "7\n8\n"),
            ("shared/cpu.stat", "usage_usec 250\n"),
        ]);
        for text in ["0::/shared\n", "0::/\n", "0::/../shared\n", "0::/gone\n", ""] {
            assert_eq!(CgroupUsage::read(text, root.path(), 7), None, "{text}");
        }
    }
}
