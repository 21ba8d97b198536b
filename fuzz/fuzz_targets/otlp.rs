//! Whatever an export holds, the sink takes it or refuses it, and can decode what it took.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use spangate_sink::Store;

fuzz_target!(|bytes: &[u8]| {
    let store = Store::new();
    if let Ok(receipt) = store.append(&Bytes::copy_from_slice(bytes)) {
        let capture = store.snapshot();
        assert_eq!(capture.rows().len() as u64, receipt.stored);
        for row in 0..capture.rows().len() {
            let span = capture.span(row);
            assert_eq!(span.span_id, capture.rows()[row].span_id);
        }
    }
});
