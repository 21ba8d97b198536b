//! Real processes. `sh` and `sleep` are enough.

use std::{env, fs, process::Command as StdCommand};

use super::*;

/// Names the log directory to the copy of this test program that is killed.
const KILLED_PARENT: &str = "SPANGATE_TEST_KILLED_PARENT";
const LIMIT: Duration = Duration::from_secs(20);

fn spec(dir: &Path, script: &str) -> Spec {
    Spec {
        name: "child",
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::new(),
        log: dir.join("child.log"),
        lifetime: Lifetime::WithParent,
    }
}

/// Waits until `read` has an answer.
async fn until<T>(what: &str, mut read: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = read() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn output_goes_to_the_log_and_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    for word in ["one", "two"] {
        let child = Child::spawn(spec(dir.path(), &format!("echo {word}; echo {word} >&2; exit 3"))).unwrap();
        assert_eq!(child.exited().await.code(), Some(3));
        assert_eq!(child.status().and_then(|status| status.code()), Some(3));
    }
    assert_eq!(fs::read_to_string(dir.path().join("child.log")).unwrap(), "one\none\ntwo\ntwo\n");
}

#[tokio::test]
async fn an_unexpected_exit_shows_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let child = Child::spawn(spec(dir.path(), "for i in $(seq 50); do echo line $i; done; exit 7")).unwrap();
    let status = child.exited().await;
    let message = child.unexpected_exit(status).to_string();
    assert!(message.contains("exit status: 7") && message.ends_with("line 50"), "{message}");
    assert!(message.contains("line 31\n") && !message.contains("line 30\n"), "{message}");
}

#[tokio::test]
async fn only_the_named_environment_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let env = BTreeMap::from([("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "200".to_owned())]);
    // Cargo sets this for the test program itself.
    assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
    let script = "echo $OTEL_BSP_SCHEDULE_DELAY ${CARGO_MANIFEST_DIR:-none}";
    let child = Child::spawn(Spec { env, ..spec(dir.path(), script) }).unwrap();
    child.exited().await;
    assert_eq!(fs::read_to_string(child.log()).unwrap(), "200 none\n");
}

#[tokio::test]
async fn stop_asks_first() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let child = Child::spawn(spec(dir.path(), script)).unwrap();
    until("the trap", || fs::read_to_string(child.log()).ok().filter(|log| log == "up\n")).await;
    let stopped = child.stop(LIMIT).await;
    assert_eq!((stopped.status.code(), stopped.killed), (Some(5), false));
    // A second stop finds it gone.
    assert_eq!(child.stop(LIMIT).await.status.code(), Some(5));
}

#[tokio::test]
async fn stop_kills_what_does_not_listen() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let child = Child::spawn(spec(dir.path(), script)).unwrap();
    until("the trap", || fs::read_to_string(child.log()).ok().filter(|log| log == "up\n")).await;
    assert!(child.stop(Duration::from_millis(50)).await.killed);
}

#[tokio::test]
async fn a_dropped_child_is_killed_and_a_released_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        Child::spawn(Spec { lifetime: Lifetime::Detached, ..spec(dir.path(), "exec sleep 1000") }).unwrap()
    };
    let (dropped, released) = (start(), start());
    let (gone, kept) = (dropped.exited(), PidFd::open(released.pid()).unwrap());
    released.release();
    drop(dropped);
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    assert!(!kept.wait(Duration::ZERO).unwrap());
    kept.signal(Signal::KILL).unwrap();
    assert!(kept.wait(LIMIT).unwrap());
}

#[tokio::test]
async fn a_child_outlives_the_thread_that_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), "exec sleep 1000");
    let child = thread::spawn(move || Child::spawn(spec).unwrap()).join().unwrap();
    // If the death signal were tied to that thread, it would be under way by now.
    let pidfd = PidFd::open(child.pid()).unwrap();
    assert!(!pidfd.wait(Duration::from_millis(100)).unwrap());
}

#[tokio::test]
async fn children_are_out_of_our_process_group() {
    let dir = tempfile::tempdir().unwrap();
    let child = Child::spawn(spec(dir.path(), "exec sleep 1000")).unwrap();
    let group =
        |pid: u32| rustix::process::getpgid(rustix::process::Pid::from_raw(pid.cast_signed())).unwrap();
    assert_ne!(group(child.pid()), group(std::process::id()));
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Child::spawn(Spec { program: "no/such/program".into(), ..spec(dir.path(), "") }).unwrap_err();
    assert!(error.to_string().contains("no/such/program"), "{error}");
}

/// Runs this test program again as the parent of a child, kills that parent, and sees the child die.
#[tokio::test]
async fn children_die_with_a_parent_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut parent = StdCommand::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "process::tests::parent_that_is_killed"])
        .env(KILLED_PARENT, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let read = || fs::read_to_string(dir.path().join("child.pid")).ok()?.trim().parse().ok();
    let pid: u32 = until("the child's process number", read).await;
    let child = PidFd::open(pid).unwrap();
    assert!(!child.wait(Duration::ZERO).unwrap(), "the child ended too soon");
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(child.wait(LIMIT).unwrap(), "the child {pid} outlived its parent");
}

#[tokio::test]
#[ignore = "not a test of its own: the parent that the test above kills"]
async fn parent_that_is_killed() {
    let Some(dir) = env::var_os(KILLED_PARENT).map(PathBuf::from) else { return };
    let child = Child::spawn(spec(&dir, "exec sleep 1000")).unwrap();
    // Under another name first, so that a reader never sees half of it.
    fs::write(dir.join("pid"), child.pid().to_string()).unwrap();
    fs::rename(dir.join("pid"), dir.join("child.pid")).unwrap();
    child.exited().await;
}
