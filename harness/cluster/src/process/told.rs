//! A command that takes long, told of line by line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// How often is told of it while the command is silent.
const TICK: Duration = Duration::from_millis(500);

/// Runs `command` to its end in this thread, to which the caller has tied it, and copies what it writes to `log`. `report` is given the time so far
/// and the last line: when it begins, and about twice a second.
pub(crate) fn told(
    command: &mut Command,
    log: &mut File,
    report: &dyn Fn(Duration, &str),
) -> io::Result<ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    report(began.elapsed(), "");
    let mut child = super::spawn(command)?;
    let (sender, lines) = mpsc::channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
    ];
    let mut readers = Vec::new();
    for output in outputs.into_iter().flatten() {
        let (mut log, sender) = (log.try_clone()?, sender.clone());
        readers.push(thread::spawn(move || -> io::Result<()> {
            for line in BufReader::new(output).split(b'\n') {
                let mut line = line?;
                line.push(b'\n');
                log.write_all(&line)?;
                // The receiver hears until the pipes are closed.
                let _ = sender.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            Ok(())
        }));
    }
    drop(sender);
    let (mut last_line, mut reported) = (String::new(), Instant::now());
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => last_line = line,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if reported.elapsed() >= TICK {
            reported = Instant::now();
            report(began.elapsed(), &last_line);
        }
    }
    for reader in readers {
        reader.join().expect("copying lines does not panic")?;
    }
    log.sync_all()?;
    child.wait()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn both_outputs_are_kept_and_the_last_line_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let told_of = Mutex::new(Vec::new());
        let report = |_, line: &str| told_of.lock().unwrap().push(line.to_owned());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo one; echo two >&2; sleep 0.7; exit 3"]);
        let status = told(&mut command, &mut File::create(&path).unwrap(), &report).unwrap();
        assert_eq!(status.code(), Some(3));
        let mut kept: Vec<String> =
            std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["one", "two"]);
        let told_of = told_of.into_inner().unwrap();
        assert_eq!(told_of.first().map(String::as_str), Some(""));
        assert!(["one", "two"].contains(&told_of.last().unwrap().as_str()), "{told_of:?}");
    }
}
