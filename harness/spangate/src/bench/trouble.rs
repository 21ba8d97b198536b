//! What may become of a machine while it is measured: its disk fills, it sleeps, its clock is set, or so much goes wrong that
//! what is left says nothing.

use std::time::{Duration, Instant};

use crate::{error::CommandError, measure::Meter, run::directory::RunDirectory};

/// Something that takes time, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    began: jiff::Timestamp,
    start: Instant,
}

/// How far the wall clock may go from the time that was measured: more of it, and the machine slept or its clock was set.
const CLOCKS: Duration = Duration::from_secs(1);
/// The most that may not count, as a part of all: what is left of more is chosen by what went wrong, and no sample.
const MOST_VOID: f64 = 0.25;
/// Free space that a measurement needs at least, in bytes.
const SPACE: u64 = 256 << 20;

// === impl Stretch ===

impl Stretch {
    /// One that begins now.
    pub(crate) fn begin() -> Self {
        Self { began: jiff::Timestamp::now(), start: Instant::now() }
    }

    /// When it began, in milliseconds of the wall clock.
    pub(crate) fn began_ms(&self) -> u64 {
        u64::try_from(self.began.as_millisecond()).unwrap_or_default()
    }

    /// How long it has taken, a machine that sleeps left out.
    pub(crate) fn taken(&self) -> Duration {
        self.start.elapsed()
    }

    /// Finds a machine that slept in it, or a clock that was set: the time that was measured is not the one that went by.
    pub(crate) fn clocks_agree(&self) -> Result<(), String> {
        agree(self.taken(), jiff::Timestamp::now().duration_since(self.began))
    }
}

fn agree(taken: Duration, wall: jiff::SignedDuration) -> Result<(), String> {
    let apart = wall.as_secs_f64() - taken.as_secs_f64();
    if apart.abs() <= CLOCKS.as_secs_f64() {
        return Ok(());
    }
    Err(format!("the machine slept or its clock was set: {apart:+.1} s by the wall clock"))
}

/// Whether so many pairs, rounds or units do not count that the others say nothing.
pub(crate) fn too_many_void(void: u64, all: u64) -> bool {
    void as f64 > MOST_VOID * all as f64
}

/// Refuses a machine that does not say what its processes use, before an hour is spent on figures without them.
pub(crate) fn look_for_counts() -> Result<(), CommandError> {
    let read = Meter::new(std::process::id()).read().map_err(|error| error.to_string());
    counts(read.map(|usage| usage.cpu_nanos))
}

fn counts(read: Result<u64, String>) -> Result<(), CommandError> {
    let why = match read {
        // Whoever asks has used some.
        Ok(nanos) if nanos > 0 => return Ok(()),
        Ok(_) => "it is 0".to_owned(),
        Err(error) => error,
    };
    let message = format!("CPU time of processes cannot be read here from /proc/PID/task/*/schedstat: {why}");
    Err(CommandError::environment(message)
        .help("measure on Linux with its scheduler's counts: not in a sandbox that hides them"))
}

/// Refuses a disk that is nearly full, before what is measured is half written.
pub(crate) fn look_for_space(directory: &RunDirectory) -> Result<(), CommandError> {
    let Ok(disk) = rustix::fs::statvfs(directory.path()) else { return Ok(()) };
    enough(disk.f_bavail.saturating_mul(disk.f_frsize), directory)
}

fn enough(free: u64, directory: &RunDirectory) -> Result<(), CommandError> {
    if free >= SPACE {
        return Ok(());
    }
    let (path, free, needed) = (directory.path().display(), free >> 20, SPACE >> 20);
    Err(CommandError::environment(format!(
        "the disk is nearly full: {free} MiB are free at {path}, and {needed} MiB are needed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slept_is_noticed() {
        let wall = |seconds| jiff::SignedDuration::from_secs(seconds);
        assert!(agree(Duration::from_secs(30), wall(30)).is_ok());
        let slept = agree(Duration::from_secs(30), wall(3630)).unwrap_err();
        assert!(slept.contains("+3600.0 s"), "{slept}");
        assert!(agree(Duration::from_secs(30), wall(-5)).is_err());
        assert!(Stretch::begin().clocks_agree().is_ok());
    }

    #[test]
    fn a_quarter_that_does_not_count_is_the_most() {
        assert!(!too_many_void(0, 0) && !too_many_void(5, 20) && too_many_void(6, 20));
    }

    #[test]
    fn a_machine_without_counts_is_told_beforehand() {
        assert!(look_for_counts().is_ok());
        let hidden = counts(Err("No such file or directory".to_owned())).unwrap_err();
        assert!(hidden.to_string().contains("schedstat: No such file"), "{hidden}");
        assert_eq!(hidden.exit(), crate::exit::Exit::Environment);
        assert!(counts(Ok(0)).is_err());
    }

    #[test]
    fn a_full_disk_is_told_beforehand() {
        let directory = RunDirectory::existing("somewhere".as_ref());
        assert!(enough(SPACE, &directory).is_ok());
        let full = enough(3 << 20, &directory).unwrap_err().to_string();
        assert!(full.contains("3 MiB are free at somewhere, and 256 MiB"), "{full}");
    }
}
