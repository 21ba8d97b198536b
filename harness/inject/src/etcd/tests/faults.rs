//! What faults do to a call, and what the ledger says of it.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::Reason;
use http::Response;
use serde_json::json;

use super::{
    super::{
        EtcdProxyError,
        key::tests::{bytes_field, txn},
        message::tests::framed,
        rules::Rules,
    },
    peer::{Peer, Proxy, post, read, soon, trailers, write},
};
use crate::{
    hold::Timer,
    ledger::{Answer, Target},
    note::Recorder,
};

const MS: Duration = Duration::from_millis(1);

/// A transaction on `key`, in its gRPC frame.
fn transaction(key: &str) -> Bytes {
    framed(0, &txn(key.as_bytes(), b"value"))
}

#[tokio::test]
async fn a_request_is_held_and_the_hold_is_in_the_ledger() {
    let mut peer = Peer::start().await;
    let faults = json!([{"name": "slow", "rpc": "KV/Txn", "delay": {"fixed": "30ms"}}]);
    let mut proxy = Proxy::start(peer.addr, faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let mut request = post("KV/Txn");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    let (response, mut up) = client.requests.clone().send_request(request, false).unwrap();
    write(&mut up, transaction("/registry/configmaps/a"), true).await;

    let (request, mut respond) = peer.call().await;
    let arrived = proxy.clock.now();
    assert_eq!(read(request.into_body()).await.unwrap().0, transaction("/registry/configmaps/a"));
    let mut answer = Response::new(());
    *answer.headers_mut() = trailers([("grpc-status", "0")]);
    respond.send_response(answer, true).unwrap();
    soon(response).await.unwrap();

    let noted = proxy.noted().await;
    let held = noted.held.unwrap();
    assert!(held.to.since(held.from) >= 30 * MS, "{held:?}");
    assert!(noted.received <= held.from && held.to <= arrived && arrived <= noted.answered);
    assert_eq!(noted.parent, Some(parent.parse().unwrap()));
    assert_eq!(
        noted.target,
        Target::Etcd { rpc: "KV/Txn".to_owned(), key: "/registry/configmaps/a".to_owned() }
    );
    assert_eq!((noted.fault.as_str(), noted.call, noted.answer), ("slow", 0, Answer::Genuine));
}

#[tokio::test]
async fn a_response_is_held_after_etcd_has_answered() {
    let mut peer = Peer::start().await;
    let faults = json!([{"name": "late", "rpc": "KV/Txn", "delay": {"fixed": "20ms"}, "hold": "response"}]);
    let mut proxy = Proxy::start(peer.addr, faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let calling = client.unary("KV/Txn", transaction("/a"));
    let serving = async {
        let (request, mut respond) = peer.call().await;
        read(request.into_body()).await.unwrap();
        let answered = proxy.clock.now();
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        down.send_data(Bytes::from_static(b"done"), false).unwrap();
        down.send_trailers(trailers([("grpc-status", "0")])).unwrap();
        answered
    };
    let (answer, answered) = futures::join!(calling, serving);
    assert_eq!(&answer.unwrap().1[..], b"done");
    let noted = proxy.noted().await;
    let held = noted.held.unwrap();
    assert!(answered <= held.from && held.to.since(held.from) >= 20 * MS && held.to <= noted.answered);
}

#[tokio::test]
async fn only_the_named_rpc_and_prefix_are_touched() {
    let faults =
        json!([{"name": "slow", "rpc": "KV/Txn", "keyPrefix": "/registry/cm/", "delay": {"fixed": "1ms"}}]);
    let proxy = Proxy::start(Peer::start().await.echo(), faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    for key in ["/registry/cm/a", "/registry/pods/a", "/registry/cm", "/registry/cm/b"] {
        let sent = transaction(key);
        assert_eq!(client.unary("KV/Txn", sent.clone()).await.unwrap().1, sent);
    }
    let range = framed(0, &bytes_field(1, b"/registry/cm/a"));
    client.unary("KV/Range", range).await.unwrap();
    let keys: Vec<String> = (proxy.all_noted().await.into_iter())
        .map(|entry| match entry.target {
            Target::Etcd { key, .. } => key,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, ["/registry/cm/a", "/registry/cm/b"]);
}

#[tokio::test]
async fn what_cannot_be_read_passes_untouched() {
    let faults = json!([{"name": "slow", "rpc": "KV/Txn", "keyPrefix": "/", "status": "INTERNAL"}]);
    let proxy = Proxy::start(Peer::start().await.echo(), faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let compressed = framed(1, &txn(b"/a", b""));
    let too_long = framed(0, &txn(b"/a", &vec![0; super::super::LONGEST_FIRST_MESSAGE]));
    for body in [compressed, too_long, Bytes::from_static(b"\0\0\0"), Bytes::new()] {
        assert!(client.unary("KV/Txn", body.clone()).await.unwrap().1 == body, "{} bytes", body.len());
    }
    assert_eq!(proxy.all_noted().await, []);
}

#[tokio::test]
async fn a_message_longer_than_the_window_is_read_ahead_whole() {
    let faults = json!([{"name": "slow", "rpc": "KV/Txn", "keyPrefix": "/a", "delay": {"fixed": "1ms"}}]);
    let proxy = Proxy::start(Peer::start().await.echo(), faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let body = framed(0, &txn(b"/a", &vec![9; 3 << 20]));
    assert!(client.unary("KV/Txn", body.clone()).await.unwrap().1 == body);
    assert_eq!(proxy.all_noted().await.len(), 1);
}

#[tokio::test]
async fn a_status_is_answered_in_place_of_etcd() {
    let mut peer = Peer::start().await;
    let faults =
        json!([{"name": "down", "rpc": "KV/Txn", "status": "UNAVAILABLE", "delay": {"fixed": "5ms"}}]);
    let proxy = Proxy::start(peer.addr, faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let (headers, body, _) = client.unary("KV/Txn", transaction("/a")).await.unwrap();
    assert_eq!(
        (&headers["grpc-status"], &headers["content-type"]),
        (&"14".parse().unwrap(), &"application/grpc".parse().unwrap())
    );
    assert!(body.is_empty());
    let noted = proxy.all_noted().await;
    assert_eq!(noted[0].answer, Answer::Grpc(14));
    assert!(noted[0].held.is_some_and(|held| held.to.since(held.from) >= 5 * MS));
    assert!(peer.calls.try_recv().is_err(), "etcd saw the call");
}

#[tokio::test]
async fn several_faults_apply_one_after_the_other() {
    let faults = json!([
        {"name": "first", "rpc": "KV/Txn", "delay": {"fixed": "5ms"}},
        {"name": "after", "rpc": "KV/Txn", "delay": {"fixed": "7ms"}, "hold": "response"},
        {"name": "other", "rpc": "KV/Range", "delay": {"fixed": "5ms"}},
        {"name": "second", "rpc": "KV/Txn", "delay": {"fixed": "3ms"}},
    ]);
    let proxy = Proxy::start(Peer::start().await.echo(), faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    client.unary("KV/Txn", transaction("/a")).await.unwrap();
    let mut holds: Vec<_> =
        (proxy.all_noted().await.into_iter()).map(|entry| (entry.held.unwrap(), entry.fault)).collect();
    holds.sort_by_key(|(held, _)| held.from);
    let names: Vec<&str> = holds.iter().map(|(_, fault)| fault.as_str()).collect();
    assert_eq!(names, ["first", "second", "after"]);
    assert!(holds.windows(2).all(|pair| pair[0].0.to <= pair[1].0.from), "holds overlap: {holds:?}");
}

#[tokio::test]
async fn the_same_share_of_calls_is_touched_in_every_run() {
    async fn run() -> Vec<bool> {
        let faults = json!([{"name": "some", "rpc": "KV/Txn", "share": 0.3, "status": "ABORTED"}]);
        let proxy = Proxy::start(Peer::start().await.echo(), faults).await;
        proxy.arm(Duration::ZERO);
        let client = proxy.client().await;
        let mut failed = Vec::new();
        for _ in 0..80 {
            let (headers, ..) = client.unary("KV/Txn", transaction("/a")).await.unwrap();
            failed.push(headers.contains_key("grpc-status"));
        }
        let noted = proxy.all_noted().await;
        assert!(noted.iter().map(|entry| entry.call).eq(0..80), "every call is noted, touched or not");
        assert!(
            failed.iter().eq(noted
                .iter()
                .map(|entry| entry.answer == Answer::Grpc(10))
                .collect::<Vec<_>>()
                .iter())
        );
        failed
    }
    let failed = run().await;
    assert_eq!(failed, run().await, "seed 7");
    let count = failed.iter().filter(|failed| **failed).count();
    assert!((10..40).contains(&count), "seed 7: {count} of 80");
}

#[tokio::test]
async fn faults_act_only_when_armed_and_in_their_window() {
    let faults = json!([{"name": "down", "rpc": "KV/Txn", "status": "ABORTED", "during": {"from": "10s", "to": "20s"}}]);
    let proxy = Proxy::start(Peer::start().await.echo(), faults).await;
    let client = proxy.client().await;
    let failed = async || {
        let (headers, ..) = client.unary("KV/Txn", transaction("/a")).await.unwrap();
        headers.contains_key("grpc-status")
    };
    assert!(!failed().await, "not armed yet");
    for (ago, expected) in [(0, false), (5, false), (15, true), (25, false)] {
        proxy.arm(Duration::from_secs(ago));
        assert_eq!(failed().await, expected, "{ago} s after the start of load");
    }
    proxy.arm(Duration::from_secs(15));
    proxy.handle.disarm();
    assert!(!failed().await, "disarmed");
    assert_eq!(proxy.all_noted().await.len(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_during_a_hold_is_noted_as_held() {
    let mut peer = Peer::start().await;
    let faults = json!([{"name": "slow", "rpc": "KV/Txn", "delay": {"fixed": "1h"}}]);
    let mut proxy = Proxy::start(peer.addr, faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let (_response, mut up) = client.requests.clone().send_request(post("KV/Txn"), false).unwrap();
    write(&mut up, transaction("/a"), true).await;
    // A second call answers only after the first was read: its fault is held by then.
    let (other, _up) = client.requests.clone().send_request(post("KV/Range"), true).unwrap();
    peer.call().await.1.send_response(Response::new(()), true).unwrap();
    soon(other).await.unwrap();
    up.send_reset(Reason::CANCEL);
    let noted = proxy.noted().await;
    assert_eq!((noted.answer, noted.held.map(|held| held.to)), (Answer::Held, Some(noted.answered)));
    assert!(peer.calls.try_recv().is_err(), "etcd saw the call");
}

#[tokio::test]
async fn a_caller_that_goes_away_during_a_held_response_cancels_at_etcd() {
    let mut peer = Peer::start().await;
    let faults =
        json!([{"name": "late", "rpc": "Watch/Watch", "delay": {"fixed": "1h"}, "hold": "response"}]);
    let mut proxy = Proxy::start(peer.addr, faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let (response, mut up) = client.requests.clone().send_request(post("Watch/Watch"), false).unwrap();
    write(&mut up, framed(0, &bytes_field(1, &bytes_field(1, b"/w"))), false).await;
    let (request, mut respond) = peer.call().await;
    let mut down = respond.send_response(Response::new(()), false).unwrap();
    // The request goes on while the response is held.
    write(&mut up, Bytes::from_static(b"more"), false).await;
    let mut body = request.into_body();
    let mut arrived = 0;
    while arrived < framed(0, &bytes_field(1, &bytes_field(1, b"/w"))).len() + 4 {
        arrived += soon(body.data()).await.unwrap().unwrap().len();
    }
    drop((response, up));
    let reset = soon(poll_fn(|cx| down.poll_reset(cx))).await.unwrap();
    assert_eq!(reset, Reason::CANCEL);
    assert_eq!(proxy.noted().await.answer, Answer::Held);
}

#[tokio::test]
async fn a_watch_is_held_when_created_and_not_before_its_events() {
    let mut peer = Peer::start().await;
    let faults = json!([{"name": "late", "rpc": "Watch/Watch", "keyPrefix": "/w", "delay": {"fixed": "25ms"}, "hold": "response"}]);
    let mut proxy = Proxy::start(peer.addr, faults).await;
    proxy.arm(Duration::ZERO);
    let client = proxy.client().await;
    let (response, mut up) = client.requests.clone().send_request(post("Watch/Watch"), false).unwrap();
    write(&mut up, framed(0, &bytes_field(1, &bytes_field(1, b"/w"))), false).await;
    let (_request, mut respond) = peer.call().await;
    let created = proxy.clock.now();
    let mut down = respond.send_response(Response::new(()), false).unwrap();
    down.send_data(Bytes::from_static(b"created"), false).unwrap();
    let mut events = soon(response).await.unwrap().into_body();
    assert_eq!(&soon(events.data()).await.unwrap().unwrap()[..], b"created");
    assert!(proxy.clock.now().since(created) >= 25 * MS);
    for _ in 0..20 {
        down.send_data(Bytes::from_static(b"event"), false).unwrap();
        assert_eq!(&soon(events.data()).await.unwrap().unwrap()[..], b"event");
    }
    assert!(proxy.ledger.try_recv().is_err(), "the watch is still going on");
    down.send_trailers(trailers([("grpc-status", "0")])).unwrap();
    assert_eq!(read(events).await.unwrap().1["grpc-status"], "0");
    let held = proxy.noted().await.held.unwrap();
    // Had every event been held, it would have been over half a second.
    assert!(held.from >= created && held.to.since(held.from) >= 25 * MS);
}

#[tokio::test]
async fn an_impossible_delay_names_its_fault() {
    let faults = json!([{"name": "odd", "rpc": "KV/Txn", "delay": {"uniform": {"min": "2s", "max": "1s"}}}]);
    let recorder = Recorder {
        clock: spangate_trace::Clock::new(),
        timer: Timer::start().unwrap(),
        ledger: tokio::sync::mpsc::unbounded_channel().0,
    };
    let error = Rules::new(serde_json::from_value(faults).unwrap(), 7, recorder).unwrap_err();
    assert!(matches!(&error, EtcdProxyError::Delay { fault, .. } if fault == "odd"), "{error}");
}
