//! What a Collector itself says of a configuration, without running it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use spangate_cluster::{Assets, AssetsEnv, Component, Found, Wanted};
use spangate_scenario::{
    collector::{self, Config, Finding},
    model,
};
use tempfile::NamedTempFile;

use crate::error::CommandError;

/// A Collector that can be asked.
#[derive(Debug, Clone)]
pub struct Asked {
    found: Found,
}

// === impl Asked ===

impl Asked {
    /// The Collector that is at hand, or the one at `path`; nothing is downloaded or built.
    pub fn locate(path: Option<PathBuf>) -> Result<Option<Self>, CommandError> {
        let spec = model::Collector::DEFAULT_VERSION.parse();
        let spec = spec.map_err(|error| CommandError::bug("the default version is none").because(error))?;
        let wanted = Wanted { component: Component::Otelcol, spec, path };
        let found = Assets::new(AssetsEnv::from_process()).locate(&wanted);
        match (found, wanted.path) {
            (None, Some(path)) => {
                let message = format!("{} is no Collector that can be asked", path.display());
                Err(CommandError::environment(message).help("`otelcol --version` must print its version"))
            }
            (found, _) => Ok(found.map(|found| Self { found })),
        }
    }

    /// Who is asked.
    pub fn name(&self) -> String {
        self.found.to_string()
    }

    /// What it refuses that is not among `known`. It opens no port and sends nothing.
    pub fn refused(&self, config: &Config, known: &[Finding]) -> Result<Vec<Finding>, CommandError> {
        let path = self.found.path.display().to_string();
        let failed = |error: io::Error| {
            CommandError::environment(format!("the Collector {path} cannot be asked")).because(error)
        };
        // The text that was checked, whatever the file says by now; a file, since standard input is none to it.
        let mut file = NamedTempFile::with_suffix(".yaml").map_err(failed)?;
        file.write_all(config.text().as_bytes()).map_err(failed)?;
        let output = Command::new(&self.found.path)
            .args([Path::new("validate"), Path::new("--config"), file.path()])
            .stdin(Stdio::null())
            .output()
            .map_err(failed)?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        Ok(collector::refused(config, &String::from_utf8_lossy(&output.stderr), known))
    }
}
