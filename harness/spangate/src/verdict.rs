//! Verdicts: what was expected, held against what happened.
//!
//! Every judge is a pure function of an expectation and the [`Evidence`], so a saved run can be judged again,
//! and a test can falsify the evidence and see the verdict turn red. A verdict carries what was observed, the
//! bound, the number of observations, an interval where the number is an estimate, and example traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spangate_scenario::model::Expectation;
use spangate_trace::TraceId;

use crate::evidence::{Case, Evidence};

mod blame;
mod cel;
mod collector;
mod complete;
mod conserved;
mod expected;
mod generator;
mod injected;
mod kept;
mod latency;
mod load;
mod overhead;
mod phases;
mod recovery;
mod requests;
mod restarts;
mod sampling;
mod span_metrics;
mod spans;
mod stored;
mod watchers;

pub(crate) use expected::{Expected, expected};
pub use phases::table as phase_table;
pub(crate) use sampling::{audited, decided_after, offered};

/// The judgement on one expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    /// What was expected, in one line.
    pub expectation: String,
    /// Whether it is so.
    pub status: Status,
    /// Every single comparison.
    pub checks: Vec<Check>,
    /// Why the verdict is not a pass; empty when it is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Up to three traces to look at, the most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub examples: Vec<TraceId>,
}

/// Whether an expectation is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It is.
    Pass,
    /// It is not.
    Fail,
    /// It cannot be decided from this run. Never green.
    Inconclusive,
}

/// One comparison of something observed with a bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// What was measured.
    pub what: String,
    /// What was observed, with its unit.
    pub observed: String,
    /// What it had to be; empty when the figure is only told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bound: String,
    /// Observations behind the figure.
    pub n: u64,
    /// The interval of an estimate, with its unit and confidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Whether the bound holds.
    pub holds: bool,
}

/// What is wrong with a CEL expression, if anything is.
pub(crate) fn cel_mistake(source: &str) -> Option<String> {
    cel::Expression::compile(source).err()
}

/// Judges every expectation of the scenario, and whether the load was sent as it was meant.
pub fn judge(evidence: &Evidence) -> Vec<Verdict> {
    let case = Case::new(evidence);
    let expected = case.scenario.spec.expect.iter().map(|expectation| judge_one(expectation, &case));
    let restarts = |expectation: &Expectation| matches!(expectation, Expectation::Restarts(_));
    let may_restart = case.scenario.spec.expect.iter().any(restarts);
    let collector = collector::judge(case.facts.collector.as_ref(), may_restart);
    let unasked = [generator::judge(&case.facts.generator), collector];
    expected.chain(unasked.into_iter().flatten()).collect()
}

fn judge_one(expectation: &Expectation, case: &Case<'_>) -> Verdict {
    match expectation {
        Expectation::Injected(it) => injected::judge(it, case),
        Expectation::Blame(it) => blame::judge(it, case),
        Expectation::Spans(it) => spans::judge(it, case),
        Expectation::Complete(it) => complete::judge(it, case),
        Expectation::Sampling(it) => sampling::judge(it, case),
        Expectation::Conserved(it) => conserved::judge(it, case),
        Expectation::Kept(it) => kept::judge(it, case),
        Expectation::SpanMetrics(it) => span_metrics::judge(it, case),
        Expectation::Stored(it) => stored::judge(it, case),
        Expectation::Restarts(it) => restarts::judge(it, case),
        Expectation::Fails(it) => fails(judge_one(it, case)),
        Expectation::Latency(it) => latency::judge(it, case),
        Expectation::Phases(it) => phases::judge(it, case),
        Expectation::Requests(it) => requests::judge(it, case),
        Expectation::Recovery(it) => recovery::judge(it, case),
        Expectation::Load(it) => load::judge(it, case),
        Expectation::Overhead(it) => overhead::judge(it, case),
        Expectation::Watchers(it) => watchers::judge(it, case),
    }
}

/// Turns a failure into a pass, and a pass into a failure. What is undecided stays so.
fn fails(verdict: Verdict) -> Verdict {
    let expectation = format!("caught: {}", verdict.expectation);
    match verdict.status {
        Status::Fail => {
            // Told, and no longer a reason to worry.
            let caught = verdict.reasons.into_iter().map(|reason| Check::told("caught", reason, 1));
            let checks = verdict.checks.into_iter().map(|check| Check { holds: true, ..check }).chain(caught);
            Verdict { checks: checks.collect(), examples: verdict.examples, ..Verdict::new(expectation) }
        }
        Status::Pass => {
            let mut met = Verdict { expectation, ..verdict };
            met.fail("the expectation is met, and had to fail");
            met
        }
        Status::Inconclusive => Verdict { expectation, ..verdict },
    }
}

// === impl Verdict ===

impl Verdict {
    /// Traces that a verdict names at most.
    pub const EXAMPLES: usize = 3;

    /// A verdict without checks yet: a pass until something says otherwise.
    pub(crate) fn new(expectation: impl Into<String>) -> Self {
        Self {
            expectation: expectation.into(),
            status: Status::Pass,
            checks: Vec::new(),
            reasons: Vec::new(),
            examples: Vec::new(),
        }
    }

    /// Adds a comparison; one that does not hold makes the verdict a failure.
    pub(crate) fn check(&mut self, check: Check) {
        if !check.holds {
            self.fail(format!("{} is {}, expected {}", check.what, check.observed, check.bound));
        }
        self.checks.push(check);
    }

    /// Makes the verdict a failure, whatever it was.
    pub(crate) fn fail(&mut self, reason: impl Into<String>) {
        self.status = Status::Fail;
        self.reasons.push(reason.into());
    }

    /// Makes the verdict inconclusive, unless it failed already: a failure stays certain.
    pub(crate) fn undecided(&mut self, reason: impl Into<String>) {
        if self.status == Status::Pass {
            self.status = Status::Inconclusive;
        }
        self.reasons.push(reason.into());
    }

    /// Adds traces to look at, as long as there is room.
    pub(crate) fn point_at(&mut self, traces: impl IntoIterator<Item = TraceId>) {
        for trace in traces {
            if self.examples.len() == Self::EXAMPLES {
                return;
            }
            self.example(trace);
        }
    }

    /// Adds a trace to look at, as long as there is room.
    pub(crate) fn example(&mut self, trace: TraceId) {
        if self.examples.len() < Self::EXAMPLES && !self.examples.contains(&trace) {
            self.examples.push(trace);
        }
    }
}

// === impl Check ===

impl Check {
    /// A figure that is told and not compared.
    pub(crate) fn told(what: impl Into<String>, observed: impl Into<String>, n: usize) -> Self {
        Self {
            what: what.into(),
            observed: observed.into(),
            bound: String::new(),
            n: n as u64,
            interval: None,
            holds: true,
        }
    }

    /// A figure that is compared with a bound.
    pub(crate) fn bound(
        what: impl Into<String>,
        observed: impl Into<String>,
        bound: impl Into<String>,
        n: usize,
        holds: bool,
    ) -> Self {
        Self { bound: bound.into(), holds, ..Self::told(what, observed, n) }
    }

    /// Adds the interval of an estimate.
    #[must_use]
    pub(crate) fn with_interval(mut self, interval: impl Into<String>) -> Self {
        self.interval = Some(interval.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_fail_passes_only_when_it_does() {
        let mut red = Verdict::new("kept");
        red.check(Check::bound("kept", "3 of 4", "= 100%", 4, false));
        red.example(TraceId::new([7; 16]));
        let caught = fails(red);
        assert_eq!((caught.status, caught.expectation.as_str()), (Status::Pass, "caught: kept"));
        assert!(caught.reasons.is_empty() && caught.checks.iter().all(|check| check.holds), "{caught:?}");
        assert_eq!(caught.examples.len(), 1);
        assert_eq!(fails(Verdict::new("kept")).status, Status::Fail);
        let mut open = Verdict::new("kept");
        open.undecided("too few");
        assert_eq!(fails(open).status, Status::Inconclusive);
    }
}
