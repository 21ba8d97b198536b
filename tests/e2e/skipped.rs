//! A test that cannot run here says so where people look, and where machines do: a passing test of cargo is silent.
//!
//! Test binaries of other packages have this file too.

use std::{
    env, fs,
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use quick_junit::{Report, TestCase, TestCaseStatus, TestSuite};

/// Says on standard error and in `target/tmp/junit/TEST.xml` why a test did nothing.
///
/// # Panics
///
/// When the environment variable `require` is set: there, the test must run.
pub(crate) fn skipped(test: &str, require: &str, why: &str) {
    assert!(env::var_os(require).is_none(), "{test} must run, for {require} is set: {why}");
    // Past the capture of the test runner, which shows nothing of a test that passes.
    let _ = writeln!(std::io::stderr(), "\n{test}: skipped: {why}");
    fs::create_dir_all(directory()).unwrap();
    fs::write(file(test), junit(test, why)).unwrap();
}

/// Takes back what an earlier run of a test said that was skipped: it runs now.
///
/// # Panics
///
/// When that cannot be taken back.
pub(crate) fn runs(test: &str) {
    let removed = fs::remove_file(file(test));
    assert!(
        removed.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::NotFound),
        "{test} still counts as skipped: {removed:?}"
    );
}

/// Where machines read that a test was skipped.
fn file(test: &str) -> PathBuf {
    directory().join(format!("{test}.xml"))
}

/// Beside what cargo builds, of which the binary of a test is in `PROFILE/deps`.
fn directory() -> PathBuf {
    let binary = env::current_exe().unwrap();
    binary.ancestors().nth(3).unwrap().join("tmp/junit")
}

fn junit(test: &str, why: &str) -> String {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    let mut case = TestCase::new(test, status);
    case.set_classname(env!("CARGO_CRATE_NAME"));
    let mut suite = TestSuite::new(env!("CARGO_CRATE_NAME"));
    suite.add_test_case(case);
    let mut report = Report::new("spangate-tests");
    report.add_test_suite(suite);
    report.to_string().unwrap()
}

#[test]
fn junit_says_that_and_why_a_test_was_skipped() {
    let text = junit("on_kind", "no Docker <here>");
    let suite = format!(r#"<testsuite name="{}" tests="1" skipped="1""#, env!("CARGO_CRATE_NAME"));
    assert!(text.contains(&suite), "{text}");
    assert!(text.contains(r#"<skipped message="no Docker &lt;here&gt;"/>"#), "{text}");
}

#[test]
fn a_test_that_runs_is_skipped_no_more() {
    let test = format!("skipped_before_{}", std::process::id());
    fs::create_dir_all(directory()).unwrap();
    fs::write(file(&test), junit(&test, "no Docker")).unwrap();
    runs(&test);
    assert!(!file(&test).exists());
    runs(&test);
}
