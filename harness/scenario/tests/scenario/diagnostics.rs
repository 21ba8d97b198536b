//! How typical mistakes look to the user.

use miette::{Diagnostic, NarratableReportHandler};
use spangate_scenario::{ReadError, read};

use crate::support::{SHORT, problems, with_expect, with_faults};

fn render(diagnostic: &dyn Diagnostic) -> String {
    let mut text = String::new();
    let handler = NarratableReportHandler::new().with_context_lines(1);
    handler.render_report(&mut text, diagnostic).expect("writing to text does not fail");
    text
}

#[track_caller]
fn shown(name: &str, text: &str) {
    insta::assert_snapshot!(name, render(&problems(text)), text);
}

#[test]
fn unknown_keys() {
    shown("unknown_keys", &SHORT.replace("{name: short}", "{nmae: short, colour: red}"));
}

#[test]
fn unindented_keys() {
    shown("unindented_keys", &with_faults("    - webhook:\n      name: x"));
}

#[test]
fn number_for_text() {
    shown("number_for_text", &SHORT.replace("spec:", "spec:\n  cluster: {kubernetes: 1.37}"));
}

#[test]
fn duration_without_unit() {
    shown("duration_without_unit", &SHORT.replace("20s", "20"));
}

#[test]
fn missing_keys() {
    shown("missing_keys", &with_faults("    - webhook:\n        delay: {fixed: 1s}"));
}

#[test]
fn unknown_value() {
    shown("unknown_value", &SHORT.replace("configmaps", "configmap"));
}

#[test]
fn unquoted_star() {
    shown("unquoted_star", &with_faults("    - webhook: {rules: [{resources: [*]}]}"));
}

#[test]
fn unclosed_bracket() {
    shown("unclosed_bracket", &SHORT.replace("}}]", "}}"));
}

#[test]
fn repeated_key() {
    shown("repeated_key", &SHORT.replace("kind: Scenario", "kind: Scenario\nkind: Scenario"));
}

#[test]
fn fault_that_does_nothing() {
    shown("fault_that_does_nothing", &with_faults("    - etcd:\n        name: a\n        rpc: KV/Txn"));
}

#[test]
fn unknown_fault() {
    shown("unknown_fault", &with_expect("    - injected: {fault: hok}"));
}

#[test]
fn unknown_rpc() {
    shown("unknown_rpc", &with_faults("    - etcd: {name: a, rpc: Kv/Txns, delay: {fixed: 1s}}"));
}

#[test]
fn unquoted_bound() {
    shown("unquoted_bound", &with_expect("    - requests:\n        share: >= 80%"));
}

#[test]
fn nothing_to_compare_with() {
    let faults = "    - etcd: {name: a, rpc: KV/Txn, delay: {fixed: 1s}}";
    let text = format!("{}  expect:\n    - blame: {{fault: a}}\n", with_faults(faults));
    shown("nothing_to_compare_with", &text);
}

#[test]
fn webhook_that_is_never_called() {
    let rules = "rules: [{operations: [CREATE], resources: [configmaps]}]";
    let fault = format!("    - webhook: {{name: a, type: mutating, {rules}, answer: hold}}");
    shown("webhook_that_is_never_called", &with_faults(&fault));
}

#[test]
fn tracing_gate() {
    let cluster = "spec:\n  cluster: {apiServer: {featureGates: {APIServerTracing: true}}}";
    shown("tracing_gate", &SHORT.replace("spec:", cluster));
}

#[test]
fn several_documents() {
    shown("several_documents", &format!("{SHORT}---\n{SHORT}"));
}

#[test]
fn empty_file() {
    shown("empty_file", "");
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scenario.yaml");
    assert!(matches!(read(&path), Err(ReadError::Io { .. })));

    std::fs::write(&path, SHORT).unwrap();
    let loaded = read(&path).unwrap();
    assert_eq!((loaded.text.as_str(), loaded.path.as_path()), (SHORT, path.as_path()));
    assert_eq!(loaded.scenario.metadata.name, "short");

    std::fs::write(&path, [SHORT.as_bytes(), &[0xff]].concat()).unwrap();
    let Err(ReadError::NotUtf8 { offset, .. }) = read(&path) else { panic!("not UTF-8") };
    assert_eq!(offset, SHORT.len());

    std::fs::write(&path, "#\n".repeat(1 << 20)).unwrap();
    assert!(matches!(read(&path), Err(ReadError::TooLong { .. })));

    std::fs::write(&path, "kind: Scenari\n").unwrap();
    let Err(ReadError::Invalid(found)) = read(&path) else { panic!("not valid") };
    assert_eq!(found.name(), path.display().to_string());
    assert!(matches!(read(directory.path()), Err(ReadError::Io { .. })));
}
