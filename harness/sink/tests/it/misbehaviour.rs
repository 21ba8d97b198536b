use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, StatusCode, header};
use spangate_scenario::{model::GrpcStatus, units::Ratio};
use spangate_sink::{Misbehaviour, MisdeedKind, Sink, SinkConfig, SinkHandle, shape};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

use crate::clients::{eventually, export, grpc, post, send, soon};

const PROTOBUF: &str = "application/x-protobuf";

async fn misbehaving(misbehaviour: Misbehaviour) -> SinkHandle {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    sink.misbehave(Some(misbehaviour));
    sink
}

#[tokio::test]
async fn a_delay_holds_the_answer_and_not_the_spans() {
    let calls = Arc::new(AtomicU64::new(0));
    let next = {
        let calls = Arc::clone(&calls);
        move || Duration::from_millis(50 * (1 + calls.fetch_add(1, Ordering::Relaxed)))
    };
    let sink = misbehaving(Misbehaviour::Delay(Arc::new(next))).await;
    let began = Instant::now();
    let mut client = grpc(&sink).await;
    client.export(export(1, 10)).await.unwrap();
    client.export(export(2, 10)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    assert_eq!((calls.load(Ordering::Relaxed), sink.store().len()), (2, 20));
    let misdeeds = sink.misdeeds();
    let held: Vec<_> = misdeeds.iter().map(|deed| deed.answered.since(deed.received)).collect();
    assert!(held[0] >= Duration::from_millis(50) && held[1] >= Duration::from_millis(100), "{held:?}");
    assert!(misdeeds.iter().all(|deed| (deed.kind, deed.spans, deed.lost) == (MisdeedKind::Delayed, 10, 0)));
}

#[tokio::test]
async fn spans_are_there_before_the_answer() {
    let sink = misbehaving(Misbehaviour::Delay(Arc::new(|| Duration::from_hours(1)))).await;
    let mut client = grpc(&sink).await;
    let answer = tokio::spawn(async move { client.export(export(1, 10)).await });
    let store = sink.store();
    soon("the spans", store.changed().wait_for(|spans| *spans == 10)).await.unwrap();
    assert!(!answer.is_finished());
    soon("shutdown", sink.shutdown()).await;
    let _ = soon("the end of the call", answer).await.unwrap();
}

#[tokio::test]
async fn a_refusal_over_grpc_has_status_and_retry_info() {
    let sink = misbehaving(Misbehaviour::Refuse {
        status: GrpcStatus::Unavailable,
        retry_after: Some(Duration::from_secs(7)),
    })
    .await;
    let error = grpc(&sink).await.export(export(1, 33)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    // The details are a google.rpc.Status with one RetryInfo of 7 seconds.
    let details = error.details();
    let retry_info = b"type.googleapis.com/google.rpc.RetryInfo";
    assert!(details.windows(retry_info.len()).any(|part| part == retry_info), "{details:x?}");
    assert!(details.ends_with(&[0x12, 0x04, 0x0a, 0x02, 0x08, 0x07]), "{details:x?}");

    let stats = sink.store().stats();
    assert_eq!((stats.requests, stats.refused_requests), (1, 1));
    assert_eq!((stats.received_spans, stats.refused_spans, stats.stored_spans), (33, 33, 0));
    let misdeed = &sink.misdeeds()[0];
    assert_eq!(misdeed.kind, MisdeedKind::Refused(GrpcStatus::Unavailable));
    assert_eq!((misdeed.spans, misdeed.lost), (33, 33));

    sink.misbehave(None);
    grpc(&sink).await.export(export(1, 33)).await.unwrap();
    assert_eq!(sink.store().len(), 33);
}

#[tokio::test]
async fn a_refusal_over_http_has_the_status_of_the_collector_and_retry_after() {
    for (status, retry_after, http, header) in [
        (GrpcStatus::Unavailable, Some(Duration::from_millis(1500)), 503, Some("2")),
        (GrpcStatus::ResourceExhausted, Some(Duration::ZERO), 429, Some("0")),
        (GrpcStatus::ResourceExhausted, None, 429, None),
        (GrpcStatus::InvalidArgument, None, 400, None),
        (GrpcStatus::Unauthenticated, None, 401, None),
        (GrpcStatus::PermissionDenied, None, 403, None),
        (GrpcStatus::Internal, None, 500, None),
    ] {
        let sink = misbehaving(Misbehaviour::Refuse { status, retry_after }).await;
        let answer = post(&sink, PROTOBUF, shape::request(1, 5)).await;
        assert_eq!(answer.status.as_u16(), http, "{status:?}");
        let shown = answer.headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
        assert_eq!(shown, header, "{status:?}");
        assert_eq!(sink.store().stats().refused_spans, 5);
    }
}

#[tokio::test]
async fn a_partial_success_keeps_its_share_over_all_exports() {
    let rejected = Ratio::new(0.25).unwrap();
    let sink = misbehaving(Misbehaviour::PartialSuccess { rejected }).await;
    let mut client = grpc(&sink).await;
    let mut told = 0;
    for seed in 0..40 {
        let answer = client.export(export(seed, 3)).await.unwrap().into_inner();
        told += answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    }
    assert_eq!(told, 30);
    let answer = post(&sink, "application/json", serde_json::to_vec(&export(50, 8)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(partial["partialSuccess"]["rejectedSpans"], "2");

    let stats = sink.store().stats();
    assert_eq!((stats.received_spans, stats.refused_spans, stats.stored_spans), (128, 32, 96));
    assert_eq!((stats.refused_requests, sink.store().snapshot().rows().len()), (0, 96));
    assert_eq!(sink.misdeeds().iter().map(|deed| deed.lost).sum::<u64>(), 32);
}

#[tokio::test]
async fn a_hanging_sink_counts_what_it_leaves_unanswered() {
    let sink = misbehaving(Misbehaviour::Hang).await;
    let mut client = grpc(&sink).await;
    let mut request = tonic::Request::new(export(1, 40));
    request.set_timeout(Duration::from_millis(50));
    let error = client.export(request).await.unwrap_err();
    assert!(matches!(error.code(), Code::Cancelled | Code::DeadlineExceeded), "{error}");
    eventually("the record", async || !sink.misdeeds().is_empty()).await;
    let misdeed = &sink.misdeeds()[0];
    assert_eq!((misdeed.kind, misdeed.spans, misdeed.lost), (MisdeedKind::Unanswered, 40, 40));
    let stats = sink.store().stats();
    assert_eq!((stats.refused_spans, stats.stored_spans), (40, 0));
}

#[tokio::test]
async fn a_hanging_sink_can_be_shut_down() {
    let sink = misbehaving(Misbehaviour::Hang).await;
    let store = sink.store();
    let mut client = grpc(&sink).await;
    let over_grpc = tokio::spawn(async move { client.export(export(1, 10)).await });
    let addr = sink.http_addr();
    let headers = [(header::CONTENT_TYPE, PROTOBUF)];
    let over_http =
        tokio::spawn(
            async move { send(addr, Method::POST, "/v1/traces", &headers, shape::request(2, 10)).await },
        );
    eventually("both exports", async || store.stats().refused_spans == 20).await;
    assert!(!over_grpc.is_finished() && !over_http.is_finished());
    soon("shutdown", sink.shutdown()).await;
    assert!(soon("the end of the gRPC call", over_grpc).await.unwrap().is_err());
    let answer = soon("the end of the HTTP call", over_http).await.unwrap();
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn a_dropped_sink_is_gone() {
    let sink = misbehaving(Misbehaviour::Hang).await;
    let addrs = [sink.grpc_addr(), sink.http_addr()];
    let mut client = grpc(&sink).await;
    let store = sink.store();
    let call = tokio::spawn(async move { client.export(export(1, 10)).await });
    eventually("the export", async || store.stats().refused_spans == 10).await;
    drop(sink);
    assert!(soon("the end of the call", call).await.unwrap().is_err());
    for addr in addrs {
        eventually("the closed port", async || TcpStream::connect(addr).await.is_err()).await;
    }
}

#[tokio::test]
async fn a_sink_that_was_away_comes_back_on_the_same_ports() {
    let sink = Sink::start(SinkConfig::default()).await.unwrap();
    let (grpc_addr, http_addr) = (sink.grpc_addr(), sink.http_addr());
    let mut early = grpc(&sink).await;
    early.export(export(1, 10)).await.unwrap();
    for round in 0_u64..3 {
        // An open connection that notices when it is closed.
        let idle = TcpStream::connect(http_addr).await.unwrap();
        sink.misbehave(Some(Misbehaviour::Away));
        for addr in [grpc_addr, http_addr] {
            eventually("refused connections", async || {
                // A connection that waits to be accepted just then is reset, later ones are refused.
                TcpStream::connect(addr)
                    .await
                    .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            })
            .await;
        }
        soon("the end of an open connection", idle.readable()).await.unwrap();
        assert!(!matches!(idle.try_read(&mut [0; 1]), Ok(1..)));
        assert!(early.export(export(2, 10)).await.is_err());
        assert_eq!(sink.store().len() as u64, 10 + 10 * round, "nothing is kept while away");

        sink.misbehave(None);
        for addr in [grpc_addr, http_addr] {
            eventually("accepted connections", async || TcpStream::connect(addr).await.is_ok()).await;
        }
        // The old channel finds its way back by itself.
        eventually("an export", async || early.clone().export(export(3, 10)).await.is_ok()).await;
    }
    assert_eq!(sink.store().stats().stored_spans, 40);
}

#[tokio::test]
async fn the_port_of_a_sink_that_is_away_is_not_free() {
    let sink = misbehaving(Misbehaviour::Away).await;
    let addr = sink.grpc_addr();
    eventually("refused connections", async || TcpStream::connect(addr).await.is_err()).await;
    let other = TcpSocket::new_v4().unwrap();
    assert_eq!(other.bind(addr).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn an_export_under_way_when_the_sink_goes_away_is_not_kept() {
    let sink = misbehaving(Misbehaviour::Hang).await;
    let mut client = grpc(&sink).await;
    let call = tokio::spawn(async move { client.export(export(1, 10)).await });
    let store = sink.store();
    eventually("the export", async || store.stats().refused_spans == 10).await;
    sink.misbehave(Some(Misbehaviour::Away));
    assert!(soon("the end of the call", call).await.unwrap().is_err());
    assert!(store.is_empty());
    eventually("the record", async || sink.misdeeds().len() == 1).await;
    assert_eq!(store.stats().received_spans, 10);
}
