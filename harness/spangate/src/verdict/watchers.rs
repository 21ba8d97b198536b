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
    for request in case.requests.iter().filter(|it| resources.contains(&*it.resource)) {
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
mod tests;
