//! Streams of bytes other than sockets, which take and give little at once.

use std::sync::Arc;

use bytes::Bytes;
use h2::{client, server};
use http::Response;
use spangate_trace::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{
    super::{connection, rules::Rules},
    peer::{post, read, soon, trailers, write},
};
use crate::{hold::Timer, note::Recorder};

/// Rules that look at every transaction, and touch none.
fn rules() -> Arc<Rules> {
    let faults = serde_json::json!([
        {"name": "elsewhere", "rpc": "KV/Txn", "keyPrefix": "/elsewhere", "status": "ABORTED"},
    ]);
    let ledger = tokio::sync::mpsc::unbounded_channel().0;
    let recorder = Recorder { clock: Clock::new(), timer: Timer::start().unwrap(), ledger };
    let armed = recorder.clock.now();
    let rules = Rules::new(serde_json::from_value(faults).unwrap(), 7, recorder).unwrap();
    rules.gate.arm(armed);
    Arc::new(rules)
}

#[tokio::test]
async fn frames_pass_through_pipes_narrower_than_they_are() {
    for width in [1, 50, 5_000] {
        let ((client, downstream), (upstream, etcd)) = (duplex(width), duplex(width));
        let carried = tokio::spawn(connection::carry(downstream, upstream, rules()));
        let serving = tokio::spawn(async move {
            let mut connection = server::handshake(etcd).await.unwrap();
            while let Some(accepted) = connection.accept().await {
                let (request, mut respond) = accepted.unwrap();
                tokio::spawn(async move {
                    let (body, _) = read(request.into_body()).await.unwrap();
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    write(&mut stream, body.into(), false).await;
                    stream.send_trailers(trailers([("grpc-status", "0")])).unwrap();
                });
            }
        });
        let (requests, connection) = client::handshake(client).await.unwrap();
        let connection = tokio::spawn(connection);
        let calls = ["KV/Txn", "KV/Range", "KV/Txn"].map(|rpc| {
            let mut requests = requests.clone();
            async move {
                let body = Bytes::from(rpc.repeat(width.min(100) * 100));
                let (response, mut stream) = requests.send_request(post(rpc), false).unwrap();
                let (response, ()) = futures::join!(soon(response), write(&mut stream, body.clone(), true));
                let (data, trailers) = read(response.unwrap().into_body()).await.unwrap();
                assert!(data == body, "{} bytes came back as {}", body.len(), data.len());
                assert_eq!(trailers["grpc-status"], "0");
            }
        });
        soon(futures::future::join_all(calls)).await;
        drop(requests);
        soon(connection).await.unwrap().unwrap();
        soon(carried).await.unwrap();
        soon(serving).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_speaks_something_else_is_left() {
    let ((mut client, downstream), (upstream, mut etcd)) = (duplex(1_000), duplex(1_000));
    let carried = tokio::spawn(connection::carry(downstream, upstream, rules()));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(soon(client.read(&mut [0; 100])).await.unwrap(), 0);
    assert_eq!(soon(etcd.read(&mut [0; 100])).await.unwrap(), 0);
    soon(carried).await.unwrap();
}
