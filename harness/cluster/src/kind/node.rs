//! The node with the API server, as Docker sees it.

use super::{error::KindError, standing};
use crate::docker::{Docker, DockerError, State};

/// A node. It does not keep its cluster alive.
#[derive(Debug, Clone)]
pub struct KindNode {
    pub(super) docker: Docker,
    pub(super) name: String,
}

// === impl KindNode ===

impl KindNode {
    /// Its name, and its container's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The processes on it, by their numbers on this machine and their names. Blocks.
    pub fn processes(&self) -> Result<Vec<(u32, String)>, KindError> {
        Ok(standing::processes(&self.docker, &self.name)?)
    }

    /// Whether it runs. Blocks.
    pub(super) fn state(&self) -> Result<State, DockerError> {
        State::of(&self.docker, &self.name)
    }

    /// Kills the processes of a name (SIGKILL). Blocks.
    ///
    /// # Errors
    ///
    /// Also when there are none.
    pub fn kill(&self, process: &str) -> Result<(), KindError> {
        Ok(self.docker.run(["exec", &self.name, "pkill", "-KILL", "-x", process]).map(drop)?)
    }

    /// What the kubelet has kept of what a container said, of all the times that it was started. Blocks.
    pub fn pod_log(&self, namespace: &str, container: &str) -> Result<String, KindError> {
        let command = format!("cat /var/log/pods/{namespace}_*/{container}/*.log");
        Ok(self.docker.run(["exec", &self.name, "sh", "-c", &command])?)
    }
}
