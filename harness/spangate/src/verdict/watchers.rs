//! `watchers`: whether every watcher heard of every write, and how soon.
//!
//! The request ledger says which writes the API server acknowledged, the watch ledger what each watcher
//! received. A creation and a deletion are known by the name of their object, which is used once; a change by
//! the number of its arrival, which it leaves in an annotation. The lag runs from the moment at which the
//! write was handed to a connection, so it contains the write itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use spangate_load::{Outcome, RequestRecord, Verb, WatchRecord, watchers};
use spangate_scenario::model::{WatchMode, Watchers, WatchersExpectation};
use spangate_trace::stats;

use self::writes::Write;
use super::{Check, Status, Verdict, latency};
use crate::{evidence::Case, text};

mod cover;
mod writes;

/// Confidence of intervals.
const CONFIDENCE: f64 = 0.95;

pub(super) fn judge(expect: &WatchersExpectation, case: &Case<'_>) -> Verdict {
    let title = expect.name.as_ref().map_or_else(|| "watchers".to_owned(), |name| format!("watchers {name}"));
    let mut verdict = Verdict::new(title);
    let found = account(expect.name.as_deref(), case);
    if found.watchers == 0 {
        verdict.undecided("no such watcher was there");
        return verdict;
    }
    let n = found.lags.len() + found.restated + found.missed.len();
    if n == 0 {
        verdict.undecided("no write was acknowledged that these watchers must hear of");
    }
    if let (Some(bounds), true) = (&expect.lag, n > 0) {
        let lags: Vec<u64> = found.lags.iter().map(|(lag, _)| *lag).collect();
        latency::percentiles(bounds, &lags, &mut verdict);
    }
    let (missed, share) =
        (found.missed.len() as u64, stats::wilson(found.missed.len() as u64, n as u64, CONFIDENCE));
    let interval = format!("{} to {} (95%)", text::percent(share.low), text::percent(share.high));
    verdict.check(match &expect.missed {
        Some(bound) if n > 0 => {
            Check::bound("missed", missed.to_string(), bound.to_string(), n, bound.holds(&missed))
                .with_interval(interval)
        }
        _ => Check::told("missed", missed.to_string(), n),
    });
    if let Some(bound) = &expect.reopened {
        let (reopened, holds) = (found.reopened, bound.holds(&found.reopened));
        let check = Check::bound("reopened", reopened.to_string(), bound.to_string(), found.watchers, holds);
        verdict.check(check);
    }
    if found.restated > 0 {
        let what = "heard of by a later state, after a watcher began again";
        verdict.check(Check::told(what, found.restated.to_string(), n));
    }
    for (why, count) in &found.left_out {
        verdict.check(Check::told(format!("left out: {why}"), count.to_string(), *count));
    }
    if verdict.status != Status::Pass {
        verdict.point_at(found.missed.iter().filter_map(|write| Some(write.sent?.trace_id)));
        if found.missed.is_empty() {
            let slowest = found.lags.iter().rev();
            verdict.point_at(slowest.filter_map(|(_, write)| Some(write.sent?.trace_id)));
        }
    }
    verdict
}

/// What became of the writes that watchers had to hear of; each pair of a watcher and a write counts once.
#[derive(Default)]
struct Account<'e> {
    /// Watchers that were there.
    watchers: usize,
    /// From the write to its event in nanoseconds, sorted, and the write.
    lags: Vec<(u64, &'e RequestRecord)>,
    /// Writes without an event whose object, or its absence, was in a state that came after them.
    restated: usize,
    missed: Vec<&'e RequestRecord>,
    /// Watches that were opened again.
    reopened: u64,
    /// Writes of which nothing can be said, by the reason; where it lies with a watcher, once for each.
    left_out: BTreeMap<&'static str, usize>,
}

/// Holds the watch ledger against the request ledger.
fn account<'e>(name: Option<&str>, case: &'e Case<'_>) -> Account<'e> {
    let mut account = Account::default();
    let load = &case.scenario.spec.load;
    let of_name = |watchers: &Watchers| name.is_none_or(|name| name == watchers.label());
    let watched = load.watchers.iter().filter(|watchers| of_name(watchers));
    let resources: HashSet<_> = watched.map(|watchers| watchers.resource.plural()).collect();
    let mut all_writes = Vec::new();
    for request in case.requests.iter().filter(|it| resources.contains(it.resource.as_str())) {
        match writes::of(request, load) {
            Some(Ok(write)) => all_writes.push(write),
            Some(Err(why)) => account.leave_out(why),
            None => {}
        }
    }
    let mut heard = Heard::of(case);
    for member in watchers::members(load).filter(|member| of_name(member.watchers)) {
        let Some(ear) = heard.0.remove(&member.index) else { continue };
        account.watchers += 1;
        account.reopened += ear.opened().saturating_sub(1);
        for write in &all_writes {
            match cover::covers(&member, write, load, &case.scenario.metadata.name) {
                Some(false) => {}
                None => account.leave_out("not known to be selected"),
                Some(true) => match ear.fate(write, member.watchers.mode) {
                    Fate::Heard(lag) => account.lags.push((lag, write.request)),
                    Fate::Restated => account.restated += 1,
                    Fate::Missed => account.missed.push(write.request),
                    Fate::Unclear => account.leave_out("under way while a watcher began again"),
                },
            }
        }
    }
    account.lags.sort_unstable_by_key(|(lag, _)| *lag);
    account
}

// === impl Account ===

impl Account<'_> {
    fn leave_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }
}

/// What each watcher sent and received.
struct Heard<'e>(HashMap<u32, Ear<'e>>);

/// What one watcher sent and received.
#[derive(Default)]
struct Ear<'e> {
    requests: Vec<&'e RequestRecord>,
    /// By namespace and name, in the order of their times.
    events: HashMap<(&'e str, &'e str), Vec<&'e WatchRecord>>,
    /// When the last part of a state was received, by the step that brought it.
    states: HashMap<u32, &'e WatchRecord>,
}

/// What became of a write for a watcher.
enum Fate {
    /// Its event came after so many nanoseconds.
    Heard(u64),
    /// Its object was in a state that was asked for after it.
    Restated,
    /// The watcher began again while the write was under way.
    Unclear,
    /// Nothing came.
    Missed,
}

// === impl Heard ===

impl<'e> Heard<'e> {
    fn of(case: &'e Case<'_>) -> Self {
        let mut heard: HashMap<u32, Ear<'e>> = HashMap::new();
        for request in &case.requests {
            if let Some(index) = watchers::index_of(request.arrival) {
                heard.entry(index).or_default().requests.push(request);
            }
        }
        for record in &case.watched {
            let ear = heard.entry(record.index).or_default();
            ear.events.entry((&record.namespace, &record.name)).or_default().push(record);
            if record.initial {
                ear.states.insert(record.step, record);
            }
        }
        Self(heard)
    }
}

// === impl Ear ===

impl Ear<'_> {
    /// How often a watch was opened.
    fn opened(&self) -> u64 {
        let watches = self.requests.iter().filter(|it| matches!(it.verb, Verb::Watch | Verb::WatchList));
        watches.filter(|it| it.outcome == Outcome::Status(200)).count() as u64
    }

    fn fate(&self, write: &Write<'_>, mode: WatchMode) -> Fate {
        let events = self.events.get(&(write.namespace, &*write.name)).map_or(&[][..], Vec::as_slice);
        if let Some(event) = events.iter().find(|event| write.caused(event)) {
            let lag = event.at.since(write.request.started).as_nanos();
            return Fate::Heard(u64::try_from(lag).unwrap_or(u64::MAX));
        }
        if mode == WatchMode::Watch {
            return Fate::Missed;
        }
        let mut fate = Fate::Missed;
        for state in self.requests.iter().filter(|it| begins_state(it)) {
            // A state is as new as the moment at which it was asked for, or newer.
            if state.started >= write.request.ended {
                return Fate::Restated;
            }
            let end = self.states.get(&state.step).map_or(state.started, |last| last.at);
            if end >= write.request.started {
                fate = Fate::Unclear;
            }
        }
        fate
    }
}

/// Whether a request of a watcher asks for the state anew. Further pages are as old as the first.
fn begins_state(request: &RequestRecord) -> bool {
    let asks = match request.verb {
        Verb::List => !request.target.contains("continue="),
        verb => verb == Verb::WatchList,
    };
    asks && request.outcome == Outcome::Status(200)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spangate_load::WatchEvent;
    use spangate_scenario::model::Percentiles;
    use spangate_trace::UnixNanos;

    use super::*;
    use crate::{
        evidence::Evidence,
        testing::{Run, request},
        verdict::Status::{Fail, Inconclusive, Pass},
    };

    /// What an event is late by.
    const LAG: Duration = Duration::from_millis(5);

    fn watchers(mode: &str, further: &serde_json::Value) -> Watchers {
        let mut watchers = serde_json::json!({"count": 2, "resource": "configmaps", "mode": mode});
        watchers.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        serde_json::from_value(watchers).unwrap()
    }

    /// A request of watcher `index`, open over the whole run.
    fn watch(index: u32, step: u32, verb: Verb, evidence: &Evidence) -> RequestRecord {
        let (start, end) = (evidence.facts.load_start.0 - 1_000_000, evidence.facts.load_end);
        RequestRecord {
            arrival: watchers::arrival(index),
            step,
            verb,
            started: UnixNanos(start),
            ended: end,
            outcome: Outcome::Status(200),
            target: "/api/v1/namespaces/spangate-load/configmaps?watch=true".to_owned(),
            ..request()
        }
    }

    /// A run of 120 creates of which two watchers heard in time.
    fn run(watchers: Watchers) -> Evidence {
        let mut evidence = Run::of_creates(120).evidence();
        evidence.scenario.spec.load.watchers = vec![watchers];
        let mut watched = Vec::new();
        for create in &evidence.requests {
            for index in 0..2 {
                watched.push(WatchRecord {
                    watcher: "configmaps".into(),
                    index,
                    step: 0,
                    at: create.started + LAG,
                    event: WatchEvent::Added,
                    namespace: "spangate-load".to_owned(),
                    name: create.name.clone().unwrap(),
                    resource_version: "1".to_owned(),
                    revision: Some(0),
                    initial: false,
                });
            }
        }
        let opened = [0, 1].map(|index| watch(index, 0, Verb::WatchList, &evidence));
        evidence.requests.extend(opened);
        evidence.with_watched(watched)
    }

    fn plain() -> Evidence {
        run(watchers("watch", &serde_json::json!({})))
    }

    fn expect() -> WatchersExpectation {
        let lag = Percentiles {
            p99: Some("< 10ms".parse().unwrap()),
            max: Some("< 20ms".parse().unwrap()),
            ..Percentiles::default()
        };
        WatchersExpectation {
            name: None,
            lag: Some(lag),
            missed: Some("0".parse().unwrap()),
            reopened: Some("0".parse().unwrap()),
        }
    }

    fn judged(evidence: &Evidence) -> Verdict {
        judge(&expect(), &Case::new(evidence))
    }

    fn told(verdict: &Verdict, what: &str) -> Option<String> {
        verdict.checks.iter().find(|check| check.what.starts_with(what)).map(|check| check.observed.clone())
    }

    #[test]
    fn every_watcher_that_heard_of_every_write_passes() {
        let verdict = judged(&plain());
        assert_eq!(verdict.status, Pass, "{verdict:?}");
        assert_eq!(verdict.checks[0].n, 240);
        assert_eq!(told(&verdict, "p99").as_deref(), Some("5.00ms"));
        assert_eq!(told(&verdict, "left out"), None);
    }

    #[test]
    fn an_event_that_is_not_there_was_missed() {
        let mut evidence = plain();
        evidence.watched.remove(7);
        let verdict = judged(&evidence);
        assert_eq!((verdict.status, told(&verdict, "missed").as_deref()), (Fail, Some("1")));
        assert_eq!(verdict.examples[0], Run::trace(3));
    }

    #[test]
    fn an_event_of_another_object_type_or_namespace_is_not_its_own() {
        let falsify: [fn(&mut WatchRecord); 5] = [
            |record| record.name = "cm-0x".to_owned(),
            |record| record.namespace = "default".to_owned(),
            |record| record.event = WatchEvent::Modified,
            |record| record.initial = true,
            |record| record.at = UnixNanos(record.at.0 - 1_000_000_000),
        ];
        for (number, falsify) in falsify.into_iter().enumerate() {
            let mut evidence = plain();
            falsify(&mut evidence.watched[0]);
            assert_eq!(told(&judged(&evidence), "missed").as_deref(), Some("1"), "falsification {number}");
        }
    }

    #[test]
    fn an_event_that_is_late_turns_the_lag_red() {
        let mut evidence = plain();
        evidence.watched[10].at = evidence.watched[10].at + Duration::from_millis(30);
        let verdict = judged(&evidence);
        assert_eq!((verdict.status, told(&verdict, "max").as_deref()), (Fail, Some("35.0ms")));
        assert_eq!(verdict.examples[0], Run::trace(5));
    }

    #[test]
    fn a_change_is_known_by_its_revision_and_a_deletion_by_its_name() {
        let as_patch = |evidence: &mut Evidence, revision: Option<u64>| {
            (evidence.requests[4].verb, evidence.requests[4].outcome) = (Verb::Patch, Outcome::Status(200));
            for record in &mut evidence.watched[8..10] {
                (record.event, record.revision) = (WatchEvent::Modified, revision);
            }
        };
        for (revision, missed) in [(Some(4), "0"), (Some(5), "2"), (None, "2")] {
            let mut evidence = plain();
            as_patch(&mut evidence, revision);
            assert_eq!(told(&judged(&evidence), "missed").as_deref(), Some(missed), "{revision:?}");
        }
        for (event, missed) in [(WatchEvent::Deleted, "0"), (WatchEvent::Modified, "2")] {
            let mut evidence = plain();
            evidence.requests[4].verb = Verb::Delete;
            evidence.watched[8..10].iter_mut().for_each(|record| record.event = event);
            assert_eq!(told(&judged(&evidence), "missed").as_deref(), Some(missed), "{event}");
        }
    }

    #[test]
    fn a_watch_that_was_opened_again_is_counted() {
        let mut evidence = plain();
        let again = watch(1, 1, Verb::Watch, &evidence);
        let refused = RequestRecord { outcome: Outcome::Status(429), ..watch(1, 2, Verb::Watch, &evidence) };
        evidence.requests.extend([again, refused]);
        let verdict = judged(&evidence);
        assert_eq!((verdict.status, told(&verdict, "reopened").as_deref()), (Fail, Some("1")));
    }

    #[test]
    fn a_state_that_was_asked_for_later_tells_of_what_was_missed() {
        for (mode, status, restated) in
            [("watch", Fail, None), ("listWatch", Pass, Some("1")), ("watchList", Pass, Some("1"))]
        {
            let mut evidence = run(watchers(mode, &serde_json::json!({})));
            evidence.watched.remove(7);
            let mut list = watch(1, 1, Verb::List, &evidence);
            list.started = evidence.requests[3].ended;
            evidence.requests.push(list);
            let verdict = judged(&evidence);
            assert_eq!((verdict.status, told(&verdict, "heard of").as_deref()), (status, restated), "{mode}");
        }
    }

    #[test]
    fn what_was_under_way_while_a_watcher_began_again_is_left_out() {
        let mut evidence = run(watchers("listWatch", &serde_json::json!({})));
        evidence.watched.remove(7);
        let mut list = watch(1, 1, Verb::List, &evidence);
        list.started = evidence.requests[3].started + Duration::from_micros(10);
        let further = RequestRecord {
            started: evidence.requests[9].ended,
            target: format!("{}&continue=x", list.target),
            ..list.clone()
        };
        evidence.requests.extend([list, further]);
        let verdict = judged(&evidence);
        assert_eq!(
            (told(&verdict, "missed").as_deref(), told(&verdict, "left out").as_deref()),
            (Some("0"), Some("1"))
        );
        assert_eq!(verdict.checks[0].n, 239);
    }

    #[test]
    fn watchers_of_something_else_hear_nothing_and_need_not() {
        for further in [
            serde_json::json!({"resource": "pods"}),
            serde_json::json!({"labelSelector": "app=web"}),
            serde_json::json!({"labelSelector": "spangate.io/run notin (made-up)"}),
            serde_json::json!({"fieldSelector": "metadata.name=pool-0"}),
        ] {
            let mut evidence = run(watchers("watch", &further));
            evidence.watched.clear();
            let verdict = judged(&evidence);
            assert_eq!((verdict.status, told(&verdict, "left out")), (Inconclusive, None), "{further}");
        }
        let mut evidence =
            run(watchers("watch", &serde_json::json!({"fieldSelector": "status.phase=Running"})));
        evidence.watched.clear();
        let verdict = judged(&evidence);
        assert_eq!((verdict.status, told(&verdict, "left out").as_deref()), (Inconclusive, Some("240")));
    }

    #[test]
    fn without_writes_or_watchers_nothing_is_decided() {
        let mut evidence = plain();
        evidence.requests.retain(RequestRecord::is_of_watcher);
        assert_eq!(judged(&evidence).status, Inconclusive);
        let mut evidence = plain();
        evidence.watched.clear();
        evidence.requests.retain(|request| !request.is_of_watcher());
        assert_eq!(judged(&evidence).status, Inconclusive);
        let named = WatchersExpectation { name: Some("others".to_owned()), ..expect() };
        assert_eq!(judge(&named, &Case::new(&plain())).status, Inconclusive);
    }
}
