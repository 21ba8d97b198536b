//! The machine that something was measured on.

use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine: CPU times mean nothing without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The model of its CPUs, by `/proc/cpuinfo`.
    pub cpu: String,
    /// CPUs that the process which measured might use.
    pub cpus: usize,
    /// The release of its kernel.
    pub kernel: String,
}

/// What is not known of a machine.
const UNKNOWN: &str = "unknown";

// === impl Machine ===

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cpu: model.map_or_else(|| UNKNOWN.to_owned(), |(_, name)| name.trim().to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// One of which nobody noted anything: it is the same as no other.
    pub fn unknown() -> Self {
        Self { cpu: UNKNOWN.to_owned(), cpus: 0, kernel: UNKNOWN.to_owned() }
    }
}
