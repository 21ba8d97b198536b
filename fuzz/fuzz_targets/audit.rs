//! Whatever an audit log holds, each of its lines is sent again or counted, and nothing comes before its time.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use spangate_load::Replay;
use spangate_scenario::model::{self, Load};

fuzz_target!(|bytes: &[u8]| {
    let replay = model::Replay { audit: Some("fuzz.jsonl".into()), ledger: None, speed: 1.0, duration: None };
    let load = Load { replay: Some(replay), ..Load::default() };
    if let Ok(replay) = Replay::of(&load, Path::new("fuzz.jsonl"), bytes) {
        let schedule = replay.schedule(7);
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
        assert!(schedule.planned() + replay.skipped().values().sum::<u64>() <= lines);
        assert!(schedule.arrivals().is_sorted_by_key(|arrival| arrival.at));
    }
});
