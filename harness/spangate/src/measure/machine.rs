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

/// The model of the CPUs, by the text of `/proc/cpuinfo`. On Arm the kernel writes numbers, of who made it and which it is
/// (`arch/arm64/kernel/cpuinfo.c`).
fn model(cpuinfo: &str) -> Option<String> {
    let field = |key: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
    };
    field("model name").map(str::to_owned).or_else(|| {
        let (maker, part) = (field("CPU implementer")?, field("CPU part")?);
        Some(format!("Arm implementer {maker} part {part}"))
    })
}

// === impl Machine ===

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: model(&read("/proc/cpuinfo")).unwrap_or_else(|| UNKNOWN.to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// One of which nobody noted anything: it is the same as no other.
    pub fn unknown() -> Self {
        Self { cpu: UNKNOWN.to_owned(), cpus: 0, kernel: UNKNOWN.to_owned() }
    }

    /// Whether CPUs of this model and number are of the same kind as others, as far as that is known: of what is not known
    /// nobody can tell.
    pub fn same_cpus((model, cpus): (&str, usize), others: (&str, usize)) -> bool {
        model != UNKNOWN && (model, cpus) == others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_have_a_model_on_every_architecture() {
        let amd = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nstepping\t: 2\n";
        assert_eq!(model(amd).as_deref(), Some("AMD EPYC"));
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd40\n";
        assert_eq!(model(arm).as_deref(), Some("Arm implementer 0x41 part 0xd40"));
        assert_eq!(model("processor\t: 0\n"), None);
        assert_ne!(Machine::this().cpu, UNKNOWN);
    }

    #[test]
    fn what_is_not_known_is_like_nothing() {
        assert!(Machine::same_cpus(("a", 2), ("a", 2)));
        assert!(!Machine::same_cpus(("a", 2), ("a", 4)) && !Machine::same_cpus(("a", 2), ("b", 2)));
        assert!(!Machine::same_cpus((UNKNOWN, 2), (UNKNOWN, 2)));
    }
}
