//! The rule `kept`: a share of a class that the new configuration must keep.

use spangate_scenario::{
    gate::KeptRule,
    units::{Bound, Comparison, Ratio},
};
use spangate_trace::{TraceId, stats::clopper_pearson};

use super::{Bench, count};
use crate::{
    text,
    verdict::{Check, Verdict},
};

/// What the new configuration made of the whole traces of a class, whether the old one took them or not.
#[derive(Default)]
struct Tally {
    kept: u64,
    lost: Vec<TraceId>,
}

// === impl Bench ===

impl Bench<'_> {
    pub(super) fn kept(&self, rule: &KeptRule, verdict: &mut Verdict) {
        for row in self.rows_of(&rule.class) {
            let tally = self.tally(&row.class);
            if is_all(&rule.share) {
                self.all(rule, &row.class, tally, verdict);
            } else {
                self.share(rule, &row.class, &tally, verdict);
            }
        }
    }

    fn tally(&self, class: &str) -> Tally {
        let mut tally = Tally::default();
        let traces = self.rounds.iter().flat_map(|round| &round.head.traces);
        for fate in traces.filter(|fate| fate.whole && &*fate.class == class) {
            if fate.kept {
                tally.kept += 1;
            } else {
                tally.lost.push(fate.trace);
            }
        }
        tally
    }

    /// One that is lost disproves "all". That none is lost says something only of losses that would have shown.
    fn all(&self, rule: &KeptRule, class: &str, tally: Tally, verdict: &mut Verdict) {
        let (n, holds) = (tally.total(), tally.lost.is_empty());
        verdict.check(self.check(rule, class, &tally, holds));
        verdict.point_at(tally.lost);
        let needed = needed(rule.within.get(), self.confidence);
        if holds && n < needed {
            verdict.undecided(format!(
                "{n} traces of the class {class} may hide a loss of {}: {needed} would not",
                rule.within
            ));
        }
    }

    /// Red when the whole interval lies beyond the bound; inconclusive when it lies on both sides.
    fn share(&self, rule: &KeptRule, class: &str, tally: &Tally, verdict: &mut Verdict) {
        let n = tally.total();
        let kept = clopper_pearson(tally.kept, n, self.confidence);
        let (low, high) = ends(&rule.share);
        let apart = kept.high < low || kept.low > high;
        verdict.check(self.check(rule, class, tally, !apart));
        if !apart && (kept.low < low || kept.high > high) {
            let share = rule.share;
            verdict.undecided(format!("{n} traces of the class {class} do not tell whether it is {share}"));
        }
    }

    fn check(&self, rule: &KeptRule, class: &str, tally: &Tally, holds: bool) -> Check {
        let n = tally.total();
        let kept = clopper_pearson(tally.kept, n, self.confidence);
        let observed = format!("{} ({} of {n})", exact(kept.value), tally.kept);
        let check = Check::bound(format!("{class} kept"), observed, rule.share.to_string(), count(n), holds);
        let confidence = Ratio::new_unchecked(self.confidence);
        check.with_interval(format!("{} to {} ({confidence})", exact(kept.low), exact(kept.high)))
    }
}

// === impl Tally ===

impl Tally {
    fn total(&self) -> u64 {
        self.kept + self.lost.len() as u64
    }
}

/// A share to a thousandth of a percent, since a loss of one in a thousand must show.
pub(crate) fn exact(share: f64) -> String {
    if share > 0.1 && share < 1.0 { format!("{:.3}%", share * 100.0) } else { text::percent(share) }
}

/// Whether nothing but all of it is within the bound.
fn is_all(share: &Bound<Ratio>) -> bool {
    share.holds(&Ratio::one()) && !share.holds(&Ratio::new_unchecked(1.0 - 1e-9))
}

/// The least and the greatest share that a bound allows; whether an end is part of it makes no difference to an
/// interval.
fn ends(share: &Bound<Ratio>) -> (f64, f64) {
    match share {
        Bound::Within(low, high) => (low.get(), high.get()),
        Bound::One(Comparison::Less | Comparison::AtMost, limit) => (0.0, limit.get()),
        Bound::One(Comparison::Greater | Comparison::AtLeast, limit) => (limit.get(), 1.0),
        Bound::One(Comparison::Equal, limit) => (limit.get(), limit.get()),
        // Rules that were read have none.
        Bound::One(Comparison::NotEqual, _) => (0.0, 1.0),
    }
}

/// The least number of traces of which a loss of `within` takes at least one, but for the part of all runs that
/// `confidence` leaves over.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, and it saturates")]
pub(crate) fn needed(within: f64, confidence: f64) -> u64 {
    if within >= 1.0 { 1 } else { ((-confidence).ln_1p() / (-within).ln_1p()).ceil() as u64 }
}
