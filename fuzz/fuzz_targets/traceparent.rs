//! A `traceparent` that is read is valid, and is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spangate_trace::TraceContext;

fuzz_target!(|text: &str| {
    if let Ok(context) = text.parse::<TraceContext>() {
        assert!(context.trace_id.is_valid() && context.span_id.is_valid());
        assert_eq!(context.to_string().parse(), Ok(context));
    }
});
