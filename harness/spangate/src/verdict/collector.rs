//! What is judged without being asked for: whether the Collector ran to the end.

use super::Verdict;
use crate::collector::facts::CollectorFacts;

/// A verdict where there is something to say: a Collector that nobody ended and that ended all the same, or that was
/// not there again after a fault, or a fault that did not end it. Where it may end by itself
/// (`may_restart`), it must have come back.
pub(super) fn judge(facts: Option<&CollectorFacts>, may_restart: bool) -> Option<Verdict> {
    let facts = facts?;
    let mut verdict = Verdict::new("the Collector runs to the end");
    for crash in facts.crashes.iter().filter(|crash| !may_restart || crash.back.is_none()) {
        verdict.fail(format!(
            "the Collector ended with {}; the last lines of its log:\n{}",
            crash.status, crash.log
        ));
    }
    for away in facts.outages.iter().filter(|away| away.to <= away.ended) {
        verdict.fail(format!("the Collector did not start again after {}", away.fault));
    }
    for fault in &facts.not_acted {
        verdict.undecided(format!("a fault did not act: {fault}"));
    }
    if facts.unheard {
        verdict
            .undecided("nobody told how its pod or container went, and so not whether it had ended before");
    }
    (!verdict.reasons.is_empty()).then_some(verdict)
}

#[cfg(test)]
mod tests {
    use spangate_trace::UnixNanos;

    use super::*;
    use crate::{
        collector::facts::{CollectorAway, Crash},
        verdict::Status,
    };

    #[test]
    fn a_collector_that_ran_to_the_end_is_no_news() {
        assert_eq!(judge(None, false), None);
        let away = CollectorAway {
            fault: "restart".to_owned(),
            from: UnixNanos(1),
            ended: UnixNanos(2),
            to: UnixNanos(3),
        };
        let facts = CollectorFacts { outages: vec![away], ..CollectorFacts::default() };
        assert_eq!(judge(Some(&facts), false), None);
    }

    #[test]
    fn a_crash_and_a_collector_that_stays_away_are_failures() {
        let crash = Crash {
            at: Some(UnixNanos(5)),
            status: "signal: 9 (SIGKILL)".to_owned(),
            reason: None,
            back: None,
            log: "the end".to_owned(),
        };
        let away = CollectorAway {
            fault: "restart".to_owned(),
            from: UnixNanos(1),
            ended: UnixNanos(2),
            to: UnixNanos(2),
        };
        let facts = CollectorFacts { crashes: vec![crash], outages: vec![away], ..CollectorFacts::default() };
        let verdict = judge(Some(&facts), false).unwrap();
        assert_eq!((verdict.status, verdict.reasons.len()), (Status::Fail, 2));
        assert!(verdict.reasons[0].contains("the end"), "{verdict:?}");
    }

    /// Scenario: a fault was to end the Collector, and failed.
    /// Guarantees: a run without what it is about is not green.
    #[test]
    fn a_fault_that_did_not_act_is_not_green() {
        let not_acted = vec!["restart: cannot kill the Collector".to_owned()];
        let verdict = judge(Some(&CollectorFacts { not_acted, ..CollectorFacts::default() }), false).unwrap();
        assert_eq!(verdict.status, Status::Inconclusive);
        assert_eq!(verdict.reasons, ["a fault did not act: restart: cannot kill the Collector"]);
    }

    #[test]
    fn an_end_that_nobody_may_have_heard_of_is_not_green() {
        let facts = CollectorFacts { unheard: true, ..CollectorFacts::default() };
        assert_eq!(judge(Some(&facts), true).unwrap().status, Status::Inconclusive);
    }

    /// Scenario: a scenario expects that its Collector ends by itself.
    /// Guarantees: it may, but it must have been ready again.
    #[test]
    fn a_restart_that_is_expected_must_come_to_an_end() {
        let facts = |back| {
            let (status, reason) = ("OOMKilled (exit code 137)".to_owned(), Some("OOMKilled".to_owned()));
            let crash = Crash { at: Some(UnixNanos(5)), status, reason, back, log: String::new() };
            CollectorFacts { crashes: vec![crash], ..CollectorFacts::default() }
        };
        assert_eq!(judge(Some(&facts(Some(UnixNanos(6)))), true), None);
        assert_eq!(judge(Some(&facts(None)), true).unwrap().status, Status::Fail);
        assert_eq!(judge(Some(&facts(Some(UnixNanos(6)))), false).unwrap().status, Status::Fail);
    }
}
