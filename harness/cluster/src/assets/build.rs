//! Builds a binary from a pinned Go module.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use super::{
    catalogue::{Module, Platform, Recipe, Release},
    env::path_directories,
    version_of::{self, VersionOfError},
};
use crate::{
    process::{self, log_tail},
    progress::{Event, Progress},
    version::Version,
};

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no Go.
    #[error("go is not on PATH: install Go {needs} or later (https://go.dev/dl/)")]
    NoGo {
        /// The version that the module asks for.
        needs: String,
    },
    /// Go could not be run, or a file not be written.
    #[error("cannot prepare or run the build in {}", path.display())]
    Run {
        /// The file or directory at fault.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Go failed.
    #[error("go build ended with {status}; the last lines of {}:\n{tail}", log.display())]
    Failed {
        /// How Go ended.
        status: ExitStatus,
        /// All that it wrote.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// The binary does not tell its version.
    #[error("the built binary is not usable")]
    Unusable(#[from] VersionOfError),
    /// The binary has another version than the catalogue says.
    #[error("the built binary has version {got}, and the catalogue promises {wanted}")]
    WrongVersion {
        /// What the binary says.
        got: Version,
        /// What the catalogue says.
        wanted: Version,
    },
}

/// How the name of a directory begins in which a build runs.
pub(super) const TEMPORARY: &str = ".build-";

/// How many lines of the log an error shows.
const TAIL: usize = 20;

/// What to build.
pub(super) struct Build<'a> {
    /// The release that it will be.
    pub(super) release: &'a Release,
    /// How.
    pub(super) recipe: &'a Recipe,
    /// From what.
    pub(super) module: &'a Module,
    /// For what.
    pub(super) platform: Platform,
    /// The `PATH` on which `go` is.
    pub(super) search: Option<&'a OsStr>,
}

// === impl Build ===

impl Build<'_> {
    /// Builds to `path`. Nothing is at `path` unless the build succeeded and the version is right. The log
    /// stays beside it when the build fails.
    pub(super) fn run(&self, path: &Path, progress: &dyn Progress) -> Result<(), BuildError> {
        let go = path_directories(self.search).map(|dir| dir.join("go")).find(|go| go.is_file());
        let go =
            go.ok_or_else(|| BuildError::NoGo { needs: self.module.go_version().unwrap_or("").to_owned() })?;
        let dir = path.parent().unwrap_or(Path::new("."));
        let at = |path: &Path| {
            let path = path.to_owned();
            |source| BuildError::Run { path, source }
        };
        // In the cache and not in /tmp: the output is renamed, and /tmp may be small.
        let work = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(dir).map_err(at(dir))?;
        for (name, content) in &self.module.files {
            fs::write(work.path().join(name), content).map_err(at(work.path()))?;
        }
        let log = dir.join("build.log");
        let mut lines = File::create(&log).map_err(at(&log))?;
        let output = work.path().join("output");
        let steps = [self.generate(&go), Some(self.compile(&go, &output))];
        for command in steps.into_iter().flatten() {
            let status = self.go(command, work.path(), &mut lines, progress).map_err(at(&go))?;
            if !status.success() {
                return Err(BuildError::Failed { status, tail: log_tail(&log, TAIL), log });
            }
        }
        let got = version_of::ask(&output)?;
        let wanted = self.release.version;
        if got != wanted {
            return Err(BuildError::WrongVersion { got, wanted });
        }
        // On disk before it has its name: whoever sees the name trusts the content.
        File::open(&output).and_then(|file| file.sync_all()).map_err(at(&output))?;
        fs::rename(&output, path).map_err(at(path))?;
        fs::remove_file(&log).map_err(at(&log))
    }

    /// The command that writes sources, if the recipe has one.
    fn generate(&self, go: &Path) -> Option<Command> {
        let arguments = &self.recipe.generate;
        let mut command = Command::new(go);
        command.args(arguments);
        (!arguments.is_empty()).then_some(command)
    }

    fn compile(&self, go: &Path, output: &Path) -> Command {
        let mut command = Command::new(go);
        command
            // `-v` names each package as it is compiled, which is what progress shows.
            .args(["build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false"])
            .arg(format!("-ldflags={}", self.recipe.ldflags.join(" ")))
            .arg(format!("-tags={}", self.recipe.tags.join(",")))
            .arg("-o")
            .arg(output)
            .arg(&self.recipe.package)
            .env("CGO_ENABLED", "0")
            .env("GOOS", self.platform.os)
            .env("GOARCH", self.platform.arch);
        command
    }

    /// Runs go in `work`, copies what it writes to the log, and reports.
    fn go(
        &self,
        mut command: Command,
        work: &Path,
        log: &mut File,
        progress: &dyn Progress,
    ) -> io::Result<ExitStatus> {
        command
            .current_dir(work)
            // A workspace file above the cache must not change what is built.
            .env("GOWORK", "off");
        let Release { component, version, .. } = *self.release;
        let report = |elapsed, last_line: &str| {
            let last_line = last_line.to_owned();
            progress.event(Event::Building { component, version, elapsed, last_line });
        };
        process::interrupt_with_parent(&mut command);
        process::told(&mut command, log, &report)
    }
}
