//! Rules for the open loop.

use super::exactly_one;
use crate::{
    model::{Arrivals, Stage},
    path::Path,
    suggest,
    units::{Duration, Rate},
    validate::{Findings, MAX_ENTRIES, limited, names},
};

/// Arrivals of a run. They are made as they are needed and cost no memory, but each has a line of some hundred
/// bytes in the ledger, and a hundred million are tens of gigabytes.
const MAX_ARRIVALS: f64 = 1e8;

/// Operations per second that no machine starts.
const MAX_RATE: f64 = 1e6;

pub(super) fn check(arrivals: &Arrivals, at: &Path, findings: &mut Findings) {
    if arrivals.stages.is_empty() {
        flat(arrivals, at, findings);
    } else {
        stages(arrivals, at, findings);
    }
    let count = arrivals.expected();
    if count > MAX_ARRIVALS {
        findings
            .add(at, format!("are {count:.0} arrivals, and {MAX_ARRIVALS:.0} are the limit"))
            .help("lower the rate or the duration: each arrival is a line of the ledger");
    } else if count > 0.0 && count < 1.0 {
        let length = Duration::from(arrivals.total());
        findings.add(at, format!("are less than one arrival in {length}"));
    }
}

/// One rate for a time.
fn flat(arrivals: &Arrivals, at: &Path, findings: &mut Findings) {
    match (arrivals.rate, arrivals.duration) {
        (Some(_), Some(_)) => {}
        (None, None) => {
            findings
                .add(at, "does not say when operations start")
                .help("give it `rate` and `for`, or `stages`");
        }
        (Some(_), None) => {
            findings.add(at, "has a `rate`, but no `for`").help("say for how long: `for: 30s`");
        }
        (None, Some(_)) => {
            findings.add(at, "has a `for`, but no `rate`").help("say how often: `rate: 50/s`");
        }
    }
    if let Some(rate) = arrivals.rate {
        self::rate(rate, &at.key("rate"), findings);
    }
    let is_empty = arrivals.duration.is_some_and(|duration| duration.is_zero());
    findings.require(!is_empty, &at.key("for"), "must be longer than 0s");
}

fn stages(arrivals: &Arrivals, at: &Path, findings: &mut Findings) {
    let beside = [
        ("rate", arrivals.rate.is_some()),
        ("shape", arrivals.shape.is_some()),
        ("for", arrivals.duration.is_some()),
    ];
    let beside: Vec<&str> = beside.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
    if !beside.is_empty() {
        findings
            .add(at, format!("has `stages`, and beside them {}", suggest::list(&beside)))
            .help("give them to the stages, or leave `stages` out");
    }
    let list = at.key("stages");
    let stages = limited(&arrivals.stages, &list, findings);
    for (index, stage) in stages.iter().enumerate() {
        self::stage(stage, &list.index(index), findings);
    }
    stage_names(stages, &list, findings);
}

/// Finds names that are none, and stages that are called alike.
fn stage_names(stages: &[Stage], list: &Path, findings: &mut Findings) {
    let labels: Vec<String> = stages.iter().enumerate().map(|(index, stage)| stage.label(index)).collect();
    for (index, stage) in stages.iter().enumerate() {
        let Some(name) = &stage.name else { continue };
        let at = list.index(index).key("name");
        names::dns_label(name, &at, findings);
        if labels[..index].contains(name) || unnamed(stages, name).is_some_and(|other| other != index) {
            let finding = findings.add(&at, format!("another stage is called `{name}` too"));
            finding.rests_on(list.clone());
            if unnamed(stages, name).is_some() {
                finding.help("a stage without a name is called `stage-N`, counted from 1");
            }
        }
    }
}

/// The stage without a name that is called so.
fn unnamed(stages: &[Stage], label: &str) -> Option<usize> {
    let number: usize = label.strip_prefix("stage-")?.parse().ok()?;
    let index = number.checked_sub(1)?;
    let stage = stages.get(index)?;
    (stage.name.is_none() && stage.label(index) == label).then_some(index)
}

fn stage(stage: &Stage, at: &Path, findings: &mut Findings) {
    exactly_one(&stage.rates(), Stage::RATES, "rate", "make a stage of each", at, findings);
    findings.require(!stage.duration.is_zero(), &at.key("for"), "must be longer than 0s");
    if let Some(rate) = stage.rate {
        self::rate(rate, &at.key("rate"), findings);
    }
    if let Some(ramp) = stage.ramp {
        from_to(ramp.from, ramp.to, &at.key("ramp"), findings);
    }
    if let Some(steps) = stage.steps {
        let at = at.key("steps");
        from_to(steps.from, steps.to, &at, findings);
        let (count, most) = (steps.count, MAX_ENTRIES);
        let fine = count >= 2 && usize::try_from(count).is_ok_and(|count| count <= most);
        findings.require(fine, &at.key("count"), format!("must be 2 to {most}, got {count}"));
    }
    if let Some(spike) = stage.spike {
        let at = at.key("spike");
        most(spike.base, &at.key("base"), findings);
        most(spike.peak, &at.key("peak"), findings);
        if spike.peak <= spike.base {
            let (base, peak) = (spike.base, spike.peak);
            findings.add(&at, format!("`peak` ({peak}) is not above `base` ({base})"));
        }
        let (width, length) = (spike.width, stage.duration);
        findings.require(!width.is_zero(), &at.key("width"), "must be longer than 0s");
        if width >= length && !length.is_zero() {
            findings
                .add(&at.key("width"), format!("the peak is {width} long, and the whole stage is {length}"))
                .help("make the peak shorter, or the stage longer");
        }
    }
}

/// Finds a rate of nothing, and one that is too high.
fn rate(rate: Rate, at: &Path, findings: &mut Findings) {
    findings.require(rate.get() > 0.0, at, "must be greater than 0");
    most(rate, at, findings);
}

/// Finds a change from nothing to nothing, and rates that are too high.
fn from_to(from: Rate, to: Rate, at: &Path, findings: &mut Findings) {
    findings.require(
        from.get() > 0.0 || to.get() > 0.0,
        at,
        "`from` and `to` are both 0, so nothing arrives",
    );
    most(from, &at.key("from"), findings);
    most(to, &at.key("to"), findings);
}

fn most(rate: Rate, at: &Path, findings: &mut Findings) {
    if rate.get() > MAX_RATE {
        findings
            .add(at, format!("{rate} is more than any machine can send"))
            .help(format!("{MAX_RATE:.0}/s is the limit, and some ten thousand a second are a lot"));
    }
}
