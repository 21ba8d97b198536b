//! The jobs for users' CI systems (`docs/ci`): they are YAML, and their commands are commands of this version.

use std::fs;

use serde_json::Value;

use super::{output, root, spangate, text};

/// Every command of Spangate in the strings of a file, comments included.
fn commands(text: &str, document: &Value) -> Vec<Vec<String>> {
    let mut scripts = Vec::new();
    strings(document, &mut scripts);
    scripts.extend(text.lines().filter_map(|line| line.trim().strip_prefix('#')).map(str::to_owned));
    let lines = scripts.iter().flat_map(|script| script.split(['\n', ';', '|', '&', '>']));
    let commands = lines.map(|line| line.split_whitespace().map(|word| word.trim_matches('"').to_owned()));
    commands
        .map(Iterator::collect::<Vec<String>>)
        .filter(|words| words.len() > 1 && words[0] == "spangate")
        .collect()
}

fn strings(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => all.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, all)),
        Value::Object(keys) => keys.values().for_each(|value| strings(value, all)),
        _ => {}
    }
}

/// What the command line says of a command; nothing when it takes it. Help is asked for last, so that everything before
/// is parsed and nothing is started.
fn complaint(words: &[String]) -> Option<String> {
    let told = output(spangate().args(&words[1..]).arg("--help"));
    (told.status.code() != Some(0)).then(|| text(&told))
}

/// Scenario: the files for GitHub Actions and GitLab are read as a CI system would.
/// Guarantees: they are YAML, have a job with a gate, and every command of theirs is taken; a wrong option is not.
#[test]
fn the_jobs_for_ci_name_commands_that_exist() {
    for (file, wanted) in [("github-actions.yaml", 3), ("gitlab-ci.yaml", 5)] {
        let written = fs::read_to_string(root().join("docs/ci").join(file)).unwrap();
        let document = spangate_scenario::document::read(&written).unwrap();
        let commands = commands(&written, &document);
        assert_eq!(commands.len(), wanted, "{file}: {commands:?}");
        assert!(commands.iter().any(|words| words[1] == "gate"), "{file}");
        for words in &commands {
            assert_eq!(complaint(words), None, "{file}: {}", words.join(" "));
            let wrong: Vec<String> = words.iter().cloned().chain(["--no-such-option".to_owned()]).collect();
            assert!(complaint(&wrong).is_some(), "{file}: {}", wrong.join(" "));
        }
    }
    let github = fs::read_to_string(root().join("docs/ci/github-actions.yaml")).unwrap();
    let github = spangate_scenario::document::read(&github).unwrap();
    for job in github["jobs"].as_object().unwrap().values() {
        assert!(job["runs-on"].is_string() && job["steps"].is_array(), "{job}");
    }
    let gitlab = fs::read_to_string(root().join("docs/ci/gitlab-ci.yaml")).unwrap();
    let gitlab = spangate_scenario::document::read(&gitlab).unwrap();
    for job in ["overhead", "spans"] {
        assert!(gitlab[job]["script"].is_array() && gitlab[job]["extends"] == ".gate", "{job}");
    }
}
