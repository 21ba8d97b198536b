//! Lines of the request ledger of an earlier run.

use spangate_scenario::model::TraceFlag;

use super::{
    broken::reason,
    mapping::{Asked, Collector, Sender},
    place::Place,
};
use crate::{Outcome, RequestRecord, Verb, object};

/// Takes one line; the error says what is wrong with it.
pub(super) fn add(line: &[u8], collector: &mut Collector<'_>) -> Result<(), String> {
    let record: RequestRecord = serde_json::from_slice(line).map_err(|error| reason(&error))?;
    if record.outcome == Outcome::Shed {
        collector.never_sent();
        return Ok(());
    }
    let (path, query) = record.target.split_once('?').unwrap_or((&record.target, ""));
    let mut place = Place::of(path);
    if let (Some(place), Verb::Create) = (&mut place, record.verb) {
        // A create names its object in the body alone, and the body follows the arrival.
        place.name = Some(object::made(record.arrival, 0).into());
    }
    collector.add(&Asked {
        id: None,
        at: record.started,
        ended: Some(record.ended),
        sender: Sender::Identity(&record.identity),
        traceparent: match &record.sent {
            Some(context) if context.sampled => TraceFlag::Sampled,
            Some(_) => TraceFlag::Unsampled,
            None => TraceFlag::None,
        },
        verb: &record.verb.to_string(),
        path,
        query,
        place,
        body: None,
    });
    Ok(())
}
