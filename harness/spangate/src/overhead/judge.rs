//! A comparison against rules: red, green, or neither. Pure, so that a test can falsify what was measured.

use jiff::civil::Date;
use spangate_trace::stats::effect::fewest;

use super::{
    Comparison, Metric,
    compare::{Effect, Figure},
    rules::{OverheadRule, OverheadRules},
};
use crate::{
    text::growth,
    verdict::{Check, Verdict},
};

/// Judges every rule for every arm that it is about; `today` says which acknowledgements are still good.
///
/// Red is what is beyond the bound, and for certain a change: the near end of the interval is on the same side of no
/// change. Green is what is for certain within the bound. What may be either is inconclusive.
pub fn judge(comparison: &Comparison, rules: &OverheadRules, today: Date) -> Vec<Verdict> {
    let names = comparison.arms.iter().map(|row| row.arm.name.as_str());
    let arms: Vec<&str> = names.filter(|name| *name != comparison.reference).collect();
    let mut verdicts = Vec::new();
    for rule in &rules.rules {
        verdicts.extend(about_none(rule, &arms));
        let about = arms.iter().filter(|arm| rule.is_about(arm));
        verdicts.extend(about.map(|arm| one(comparison, rule, arm, rules, today)));
    }
    verdicts
}

/// Judges the rules that are about one arm.
pub(super) fn judge_arm(
    comparison: &Comparison,
    arm: &str,
    rules: &OverheadRules,
    today: Date,
) -> Vec<Verdict> {
    let about = rules.rules.iter().filter(|rule| rule.is_about(arm));
    about.map(|rule| one(comparison, rule, arm, rules, today)).collect()
}

/// The verdict on a rule that is about none of the arms.
pub(super) fn about_none(rule: &OverheadRule, arms: &[&str]) -> Option<Verdict> {
    if arms.iter().any(|arm| rule.is_about(arm)) {
        return None;
    }
    let mut verdict = Verdict::new(rule.to_string());
    verdict.undecided(format!("there is no arm `{}`", rule.arm));
    Some(verdict)
}

fn one(
    comparison: &Comparison,
    rule: &OverheadRule,
    arm: &str,
    rules: &OverheadRules,
    today: Date,
) -> Verdict {
    let metric = rule.metric;
    let mut verdict = Verdict::new(format!("{arm}: {} {}", metric.key(), rule.change));
    let Some(figure) = comparison.figure(arm, metric) else {
        verdict.undecided(format!("{} was not measured", metric.label()));
        return verdict;
    };
    match &figure.effect {
        Some(effect) => {
            weigh(effect, rule, comparison, &mut verdict);
            tell(effect, metric, &mut verdict);
        }
        None => without_ratio(figure, rule, comparison, &mut verdict),
    }
    if verdict.status == crate::verdict::Status::Fail
        && let Some(known) = rules.known(metric, arm)
    {
        if today <= known.until.0 {
            let reason = format!("{} (until {})", known.reason, known.until);
            verdict = borne(verdict, reason);
        } else {
            verdict.reasons.push(format!("it was borne until {}: {}", known.until, known.reason));
        }
    }
    verdict
}

/// The verdict proper.
fn weigh(effect: &Effect, rule: &OverheadRule, comparison: &Comparison, verdict: &mut Verdict) {
    let (metric, ratio) = (rule.metric, effect.ratio);
    let (most, least) = (rule.change.more().map(|it| 1.0 + it), rule.change.less().map(|it| 1.0 - it));
    let beyond = most.is_some_and(|most| ratio.value > most && ratio.low > 1.0)
        || least.is_some_and(|least| ratio.value < least && ratio.high < 1.0);
    let needed = fewest(comparison.method.confidence);
    let enough = effect.pairs >= needed;
    let observed = format!(
        "{} ({} -> {})",
        growth(ratio.value),
        metric.show(effect.reference),
        metric.show(effect.value)
    );
    let n = usize::try_from(effect.pairs).unwrap_or(usize::MAX);
    let check = Check::bound(metric.label(), observed, rule.change.to_string(), n, !(beyond && enough));
    let percent = comparison.method.confidence * 100.0;
    let interval =
        format!("{} to {} ({}%)", growth(ratio.low), growth(ratio.high), (percent * 100.0).round() / 100.0);
    verdict.check(check.with_interval(interval));
    if !enough {
        verdict.undecided(format!("{} pairs have no interval of this confidence: {needed} do", effect.pairs));
    } else if !beyond && effect.from_nothing > 0 && most.is_some() {
        verdict.undecided(format!(
            "in {} rounds more the reference has none and {} has some, which no ratio tells",
            effect.from_nothing,
            metric.label()
        ));
    } else if !beyond
        && (most.is_some_and(|most| ratio.high > most) || least.is_some_and(|least| ratio.low < least))
    {
        verdict.undecided(format!(
            "{} pairs do not tell {} from none: run more rounds, or on a quieter machine",
            effect.pairs, rule.change
        ));
    }
}

/// The verdict where the reference has nothing, so that no ratio says how much more something is.
fn without_ratio(figure: &Figure, rule: &OverheadRule, comparison: &Comparison, verdict: &mut Verdict) {
    let metric = rule.metric;
    // Of all rounds: the middle of many is 0 where a few are not.
    let none = comparison.figure(&comparison.reference, metric).is_some_and(|it| it.most <= 0.0);
    let enough = figure.rounds >= fewest(comparison.method.confidence);
    let (value, n) = (figure.value, usize::try_from(figure.rounds).unwrap_or(usize::MAX));
    if none && enough && figure.most <= 0.0 {
        verdict.check(Check::bound(metric.label(), "none in either", rule.change.to_string(), n, true));
    } else if none && enough && value.low > 0.0 && rule.change.more().is_some() {
        let observed = format!("none -> {}", metric.show(value.value));
        verdict.check(Check::bound(metric.label(), observed, rule.change.to_string(), n, false));
    } else {
        let some = if figure.most > 0.0 { ", and some in a few" } else { "" };
        verdict.undecided(format!(
            "{} cannot be compared: too few rounds, or none in most{some}",
            metric.label()
        ));
    }
}

/// What else a reader wants to know, which decides nothing.
fn tell(effect: &Effect, metric: Metric, verdict: &mut Verdict) {
    let n = usize::try_from(effect.pairs).unwrap_or(usize::MAX);
    if let Some(least) = effect.detectable {
        let text = format!("{} in 4 of 5 gates", growth(1.0 + least));
        verdict.check(Check::told(format!("{} that would show", metric.label()), text, n));
    }
    let p = format!("p = {:.1e}", effect.p);
    verdict.check(Check::told(format!("{} by ranks", metric.label()), p, n));
}

/// A red verdict that is borne: it passes, and says what it would have been.
fn borne(red: Verdict, reason: String) -> Verdict {
    let mut verdict = Verdict::new(format!("borne: {}", red.expectation));
    verdict.checks = red.checks.into_iter().map(|check| Check { holds: true, ..check }).collect();
    verdict.check(Check::told("borne", reason, 1));
    verdict
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use spangate_scenario::units::Change;

    use super::*;
    use crate::{
        overhead::{
            Measured,
            compare::{Method, Pairing, compare_by},
            rules::{Acknowledgement, Day, parse},
            testing::measured,
        },
        verdict::Status,
    };

    const TODAY: Date = date(2026, 11, 28);

    fn rules(change: &str) -> OverheadRules {
        let mut rules = OverheadRules::default_rules();
        rules.rules.truncate(1);
        rules.rules[0].change = change.parse::<Change>().unwrap();
        rules
    }

    /// Pairs with a ratio, each up to `noise` off to either side in turn.
    fn pairs(n: u32, ratio: f64, noise: f64) -> Measured {
        measured(n, |round| {
            let sign = if round % 2 == 0 { 1.0 } else { -1.0 };
            (1e-3, 1e-3 * ratio * (1.0 + sign * noise * f64::from(round % 5 + 1) / 5.0))
        })
    }

    fn status(measured: &Measured, rules: &OverheadRules) -> Status {
        let method = Method { confidence: 0.99, ..Method::default() };
        let verdicts = judge(&compare_by(measured, &method), rules, TODAY);
        assert_eq!(verdicts.len(), 1);
        verdicts[0].status
    }

    #[test]
    fn red_is_beyond_the_bound_and_a_change_for_certain() {
        let rules = rules("< +5%");
        for (ratio, noise, wanted) in [
            (1.1, 0.02, Status::Fail),
            (1.0, 0.02, Status::Pass),
            // More for certain, and too little to matter.
            (1.03, 0.01, Status::Pass),
            // Too noisy for either.
            (1.0, 0.3, Status::Inconclusive),
            (1.1, 0.4, Status::Inconclusive),
            // Less is no matter of this rule.
            (0.5, 0.02, Status::Pass),
        ] {
            assert_eq!(status(&pairs(12, ratio, noise), &rules), wanted, "{ratio} {noise}");
        }
    }

    #[test]
    fn a_rule_has_a_direction() {
        assert_eq!(status(&pairs(12, 0.8, 0.02), &rules("> -10%")), Status::Fail);
        assert_eq!(status(&pairs(12, 1.8, 0.02), &rules("> -10%")), Status::Pass);
        assert_eq!(status(&pairs(12, 0.8, 0.02), &rules("-10%..+10%")), Status::Fail);
        assert_eq!(status(&pairs(12, 1.2, 0.02), &rules("-10%..+10%")), Status::Fail);
        assert_eq!(status(&pairs(12, 1.0, 0.02), &rules("-10%..+10%")), Status::Pass);
    }

    #[test]
    fn few_rounds_and_no_rounds_are_never_green() {
        for measured in [pairs(7, 1.2, 0.01), pairs(7, 1.0, 0.0), pairs(0, 1.0, 0.0)] {
            assert_eq!(status(&measured, &rules("< +5%")), Status::Inconclusive);
        }
        assert_eq!(status(&pairs(8, 1.2, 0.01), &rules("< +5%")), Status::Fail);
        let mut nobody = rules("< +5%");
        nobody.rules[0].arm = "heads".to_owned();
        assert_eq!(status(&pairs(12, 1.0, 0.0), &nobody), Status::Inconclusive);
    }

    #[test]
    fn what_is_known_is_borne_until_its_day() {
        let red = pairs(12, 1.2, 0.01);
        let mut rules = rules("< +5%");
        let until = |day: &str| Acknowledgement {
            metric: Metric::CpuPerRequest,
            arm: "head".to_owned(),
            until: day.parse::<Day>().unwrap(),
            reason: "the new filter".to_owned(),
        };
        rules.acknowledge = vec![until("2026-11-28")];
        let method = Method { confidence: 0.99, ..Method::default() };
        let verdicts = judge(&compare_by(&red, &method), &rules, TODAY);
        assert_eq!(verdicts[0].status, Status::Pass);
        assert!(verdicts[0].expectation.starts_with("borne: head: cpuPerRequest"), "{verdicts:?}");
        assert!(verdicts[0].checks.iter().any(|check| check.observed == "the new filter (until 2026-11-28)"));
        rules.acknowledge = vec![until("2026-11-27")];
        let verdicts = judge(&compare_by(&red, &method), &rules, TODAY);
        assert_eq!(verdicts[0].status, Status::Fail);
        assert!(verdicts[0].reasons.iter().any(|why| why.contains("borne until 2026-11-27")), "{verdicts:?}");
        // Of another arm it is not known.
        rules.acknowledge = vec![Acknowledgement { arm: "other".to_owned(), ..until("2027-01-01") }];
        assert_eq!(status(&red, &rules), Status::Fail);
    }

    #[test]
    fn nothing_in_either_is_no_more_than_nothing() {
        let text =
            "apiVersion: spangate/v1alpha1\nkind: OverheadRules\nrules: [{metric: loss, change: < +0%}]\n";
        let rules = parse("rules.yaml", text).unwrap();
        let losing = |loss: f64| {
            let mut measured = pairs(12, 1.0, 0.0);
            for unit in &mut measured.units {
                unit.figures.insert(Metric::Loss, if unit.arm == "head" { loss } else { 0.0 });
            }
            measured
        };
        assert_eq!(status(&losing(0.0), &rules), Status::Pass);
        assert_eq!(status(&losing(0.1), &rules), Status::Fail);
        // The middle of the rounds is nothing, and three of them lost something.
        let mut seldom = losing(0.0);
        let of_head = seldom.units.iter_mut().filter(|unit| unit.arm == "head");
        of_head.take(3).for_each(|unit| *unit.figures.get_mut(&Metric::Loss).unwrap() = 0.2);
        assert_eq!(status(&seldom, &rules), Status::Inconclusive);
    }

    /// Scenario: the reference lost something in nine rounds of twelve, and the new one as much; in the other three only the
    /// new one did.
    /// Guarantees: it is not green by the nine rounds that have a ratio.
    #[test]
    fn more_from_nothing_is_not_left_out() {
        let text =
            "apiVersion: spangate/v1alpha1\nkind: OverheadRules\nrules: [{metric: loss, change: < +5%}]\n";
        let rules = parse("rules.yaml", text).unwrap();
        let losing = |nothing: u32| {
            let mut measured = pairs(12, 1.0, 0.0);
            for unit in &mut measured.units {
                let none = unit.arm == "base" && unit.round < nothing;
                unit.figures.insert(Metric::Loss, if none { 0.0 } else { 0.1 });
            }
            let method = Method { confidence: 0.99, pairing: Pairing::AtOnce, ..Method::default() };
            judge(&compare_by(&measured, &method), &rules, TODAY)[0].status
        };
        assert_eq!((losing(0), losing(3)), (Status::Pass, Status::Inconclusive));
    }
}
