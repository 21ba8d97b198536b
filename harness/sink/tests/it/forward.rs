//! A sink that sends on what it keeps.

use std::time::Duration;

use http::StatusCode;
use spangate_scenario::model::GrpcStatus;
use spangate_sink::{Misbehaviour, PassageOutcome, Sink, SinkConfig, SinkHandle, shape};
use spangate_trace::Value;
use tonic::Code;

use crate::clients::{export, grpc, post, soon};

/// A sink, and a tap in front of it.
async fn both() -> (SinkHandle, SinkHandle) {
    let behind = Sink::start(SinkConfig::default()).await.unwrap();
    let config = SinkConfig { forward: Some(behind.grpc_addr()), ..SinkConfig::default() };
    let tap = Sink::start(config).await.unwrap();
    (tap, behind)
}

#[tokio::test]
async fn what_is_kept_is_sent_on_as_it_came() {
    let (tap, behind) = both().await;
    let mut client = grpc(&tap).await;
    client.export(export(1, 300)).await.unwrap();
    let answer = soon("the post", post(&tap, "application/x-protobuf", shape::request(2, 5))).await;
    assert_eq!(answer.status, StatusCode::OK);
    for store in [tap.store(), behind.store()] {
        assert_eq!((store.stats().stored_spans, store.stats().requests), (305, 2));
    }
    let passages = tap.passages();
    let rows: Vec<_> = passages.iter().map(|passage| (passage.rows.clone(), passage.spans)).collect();
    assert_eq!(rows, [(0..300, 300), (300..305, 5)]);
    for passage in &passages {
        assert_eq!(passage.outcome, PassageOutcome::Accepted { rejected: 0 });
        assert!(passage.sent <= passage.answered, "{passage:?}");
    }
    // A sink with nobody behind it has none.
    assert!(behind.passages().is_empty());
}

/// Scenario: the receiver behind refuses, and says when to try again; then it takes a part.
/// Guarantees: the client hears the same, and the tap knows what became of each export.
#[tokio::test]
async fn the_client_hears_what_the_receiver_behind_says() {
    let (tap, behind) = both().await;
    let mut client = grpc(&tap).await;
    let retry_after = Some(Duration::from_secs(3));
    behind.misbehave(Some(Misbehaviour::Refuse { status: GrpcStatus::ResourceExhausted, retry_after }));
    let error = client.export(export(1, 10)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::ResourceExhausted, "refused by a fault of the scenario")
    );
    assert!(!error.details().is_empty(), "it says when to try again");
    let answer = soon("the post", post(&tap, "application/json", "{}")).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "3");

    behind.misbehave(Some(Misbehaviour::PartialSuccess { rejected: "50%".parse().unwrap() }));
    let answer = client.export(export(2, 10)).await.unwrap().into_inner();
    assert_eq!(answer.partial_success.unwrap().rejected_spans, 5);
    let outcomes: Vec<_> = tap.passages().into_iter().map(|passage| passage.outcome).collect();
    let PassageOutcome::Refused { status, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(*status, GrpcStatus::ResourceExhausted);
    assert_eq!(outcomes[2], PassageOutcome::Accepted { rejected: 5 });
    // What was refused behind is kept here all the same: it was sent.
    assert_eq!(tap.store().len(), 20);
}

/// Scenario: nobody is behind.
/// Guarantees: the client is told that it may try again, and the export counts as failed, not as refused.
#[tokio::test]
async fn nobody_behind_is_no_refusal() {
    let (tap, behind) = both().await;
    behind.shutdown().await;
    let error = grpc(&tap).await.export(export(1, 10)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let passages = tap.passages();
    assert!(matches!(passages[0].outcome, PassageOutcome::Failed { .. }), "{passages:?}");
}

#[tokio::test]
async fn resource_and_flags_come_with_a_span() {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let mut both = export(1, 2);
    let mut other = both.resource_spans[0].clone();
    let span = &mut other.scope_spans[0].spans[0];
    (span.span_id, span.trace_state, span.flags) = (vec![7; 8], "ot=th:8".to_owned(), 0x101);
    other.scope_spans[0].spans.truncate(1);
    other.resource.as_mut().unwrap().attributes.clear();
    both.resource_spans.push(other);
    grpc(&sink).await.export(both).await.unwrap();
    let capture = sink.store().snapshot();
    let around: Vec<_> = (0..3).map(|row| capture.surroundings(row)).collect();
    assert_eq!(around[0].resource["service.name"], Value::String("apiserver".to_owned()));
    assert_eq!(around[0], around[1]);
    assert!(around[2].resource.is_empty() && around[2].batch != around[0].batch, "{around:?}");
    assert_eq!((around[2].trace_state.as_str(), around[2].flags), ("ot=th:8", 0x101));
}

/// Scenario: a tap is there before the receiver behind it.
/// Guarantees: what comes before is accepted, and neither kept nor sent on; what comes after is both.
#[tokio::test]
async fn what_comes_before_the_receiver_behind_is_thrown_away() {
    let tap = Sink::start(SinkConfig { awaits_receiver: true, ..SinkConfig::default() }).await.unwrap();
    let mut client = grpc(&tap).await;
    client.export(export(1, 10)).await.unwrap();
    assert_eq!(tap.store().stats().stored_spans, 0);
    let behind = Sink::start(SinkConfig::default()).await.unwrap();
    tap.forward_to(behind.grpc_addr());
    client.export(export(2, 7)).await.unwrap();
    for store in [tap.store(), behind.store()] {
        assert_eq!((store.stats().stored_spans, store.stats().requests), (7, 1));
    }
    assert_eq!(tap.passages().len(), 1);
}
