//! What the engine does for a request beside sending it, part by part.
//!
//! Each part runs by itself, over and over, so its memory is always at hand: in a run it costs more. What the engine
//! adds to the client beyond these is what runs the parts: tasks, timers, wakes, and groups of requests that are
//! smaller than those of a generator whose streams are always busy.

use std::{hint::black_box, time::Duration};

use serde_json::json;
use spangate_benches::{CpuWatch, Figure, Table, command::Failure};
use spangate_load::{
    Arrival, Histogram, Kind, Latencies, LoadEvent, Operation, Outcome, Request, RequestRecord, Schedule,
    Setting, Timeline,
};
use spangate_scenario::model::{Identity, Load};
use spangate_trace::{TraceContext, UnixNanos};
use tokio::sync::mpsc::unbounded_channel;

use crate::contest::ROUNDS;

/// How often each part runs at once.
const REQUESTS: u64 = 100_000;

/// A part by its name, run for so many requests.
type Part<'a> = (&'static str, &'a dyn Fn());

pub(crate) fn show(table: &mut Table) -> Result<(), Failure> {
    let load: Load = serde_json::from_value(json!({
        "arrivals": {"rate": format!("{REQUESTS}/s"), "for": "1s"},
        "mix": [{"get": {"resource": "configmaps"}}],
        "objects": 1,
    }))?;
    let (schedule, setting) = (Schedule::new(&load, 7), Setting::new(&load, "bench", 7));
    let entry = load.entries().next().ok_or("the mix is empty")?;
    let kind = Kind::of(entry).ok_or("the entry has no operation")?;
    let arrival = schedule.arrivals().next().ok_or("the schedule is empty")?;
    let ask = || Operation::new(kind, &arrival, &setting).next(None);
    let (trace_id, span_id) = schedule.ids(0, 0);
    let context = TraceContext::sampled(trace_id, span_id);
    let request = ask().ok_or("the operation sends nothing")?;
    let record = record(&arrival, &request, entry.identity.clone(), context);
    let parts: [Part<'_>; 4] = [
        ("its time and its ids", &|| {
            for arrival in schedule.arrivals() {
                black_box(schedule.ids(arrival.number, 0));
            }
        }),
        ("what it asks", &|| {
            for _ in 0..REQUESTS {
                black_box(ask());
            }
        }),
        ("its record and the histograms", &|| {
            let mut lag = Histogram::default();
            let (mut latencies, mut timeline) = (Latencies::default(), Timeline::default());
            for number in 0..REQUESTS {
                let took = Duration::from_nanos(300_000 + number * 7_919 % 600_000);
                let record = RequestRecord { ended: record.started + took, ..record.clone() };
                lag.record(took / 4);
                latencies.record(&record);
                timeline.record(UnixNanos(0), &record);
                black_box(record);
            }
            black_box((lag, latencies, timeline));
        }),
        ("telling of it", &|| {
            let (events, mut told) = unbounded_channel();
            for _ in 0..REQUESTS / 256 {
                for _ in 0..256 {
                    // Nobody has gone: the receiver is on the next line.
                    let _ = events.send(LoadEvent::Request(Box::new(record.clone())));
                }
                while let Ok(event) = told.try_recv() {
                    drop(black_box(event));
                }
            }
        }),
    ];
    for (what, part) in parts {
        let micros: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let cpu = CpuWatch::of_thread();
                part();
                cpu.elapsed().as_secs_f64() * 1e6 / REQUESTS as f64
            })
            .collect();
        table.row(&Figure::median(format!("  of it, {what}"), "us/request", &micros))?;
    }
    Ok(())
}

fn record(arrival: &Arrival, request: &Request, identity: Identity, sent: TraceContext) -> RequestRecord {
    RequestRecord {
        arrival: arrival.number,
        step: 0,
        entry: arrival.entry,
        stage: arrival.stage,
        identity,
        sent: Some(sent),
        verb: request.verb,
        resource: request.resource.into(),
        subresource: None,
        name: request.name.clone(),
        method: "GET".into(),
        target: request.target.clone(),
        intended: UnixNanos(1_000),
        started: UnixNanos(2_000),
        ended: UnixNanos(2_000),
        outcome: Outcome::Status(200),
        audit_id: Some("5b1c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3".to_owned()),
        retry_after: None,
        received_bytes: 300,
    }
}
