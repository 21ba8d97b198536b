use std::collections::{HashMap, HashSet};

use prost::Message as _;
use spangate_trace::SpanId;

use super::*;
use crate::shape;

/// A request of one span per id, all in traces of their own.
fn single_span_traces(ids: std::ops::Range<u64>) -> Bytes {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    let span = |id: u64| Span {
        trace_id: u128::from(id + 1).to_be_bytes().into(),
        span_id: (id + 1).to_be_bytes().into(),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: ids.map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

#[test]
fn rows_and_details_are_those_of_the_whole_spans() {
    let store = Store::new();
    for seed in 0..20 {
        let receipt = store.append(&shape::request(seed, 300)).unwrap();
        assert_eq!(
            receipt,
            Receipt {
                first: u32::try_from(seed).unwrap() * 300,
                spans: 300,
                stored: 300,
                refused: 0,
                invalid: 0
            }
        );
    }
    let capture = store.snapshot();
    assert_eq!((capture.rows().len(), store.len()), (6000, 6000));
    let spans: Vec<_> = (0..6000).map(|index| capture.span(index)).collect();
    let again = Capture::from_spans(spans.clone());
    for (index, (row, span)) in capture.rows().iter().zip(&spans).enumerate() {
        let (row, whole) = (*row, again.rows()[index]);
        let name = |id| capture.names().get(id);
        assert_eq!(
            (name(row.name), name(row.scope), name(row.service)),
            (&span.name, &span.scope, &span.service)
        );
        let nameless = |row| Row { name: NameId(0), scope: NameId(0), service: NameId(0), ..row };
        assert_eq!(nameless(row), nameless(whole));
    }
    let server = spans.iter().find(|span| span.kind == Kind::Server).unwrap();
    assert_eq!(server.int("http.response.status_code"), Some(201));
    assert_eq!(&*server.service, "apiserver");
    let create = spans.iter().find(|span| &*span.name == "Create").unwrap();
    assert_eq!(create.events[0].name, "limitedReadBody succeeded");
}

#[test]
fn a_trace_is_found_whole_and_in_order_whatever_requests_it_came_in() {
    let store = Store::new();
    for seed in 0..30 {
        store.append(&shape::request(seed % 10, 500)).unwrap();
    }
    let capture = store.snapshot();
    let mut traces: HashMap<TraceId, Vec<(usize, Row)>> = HashMap::new();
    for (index, row) in capture.rows().iter().enumerate() {
        traces.entry(row.trace_id).or_default().push((index, *row));
    }
    assert_eq!(store.stats().traces, traces.len() as u64);
    for (trace, rows) in traces {
        assert_eq!(store.rows_of(trace), rows.iter().map(|(_, row)| *row).collect::<Vec<_>>());
        let spans: Vec<_> = rows.iter().map(|(index, _)| capture.span(*index)).collect();
        assert_eq!(store.spans_of(trace), spans);
        assert!(store.has_server_span(trace));
    }
    let unknown = TraceId::new([0xee; 16]);
    assert_eq!(store.rows_of(unknown), []);
    assert!(!store.has_server_span(unknown));
}

#[test]
fn a_trace_without_a_server_span_is_told_apart() {
    let store = Store::new();
    store.append(&single_span_traces(0..10)).unwrap();
    let trace = TraceId::new(1_u128.to_be_bytes());
    assert_eq!(store.rows_of(trace).len(), 1);
    assert!(!store.has_server_span(trace));
}

#[test]
fn a_span_with_an_invalid_id_is_counted_and_the_rest_is_kept() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    let mut export = ExportTraceServiceRequest::decode(shape::request(1, 20)).unwrap();
    let scope = &mut export.resource_spans[0].scope_spans[0];
    scope.spans[0].trace_id.truncate(8);
    scope.spans[1].span_id = vec![0; 8];
    let store = Store::new();
    let receipt = store.append(&export.encode_to_vec().into()).unwrap();
    assert_eq!(receipt, Receipt { first: 0, spans: 20, stored: 18, refused: 0, invalid: 2 });
    let stats = store.stats();
    assert_eq!((stats.received_spans, stats.stored_spans, stats.invalid_spans), (20, 18, 2));
    assert_eq!(store.snapshot().rows().len(), 18);
}

#[test]
fn of_a_malformed_request_nothing_is_kept() {
    let store = Store::new();
    let request = shape::request(1, 100);
    let cut = request.slice(..request.len() - 1);
    assert_eq!(store.append(&cut).unwrap_err().problem, Problem::Truncated);
    assert!(store.refuse(&cut).is_err());
    assert!(store.is_empty());
    assert_eq!(
        Stats { index_bytes: 0, ..store.stats() },
        Stats { malformed_requests: 2, ..Stats::default() }
    );
}

#[test]
fn an_empty_request_is_a_request() {
    let store = Store::new();
    assert_eq!(store.append(&Bytes::new()), Ok(Receipt::default()));
    assert_eq!(store.stats().requests, 1);
}

#[test]
fn a_snapshot_does_not_grow() {
    let store = Store::new();
    store.append(&shape::request(1, 5000)).unwrap();
    let capture = store.snapshot();
    let last = capture.span(4999);
    store.append(&shape::request(2, 5000)).unwrap();
    assert_eq!((capture.rows().len(), store.len()), (5000, 10_000));
    assert_eq!(capture.span(4999), last);
}

#[test]
fn waiters_see_the_number_of_spans_grow() {
    let store = Store::new();
    let mut changed = store.changed();
    assert_eq!(*changed.borrow_and_update(), 0);
    store.append(&shape::request(1, 30)).unwrap();
    assert!(changed.has_changed().unwrap());
    assert_eq!(*changed.borrow_and_update(), 30);
    store.append(&Bytes::new()).unwrap();
    assert!(!changed.has_changed().unwrap());
}

#[test]
fn the_index_stays_within_96_bytes_a_span_even_if_every_span_is_a_trace() {
    assert_eq!((size_of::<Entry>(), size_of::<Chunk>()), (80, 48));
    let store = Store::new();
    let mut worst = 0.0_f64;
    for batch in 0..400 {
        store.append(&single_span_traces(batch * 512..(batch + 1) * 512)).unwrap();
        if batch >= 100 {
            let stats = store.stats();
            worst = worst.max(stats.index_bytes as f64 / stats.stored_spans as f64);
        }
    }
    assert_eq!(store.stats().traces, 400 * 512);
    assert!(worst <= 96.0, "{worst} bytes a span");
}

#[test]
fn concurrent_appends_lose_nothing_while_readers_read() {
    const WRITERS: u64 = 4;
    const REQUESTS: u64 = 50;
    let store = Store::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    let first = (writer * REQUESTS + request) * 100;
                    store.append(&single_span_traces(first..first + 100)).unwrap();
                }
            });
        }
        let store = &store;
        scope.spawn(move || {
            let all = WRITERS * REQUESTS * 100;
            while (store.len() as u64) < all {
                let capture = store.snapshot();
                if let Some(last) = capture.rows().len().checked_sub(1) {
                    assert_eq!(capture.span(last).span_id, capture.rows()[last].span_id);
                }
            }
        });
    });
    let ids: HashSet<SpanId> = store.snapshot().rows().iter().map(|row| row.span_id).collect();
    assert_eq!(ids.len() as u64, WRITERS * REQUESTS * 100);
    assert_eq!(*store.changed().borrow(), WRITERS * REQUESTS * 100);
}
