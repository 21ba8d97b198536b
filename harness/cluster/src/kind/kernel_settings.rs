//! Settings of the whole machine that a kubelet makes its own, and that are set back when its cluster is gone.
//!
//! A node is a container, and what its kubelet writes there holds for everybody. An image of ours keeps it from that
//! (`fixtures/node-image/files/entrypoint`); of any other image, what was before is written on the network of the cluster, so
//! that it is known to whoever removes the cluster.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{docker::Docker, machine};

/// Kernel settings of this machine before a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelSettings {
    machine: Option<String>,
    /// Values by the paths of their settings.
    values: BTreeMap<String, String>,
}

/// What a kubelet sets (kubernetes, `setupKernelTunables` in `pkg/kubelet/cm/container_manager_linux.go`, with the values of
/// `component-helpers/node/util/sysctl`).
const SET_BY_KUBELETS: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];
/// Where settings are.
const SYS: &str = "/proc/sys";
/// The label of a network with them.
const LABEL: &str = "dev.spangate.kernel-settings";

// === impl KernelSettings ===

impl KernelSettings {
    /// As they are now.
    pub fn read() -> Self {
        Self::read_in(Path::new(SYS))
    }

    fn read_in(sys: &Path) -> Self {
        let now = |(name, _): (&str, &str)| Some((name.to_owned(), value(sys, name)?));
        Self { machine: machine::this(), values: SET_BY_KUBELETS.into_iter().filter_map(now).collect() }
    }

    /// The label that says so, with its value.
    ///
    /// # Panics
    ///
    /// Never: settings have a JSON form.
    pub(super) fn label(&self) -> String {
        format!("{LABEL}={}", serde_json::to_string(self).expect("settings have a JSON form"))
    }

    /// Those that are written on a network, if any of this machine are. Blocks.
    pub(super) fn of(docker: &Docker, network: &str) -> Option<Self> {
        let format = format!("{{{{index .Labels {LABEL:?}}}}}");
        let told = docker.run(["network", "inspect", "--format", &format, network]).ok()?;
        let settings: Self = serde_json::from_str(&told).ok()?;
        (settings.machine.is_some() && settings.machine == machine::this()).then_some(settings)
    }

    /// Sets back what a kubelet has changed, or says how to.
    pub(super) fn restore(&self) {
        let left = self.restore_in(Path::new(SYS));
        if !left.is_empty() {
            tracing::warn!(
                "the kubelet of the cluster has changed settings of this machine, which only root can set back: `{}`",
                command(&left)
            );
        }
    }

    /// Gives what could not be set back, by path and value. What has another value than a kubelet gives it was set by
    /// somebody else meanwhile, and what had that value before, by the kubelet of another cluster, which sets it back.
    fn restore_in(&self, sys: &Path) -> Vec<(&'static str, &str)> {
        let changed = SET_BY_KUBELETS.into_iter().filter_map(|(name, of_kubelet)| {
            let before = self.values.get(name)?.as_str();
            (before != of_kubelet && value(sys, name)? == of_kubelet).then_some((name, before))
        });
        changed.filter(|(name, before)| fs::write(sys.join(name), before).is_err()).collect()
    }
}

/// The value of a setting.
fn value(sys: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(sys.join(name)).ok()?.trim().to_owned())
}

/// The command that sets them.
fn command(settings: &[(&str, &str)]) -> String {
    let word = |(name, value): &(&str, &str)| format!("{}={value}", name.replace('/', "."));
    format!("sysctl -w {}", settings.iter().map(word).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In place of `/proc/sys`, as Linux has it unless told otherwise, less one setting that this kernel has not.
    fn sys() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        for directory in ["kernel/keys", "vm"] {
            fs::create_dir_all(sys.path().join(directory)).unwrap();
        }
        for (name, value) in [
            ("kernel/keys/root_maxbytes", "25000000\n"),
            ("kernel/keys/root_maxkeys", "1000000\n"),
            ("kernel/panic", "0\n"),
            ("vm/overcommit_memory", "0\n"),
            ("vm/panic_on_oom", "2\n"),
        ] {
            fs::write(sys.path().join(name), value).unwrap();
        }
        sys
    }

    /// What a kubelet does.
    fn start_kubelet(sys: &Path) {
        for (name, value) in SET_BY_KUBELETS {
            if sys.join(name).exists() {
                fs::write(sys.join(name), value).unwrap();
            }
        }
    }

    /// Scenario: a kubelet sets all that there is, and somebody else sets one of them again.
    /// Guarantees: what the kubelet has set is what it was; what it found so, and what somebody else has set, stays.
    #[test]
    fn what_a_kubelet_has_changed_is_set_back() {
        let sys = sys();
        let before = KernelSettings::read_in(sys.path());
        start_kubelet(sys.path());
        fs::write(sys.path().join("kernel/panic"), "30\n").unwrap();
        assert!(before.restore_in(sys.path()).is_empty());
        let after = KernelSettings::read_in(sys.path());
        let values: Vec<&str> = after.values.values().map(String::as_str).collect();
        assert_eq!(values, ["25000000", "1000000", "30", "0", "2"]);
    }

    /// Scenario: a second cluster starts while the first one is there, and is removed after it.
    /// Guarantees: what the first one found is there in the end.
    #[test]
    fn clusters_that_overlap_leave_what_the_first_one_found() {
        let sys = sys();
        let first = KernelSettings::read_in(sys.path());
        start_kubelet(sys.path());
        let second = KernelSettings::read_in(sys.path());
        assert!(first.restore_in(sys.path()).is_empty());
        assert!(second.restore_in(sys.path()).is_empty());
        assert_eq!(KernelSettings::read_in(sys.path()), first);
    }

    #[test]
    fn what_is_left_to_do_is_a_command() {
        let left = [("kernel/panic", "0"), ("vm/overcommit_memory", "2")];
        assert_eq!(command(&left), "sysctl -w kernel.panic=0 vm.overcommit_memory=2");
    }

    #[test]
    fn settings_survive_their_label() {
        let sys = sys();
        let settings = KernelSettings::read_in(sys.path());
        let label = settings.label();
        let text = label.strip_prefix("dev.spangate.kernel-settings=").unwrap();
        assert_eq!(serde_json::from_str::<KernelSettings>(text).unwrap(), settings);
    }
}
