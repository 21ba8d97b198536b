//! Rules and rounds to verdicts: pure, so that it can be tested by falsifying rounds.

use std::sync::Arc;

use spangate_scenario::{
    gate::{Foretelling, GateRule, GateRules, NoLessRule},
    units::{Bound, Growth, Ratio},
};
use spangate_trace::stats::Estimate;

use super::{
    classes::{self, ClassRow},
    costs::{self, Cost, CostRow},
    observe::{LaneRound, Round},
};
use crate::{
    text::{self, growth},
    verdict::{Check, Verdict},
};

pub(crate) mod kept;

/// Rounds from which on a cost is judged.
const ROUNDS: u64 = 3;

/// What the rounds say.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What was kept, class by class.
    pub classes: Vec<ClassRow>,
    /// What it cost.
    pub costs: Vec<CostRow>,
    /// The judgement on every rule.
    pub verdicts: Vec<Verdict>,
}

/// What the judges look at.
struct Bench<'b> {
    rounds: &'b [Round],
    classes: &'b [ClassRow],
    costs: &'b [CostRow],
    confidence: f64,
}

/// Judges every rule, and whether both Collectors ran to the end; `classes` are those of the traffic.
pub fn judge(rules: &GateRules, classes: &[Arc<str>], rounds: &[Round]) -> Judged {
    let confidence = rules.confidence.get();
    let rows = classes::rows(classes, rounds, confidence);
    let costs = costs::rows(rounds);
    let bench = Bench { rounds, classes: &rows, costs: &costs, confidence };
    let verdicts = rules.rules.iter().map(|rule| bench.judge(rule)).chain(bench.to_the_end()).collect();
    Judged { classes: rows, costs, verdicts }
}

// === impl Bench ===

impl<'b> Bench<'b> {
    fn judge(&self, rule: &GateRule) -> Verdict {
        let mut verdict = Verdict::new(rule.to_string());
        match rule {
            GateRule::Kept(rule) => self.kept(rule, &mut verdict),
            GateRule::DroppedTooEarly(bound) => self.dropped_too_early(*bound, &mut verdict),
            GateRule::Refused(bound) => self.refused(*bound, &mut verdict),
            GateRule::AsForetold(how) => self.as_foretold(*how, &mut verdict),
            GateRule::NoLess(rule) => self.no_less(rule, &mut verdict),
            GateRule::CpuPerSpan(most) => self.cost(Cost::CpuPerSpan, *most, &mut verdict),
            GateRule::PeakRss(most) => self.cost(Cost::PeakRss, *most, &mut verdict),
            GateRule::BytesOut(most) => self.cost(Cost::BytesOut, *most, &mut verdict),
        }
        verdict
    }

    /// The rows that a rule is about.
    fn rows_of<'r>(&self, class: &'r str) -> impl Iterator<Item = &'b ClassRow> + use<'b, 'r> {
        self.classes.iter().filter(move |row| class == GateRule::EVERY_CLASS || class == &*row.class)
    }

    fn dropped_too_early(&self, bound: Bound<u64>, verdict: &mut Verdict) {
        let facts = self.rounds.iter().map(|round| &round.head.facts);
        let dropped = facts.clone().map(|facts| facts.telemetry.tail.dropped_too_early).sum::<u64>();
        let base = self.rounds.iter().map(|round| round.base.facts.telemetry.tail.dropped_too_early);
        let new = facts.clone().map(|facts| facts.telemetry.tail.new_traces).sum::<u64>();
        let (observed, n) = (dropped.to_string(), count(new));
        verdict.check(Check::bound(
            "traces pushed out undecided",
            observed,
            bound.to_string(),
            n,
            bound.holds(&dropped),
        ));
        verdict.check(Check::told("of the old configuration", base.sum::<u64>().to_string(), n));
        if let Some(why) = facts.clone().find_map(|facts| facts.untold.as_ref()) {
            verdict.undecided(format!("the Collector's own counts could not be had: {why}"));
        }
    }

    fn refused(&self, bound: Bound<Ratio>, verdict: &mut Verdict) {
        let share = |lane: fn(&Round) -> &LaneRound| {
            let lanes = || self.rounds.iter().map(lane);
            let lost: u64 = lanes().map(|lane| lane.refused + lane.unanswered).sum();
            let all = lost + lanes().map(|lane| lane.taken).sum::<u64>();
            (lost, all, lost as f64 / all.max(1) as f64)
        };
        let (lost, all, part) = share(|round| &round.head);
        let observed = format!("{} ({lost} of {all})", text::percent(part));
        let holds = bound.holds(&Ratio::new_unchecked(part));
        verdict.check(Check::bound(
            "spans that were not taken",
            observed,
            bound.to_string(),
            count(all),
            holds,
        ));
        let (lost, all, part) = share(|round| &round.base);
        let observed = format!("{} ({lost} of {all})", text::percent(part));
        verdict.check(Check::told("of the old configuration", observed, count(all)));
        if all == 0 {
            verdict.undecided("no span was sent");
        }
    }

    fn as_foretold(&self, how: Foretelling, verdict: &mut Verdict) {
        if let Some(why) = self.rounds.iter().find_map(|round| round.head.unforetold.as_ref()) {
            verdict.check(Check::told("nothing is foretold", why.clone(), 0));
            if how == Foretelling::Always {
                verdict.undecided(why.clone());
            }
            return;
        }
        let traces = || self.rounds.iter().flat_map(|round| &round.head.traces);
        let told = traces().filter(|fate| fate.must.is_some()).count();
        let wrong: Vec<_> = traces().filter(|fate| fate.wrong).map(|fate| fate.trace).collect();
        let (observed, holds) = (wrong.len().to_string(), wrong.is_empty());
        verdict.check(Check::bound("traces that fared otherwise", observed, "= 0", told, holds));
        verdict.point_at(wrong);
        let base = || self.rounds.iter().flat_map(|round| &round.base.traces);
        let (before, n) =
            (base().filter(|fate| fate.wrong).count(), base().filter(|fate| fate.must.is_some()).count());
        verdict.check(Check::told("of the old configuration", before.to_string(), n));
        let open = traces().filter(|fate| fate.must.is_none()).count();
        verdict.check(Check::told("traces of which nothing is certain", open.to_string(), open + told));
        for round in self.rounds {
            let Some(clock) = round.head.by_clock else { continue };
            let what = format!("traces kept in round {}, by the clock", round.number);
            let (bound, n) = (format!("{}..{}", clock.fewest, clock.most), round.head.traces.len());
            let holds = (clock.fewest..=clock.most).contains(&clock.kept);
            verdict.check(Check::bound(what, clock.kept.to_string(), bound, n, holds));
        }
        if told == 0 && self.rounds.iter().all(|round| round.head.by_clock.is_none()) {
            verdict.undecided("of no trace the fate is a function of the trace alone");
        }
    }

    /// Red when more than `by` is lost, and for certain. What may be more and may be less is inconclusive.
    fn no_less(&self, rule: &NoLessRule, verdict: &mut Verdict) {
        let by = rule.by.get();
        for row in self.rows_of(&rule.class) {
            let (difference, n) = (&row.difference, count(row.traces));
            let (beyond, certain) = (difference.value < -by, difference.high < 0.0);
            let observed = points(difference.value);
            let bound = format!(">= -{}", rule.by);
            let check =
                Check::bound(format!("{}: head - base", row.class), observed, bound, n, !(beyond && certain));
            verdict.check(check.with_interval(interval(row, self.confidence)));
            if beyond && certain {
                verdict.point_at(row.lost.iter().copied());
            } else if row.traces == 0 {
                verdict.undecided(format!("no trace of the class {} was taken whole by both", row.class));
            } else if beyond || difference.low < -by {
                verdict.undecided(format!(
                    "{n} traces of the class {} do not tell a loss of {} from none: send more of them",
                    row.class, rule.by
                ));
            }
        }
        if let Some(round) = self.rounds.iter().find(|round| round.base.crashed()) {
            verdict
                .undecided(format!("the Collector of the old configuration ended in round {}", round.number));
        }
    }

    /// Red when it costs more than it may, and for certain more than before.
    fn cost(&self, cost: Cost, most: Growth, verdict: &mut Verdict) {
        let Some(row) = self.costs.iter().find(|row| row.cost == cost) else { return };
        let Some(ratio) = row.ratio else {
            verdict.undecided(format!("the {} of the old configuration could not be told", cost.label()));
            return;
        };
        let (beyond, certain) = (ratio.value - 1.0 > most.get(), ratio.low > 1.0);
        let enough = row.rounds >= ROUNDS;
        let holds = !(beyond && certain && enough);
        let observed =
            format!("{} ({} -> {})", growth(ratio.value), cost.show(row.base), cost.show(row.head));
        let check = Check::bound(cost.label(), observed, most.to_string(), count(row.rounds), holds);
        verdict.check(check.with_interval(format!("{} to {}", growth(ratio.low), growth(ratio.high))));
        if !enough {
            verdict.undecided(format!("{} rounds tell no cost: run {ROUNDS} or more", row.rounds));
        } else if beyond && !certain {
            verdict.undecided("the rounds do not agree whether it costs more: run more of them");
        }
    }

    /// A verdict on each configuration whose Collector ended in between.
    fn to_the_end(&self) -> impl Iterator<Item = Verdict> {
        let crash = |(name, lane): (&str, fn(&Round) -> &LaneRound)| {
            let mut verdict = Verdict::new(format!("the Collector of {name} runs to the end"));
            for round in self.rounds {
                for crash in &lane(round).facts.crashes {
                    let reason = format!(
                        "in round {} it ended with {}; the last lines of its log:\n{}",
                        round.number, crash.status, crash.log
                    );
                    // A configuration that does not run is no measure for another one, but that is not the other's fault.
                    if name == "head" { verdict.fail(reason) } else { verdict.undecided(reason) }
                }
            }
            (!verdict.reasons.is_empty()).then_some(verdict)
        };
        let of_both: Vec<Verdict> =
            [("base", (|round| &round.base) as fn(&Round) -> &LaneRound), ("head", |round| &round.head)]
                .into_iter()
                .filter_map(crash)
                .collect();
        of_both.into_iter()
    }
}

/// A share less another one, in percentage points.
pub(crate) fn points(difference: f64) -> String {
    let points = difference * 100.0;
    if points.abs() < 5e-4 { "0".to_owned() } else { format!("{points:+.3} pp") }
}

/// The interval of a class's difference.
pub(crate) fn interval(row: &ClassRow, confidence: f64) -> String {
    let Estimate { low, high, .. } = row.difference;
    format!("{} to {} ({})", points(low), points(high), Ratio::new_unchecked(confidence))
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
