//! What a process sends and what it costs.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use spangate_benches::command::Failure;

/// A run of a generator, whichever it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// CPU seconds of the whole process, from its start to its end.
    pub(crate) cpu: f64,
    /// As the generator reports it, in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Clock ticks a second in `/proc` (`USER_HZ`).
const TICKS: f64 = 100.0;

// === impl Run ===

impl Run {
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub(crate) fn per_cpu_second(&self) -> f64 {
        self.requests as f64 / self.cpu
    }
}

/// Runs a program to its end; gives what it wrote, and the CPU seconds that it took.
pub(crate) fn run(command: &mut Command) -> Result<(String, f64), Failure> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().ok_or("no standard error")?;
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let mut output = String::new();
    child.stdout.take().ok_or("no standard output")?.read_to_string(&mut output)?;
    let pid = Pid::from_child(&child);
    // It stays to be asked what it took until it is waited for.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let cpu = cpu_seconds(&fs::read_to_string(format!("/proc/{}/stat", child.id()))?)?;
    let status = child.wait()?;
    if status.success() {
        return Ok((output, cpu));
    }
    let errors = errors.join().map_err(|_| "reading standard error broke off")??;
    Err(format!("{command:?} ended with {status}: {output}{errors}").into())
}

/// Fields 14 and 15 of `/proc/PID/stat` (`proc(5)`); the name before them may have spaces and parentheses.
fn cpu_seconds(stat: &str) -> Result<f64, Failure> {
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
    let ticks: Vec<f64> =
        fields.split_ascii_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS)
}
