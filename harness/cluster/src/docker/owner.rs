//! Whose a thing in Docker is: what is not written down elsewhere is found again by its labels, also when its maker was killed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{machine, play::PlayProcess};

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
    /// The machine of both; `None` where that was not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

// === impl Owner ===

impl Owner {
    /// This process, with its files in `directory`.
    ///
    /// # Errors
    ///
    /// When procfs does not tell which process this is.
    pub fn this(directory: PathBuf) -> std::io::Result<Self> {
        Ok(Self { process: Some(PlayProcess::this()?), ..Self::kept(directory) })
    }

    /// Nobody, so that it stays until it is taken down, with its files in `directory` of this machine.
    pub fn kept(directory: PathBuf) -> Self {
        Self { process: None, directory, machine: machine::this() }
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

    /// Whether it is one of this machine.
    pub fn is_here(&self) -> bool {
        self.machine.is_some() && self.machine == machine::this()
    }

    /// Whether it was to go with a process that is gone, as far as that can be known here.
    pub fn is_gone(&self) -> bool {
        self.is_here() && self.process.as_ref().is_some_and(PlayProcess::has_ended)
    }

    /// Whether nobody here can know that: it is one of another machine, or of a container beside this one.
    pub fn is_elsewhere(&self) -> bool {
        let unknown = |process: &PlayProcess| !process.is_running() && !process.has_ended();
        !self.is_here() || self.process.as_ref().is_some_and(unknown)
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
        let earlier = Owner::read(r#"{"process":null,"directory":"/d"}"#).unwrap();
        assert!(!earlier.is_here() && earlier.is_elsewhere());
        assert_eq!(Owner::format(".Labels"), r#"{{index .Labels "dev.spangate.owner"}}"#);
    }

    /// Scenario: processes with numbers that nobody has here: of this machine, of another one behind the same engine, and of
    /// another container on this one.
    /// Guarantees: only the first is gone; of the others nobody here can tell.
    #[test]
    fn what_is_not_of_here_is_not_gone() {
        let here = Owner::this("/d".into()).unwrap();
        assert!(!here.is_gone() && !here.is_elsewhere());
        let process = here.process.clone().unwrap();
        let gone = PlayProcess { start_time: process.start_time + 1, ..process };
        let of = |process: &PlayProcess| Owner { process: Some(process.clone()), ..here.clone() };
        assert!(of(&gone).is_gone() && !of(&gone).is_elsewhere());
        let other = Owner { machine: Some("another".to_owned()), ..of(&gone) };
        assert!(!other.is_gone() && other.is_elsewhere());
        let beside = of(&PlayProcess { pid_namespace: Some("pid:[1]".to_owned()), ..gone });
        assert!(!beside.is_gone() && beside.is_elsewhere());
        assert!(!Owner::kept("/d".into()).is_gone() && !Owner::kept("/d".into()).is_elsewhere());
    }
}
