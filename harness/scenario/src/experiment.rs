//! Experiment files: read, and checked as all the scenarios that their arms come to.
//!
//! ```
//! use spangate_scenario::experiment;
//!
//! let text = "
//! apiVersion: spangate/v1alpha1
//! kind: Experiment
//! metadata: {name: overhead}
//! spec:
//!   reference: without
//!   load:
//!     arrivals: {rate: 100/s, for: 30s}
//!     mix: [{get: {resource: configmaps}}]
//!   arms:
//!     - {name: without, tracing: {enabled: false}}
//!     - {name: all, tracing: {samplingRatePerMillion: 1000000}}
//! ";
//! let experiment = experiment::parse("overhead.yaml", text)?;
//! assert_eq!(experiment.spec.rounds, 6);
//! # Ok::<(), spangate_scenario::Diagnostics>(())
//! ```

use std::collections::HashSet;

use crate::{
    diagnostics::Diagnostics,
    gate,
    path::Path,
    suggest,
    validate::{Finding, validate, validate_dns_label},
};

pub use crate::model::experiment::{Experiment, ExperimentArm, ExperimentKind, ExperimentSpec, Quiet, Until};

/// Rounds of an experiment; each of them is every arm once.
const MAX_ROUNDS: u32 = 1000;
/// Looks at an experiment: more of them make its intervals wider than they save rounds.
const MAX_LOOKS: u32 = 20;

/// Reads and checks the text of an experiment; `name` is shown in messages. All mistakes are told at once, those of
/// meaning when the form is right.
pub fn parse(name: &str, text: &str) -> Result<Experiment, Diagnostics> {
    let help = "an experiment begins with `apiVersion: spangate/v1alpha1` and `kind: Experiment`";
    gate::parse(name, text, help, check)
}

/// Everything that has the right form but cannot be right.
fn check(experiment: &Experiment) -> Vec<Finding> {
    let (spec, at) = (&experiment.spec, Path::root().key("spec"));
    let mut findings = validate_dns_label(&experiment.metadata.name, &Path::root().key("metadata.name"));
    let mut add = |path: Path, message: String, help: Option<String>| {
        findings.push(Finding { path, message, help, rests_on: Vec::new() });
    };
    if !(1..=MAX_ROUNDS).contains(&spec.rounds) {
        add(at.key("rounds"), format!("must be 1 to {MAX_ROUNDS}, got {}", spec.rounds), None);
    }
    match spec.load.length() {
        None => add(at.key("load"), "nobody knows how long it is".to_owned(), None),
        Some(length) if length <= spec.warm_up => {
            let message = format!("the load is over after {length}, so nothing is left to measure");
            add(at.key("warmUp"), message, Some("make it shorter, or the load longer".to_owned()));
        }
        Some(_) => {}
    }
    if spec.load.users.is_some() {
        let help = "send the load by `arrivals`";
        let message = "users wait for every answer, so a slow arm would be sent less";
        add(at.key("load.users"), message.to_owned(), Some(help.to_owned()));
    }
    if spec.load.replay.is_some() {
        let help = "send the load by `arrivals`";
        add(at.key("load.replay"), "what was recorded is no fixed load".to_owned(), Some(help.to_owned()));
    }
    if spec.at_once && spec.load.traces.is_some() {
        let help = Some("leave it out: Collectors are measured in turn".to_owned());
        add(at.key("atOnce"), "the load is traces".to_owned(), help);
    }
    if spec.quiet.idle.is_zero() {
        add(at.key("quiet.idle"), "must be longer than 0s".to_owned(), None);
    }
    if spec.budget.is_some_and(|budget| budget.is_zero()) {
        add(at.key("budget"), "must be longer than 0s".to_owned(), None);
    }
    if let Some(until) = &spec.until {
        let at = at.key("until");
        if until.within.get() <= 0.0 {
            add(at.key("within"), "no interval is so narrow".to_owned(), Some("say 5%".to_owned()));
        }
        if !(1..=MAX_LOOKS).contains(&until.looks) {
            add(at.key("looks"), format!("must be 1 to {MAX_LOOKS}, got {}", until.looks), None);
        }
    }
    if spec.arms.len() < 2 {
        let message = format!("has {} arms, and only two or more can be compared", spec.arms.len());
        add(at.key("arms"), message, None);
    }
    let names: Vec<&str> = spec.arms.iter().map(|arm| arm.name.as_str()).collect();
    if !names.contains(&spec.reference.as_str()) {
        let message = format!("there is no arm `{}`", spec.reference);
        add(at.key("reference"), message, Some(suggest::help(&spec.reference, &names)));
    }
    let mut seen = HashSet::new();
    for (index, arm) in spec.arms.iter().enumerate() {
        let place = at.key("arms").index(index);
        if !seen.insert(arm.name.as_str()) {
            add(place.key("name"), format!("another arm is called `{}` too", arm.name), None);
        }
        for (key, given) in [("rate", arm.rate.is_some()), ("batch", arm.batch.is_some())] {
            if given && spec.load.traces.is_none() {
                add(place.key(key), "the load is no traces".to_owned(), Some("leave it out".to_owned()));
            }
        }
        if arm.batch == Some(0) {
            add(place.key("batch"), "must be at least 1".to_owned(), None);
        }
    }
    for (index, arm) in spec.arms.iter().enumerate() {
        let place = at.key("arms").index(index);
        for finding in validate(&experiment.scenario(arm, 0)) {
            let finding = Finding { path: written_at(arm, &place, &finding.path), ..finding };
            // What all arms share is wrong in each of their scenarios.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

/// Where in the experiment stands what stands at `path` in the scenario of an arm that stands at `place`.
fn written_at(arm: &ExperimentArm, place: &Path, path: &Path) -> Path {
    let own = [
        (true, "metadata.name", "name"),
        (arm.tracing.is_some(), "spec.cluster.tracing", "tracing"),
        (arm.kubernetes.is_some(), "spec.cluster.kubernetes", "kubernetes"),
        (arm.api_server.is_some(), "spec.cluster.apiServer", "apiServer"),
        (arm.collector.is_some(), "spec.collector", "collector"),
        (arm.rate.is_some(), "spec.load.traces.rate", "rate"),
    ];
    let own = own.into_iter().filter(|(given, ..)| *given).map(|(_, from, to)| (Path::root().key(from), to));
    let fault = Path::root().key("spec.faults").index(0);
    let sink = [(fault.key("sink.does"), "sink"), (fault, "sink")];
    own.chain(sink).find_map(|(from, to)| path.rebase(&from, &place.key(to))).unwrap_or_else(|| path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: spangate/v1alpha1
kind: Experiment
metadata: {name: overhead}
spec:
  reference: without
  warmUp: 5s
  load:
    arrivals: {rate: 100/s, for: 30s}
    mix: [{get: {resource: configmaps}}]
  arms:
    - {name: without, tracing: {enabled: false}}
    - {name: all, tracing: {samplingRatePerMillion: 1000000}}
";

    #[test]
    fn what_is_written_is_read_back() {
        let experiment = parse("e.yaml", GOOD).unwrap();
        assert_eq!(parse("e.yaml", &experiment.to_yaml()).unwrap(), experiment);
        assert_eq!(experiment.spec.measured(), crate::units::Duration::from_secs(25));
        let until = parse("e.yaml", &GOOD.replace("  load:", "  until: {within: 5%}\n  load:")).unwrap();
        assert_eq!(until.spec.until.map(|until| (until.within.get(), until.looks)), Some((0.05, 4)));
        assert_eq!(parse("e.yaml", &until.to_yaml()).unwrap(), until);
    }

    #[test]
    fn arms_differ_in_what_they_say_and_in_nothing_else() {
        let experiment = parse("e.yaml", GOOD).unwrap();
        let [without, all] = [0, 1].map(|arm| experiment.scenario(&experiment.spec.arms[arm], 3));
        assert!(!without.spec.cluster.tracing.enabled && without.spec.cluster.tracing.rate() == 0);
        assert_eq!(all.spec.cluster.tracing.rate(), 1_000_000);
        assert_eq!((without.spec.load, without.spec.seed), (all.spec.load, all.spec.seed));
        let next = experiment.scenario(&experiment.spec.arms[1], 4);
        assert_ne!(next.spec.seed, all.spec.seed);
    }

    #[test]
    fn every_mistake_has_its_place() {
        let text = GOOD
            .replace("reference: without", "reference: witout\n  rounds: 0\n  until: {within: 0%, looks: 21}")
            .replace("warmUp: 5s", "warmUp: 30s")
            .replace("resource: configmaps}}", "resource: configmaps}, as: nobody}")
            .replace("{enabled: false}", "{enabled: false, samplingRatePerMillion: 1}")
            .replace("name: all", "name: without")
            .replace(
                "1000000}}",
                "1}, rate: 5/s}\n    - {name: A, kubernetes: v1, collector: {}, sink: {delay: {fixed: 0s}}}",
            );
        let diagnostics = parse("e.yaml", &text).unwrap_err();
        let found: Vec<String> =
            diagnostics.problems().iter().map(|it| format!("{} {}: {it}", it.line(), it.path())).collect();
        let wanted = [
            "5 spec.reference: there is no arm `witout`",
            "6 spec.rounds: must be 1 to 1000, got 0",
            "7 spec.until.within: no interval is so narrow",
            "7 spec.until.looks: must be 1 to 20, got 21",
            "8 spec.warmUp: the load is over after 30s, so nothing is left to measure",
            "11 spec.load.mix[0].as: there is no identity `nobody`",
            "13 spec.arms[0].tracing.samplingRatePerMillion: has no effect: tracing is not enabled",
            "14 spec.arms[1].name: another arm is called `without` too",
            "14 spec.arms[1].rate: the load is no traces",
            "15 spec.arms[2].name: `A` is not a DNS label",
            "15 spec.arms[2].kubernetes: `v1` is not a version",
            "15 spec.arms[2].collector: has no configuration of the Collector",
            "15 spec.arms[2].sink.delay.fixed: a delay of 0s does nothing",
        ];
        assert_eq!(found, wanted, "{found:#?}");
    }
}
