//! What a directory has measured: that of an experiment or a gate, or that of a run.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use spangate_trace::UnixNanos;

use super::{Arm, Key, Measured, Metric, Unit};
use crate::{
    error::CommandError, evidence::Evidence, measure::Machine, plan::LoadView, report::Report,
    run::directory::RunDirectory, saved,
};

/// The file with what was measured.
pub const MEASURED: &str = "measured.json";

/// Windows that a run is cut into.
const WINDOWS: u32 = 10;

/// What the directory of an experiment, of a gate on overhead or of a run has measured.
///
/// A run has one process, of which times say nothing about others (`docs/overhead.md`); so only what is the same on every
/// machine is taken of it: spans of a request, in ten windows of its load.
pub fn measured(directory: &Path) -> Result<Measured, CommandError> {
    let opened = RunDirectory::existing(directory);
    if opened.file(MEASURED).exists() {
        return opened.read_json(MEASURED).map_err(|error| {
            CommandError::usage(format!("what {} measured cannot be read", directory.display()))
                .because(error)
        });
    }
    let run = saved::open(Some(directory))?;
    let report: Report = run
        .read_json(RunDirectory::REPORT)
        .map_err(|error| CommandError::usage("the report of the run cannot be read").because(error))?;
    let plan: Planned = run
        .read_json(RunDirectory::PLAN)
        .map_err(|error| CommandError::usage("the plan of the run cannot be read").because(error))?;
    let evidence = saved::read(&run, None)?;
    Ok(of_run(&report, plan.load.fingerprint, &evidence))
}

/// As much of a plan as tells one load from another.
#[derive(Deserialize)]
struct Planned {
    load: LoadView,
}

/// What a run measured.
fn of_run(report: &Report, hash: String, evidence: &Evidence) -> Measured {
    // The one that measured, and not the one that reads it.
    let Machine { cpu, cpus, kernel } = report.machine.clone().unwrap_or_else(Machine::unknown);
    let versions = report.components.iter().map(|it| (it.name.clone(), it.version.clone())).collect();
    let (from, to) = (evidence.facts.load_start, evidence.facts.load_end);
    let length = to.since(from);
    let border = |number: u32| from + length * number / WINDOWS;
    let units = (0..WINDOWS).map(|number| unit(evidence, number, border(number), border(number + 1)));
    Measured {
        key: Key { experiment: report.scenario.clone(), hash, versions, cpu, cores: cpus, kernel },
        reference: RUN.to_owned(),
        pairing: None,
        arms: vec![Arm { name: RUN.to_owned(), description: report.scenario.clone() }],
        units: units.collect(),
    }
}

/// The one arm of a run.
const RUN: &str = "run";

fn unit(evidence: &Evidence, round: u32, from: UnixNanos, to: UnixNanos) -> Unit {
    let within = |at: UnixNanos| (from..to).contains(&at);
    let n = evidence.requests.iter().filter(|request| within(request.started)).count();
    let spans = evidence.capture.rows().iter().filter(|row| within(row.start)).count();
    let figures = if n == 0 {
        BTreeMap::new()
    } else {
        BTreeMap::from([(Metric::SpansPerRequest, spans as f64 / n as f64)])
    };
    Unit {
        arm: RUN.to_owned(),
        round,
        began_ms: from.0 / 1_000_000,
        n: n as u64,
        figures,
        excluded: (n == 0).then(|| "no request was sent in it".to_owned()),
        seconds: to.since(from).as_secs_f64(),
        beside: evidence.usage.beside(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::summary::tests::report, testing::Run};

    #[test]
    fn a_run_is_ten_windows() {
        let evidence = Run::of_creates(200).evidence();
        let measured = of_run(&report(Vec::new()), "01".to_owned(), &evidence);
        assert_eq!(measured.units.len(), 10);
        let n: u64 = measured.units.iter().map(|unit| unit.n).sum();
        assert!(n > 0 && n <= 200, "{n}");
        assert!(measured.units.iter().all(|unit| unit.excluded.is_none() == (unit.n > 0)));
    }

    /// Scenario: a run that another machine made is read here, and one from before machines were noted.
    /// Guarantees: it is labelled with the machine that measured; nobody is taken for this one.
    #[test]
    fn a_run_is_of_the_machine_that_made_it() {
        let evidence = Run::of_creates(20).evidence();
        let elsewhere = Machine { cpu: "another".to_owned(), cpus: 64, kernel: "5.10".to_owned() };
        let made = Report { machine: Some(elsewhere), ..report(Vec::new()) };
        let key = of_run(&made, "01".to_owned(), &evidence).key;
        assert_eq!((key.cpu.as_str(), key.cores, key.kernel.as_str()), ("another", 64, "5.10"));
        let old = Report { machine: None, ..made };
        assert_eq!(of_run(&old, "01".to_owned(), &evidence).key.cpu, "unknown");
    }

    #[test]
    fn a_directory_that_measured_nothing_is_no_measurement() {
        let directory = tempfile::tempdir().unwrap();
        assert!(measured(directory.path()).is_err());
        let own = RunDirectory::existing(directory.path());
        let wanted = crate::overhead::testing::measured(2, |_| (1.0, 2.0));
        own.write_json(MEASURED, &wanted).unwrap();
        assert_eq!(super::measured(directory.path()).unwrap(), wanted);
    }
}
