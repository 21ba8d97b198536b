//! A saved run, read back as the evidence that it was.

use std::path::Path;

use spangate_scenario::Scenario;
use spangate_sink::capture_file;

use crate::{
    collector::Configuration,
    error::CommandError,
    evidence::{Evidence, Facts, Passed},
    gate::rounds,
    measure::Measurements,
    run::directory::RunDirectory,
};

/// Opens the directory that the user names, or else the newest run.
pub fn open(from: Option<&Path>) -> Result<RunDirectory, CommandError> {
    if let Some(path) = from.filter(|path| path.join(rounds::RESULT).exists()) {
        let message = format!("{} is of a gate and not of a run", path.display());
        return Err(CommandError::usage(message).help(
            "its result.json has what was judged, and round-1/head/kept.jsonl.zst the spans that the new configuration \
             kept in the first round",
        ));
    }
    let opened = match from {
        Some(path) => RunDirectory::open(path),
        None => RunDirectory::latest(Path::new(RunDirectory::ROOT)),
    };
    opened.map_err(|error| {
        CommandError::environment("there is no saved run to read")
            .because(error)
            .help("name the directory of a run with --from, or start one with `spangate run`")
    })
}

/// Reads the scenario that a run ran.
pub fn read_scenario(directory: &RunDirectory) -> Result<Scenario, CommandError> {
    spangate_scenario::read(directory.file(RunDirectory::SCENARIO)).map(|loaded| loaded.scenario).map_err(
        |error| CommandError::environment("the scenario of the saved run cannot be read").because(error),
    )
}

/// Reads the evidence of a run; `scenario` replaces the one that it ran.
pub fn read(directory: &RunDirectory, scenario: Option<Scenario>) -> Result<Evidence, CommandError> {
    let unreadable = |error| CommandError::environment("the saved run cannot be read").because(error);
    let scenario = scenario.map_or_else(|| read_scenario(directory), Ok)?;
    let requests = directory.read_lines(RunDirectory::REQUESTS).map_err(unreadable)?;
    let injections = directory.read_lines(RunDirectory::INJECTIONS).map_err(unreadable)?;
    // Runs from before there were watchers have none.
    let watched = if directory.file(RunDirectory::EVENTS).exists() {
        directory.read_lines(RunDirectory::EVENTS).map_err(unreadable)?
    } else {
        Vec::new()
    };
    let facts: Facts = directory.read_json(RunDirectory::FACTS).map_err(unreadable)?;
    let store = capture_file::read(&directory.file(RunDirectory::CAPTURE)).map_err(|error| {
        CommandError::environment("the capture of the saved run cannot be read").because(error)
    })?;
    let passed = passed(directory)?;
    // Other runs send none.
    let traces = if directory.file(RunDirectory::TRACES).exists() {
        directory.read_lines(RunDirectory::TRACES).map_err(unreadable)?
    } else {
        Vec::new()
    };
    // Runs from before it was recorded have none.
    let usage = if directory.file(RunDirectory::USAGE).exists() {
        directory.read_lines(RunDirectory::USAGE).map_err(unreadable)?
    } else {
        Vec::new()
    };
    // Of a Jaeger that there was, and that answered.
    let stored = directory.file(RunDirectory::STORED).exists();
    let stored =
        stored.then(|| directory.read_lines(RunDirectory::STORED)).transpose().map_err(unreadable)?;
    let evidence = Evidence::new(scenario, requests, injections, store.snapshot(), facts);
    let evidence = evidence.with_watched(watched).with_passed(passed).with_traces(traces).with_stored(stored);
    Ok(evidence.with_usage(Measurements(usage)))
}

/// What the Collector of a run made of the spans, if it had one.
fn passed(directory: &RunDirectory) -> Result<Option<Passed>, CommandError> {
    let file = directory.file(RunDirectory::COLLECTOR);
    if !file.exists() {
        return Ok(None);
    }
    let unreadable = |error| CommandError::environment("the saved run cannot be read").because(error);
    let kept = capture_file::read(&directory.file(RunDirectory::KEPT)).map_err(|error| {
        CommandError::environment("what the Collector of the saved run kept cannot be read").because(error)
    })?;
    Ok(Some(Passed {
        kept: kept.snapshot(),
        passages: directory.read_lines(RunDirectory::PASSAGES).map_err(unreadable)?,
        configuration: Configuration::from_file(&file)?,
    }))
}
