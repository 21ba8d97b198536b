//! Many senders at once: nothing may be lost, and no reader may be in their way.

use std::collections::HashSet;

use spangate_sink::{Sink, SinkConfig};
use tonic::codec::CompressionEncoding;

use crate::clients::{export, grpc, post, soon};

const SENDERS: u64 = 8;
const EXPORTS: u64 = 15;
const SPANS: usize = 200;
const ALL: u64 = SENDERS * EXPORTS * SPANS as u64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_senders_lose_nothing_while_a_slow_reader_reads() {
    let sink = std::sync::Arc::new(Sink::start(SinkConfig::default()).await.unwrap());
    let store = sink.store();
    // A reader that holds on to every capture and decodes from it while more arrives.
    let reader = {
        let store = sink.store();
        tokio::task::spawn_blocking(move || {
            let mut held = Vec::new();
            while store.stats().stored_spans < ALL {
                let capture = store.snapshot();
                for index in (0..capture.rows().len()).step_by(97) {
                    assert_eq!(capture.span(index).span_id, capture.rows()[index].span_id);
                }
                held.push(capture);
            }
            held.len()
        })
    };
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let sink = std::sync::Arc::clone(&sink);
            tokio::spawn(async move {
                let mut client = grpc(&sink).await;
                if sender % 2 == 1 {
                    client = client.send_compressed(CompressionEncoding::Gzip);
                }
                for number in 0..EXPORTS {
                    let export = export(sender * EXPORTS + number, SPANS);
                    if sender % 4 == 0 {
                        let json = serde_json::to_vec(&export).unwrap();
                        assert!(post(&sink, "application/json", json).await.status.is_success());
                    } else {
                        client.export(export).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        soon("a sender", sender).await.unwrap();
    }
    soon("all spans", store.changed().wait_for(|spans| *spans == ALL)).await.unwrap();
    assert!(soon("the reader", reader).await.unwrap() > 0);

    let stats = store.stats();
    assert_eq!((stats.requests, stats.received_spans, stats.stored_spans), (SENDERS * EXPORTS, ALL, ALL));
    assert_eq!((stats.refused_spans, stats.invalid_spans, stats.malformed_requests), (0, 0, 0));
    let capture = store.snapshot();
    let ids: HashSet<_> = capture.rows().iter().map(|row| row.span_id).collect();
    assert_eq!(ids.len() as u64, ALL);
}
