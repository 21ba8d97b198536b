//! The scenarios that are shipped or serve as tests elsewhere are valid.

use std::path::Path;

use spangate_scenario::{experiment, read};

#[test]
fn shipped_scenarios_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (directory, least) in [("scenarios", 15), ("tests/e2e", 1), ("tests/e2e/contract", 1)] {
        let directory = root.join(directory);
        let mut count = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                read(&path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
                count += 1;
            }
        }
        assert!(count >= least, "{} has only {count} scenarios", directory.display());
    }
}

#[test]
fn shipped_experiments_are_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        // Beside them are configurations of the Collector.
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        experiment::parse(&path.display().to_string(), &text).unwrap_or_else(|error| panic!("{error:?}"));
        count += 1;
    }
    assert!(count >= 2, "{} has only {count} experiments", directory.display());
}

#[test]
fn the_experiment_of_the_documentation_is_valid() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/overhead.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let text = blocks.find(|block| block.contains("kind: Experiment")).unwrap();
    experiment::parse("docs/overhead.md", text).unwrap_or_else(|error| panic!("{error:?}"));
}
