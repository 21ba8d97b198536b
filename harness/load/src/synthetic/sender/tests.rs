use std::collections::HashMap;

use serde_json::json;
use spangate_scenario::{
    model::{GrpcStatus, Traffic},
    units::Ratio,
};
use spangate_sink::{Misbehaviour, Sink, SinkConfig, SinkHandle};

use super::{
    super::ledger::{ExportOutcome, PartOutcome},
    *,
};

fn synthetic(model: &serde_json::Value) -> Synthetic {
    let traffic: Traffic = serde_json::from_value(model.clone()).unwrap();
    Synthetic::new(&traffic).unwrap()
}

/// 200 traces in a fifth of a second, those of some classes sent late or without their root.
fn mixed() -> Synthetic {
    synthetic(&json!({"seed": 5, "rate": "1000/s", "shape": "poisson", "traces": 200, "classes": [
        {"name": "errors", "share": "20%", "error": true, "duration": {"fixed": "5ms"}},
        {"name": "late", "share": "20%", "late": {"by": "60ms"}, "duration": {"fixed": "5ms"}},
        {"name": "torn", "share": "20%", "root": "missing", "duration": {"fixed": "5ms"}},
        {"name": "normal", "share": "40%", "duration": {"fixed": "5ms"}},
    ]}))
}

async fn sink() -> SinkHandle {
    Sink::start(SinkConfig::default()).await.unwrap()
}

fn config(sink: &SinkHandle) -> SenderConfig {
    SenderConfig::new(format!("http://{}", sink.grpc_addr()).parse().unwrap())
}

async fn send(config: SenderConfig, synthetic: &Synthetic, pace: Pace) -> Delivery {
    let clock = Clock::new();
    let sender = Sender::new(config, clock);
    let delivery = sender.send(synthetic, pace, clock.now(), &CancellationToken::new()).await.unwrap();
    check(&delivery, synthetic);
    delivery
}

/// What holds of every delivery that was not stopped.
fn check(delivery: &Delivery, synthetic: &Synthetic) {
    let Delivery { traces, exports, counts, .. } = delivery;
    assert_eq!(traces.len(), synthetic.traces().count());
    for (sent, trace) in traces.iter().zip(synthetic.traces()) {
        assert_eq!((sent.number, sent.trace_id), (trace.number, trace.trace_id));
        assert_eq!((sent.sent(), sent.spans as usize), (sent.spans, trace.sends.len()));
        assert_eq!((sent.has_root, sent.has_error), (trace.has_root, trace.has_error));
        assert_eq!(sent.root_duration(), trace.root_duration);
        assert_eq!(*sent.class, *synthetic.classes()[trace.class]);
        assert!(sent.parts.is_sorted_by_key(|part| part.export));
    }
    let sums = |all: &mut dyn Iterator<Item = (u32, u64)>| {
        all.fold((0, 0), |sum, (spans, bytes)| (sum.0 + u64::from(spans), sum.1 + bytes))
    };
    let parts = sums(&mut traces.iter().map(|trace| (trace.sent(), trace.bytes())));
    let requests = sums(&mut exports.iter().map(|export| (export.spans, export.bytes)));
    assert_eq!((parts.0, requests), (counts.spans, (counts.spans, counts.bytes)));
    assert!(parts.1 < requests.1, "requests have resources and scopes besides their spans");
    assert_eq!(counts.spans, counts.accepted + counts.rejected + counts.refused + counts.failed);
    assert!(exports.iter().zip(0..).all(|(export, number)| export.number == number));
}

#[tokio::test]
async fn what_the_ledger_says_is_what_the_receiver_has() {
    let (sink, synthetic) = (sink().await, mixed());
    let config = SenderConfig { batch_spans: 100, flush_every: Duration::from_millis(20), ..config(&sink) };
    let delivery = send(config, &synthetic, Pace::Planned).await;
    let counts = &delivery.counts;
    assert_eq!((counts.accepted, counts.retries), (counts.spans, 0));
    assert!(delivery.exports.iter().all(|export| export.spans <= 100));
    assert_eq!(counts.lags.count(), counts.exports);

    let store = sink.store();
    assert_eq!(store.stats().stored_spans, counts.spans);
    for (sent, trace) in delivery.traces.iter().zip(synthetic.traces()) {
        let spans = store.spans_of(sent.trace_id);
        assert_eq!(spans.len(), sent.spans as usize, "{sent:?}");
        assert_eq!(spans.iter().any(|span| span.status == spangate_trace::Status::Error), sent.has_error);
        let root = spans.iter().find(|span| span.parent.is_none());
        assert_eq!(
            root.map(|root| (root.start, root.duration())),
            sent.has_root.then(|| (sent.start, sent.root_duration()))
        );
        assert_eq!(store.has_server_span(sent.trace_id), sent.has_root);
        // Spans leave when their time has come, not before.
        let by_id: HashMap<_, _> = trace.sends.iter().map(|send| (trace.span_id(send), send.at)).collect();
        let origin = sent.start.since(UnixNanos::default()).saturating_sub(trace.at);
        let origin = UnixNanos::default() + origin;
        let first = spans.iter().map(|span| by_id[&span.span_id]).min().unwrap();
        assert!(sent.parts[0].at >= origin + first, "{sent:?}");
        assert!(sent.parts.last().unwrap().at >= origin + trace.ends(), "{sent:?}");
        assert!(&*sent.class != "late" || sent.parts.len() > 1, "{sent:?}");
    }
    sink.shutdown().await;
}

#[tokio::test]
async fn without_a_throttle_requests_are_full() {
    let (sink, synthetic) = (sink().await, mixed());
    let delivery = send(SenderConfig { in_flight: 1, ..config(&sink) }, &synthetic, Pace::Unthrottled).await;
    let (last, full) = delivery.exports.split_last().unwrap();
    assert!(full.iter().all(|export| export.spans == 512) && last.spans <= 512);
    assert_eq!(sink.store().stats().stored_spans, delivery.counts.spans);
    assert!(delivery.counts.waits > 0, "{:?}", delivery.counts);
    assert_eq!(delivery.counts.lags.count(), 0);
    sink.shutdown().await;
}

#[tokio::test]
async fn refusals_and_rejections_are_told_apart() {
    let (sink, synthetic) = (sink().await, mixed());
    sink.misbehave(Some(Misbehaviour::PartialSuccess { rejected: Ratio::new_unchecked(0.25) }));
    let Delivery { counts, exports, traces, .. } = send(config(&sink), &synthetic, Pace::Unthrottled).await;
    assert_eq!(counts.accepted, sink.store().stats().stored_spans);
    assert!(counts.rejected > 0 && counts.accepted + counts.rejected == counts.spans, "{counts:?}");
    assert!(exports.iter().any(|export| matches!(export.outcome, ExportOutcome::Partial { .. })));
    assert!(traces.iter().flat_map(|trace| &trace.parts).any(|part| part.outcome == PartOutcome::Partial));

    sink.misbehave(Some(Misbehaviour::Refuse { status: GrpcStatus::Unavailable, retry_after: None }));
    let retrying = SenderConfig { retries: 2, retry_after: Duration::from_millis(1), ..config(&sink) };
    let Delivery { counts, exports, traces, .. } = send(retrying, &synthetic, Pace::Unthrottled).await;
    assert_eq!((counts.refused, counts.retries), (counts.spans, 2 * counts.exports));
    assert!(matches!(exports[0].outcome, ExportOutcome::Refused { status: 14, .. }), "{:?}", exports[0]);
    assert!(traces.iter().all(|trace| trace.accepted() == 0));

    sink.misbehave(Some(Misbehaviour::Refuse { status: GrpcStatus::InvalidArgument, retry_after: None }));
    let retrying = SenderConfig { retries: 2, retry_after: Duration::from_millis(1), ..config(&sink) };
    let Delivery { counts, .. } = send(retrying, &synthetic, Pace::Unthrottled).await;
    assert_eq!((counts.refused, counts.retries), (counts.spans, 0), "there is no use in trying again");
    sink.shutdown().await;
}

#[tokio::test]
async fn without_an_answer_spans_have_failed() {
    let (sink, synthetic) = (sink().await, mixed());
    sink.misbehave(Some(Misbehaviour::Hang));
    let hasty = SenderConfig { timeout: Duration::from_millis(50), ..config(&sink) };
    let Delivery { counts, exports, .. } = send(hasty.clone(), &synthetic, Pace::Unthrottled).await;
    assert_eq!((counts.failed, counts.latencies.count()), (counts.spans, 0));
    let ExportOutcome::Failed { reason } = &exports[0].outcome else { panic!("{:?}", exports[0]) };
    assert_eq!(reason, "no answer within 50ms");
    let addr = sink.grpc_addr();
    sink.shutdown().await;

    let sender = Sender::new(hasty.clone(), Clock::new());
    let error = sender.connect().await.unwrap_err();
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    let Delivery { counts, .. } = send(hasty, &synthetic, Pace::Unthrottled).await;
    assert_eq!(counts.failed, counts.spans);
}

#[tokio::test]
async fn a_connection_that_broke_is_opened_again() {
    let (sink, synthetic) = (sink().await, mixed());
    let clock = Clock::new();
    let sender = Sender::new(config(&sink), clock);
    let stop = CancellationToken::new();
    let all = async || sender.send(&synthetic, Pace::Unthrottled, clock.now(), &stop).await.unwrap().counts;
    sender.connect().await.unwrap();
    sink.misbehave(Some(Misbehaviour::Away));
    // Until it has gone, exports may still be answered.
    while all().await.failed == 0 {}
    sink.misbehave(None);
    while all().await.failed > 0 {}
    sink.shutdown().await;
}

#[tokio::test]
async fn a_stop_ends_sending_and_the_ledger_says_where() {
    let sink = sink().await;
    let synthetic = synthetic(&json!({"rate": "500/s", "for": "1h", "classes": [
        {"name": "normal", "share": "100%", "duration": {"fixed": "5ms"}},
    ]}));
    let clock = Clock::new();
    let sender = Sender::new(SenderConfig { flush_every: Duration::from_millis(5), ..config(&sink) }, clock);
    let stop = CancellationToken::new();
    let store = sink.store();
    let (delivery, ()) = tokio::join!(sender.send(&synthetic, Pace::Planned, clock.now(), &stop), async {
        let mut changed = store.changed();
        while store.len() < 300 {
            changed.changed().await.unwrap();
        }
        stop.cancel();
    });
    let delivery = delivery.unwrap();
    assert_eq!(delivery.counts.accepted, store.stats().stored_spans);
    assert_eq!(delivery.counts.accepted, delivery.counts.spans);
    assert!(
        delivery.traces.iter().all(|trace| trace.sent() <= trace.spans && trace.accepted() == trace.sent())
    );
    sink.shutdown().await;
}
