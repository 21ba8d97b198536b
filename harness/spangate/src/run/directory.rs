//! The directory that a run leaves behind, and how it is read again.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

/// A directory with the artefacts of one run.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
    /// The directory itself, locked while its run goes on. The kernel unlocks it when the process ends, however
    /// it ends.
    _lock: Option<Arc<File>>,
}

/// A run directory that cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct DirectoryError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

// === impl RunDirectory ===

impl RunDirectory {
    /// Where runs go unless the user says otherwise.
    pub const ROOT: &'static str = "target/spangate";
    /// The scenario as it was read.
    pub const SCENARIO: &'static str = "scenario.yaml";
    /// The plan, with every default resolved.
    pub const PLAN: &'static str = "plan.json";
    /// The report.
    pub const REPORT: &'static str = "report.json";
    /// The report for CI systems.
    pub const JUNIT: &'static str = "junit.xml";
    /// The spans, as OTLP JSON lines.
    pub const CAPTURE: &'static str = "capture.jsonl.zst";
    /// With a Collector: the spans that reached the sink; [`Self::CAPTURE`] has those that it was given.
    pub const KEPT: &'static str = "kept.jsonl.zst";
    /// With a Collector: the exports that it was given and its answers, one JSON object a line.
    pub const PASSAGES: &'static str = "passages.jsonl";
    /// With Jaeger: the traces that it had in the end, one JSON object a trace.
    pub const STORED: &'static str = "jaeger.jsonl";
    /// The ledger of synthetic traces, one JSON object a line.
    pub const TRACES: &'static str = "traces.jsonl";
    /// The Collector's configuration as the user wrote it.
    pub const COLLECTOR: &'static str = "collector.yaml";
    /// The config of kind as the user wrote it.
    pub const KIND: &'static str = "kind.yaml";
    /// The request ledger, one JSON object a line.
    pub const REQUESTS: &'static str = "requests.jsonl";
    /// The fault ledger, one JSON object a line.
    pub const INJECTIONS: &'static str = "injections.jsonl";
    /// The watch ledger, one JSON object a line.
    pub const EVENTS: &'static str = "events.jsonl";
    /// What the load came to, with all histograms.
    pub const SUMMARY: &'static str = "summary.json";
    /// What the processes used of the machine, one JSON object a reading.
    pub const USAGE: &'static str = "usage.jsonl";
    /// What else is known of the run.
    pub const FACTS: &'static str = "facts.json";
    /// The record that was replayed, if one was.
    pub const RECORD: &'static str = "record.jsonl";
    /// The command that repeats the run.
    pub const REPEAT: &'static str = "repeat.sh";
    /// Logs of the components.
    pub const LOGS: &'static str = "logs";

    /// Makes a new directory, `<root>/<scenario>-<time>`; a run within the same second gets a number.
    pub fn create(root: &Path, scenario: &str, time: &str) -> Result<Self, DirectoryError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError { action: "create", path, source }
        };
        fs::create_dir_all(root).map_err(failed(root))?;
        for attempt in 1_u32.. {
            let suffix = if attempt == 1 { String::new() } else { format!("-{attempt}") };
            let path = root.join(format!("{scenario}-{time}{suffix}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let logs = path.join(Self::LOGS);
                    fs::create_dir(&logs).map_err(failed(&logs))?;
                    let lock = Self::lock(&path).map_err(failed(&path))?;
                    return Ok(Self { path, _lock: lock });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path)(error)),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// A directory that is there, whatever it holds.
    pub fn existing(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    /// A directory that is there, to go on in: nobody else may be at work in it.
    pub fn take(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError { action: "go on in", path: path.to_owned(), source };
        let lock = Self::lock(path)
            .map_err(failed)?
            .ok_or_else(|| failed(io::Error::new(io::ErrorKind::WouldBlock, "somebody is at work in it")))?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Makes the directory at `path`, or uses it if it is there and holds no plan yet.
    pub fn at(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError { action: "use", path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let directory = Self { path: path.to_owned(), _lock: None };
        if directory.file(Self::PLAN).exists() {
            let message = format!("it holds the {} of another run", Self::PLAN);
            return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, message)));
        }
        Ok(directory)
    }

    /// A directory that an earlier run left, or the newest one in a directory of runs.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let directory = Self { path: path.to_owned(), _lock: None };
        if directory.file(Self::FACTS).exists() {
            return Ok(directory);
        }
        if !directory.file(Self::SCENARIO).exists() {
            return Self::latest(path);
        }
        let why = "this run did not finish; its ledgers and logs are all there is";
        let source = io::Error::new(io::ErrorKind::NotFound, why);
        Err(DirectoryError { action: "read the facts of", path: path.to_owned(), source })
    }

    /// The directories beside this one whose runs were killed: not finished, and nobody at work in them.
    pub fn abandoned(&self) -> impl Iterator<Item = Self> + use<> {
        let siblings = self.path.parent().and_then(|root| fs::read_dir(root).ok());
        siblings.into_iter().flatten().filter_map(|entry| {
            let path = entry.ok()?.path();
            let has = |name: &str| path.join(name).exists();
            // Nothing but a run has all three, whatever else the user keeps here.
            if has(Self::FACTS) || ![Self::SCENARIO, Self::PLAN, Self::REPEAT].into_iter().all(has) {
                return None;
            }
            let lock = Self::lock(&path).ok()??;
            Some(Self { path, _lock: Some(lock) })
        })
    }

    /// Locks the directory, unless another run has.
    fn lock(path: &Path) -> io::Result<Option<Arc<File>>> {
        let directory = File::open(path)?;
        match directory.try_lock() {
            Ok(()) => Ok(Some(Arc::new(directory))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The newest directory under `root` that holds a finished run.
    pub fn latest(root: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError { action: "find a run in", path: root.to_owned(), source };
        let mut runs = Vec::new();
        for entry in fs::read_dir(root).map_err(failed)? {
            let facts = entry.map_err(failed)?.path().join(Self::FACTS);
            if let Ok(metadata) = fs::metadata(&facts) {
                runs.push((metadata.modified().map_err(failed)?, facts));
            }
        }
        let newest = runs.into_iter().max().ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::NotFound, "no finished run: start one with `spangate run`"))
        })?;
        Ok(Self { path: newest.1.parent().unwrap_or(root).to_owned(), _lock: None })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an artefact.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes an artefact whole or not at all.
    pub fn write(&self, name: &str, contents: &str) -> Result<(), DirectoryError> {
        let path = self.file(name);
        let temporary = self.file(&format!(".{name}.tmp"));
        fs::write(&temporary, contents)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|source| DirectoryError { action: "write", path, source })
    }

    /// Writes an artefact that can be executed.
    pub fn write_script(&self, name: &str, contents: &str) -> Result<(), DirectoryError> {
        self.write(name, contents)?;
        let path = self.file(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|source| DirectoryError {
            action: "make executable",
            path,
            source,
        })
    }

    /// Keeps a copy of the file `from` as an artefact.
    pub fn copy(&self, name: &str, from: &Path) -> Result<(), DirectoryError> {
        let copied = fs::copy(from, self.file(name));
        copied.map(drop).map_err(|source| DirectoryError { action: "copy", path: from.to_owned(), source })
    }

    /// Opens an artefact that is written bit by bit; what it held before is gone.
    pub fn open_new(&self, name: &str) -> Result<File, DirectoryError> {
        let path = self.file(name);
        File::create(&path).map_err(|source| DirectoryError { action: "create", path, source })
    }

    /// Writes an artefact as pretty JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), DirectoryError> {
        let mut text =
            serde_json::to_string_pretty(value).map_err(|error| self.invalid(name, error.into()))?;
        text.push('\n');
        self.write(name, &text)
    }

    /// Writes an artefact as JSON lines.
    pub fn write_lines(&self, name: &str, values: &[impl Serialize]) -> Result<(), DirectoryError> {
        let mut text = String::new();
        for value in values {
            text += &serde_json::to_string(value).map_err(|error| self.invalid(name, error.into()))?;
            text.push('\n');
        }
        self.write(name, &text)
    }

    /// Reads an artefact as text.
    pub fn read(&self, name: &str) -> Result<String, DirectoryError> {
        let path = self.file(name);
        fs::read_to_string(&path).map_err(|source| DirectoryError { action: "read", path, source })
    }

    /// Reads a JSON artefact.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, DirectoryError> {
        serde_json::from_str(&self.read(name)?).map_err(|error| self.invalid(name, error.into()))
    }

    /// Reads an artefact with one JSON object a line.
    pub fn read_lines<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, DirectoryError> {
        let path = self.file(name);
        let file = File::open(&path).map_err(|source| DirectoryError { action: "read", path, source })?;
        let mut values = Vec::new();
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let line = line.map_err(|source| self.invalid(name, source))?;
            let value = serde_json::from_str(&line).map_err(|error| {
                let message = format!("line {number}: {error}");
                self.invalid(name, io::Error::new(io::ErrorKind::InvalidData, message))
            })?;
            values.push(value);
        }
        Ok(values)
    }

    fn invalid(&self, name: &str, source: io::Error) -> DirectoryError {
        DirectoryError { action: "understand", path: self.file(name), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_in_one_second_get_two_directories() {
        let root = tempfile::tempdir().unwrap();
        let first = RunDirectory::create(root.path(), "quickstart", "20260101T000000Z").unwrap();
        let second = RunDirectory::create(root.path(), "quickstart", "20260101T000000Z").unwrap();
        assert_ne!(first.path(), second.path());
    }

    #[test]
    fn a_directory_is_used_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        RunDirectory::at(&path).unwrap().write(RunDirectory::PLAN, "{}").unwrap();
        let error = RunDirectory::at(&path).unwrap_err();
        assert!(error.source.to_string().contains("of another run"), "{}", error.source);
    }

    #[test]
    fn only_a_finished_run_is_the_latest() {
        let root = tempfile::tempdir().unwrap();
        assert!(RunDirectory::latest(root.path()).is_err());
        let first = RunDirectory::create(root.path(), "a", "1").unwrap();
        first.write(RunDirectory::FACTS, "{}").unwrap();
        RunDirectory::create(root.path(), "b", "2").unwrap();
        assert_eq!(RunDirectory::latest(root.path()).unwrap().path(), first.path());
    }

    #[test]
    fn a_run_that_did_not_finish_says_so() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(root.path(), "a", "1").unwrap();
        run.write(RunDirectory::SCENARIO, "").unwrap();
        let error = RunDirectory::open(run.path()).unwrap_err();
        assert!(error.source.to_string().contains("did not finish"), "{error:?}");
    }

    /// Scenario: beside a new run there are one that goes on, one that was killed, one that finished, and a
    /// directory of the user's.
    /// Guarantees: only the killed one is abandoned.
    #[test]
    fn only_a_killed_run_is_abandoned() {
        let root = tempfile::tempdir().unwrap();
        let run = |name: &str| {
            let run = RunDirectory::create(root.path(), name, "1").unwrap();
            for file in [RunDirectory::SCENARIO, RunDirectory::PLAN, RunDirectory::REPEAT] {
                run.write(file, "").unwrap();
            }
            run
        };
        let (new, _going_on) = (run("new"), run("going-on"));
        let killed = run("killed").path().to_owned();
        run("finished").write(RunDirectory::FACTS, "{}").unwrap();
        fs::create_dir(root.path().join("mine")).unwrap();
        let abandoned: Vec<_> = new.abandoned().map(|left| left.path().to_owned()).collect();
        assert_eq!(abandoned, [killed]);
    }

    #[test]
    fn a_directory_is_gone_on_in_by_one_alone() {
        let root = tempfile::tempdir().unwrap();
        let first = RunDirectory::create(root.path(), "a", "1").unwrap();
        let error = RunDirectory::take(first.path()).unwrap_err();
        assert!(error.source.to_string().contains("at work"), "{}", error.source);
        let path = first.path().to_owned();
        drop(first);
        assert!(RunDirectory::take(&path).is_ok());
        assert!(RunDirectory::take(&path.join("none")).is_err());
    }

    #[test]
    fn a_broken_line_is_named() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(root.path(), "a", "1").unwrap();
        run.write(RunDirectory::REQUESTS, "1\n2\n{\n").unwrap();
        let error = run.read_lines::<u32>(RunDirectory::REQUESTS).unwrap_err();
        assert!(error.source.to_string().starts_with("line 3:"), "{}", error.source);
    }
}
