//! Real-time scheduling given back by a thread that is about to reap.
//!
//! The kernel clears the entries of a process below `/proc` away as it is reaped, and waits for them by trying again and again
//! (`shrink_dcache_parent` in fs/dcache.c) while another thread has some of them in hand, such as the last threads of that
//! very process. A reaper that stands above those under `SCHED_RR` never lets them go on when every CPU has one such reaper:
//! five servers that were ended at once stopped a machine of two cores (docs/adr/0025). So nobody reaps with real-time
//! scheduling.

use std::{
    fs, io,
    process::{Command, Stdio},
};

/// Where a thread's policy is among the fields behind its name (`proc_pid_stat(5)`, field 41).
const POLICY: usize = 38;
/// `SCHED_FIFO` and `SCHED_RR` of `sched(7)`.
const REAL_TIME: [&str; 2] = ["1", "2"];

/// Puts this thread under ordinary scheduling, which needs no right to it.
pub(super) fn step_down() -> io::Result<()> {
    if !REAL_TIME.contains(&policy()?.as_str()) {
        return Ok(());
    }
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let args = ["--other", "--pid", "0", &thread];
    let output = Command::new("chrt").args(args).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The scheduling policy of this thread, as the kernel writes it.
fn policy() -> io::Result<String> {
    let stat = fs::read_to_string("/proc/thread-self/stat")?;
    // The name is in parentheses and may have anything in it.
    let behind = stat.rsplit_once(')').map(|(_, behind)| behind);
    let policy = behind.and_then(|behind| behind.split_whitespace().nth(POLICY));
    policy.map(str::to_owned).ok_or_else(|| io::Error::other(format!("no policy in {stat}")))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Scenario: a thread asks for real-time scheduling, and steps down.
    /// Guarantees: it has ordinary scheduling then, whether or not it got what it asked for.
    #[test]
    fn a_thread_is_ordinary_afterwards() {
        let stepped = thread::spawn(|| {
            let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
            let asked = Command::new("chrt").args(["--rr", "--pid", "1", &thread]).output().unwrap();
            // Without the right to it, there is nothing to give back.
            assert_eq!(policy().unwrap(), if asked.status.success() { "2" } else { "0" });
            step_down().unwrap();
            policy().unwrap()
        });
        assert_eq!(stepped.join().unwrap(), "0");
    }
}
