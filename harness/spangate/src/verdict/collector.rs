//! What is judged without being asked for: whether the Collector ran to the end.

use super::Verdict;
use crate::collector::running::CollectorFacts;

/// A verdict where there is something to say: a Collector that nobody ended and that ended all the same, or that was
/// not there again after a fault.
pub(super) fn judge(facts: Option<&CollectorFacts>) -> Option<Verdict> {
    let facts = facts?;
    let mut verdict = Verdict::new("the Collector runs to the end");
    for crash in &facts.crashes {
        verdict.fail(format!(
            "the Collector ended with {}; the last lines of its log:\n{}",
            crash.status, crash.log
        ));
    }
    for away in facts.outages.iter().filter(|away| away.to <= away.ended) {
        verdict.fail(format!("the Collector did not start again after {}", away.fault));
    }
    (!verdict.reasons.is_empty()).then_some(verdict)
}

#[cfg(test)]
mod tests {
    use spangate_trace::UnixNanos;

    use super::*;
    use crate::{
        collector::running::{CollectorAway, Crash},
        verdict::Status,
    };

    #[test]
    fn a_collector_that_ran_to_the_end_is_no_news() {
        assert_eq!(judge(None), None);
        let away = CollectorAway {
            fault: "restart".to_owned(),
            from: UnixNanos(1),
            ended: UnixNanos(2),
            to: UnixNanos(3),
        };
        assert_eq!(judge(Some(&CollectorFacts { outages: vec![away], ..CollectorFacts::default() })), None);
    }

    #[test]
    fn a_crash_and_a_collector_that_stays_away_are_failures() {
        let crash =
            Crash { at: UnixNanos(5), status: "signal: 9 (SIGKILL)".to_owned(), log: "the end".to_owned() };
        let away = CollectorAway {
            fault: "restart".to_owned(),
            from: UnixNanos(1),
            ended: UnixNanos(2),
            to: UnixNanos(2),
        };
        let facts = CollectorFacts { crashes: vec![crash], outages: vec![away], ..CollectorFacts::default() };
        let verdict = judge(Some(&facts)).unwrap();
        assert_eq!((verdict.status, verdict.reasons.len()), (Status::Fail, 2));
        assert!(verdict.reasons[0].contains("the end"), "{verdict:?}");
    }
}
