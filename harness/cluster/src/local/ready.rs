//! Waits until a server answers, and says why when it does not.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use http::StatusCode;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    docker::{Container, Ended, ended},
    probe::Probe,
    process::{Child, TAIL, end_of, exited, log_tail},
};

/// A server that was started and never became ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It ended.
    #[error("{name} ended {} before it was ready{}{}",
        with(*status), clause(reason.as_deref()), ending(log, tail, reason.as_deref()))]
    Exited {
        /// The server.
        name: &'static str,
        /// How it ended, if anybody told.
        status: Option<ExitStatus>,
        /// The line of the log that tells why, if one does.
        reason: Option<String>,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// It runs, and does not answer as it should.
    #[error("{name} was not ready after {} s (last answer: {answer}){}{}",
        limit.as_secs(), clause(reason.as_deref()), ending(log, tail, reason.as_deref()))]
    Late {
        /// The server.
        name: &'static str,
        /// How long it had.
        limit: Duration,
        /// What it answered last.
        answer: String,
        /// The line of the log that tells why, if one does.
        reason: Option<String>,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
}

/// How often a server is asked.
const TICK: Duration = Duration::from_millis(20);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The time that a server has to become ready.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// A server that was just started.
pub(super) struct Starting<'a> {
    name: &'static str,
    exit: Exit,
    log: &'a Path,
    /// How long its log was before: what stands there is not about this start.
    log_from: u64,
}

/// What tells of the end of a server.
enum Exit {
    Child(watch::Receiver<Option<ExitStatus>>),
    Container(watch::Receiver<Option<Ended>>),
}

// === impl Starting ===

impl<'a> Starting<'a> {
    /// Watches `child`, whose log had `log_from` bytes before it was started.
    pub(super) fn new(child: &'a Child, log_from: u64) -> Self {
        Self { name: child.name(), exit: Exit::Child(child.exit()), log: child.log(), log_from }
    }

    /// Watches a container in the same way.
    pub(super) fn in_container(container: &'a Container, log_from: u64) -> Self {
        let exit = Exit::Container(container.exit());
        Self { name: container.name(), exit, log: container.log(), log_from }
    }

    /// Asks for `path` until the answer is 200.
    pub(super) async fn wait(
        &self,
        mut probe: Probe,
        path: &str,
        limit: Duration,
    ) -> Result<(), Box<NotReady>> {
        let mut answer = "none".to_owned();
        let asking = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match timeout(ANSWER, probe.get(path)).await {
                    Ok(Ok((StatusCode::OK, _))) => return,
                    Ok(Ok((status, body))) => answer = format!("{status}, {}", failing(&body)),
                    Ok(Err(error)) => answer = error.to_string(),
                    Err(_) => answer = format!("none within {} s", ANSWER.as_secs()),
                }
            }
        };
        let deadline = Instant::now() + limit;
        tokio::select! {
            status = self.exit.status() => return Err(Box::new(self.exited(status))),
            () = tokio::time::sleep_until(deadline) => {}
            () = asking => return Ok(()),
        }
        Err(Box::new(self.late(limit, answer)))
    }

    /// Waits until somebody listens at `address`.
    pub(super) async fn listening(&self, address: SocketAddr, limit: Duration) -> Result<(), Box<NotReady>> {
        let mut answer = "none".to_owned();
        let knocking = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match TcpStream::connect(address).await {
                    Ok(_) => return,
                    Err(error) => answer = format!("{address}: {error}"),
                }
            }
        };
        tokio::select! {
            status = self.exit.status() => return Err(Box::new(self.exited(status))),
            () = tokio::time::sleep(limit) => {}
            () = knocking => return Ok(()),
        }
        Err(Box::new(self.late(limit, answer)))
    }

    fn exited(&self, status: Option<ExitStatus>) -> NotReady {
        NotReady::Exited {
            name: self.name,
            status,
            reason: self.reason(),
            log: self.log.to_owned(),
            tail: log_tail(self.log, TAIL),
        }
    }

    fn late(&self, limit: Duration, answer: String) -> NotReady {
        NotReady::Late {
            name: self.name,
            limit,
            answer,
            reason: self.reason(),
            log: self.log.to_owned(),
            tail: log_tail(self.log, TAIL),
        }
    }

    fn reason(&self) -> Option<String> {
        reason(&end_of(self.log, self.log_from).ok()?).map(str::to_owned)
    }
}

// === impl Exit ===

impl Exit {
    /// Waits until the server ends: with what status, if anybody tells.
    async fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Child(exit) => Some(exited(exit.clone()).await),
            Self::Container(exit) => ended(exit.clone()).await.status,
        }
    }
}

// === impl NotReady ===

impl NotReady {
    /// Whether another process had taken the port meanwhile.
    pub fn port_taken(&self) -> bool {
        matches!(self, Self::Exited { reason: Some(reason), .. } if reason.contains(PORT_TAKEN))
    }

    /// The same, for a log that is moved to another directory afterwards.
    pub(super) fn with_log_in(mut self, directory: &Path) -> Self {
        let (Self::Exited { log, .. } | Self::Late { log, .. }) = &mut self;
        if let Some(name) = log.file_name() {
            *log = directory.join(name);
        }
        self
    }
}

/// How long the log at `path` is now.
pub(super) fn log_length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

const PORT_TAKEN: &str = "address already in use";

/// The line of a log that tells why a server gave up: one about a taken port, about tracing or feature gates,
/// or else the last one that is an error.
///
/// kube-apiserver writes errors in klog's format (`E1123 15:29:36...`) or as `Error: ...`; etcd writes JSON
/// with `"level":"fatal"`. Plain lines do not count: the server lists its flags, tracing among them.
pub(crate) fn reason(log: &str) -> Option<&str> {
    let is_error = |line: &&str| {
        let mut bytes = line.bytes();
        let klog = matches!(bytes.next(), Some(b'E' | b'F')) && bytes.take(4).all(|b| b.is_ascii_digit());
        let json =
            ["fatal", "error", "panic"].iter().any(|level| line.contains(&format!("\"level\":\"{level}\"")));
        klog || json || line.starts_with("Error: ") || line.starts_with("panic: ")
    };
    let errors = || log.lines().rev().filter(is_error);
    let about = |words: &[&str]| errors().find(|line| words.iter().any(|word| line.contains(word)));
    about(&[PORT_TAKEN])
        .or_else(|| about(&["tracing", "TracingConfiguration", "feature gate"]))
        .or_else(|| errors().next())
}

/// The failed checks of a `/readyz` answer, which lists them all as `[+]name ok` or `[-]name failed`.
fn failing(body: &str) -> String {
    let failed: Vec<&str> = body.lines().filter(|line| line.starts_with("[-]")).collect();
    if failed.is_empty() { body.chars().take(200).collect() } else { failed.join(", ") }
}

/// How a server ended, in words.
fn with(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "(nobody told how)".to_owned(), |status| format!("with {status}"))
}

fn clause(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

/// The end of a log, without the line that was told before it.
fn ending(log: &Path, tail: &str, reason: Option<&str>) -> String {
    let lines: Vec<&str> = tail.lines().filter(|line| Some(*line) != reason).collect();
    if lines.is_empty() {
        return format!("; its log is {}", log.display());
    }
    format!("; the last lines of {}:\n{}", log.display(), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::process::{Lifetime, Spec};

    fn child(dir: &Path, script: &str) -> Child {
        let spec = Spec {
            name: "server",
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::new(),
            log: dir.join("server.log"),
            lifetime: Lifetime::WithParent,
        };
        Child::spawn(spec).unwrap()
    }

    /// Answers one request after the other, on one connection after the other, with these statuses in turn; the last
    /// one again and again.
    async fn answering(statuses: &'static [&'static str]) -> Probe {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut answers = statuses.iter().copied().chain(std::iter::repeat(*statuses.last().unwrap()));
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                    let body = "[+]ping ok\n[-]etcd failed\n";
                    let status = answers.next().unwrap();
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Probe::plain(address)
    }

    #[tokio::test]
    async fn asks_until_the_answer_is_ok() {
        let dir = tempfile::tempdir().unwrap();
        let child = child(dir.path(), "exec sleep 1000");
        let probe = answering(&["500 Internal Server Error", "403 Forbidden", "200 OK"]).await;
        Starting::new(&child, 0).wait(probe, "/readyz", LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_late_server_shows_its_last_answer() {
        let dir = tempfile::tempdir().unwrap();
        let child = child(dir.path(), "exec sleep 1000");
        let probe = answering(&["500 Internal Server Error"]).await;
        let error =
            Starting::new(&child, 0).wait(probe, "/readyz", Duration::from_secs(1)).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains("last answer: 500 Internal Server Error, [-]etcd failed"), "{message}");
    }

    #[tokio::test]
    async fn a_server_that_ends_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("server.log"), "E1123 from an earlier start\n").unwrap();
        let from = log_length(&dir.path().join("server.log"));
        let child = child(dir.path(), "echo 'F1123 no way'; exit 4");
        let probe = answering(&["503 Service Unavailable"]).await;
        let error = Starting::new(&child, from).wait(probe, "/readyz", LIMIT).await.unwrap_err();
        let NotReady::Exited { status, reason, .. } = *error else { panic!("{error}") };
        assert_eq!(
            (status.and_then(|status| status.code()), reason.as_deref()),
            (Some(4), Some("F1123 no way"))
        );
    }

    const FLAGS: &str = "I1123 15:29:36.000000   1 flags.go:64] FLAG: --tracing-config-file=\"t.yaml\"\n";

    #[test]
    fn the_reason_is_the_error_about_tracing() {
        let tracing = "E1123 15:29:36.100000   1 run.go:72] \"command failed\" err=\"failed to read tracing config: \
                       unable to decode tracing configuration data\"";
        let later = "E1123 15:29:36.200000   1 other.go:1] later";
        assert_eq!(reason(&format!("{FLAGS}{tracing}\n{later}\n")), Some(tracing));
        let gate = "Error: invalid argument \"APIServerTracing=true\" for \"--feature-gates\" flag: unrecognized \
                    feature gate: APIServerTracing";
        assert_eq!(reason(&format!("{gate}\nUsage: flags\n")), Some(gate));
    }

    #[test]
    fn a_taken_port_comes_first() {
        let port = "{\"level\":\"fatal\",\"msg\":\"discovery failed\",\"error\":\"listen tcp 127.0.0.1:2379: bind: \
                    address already in use\"}";
        assert_eq!(reason(&format!("E1123 15:29:36.1 1 x.go:1] tracing\n{port}\n")), Some(port));
    }

    #[test]
    fn the_last_error_is_better_than_nothing() {
        assert_eq!(reason("E1123 one\nE1123 two\nI1123 three\nEverything is fine\n"), Some("E1123 two"));
        assert_eq!(reason(FLAGS), None);
    }

    #[test]
    fn an_answer_is_cut_down_to_the_failed_checks() {
        let body = "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n";
        assert_eq!(failing(body), "[-]poststarthook/rbac/bootstrap-roles failed: reason withheld");
        assert_eq!(failing("Forbidden"), "Forbidden");
    }
}
