use std::{io::Cursor, time::Duration};

use proptest::prelude::*;
use spangate_scenario::{
    model::{Arrivals, GetOperation, Load, MixEntry, Resource, Shape, Stage},
    units::{self, Rate},
};

use super::*;
use crate::{
    Arrival, Outcome, RequestRecord, Schedule,
    engine::{Note, Tally},
    testing,
};

const START: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

fn shards(texts: &[&str]) -> Vec<Shard> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn parts_that_do_not_belong_together_are_told() {
    assert_eq!(check_shards(&shards(&["1/3", "0/3", "2/3"])), Ok(()));
    for (given, message) in [
        (&[][..], "there are no parts"),
        (&["0/3", "1/2"], "part 0/3 is of a load for 3 workers, part 1/2 of one for 2 workers"),
        (&["0/1", "1/2"], "part 0/1 is of a load for one worker, part 1/2 of one for 2 workers"),
        (&["0/3", "1/3", "1/3"], "part 1/3 is there twice"),
        (&["1/3"], "of 3 workers some are missing: 0/3, 2/3"),
        (&["1/2"], "of 2 workers one is missing: 0/2"),
    ] {
        assert_eq!(check_shards(&shards(given)).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_line_that_is_no_record_is_named() {
    let good = serde_json::to_string(&testing::record(Outcome::Timeout)).unwrap();
    let ledgers = [String::new(), format!("{good}\n{{\"intended\":")];
    let error = merge_ledgers(ledgers.map(Cursor::new), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "line 2 of ledger 1 is no whole record");
}

#[test]
fn a_request_that_two_workers_sent_is_named() {
    let record = RequestRecord { arrival: 4, ..testing::record(Outcome::Status(200)) };
    let line = serde_json::to_string(&record).unwrap();
    let error = merge_ledgers([&line, &line].map(Cursor::new), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "request 0 of arrival 4 is in ledger 0 and in ledger 1");
}

#[test]
fn events_of_watchers_are_ordered_by_receipt() {
    let event = |at: u64, index: u32| {
        format!(r#"{{"at":{at},"index":{index},"step":0,"watcher":"w","event":"added"}}"#)
    };
    let first = format!("{}\n{}\n", event(5, 0), event(5, 0));
    let second = event(3, 1);
    let mut out = Vec::new();
    assert_eq!(merge_watch_ledgers([first.clone(), second.clone()].map(Cursor::new), &mut out).unwrap(), 3);
    assert_eq!(String::from_utf8(out).unwrap(), format!("{second}\n{first}"));
}

/// A worker whose server takes times, and answers, that follow from the arrival alone: its ledger in the order in
/// which requests end, and its summary.
fn work(schedule: &Schedule) -> (Vec<RequestRecord>, Summary) {
    let mut tally = Tally::new(START);
    let mut ledger = Vec::new();
    for arrival in schedule.arrivals() {
        ledger.extend(serve(schedule, &arrival, &mut tally));
    }
    ledger.sort_by_key(|record| (record.ended, record.arrival));
    (ledger, tally.summary(schedule))
}

fn serve(schedule: &Schedule, arrival: &Arrival, tally: &mut Tally) -> Vec<RequestRecord> {
    let micros = |shift: u32, below: u64| Duration::from_micros((arrival.choice >> shift) % below);
    let (lag, wait) = (micros(0, 3_000), micros(8, 40_000));
    let mut intended = START + arrival.at;
    let outcome = |step| match (arrival.choice >> 20) % 7 {
        0 => Outcome::Shed,
        1 => Outcome::Timeout,
        2 if step > 0 => Outcome::Error("connection lost".to_owned()),
        3 => Outcome::Status(429),
        _ => Outcome::Status(200),
    };
    if outcome(0) != Outcome::Shed {
        tally.add(&Note::Began { at: intended + lag, lag });
    }
    let mut records = Vec::new();
    for step in 0..=u32::try_from(arrival.choice % 3).unwrap() {
        let started = intended + lag + wait;
        let record = RequestRecord {
            arrival: arrival.number,
            step,
            entry: arrival.entry,
            stage: arrival.stage,
            sent: Some({
                let (trace, span) = schedule.ids(arrival.number, step);
                spangate_trace::TraceContext::sampled(trace, span)
            }),
            resource: ["pods", "configmaps"][arrival.entry % 2].into(),
            intended,
            started,
            ended: started + micros(30, 2_000_000),
            ..testing::record(outcome(step))
        };
        tally.add(&Note::Request(&record));
        intended = record.ended;
        records.push(record);
        if outcome(step) == Outcome::Shed {
            break;
        }
    }
    records
}

fn text(ledger: &[RequestRecord]) -> String {
    let lines: Vec<_> = ledger.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
    lines.concat()
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let shape = prop_oneof![Just(Shape::Constant), Just(Shape::Poisson)];
    let stage = (0.0_f64..100.0, shape, 0.0_f64..3.0).prop_map(|(rate, shape, seconds)| Stage {
        name: None,
        rate: Rate::per_second(rate),
        ramp: None,
        steps: None,
        spike: None,
        shape,
        duration: units::Duration::from(Duration::from_secs_f64(seconds)),
        mix: None,
    });
    let entry = MixEntry {
        get: Some(GetOperation { resource: Resource::Configmaps, resource_version: None }),
        ..MixEntry::default()
    };
    let mix = vec![entry.clone(), entry];
    (prop::collection::vec(stage, 1..4), any::<u64>()).prop_map(move |(stages, seed)| {
        let arrivals = Some(Arrivals { stages, ..Arrivals::default() });
        Schedule::new(&Load { arrivals, mix: mix.clone(), ..Load::default() }, seed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Scenario: one worker sends a load, and so do 1 to 8 workers with a part of it each.
    /// Guarantees: what the parts left, read from their text and joined, is what the one left.
    #[test]
    fn parts_that_are_joined_are_the_whole(schedule in schedule(), of in 1_u32..9) {
        let (mut ledger, summary) = work(&schedule);
        let mut parts: Vec<_> =
            Shard::all(of).map(|shard| work(&schedule.clone().shard(shard))).collect();
        // In whatever order they are given.
        parts.rotate_left(of as usize / 2);
        let read = |summary: &Summary| {
            serde_json::from_str::<Summary>(&serde_json::to_string(summary).unwrap()).unwrap()
        };
        let joined = merge_summaries(parts.iter().map(|(_, summary)| read(summary))).unwrap();
        prop_assert_eq!(&joined, &summary);
        prop_assert_eq!(
            (joined.planned_rate(), joined.achieved_rate()), (summary.planned_rate(), summary.achieved_rate())
        );
        prop_assert_eq!(joined.planned, joined.started + joined.shed + joined.not_started);

        let mut out = Vec::new();
        let lines = merge_ledgers(parts.iter().map(|(ledger, _)| Cursor::new(text(ledger))), &mut out).unwrap();
        ledger.sort_by_key(|record| (record.intended, record.arrival, record.step));
        prop_assert_eq!(lines, ledger.len() as u64);
        prop_assert_eq!(String::from_utf8(out).unwrap(), text(&ledger));
    }
}
