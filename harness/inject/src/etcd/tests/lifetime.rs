//! Connections that come and go.

use std::future::poll_fn;

use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::{
    super::{EtcdProxy, EtcdProxyConfig, EtcdProxyError},
    peer::{Client, LOOPBACK, Peer, Proxy, post, read, soon, trailers},
};

#[tokio::test]
async fn every_client_has_a_connection_of_its_own_that_ends_with_it() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let client = proxy.client().await;
        let _call = client.requests.clone().send_request(post("KV/Range"), true).unwrap();
        peer.call().await;
        pairs.push((client, soon(peer.connections.recv()).await.unwrap()));
    }
    let (client, connection) = pairs.swap_remove(1);
    client.task.abort();
    soon(connection.task).await.unwrap();
    assert!(pairs.iter().all(|(_, other)| !other.task.is_finished()));
}

#[tokio::test]
async fn without_etcd_the_connection_is_closed_at_once() {
    let nobody = TcpListener::bind(LOOPBACK).await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = Proxy::transparent(addr).await;
    let mut stream = TcpStream::connect(proxy.handle.addr()).await.unwrap();
    assert_eq!(soon(stream.read(&mut [0; 64])).await.unwrap(), 0);
}

#[tokio::test]
async fn etcd_may_come_later() {
    let place = TcpListener::bind(LOOPBACK).await.unwrap();
    let addr = place.local_addr().unwrap();
    drop(place);
    let proxy = Proxy::transparent(addr).await;
    drop(TcpStream::connect(proxy.handle.addr()).await.unwrap());
    let listener = TcpListener::bind(addr).await.unwrap();
    let client = soon(Client::connect(proxy.handle.addr()));
    let (client, _) = futures::join!(client, async { soon(listener.accept()).await.unwrap() });
    assert!(!client.task.is_finished());
}

#[tokio::test]
async fn a_broken_connection_makes_its_calls_unavailable_and_ends_the_client_s() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    let (waiting, _up) = client.requests.clone().send_request(post("KV/Range"), true).unwrap();
    let (_request, _respond) = peer.call().await;
    let (streaming, _up) = client.requests.clone().send_request(post("Watch/Watch"), false).unwrap();
    let (_request, mut respond) = peer.call().await;
    let mut down = respond.send_response(Response::new(()), false).unwrap();
    down.send_data(Bytes::from_static(b"event"), false).unwrap();
    let mut streaming = soon(streaming).await.unwrap().into_body();
    assert_eq!(&soon(streaming.data()).await.unwrap().unwrap()[..], b"event");

    soon(peer.connections.recv()).await.unwrap().task.abort();

    let waiting = soon(waiting).await.unwrap();
    assert_eq!(waiting.headers()["grpc-status"], "14");
    assert_eq!(waiting.headers()["content-type"], "application/grpc");
    assert_eq!(read(streaming).await.unwrap().1["grpc-status"], "14");
    soon(client.task).await.unwrap();
}

#[tokio::test]
async fn a_go_away_is_passed_on_and_calls_in_flight_end_well() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let mut client = proxy.client().await;
    let (response, _up) = client.requests.send_request(post("KV/Range"), true).unwrap();
    let (_, mut respond) = peer.call().await;
    let connection = soon(peer.connections.recv()).await.unwrap();

    connection.shut_down();
    // The client is told while its call goes on: a new one is refused, here or at the proxy.
    let refused = soon(async {
        loop {
            let ready = poll_fn(|cx| client.requests.poll_ready(cx)).await;
            let sent = ready.and_then(|()| client.requests.send_request(post("KV/Range"), true));
            match sent {
                Err(error) => return error,
                Ok((response, _)) => {
                    if let Err(error) = response.await {
                        return error;
                    }
                }
            }
        }
    });
    let answer_others = async {
        while let Some((_, mut respond)) = peer.calls.recv().await {
            respond.send_response(Response::new(()), true).unwrap();
        }
    };
    let refused = tokio::select! { refused = refused => refused, () = answer_others => unreachable!() };
    assert!(refused.is_go_away() || refused.reason() == Some(Reason::REFUSED_STREAM), "{refused:?}");

    let mut answer = Response::new(());
    *answer.headers_mut() = trailers([("grpc-status", "0")]);
    respond.send_response(answer, true).unwrap();
    assert_eq!(soon(response).await.unwrap().headers()["grpc-status"], "0");
    drop(respond);
    soon(client.task).await.unwrap();
    soon(connection.task).await.unwrap();
}

#[tokio::test]
async fn a_call_that_the_client_leaves_is_cancelled_at_etcd() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    // The request is over, so that only the stream itself can tell.
    let (response, mut up) = client.requests.clone().send_request(post("KV/Range"), false).unwrap();
    up.send_data(Bytes::from_static(b"get"), true).unwrap();
    let (_request, mut respond) = peer.call().await;
    drop((response, up));
    assert_eq!(soon(poll_fn(|cx| respond.poll_reset(cx))).await.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn cancelling_in_bulk_does_not_end_the_connection() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    for _ in 0..3000 {
        let (response, _up) = client.requests.clone().send_request(post("KV/Range"), true).unwrap();
        let (_, mut respond) = peer.call().await;
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        down.send_data(Bytes::from_static(b"under way"), false).unwrap();
        drop(response);
    }
    let (response, _up) = client.requests.clone().send_request(post("KV/Range"), true).unwrap();
    peer.call().await.1.send_response(Response::new(()), true).unwrap();
    soon(response).await.unwrap();
}

#[tokio::test]
async fn shutting_down_closes_port_and_connections() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let addr = proxy.handle.addr();
    let client = proxy.client().await;
    let _call = client.requests.clone().send_request(post("Watch/Watch"), false).unwrap();
    peer.call().await;
    soon(proxy.handle.shutdown()).await;
    soon(client.task).await.unwrap();
    soon(soon(peer.connections.recv()).await.unwrap().task).await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn dropping_the_handle_is_enough() {
    let peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    drop(proxy);
    soon(client.task).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind(LOOPBACK).await.unwrap().local_addr().unwrap();
    let held = TcpListener::bind(taken).await.unwrap();
    let config = EtcdProxyConfig {
        upstream: taken.into(),
        tls: None,
        faults: Vec::new(),
        seed: 7,
        clock: spangate_trace::Clock::new(),
        ledger: tokio::sync::mpsc::unbounded_channel().0,
        listen: taken,
    };
    let error = EtcdProxy::start(config).await.unwrap_err();
    assert!(matches!(error, EtcdProxyError::Listen { listen, .. } if listen == taken), "{error}");
    drop(held);
}
