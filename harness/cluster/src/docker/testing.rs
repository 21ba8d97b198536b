//! A client of Docker that a test makes up.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::Docker;

/// A client that does what `cases` says of its arguments, as the arms of a shell's `case`; whatever else it is told succeeds
/// and says nothing. Its directory is in `$here`.
pub(crate) fn docker(cases: &str) -> (TempDir, Docker) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("docker");
    let script = format!("#!/bin/sh\nhere=${{0%/*}}\ncase \"$*\" in\n{cases}\nesac\n");
    fs::write(&path, script).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script that can be run");
    let docker = Docker::find(Some(dir.path().as_os_str())).expect("a client");
    (dir, docker)
}
