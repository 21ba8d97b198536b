//! The root file system of a node: Debian packages, put together once and kept in the cache.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    node_image::{NodeImageError, io_error},
    recipe::Recipe,
};
use crate::{
    assets::{catalogue::Platform, path_directories},
    process::{self, log_tail, told},
    progress::{Event, Progress},
};

/// How the name of a directory begins in which one is being made.
pub(super) const TEMPORARY: &str = ".rootfs-";

/// How many lines of the log an error shows.
const TAIL: usize = 20;

/// The root file system in `cache`, made now if it is not there.
pub(super) fn ensure(
    recipe: &Recipe,
    cache: &Path,
    path: Option<&OsStr>,
    progress: &dyn Progress,
) -> Result<PathBuf, NodeImageError> {
    let done = cache.join(format!("rootfs-{}", recipe.root_hash(Platform::HOST)));
    if done.is_dir() {
        return Ok(done);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(NodeImageError::NotRoot);
    }
    // It lies where ordinary users of some systems have no PATH to.
    let places = path_directories(path).chain([PathBuf::from("/usr/sbin")]);
    let debootstrap = places.map(|dir| dir.join("debootstrap")).find(|program| program.is_file());
    let debootstrap = debootstrap.ok_or(NodeImageError::NoDebootstrap)?;
    let work = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(cache).map_err(io_error(cache))?;
    let log = cache.join("debootstrap.log");
    let mut lines = File::create(&log).map_err(io_error(&log))?;
    // In namespaces of its own, so that what it mounts and starts is gone when it is killed: what lies below a mount
    // must never be deleted together with this directory.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"])
        .arg(&debootstrap)
        .arg("--variant=minbase")
        .arg(format!("--include={}", recipe.debian.packages.join(",")))
        .arg(&recipe.debian.suite)
        .arg(work.path());
    let what = format!("node image: packages of Debian {}", recipe.debian.suite);
    let report = |elapsed, last_line: &str| {
        progress.event(Event::Working { what: what.clone(), elapsed, last_line: last_line.to_owned() });
    };
    process::kill_with_parent(&mut command);
    let status = told(&mut command, &mut lines, &report).map_err(io_error(&debootstrap))?;
    if !status.success() {
        return Err(NodeImageError::Failed { what: "debootstrap", status, tail: log_tail(&log, TAIL), log });
    }
    let kept = work.keep();
    fs::rename(&kept, &done).map_err(io_error(&done))?;
    fs::remove_file(&log).map_err(io_error(&log))?;
    Ok(done)
}

/// The shared libraries that these programs and libraries of a root file system are linked with, as absolute paths in
/// it.
pub(super) fn libraries(root: &Path, of: &[String]) -> Result<Vec<String>, NodeImageError> {
    let mut command = Command::new("chroot");
    command.arg(root).arg("ldd").args(of.iter().map(|path| format!("/{path}")));
    let output = command.output().map_err(io_error(root))?;
    Ok(linked(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths in what `ldd` prints, each once.
fn linked(text: &str) -> Vec<String> {
    let mut paths: Vec<String> = text
        .lines()
        // A line that ends with a colon names the program that the next ones are about.
        .filter(|line| !line.ends_with(':'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let text = "/usr/sbin/nft:\n\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so (0x7f)\n\
                    /usr/sbin/other:\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7e)\n\tstatically linked\n";
        assert_eq!(linked(text), ["/lib/x/libc.so.6", "/lib64/ld.so"]);
    }
}
