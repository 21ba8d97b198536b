//! Ends a load early, as soon as what it was sent for is decided.
//!
//! The spans of a request come some time after it is over, so only requests are looked at that are over for longer than
//! the batch processor waits. The verdict looks again, at the same requests in the same order, and stops where it was
//! decided: when the load really ended does not matter to it.

use std::time::Duration;

use spangate_scenario::model::{Expectation, Sampling, Spec, Until};
use spangate_sink::Store;
use spangate_trace::{Clock, UnixNanos};
use tokio::time::sleep;

use super::ledgers::Ledgers;
use crate::{
    event::{Event, Events},
    verdict::{audited, decided_after, offered},
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time beyond one flush delay that an export may take on a busy machine.
const MARGIN: Duration = Duration::from_millis(500);

/// Waits until every expectation that may end the load is decided; forever where there is none.
pub(super) async fn decided(spec: &Spec, ledgers: &Ledgers, store: &Store, clock: &Clock, events: &Events) {
    let expected: Vec<&Sampling> = spec.expect.iter().filter_map(ends_load).collect();
    if expected.is_empty() {
        return std::future::pending().await;
    }
    let wait = spec.cluster.tracing.batch.schedule_delay.get() + MARGIN;
    loop {
        sleep(LOOK_EVERY).await;
        let mut requests = ledgers.requests_so_far().await;
        let now = clock.now();
        let is_settled = |ended: UnixNanos| now.since(ended) > wait;
        // One that is not settled may have been started before others that are: those do not count either.
        let unsettled = requests.iter().filter(|it| !is_settled(it.ended)).map(|it| it.started).min();
        requests.retain(|it| unsettled.is_none_or(|unsettled| it.started < unsettled));
        let traces = audited(&store.snapshot());
        let is_decided =
            |expect: &&Sampling| decided_after(expect, spec, offered(&requests, spec), &traces).is_some();
        if expected.iter().all(is_decided) {
            let count = requests.len();
            events.send(Event::Note(format!("the load ends early: decided by {count} requests")));
            return;
        }
    }
}

fn ends_load(expectation: &Expectation) -> Option<&Sampling> {
    match expectation {
        Expectation::Sampling(sampling) if sampling.until == Until::Decided => Some(sampling),
        Expectation::Fails(expectation) => ends_load(expectation),
        _ => None,
    }
}
