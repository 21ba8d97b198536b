//! Containers of ours that are there, found by their labels, also when whoever made them was killed.

use super::{Docker, DockerError, LABEL, Owner};

/// A container of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
}

// === impl Leftover ===

impl Leftover {
    /// All containers of ours, by name. Those of another version that cannot be read are left alone. Blocks.
    pub fn list(docker: &Docker) -> Result<Vec<Self>, DockerError> {
        let filter = format!("label={LABEL}=container");
        let names = docker.run(["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])?;
        let format = Owner::format(".Config.Labels");
        let found = names.lines().filter_map(|name| {
            // Removed meanwhile, by the run that made it.
            let owner = docker.run(["inspect", "--format", &format, name]).ok()?;
            Some(Self { name: name.to_owned(), owner: Owner::read(&owner)? })
        });
        let mut found: Vec<Self> = found.collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Whether nobody will ever take it down: the process that made it is gone.
    pub fn is_abandoned(&self) -> bool {
        self.owner.is_gone()
    }

    /// Whether nobody here can tell whether that is so.
    pub fn is_elsewhere(&self) -> bool {
        self.owner.is_elsewhere()
    }

    /// Removes it. Blocks.
    pub fn remove(&self, docker: &Docker) -> Result<(), DockerError> {
        remove(docker, &self.name)
    }
}

/// Removes a container and its volumes, running or not. What is not there, or is being removed by somebody else, is fine.
/// Blocks.
pub(super) fn remove(docker: &Docker, name: &str) -> Result<(), DockerError> {
    match docker.run(["rm", "--force", "--volumes", name]) {
        Err(error) if error.is_missing() => Ok(()),
        Err(DockerError::Failed { said, .. }) if said.contains("already in progress") => Ok(()),
        removed => removed.map(drop),
    }
}
