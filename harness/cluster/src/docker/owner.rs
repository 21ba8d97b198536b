//! Whose a thing in Docker is: what is not written down elsewhere is found again by its labels, also when its maker was killed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::play::PlayProcess;

/// The label of all that is ours in Docker; its value says what it is.
pub const LABEL: &str = "dev.spangate";
/// The label with the owner.
const OWNER: &str = "dev.spangate.owner";

/// What is written on the network of a cluster, and on a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The process that made it; it is to go with that process. `None` is one that stays until it is taken down.
    pub process: Option<PlayProcess>,
    /// The directory with its files.
    pub directory: PathBuf,
}

// === impl Owner ===

impl Owner {
    /// This process, with its files in `directory`.
    ///
    /// # Errors
    ///
    /// When procfs does not tell which process this is.
    pub fn this(directory: PathBuf) -> std::io::Result<Self> {
        Ok(Self { process: Some(PlayProcess::this()?), directory })
    }

    /// The labels of a thing of this `kind` that say so, by name and value.
    ///
    /// # Panics
    ///
    /// Never: an owner has a JSON form.
    pub(crate) fn labels(&self, kind: &str) -> [(&'static str, String); 2] {
        let owner = serde_json::to_string(self).expect("an owner has a JSON form");
        [(LABEL, kind.to_owned()), (OWNER, owner)]
    }

    /// The `--format` by which Docker tells the owner of something whose labels are in `labels`.
    pub(crate) fn format(labels: &str) -> String {
        format!("{{{{index {labels} {OWNER:?}}}}}")
    }

    /// Reads what Docker told; `None` when another version wrote it.
    pub(crate) fn read(told: &str) -> Option<Self> {
        serde_json::from_str(told).ok()
    }

    /// Whether it was to go with a process that is gone.
    pub fn is_gone(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.is_running())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_its_label() {
        let owner = Owner::this("/a b".into()).unwrap();
        let [(_, kind), (name, text)] = owner.labels("container");
        assert_eq!((kind.as_str(), name), ("container", "dev.spangate.owner"));
        assert_eq!(Owner::read(&text), Some(owner));
        assert_eq!(Owner::read("<no value>"), None);
        assert_eq!(Owner::format(".Labels"), r#"{{index .Labels "dev.spangate.owner"}}"#);
    }
}
