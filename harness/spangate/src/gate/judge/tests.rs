use spangate_scenario::gate::parse_rules;

use super::*;
use crate::{
    collector::facts::Crash,
    gate::testing::{CLASSES, classes, lose, rounds},
    report::overall,
    verdict::Status,
};

const DEFAULT: &str = "
  - kept: {class: errors, share: 100%}
  - kept: {class: slow, share: 100%, within: 0.5%}
  - droppedTooEarly: = 0
  - refused: = 0%
  - asForetold: wherePossible
  - noLess: {class: '*', by: 0.5%}
  - cpuPerSpan: < +10%
  - peakRss: < +20%
  - bytesOut: < +50%
";

fn judged(rules: &str, rounds: &[Round]) -> Judged {
    let text = format!("apiVersion: spangate/v1alpha1\nkind: GateRules\nrules:{rules}");
    let rules = parse_rules("rules.yaml", &text, &CLASSES).unwrap_or_else(|error| panic!("{error:?}"));
    judge(&rules, &classes(), rounds)
}

/// The rules that are not met, with their status; all others are.
fn unmet(rules: &str, rounds: &[Round]) -> Vec<(String, Status)> {
    let verdicts = judged(rules, rounds).verdicts.into_iter();
    let unmet = verdicts.filter(|verdict| verdict.status != Status::Pass);
    unmet.map(|verdict| (verdict.expectation, verdict.status)).collect()
}

fn all_met() -> Vec<(String, Status)> {
    Vec::new()
}

fn red(rule: &str) -> Vec<(String, Status)> {
    vec![(rule.to_owned(), Status::Fail)]
}

fn undecided(rule: &str) -> Vec<(String, Status)> {
    vec![(rule.to_owned(), Status::Inconclusive)]
}

/// Scenario: only a comment has changed, so that both do the same.
/// Guarantees: the gate is green, and says so with intervals around nothing.
#[test]
fn what_does_the_same_is_green() {
    let judged = judged(DEFAULT, &rounds());
    assert_eq!(overall(&judged.verdicts), Status::Pass, "{:#?}", judged.verdicts);
    let normal = &judged.classes[2];
    assert_eq!((normal.traces, normal.base.kept, normal.base.expected), (7_500, 750, 750));
    assert_eq!((normal.base, normal.only_base, normal.only_head), (normal.head, 0, 0));
    assert!(judged.classes.iter().all(|row| row.difference.contains(0.0)));
    assert!(judged.costs.iter().all(|row| row.ratio.is_none_or(|ratio| ratio.contains(1.0))));
}

/// Scenario: the new configuration loses one error trace in a thousand, as its sampler says.
/// Guarantees: that rule alone is red, and names the traces that only the old one kept.
#[test]
fn one_error_in_a_thousand_is_red() {
    let mut rounds = rounds();
    lose(&mut rounds, "errors", 5);
    assert_eq!(unmet(DEFAULT, &rounds), red("kept errors = 100%"));
    let judged = judged(DEFAULT, &rounds);
    let (errors, verdict) = (&judged.classes[0], &judged.verdicts[0]);
    assert_eq!((errors.only_base, errors.head.kept, errors.head.expected), (5, 4_995, 4_995));
    assert_eq!((errors.lost.len(), verdict.examples.len()), (3, 3));
    assert!(errors.lost.iter().all(|trace| verdict.examples.contains(trace)), "{verdict:#?}");
}

#[test]
fn each_count_that_must_be_zero_is_red_at_one() {
    let mut early = rounds();
    early[2].head.facts.telemetry.tail.dropped_too_early = 1;
    assert_eq!(unmet(DEFAULT, &early), red("droppedTooEarly = 0"));

    let mut refused = rounds();
    refused[0].head.refused = 1;
    assert_eq!(unmet(DEFAULT, &refused), red("refused = 0%"));

    let mut wrong = rounds();
    wrong[4].head.traces[3].wrong = true;
    assert_eq!(unmet(DEFAULT, &wrong), red("asForetold where possible"));

    // What the old one does is no fault of the new one.
    let mut before = rounds();
    before[0].base.refused = 9;
    before[0].base.traces[3].wrong = true;
    before[0].base.facts.telemetry.tail.dropped_too_early = 9;
    assert_eq!(unmet(DEFAULT, &before), all_met());
}

#[test]
fn a_class_that_shrinks_is_red_and_one_that_grows_is_not() {
    let mut half = rounds();
    lose(&mut half, "normal", 375);
    assert_eq!(unmet(DEFAULT, &half), red("noLess * by 0.5%"));
    for round in &mut half {
        std::mem::swap(&mut round.base.traces, &mut round.head.traces);
    }
    assert_eq!(unmet(DEFAULT, &half), all_met());
}

/// Scenario: what is lost is about what may be.
/// Guarantees: it is neither red nor green.
#[test]
fn a_loss_on_both_sides_of_the_bound_is_inconclusive() {
    let mut rounds = rounds();
    lose(&mut rounds, "normal", 33);
    assert_eq!(unmet(DEFAULT, &rounds), undecided("noLess * by 0.5%"));
}

#[test]
fn few_traces_are_inconclusive_and_never_green() {
    let few = &rounds()[..3];
    assert_eq!(unmet("\n  - kept: {class: errors, share: 100%}", few), undecided("kept errors = 100%"));
    assert_eq!(unmet("\n  - kept: {class: errors, share: 100%, within: 1%}", few), all_met());
    for (rule, shown) in [
        ("kept: {class: errors, share: 100%}", "kept errors = 100%"),
        ("noLess: {class: slow, by: 1%}", "noLess slow by 1%"),
        ("refused: = 0%", "refused = 0%"),
        ("asForetold: always", "asForetold always"),
        ("cpuPerSpan: < +10%", "cpuPerSpan < +10%"),
    ] {
        assert_eq!(unmet(&format!("\n  - {rule}"), &[]), undecided(shown));
    }
}

/// What was not taken whole was no matter of sampling.
#[test]
fn traces_that_the_collector_lacks_spans_of_are_not_lost() {
    let mut rounds = rounds();
    for round in &mut rounds {
        let fate = &mut round.head.traces[7];
        (fate.whole, fate.kept, fate.must) = (false, false, None);
    }
    let judged = judged(DEFAULT, &rounds);
    assert_eq!(overall(&judged.verdicts), Status::Pass, "{:#?}", judged.verdicts);
    assert_eq!((judged.classes[0].sent, judged.classes[0].traces), (5_000, 4_995));
}

#[test]
fn a_share_is_held_against_its_interval() {
    let rule = |share: &str| format!("\n  - kept: {{class: normal, share: {share}}}");
    for (share, status) in [
        ("8%..12%", None),
        ("'> 5%'", None),
        ("'>= 20%'", Some(Status::Fail)),
        ("'< 8%'", Some(Status::Fail)),
        ("10%..12%", Some(Status::Inconclusive)),
    ] {
        let unmet = unmet(&rule(share), &rounds());
        assert_eq!(unmet.first().map(|(_, status)| *status), status, "{share}");
    }
}

fn costing(cpu: [f64; 5]) -> Vec<Round> {
    let mut rounds = rounds();
    for (round, factor) in rounds.iter_mut().zip(cpu) {
        round.head.facts.telemetry.cpu_seconds *= factor;
    }
    rounds
}

/// Scenario: it costs more for certain and by much, for certain and by little, or by much in some rounds only.
/// Guarantees: only the first is red.
#[test]
fn cost_is_red_when_it_is_more_for_certain_and_by_enough() {
    assert_eq!(unmet(DEFAULT, &costing([1.12, 1.18, 1.14, 1.2, 1.15])), red("cpuPerSpan < +10%"));
    assert_eq!(unmet(DEFAULT, &costing([1.05, 1.06, 1.07, 1.08, 1.09])), all_met());
    assert_eq!(unmet(DEFAULT, &costing([0.9, 1.3, 1.2, 1.3, 0.8])), undecided("cpuPerSpan < +10%"));
    assert_eq!(unmet(DEFAULT, &costing([0.5; 5])), all_met());
    let mut fat = rounds();
    for round in &mut fat {
        round.head.facts.peak_rss = 130 << 20;
    }
    assert_eq!(unmet(DEFAULT, &fat), red("peakRss < +20%"));
}

#[test]
fn nothing_foretold_is_told_or_inconclusive() {
    let mut rounds = rounds();
    for round in &mut rounds {
        round.head.unforetold = Some("what a `transform` does is not foretold".to_owned());
        round.head.traces.iter_mut().for_each(|fate| fate.must = None);
    }
    assert_eq!(unmet(DEFAULT, &rounds), all_met());
    assert_eq!(unmet("\n  - asForetold: always", &rounds), undecided("asForetold always"));
    assert_eq!(judged(DEFAULT, &rounds).classes[0].head.open, 5_000);
}

#[test]
fn a_new_collector_that_ends_is_red_and_an_old_one_is_no_measure() {
    let crash = Crash {
        at: Some(spangate_trace::UnixNanos(1)),
        status: "signal: 9".to_owned(),
        reason: None,
        back: None,
        log: String::new(),
    };
    let mut head = rounds();
    head[1].head.facts.crashes.push(crash.clone());
    assert_eq!(overall(&judged(DEFAULT, &head).verdicts), Status::Fail);
    let mut base = rounds();
    base[1].base.facts.crashes.push(crash);
    assert_eq!(overall(&judged(DEFAULT, &base).verdicts), Status::Inconclusive);
}

#[test]
fn enough_traces_for_a_loss_to_show() {
    assert_eq!(kept::needed(0.001, 0.99), 4_603);
    assert_eq!(kept::needed(0.01, 0.99), 459);
    assert_eq!(kept::needed(1.0, 0.99), 1);
}
