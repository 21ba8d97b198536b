//! Whatever a scenario file holds, it is read or its mistakes are told; what is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(scenario) = spangate_scenario::parse("fuzz.yaml", text) {
        let again = spangate_scenario::parse("again.yaml", &scenario.to_yaml());
        assert_eq!(again.expect("what we write is valid"), scenario);
    }
});
