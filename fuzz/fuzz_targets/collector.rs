//! Whatever a Collector's configuration holds, it is read or its mistakes are told; what is read can be checked, and
//! is still read once it has been rewired.
#![no_main]

use std::{net::SocketAddr, path::Path};

use libfuzzer_sys::fuzz_target;
use spangate_scenario::collector::{CheckOptions, ExtensionWiring, Wiring, check, parse, rewire};

fuzz_target!(|text: &str| {
    let Ok(config) = parse("fuzz.yaml", text) else { return };
    let _ = check(&config, &CheckOptions::default());
    let sink = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut wiring = Wiring {
        sink_grpc: sink,
        sink_http: sink,
        listen: &mut |_| sink,
        directory: Path::new("/run"),
        extensions: ExtensionWiring::Keep,
    };
    let rewired = rewire(&config, &mut wiring);
    if let Err(again) = parse("again.yaml", &rewired.yaml) {
        // What was just within the limits of depth and size may be beyond them now.
        let message = again.problems()[0].to_string();
        assert!(
            message.contains("more than") || message.contains("longer than"),
            "{message}\n{}",
            rewired.yaml
        );
    }
});
