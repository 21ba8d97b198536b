//! What no fault touches arrives as it was sent.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::peer::{Client, Peer, Proxy, post, read, soon, trailers, write};

/// One side of a call.
#[derive(Debug, Clone)]
struct Side {
    headers: HeaderMap,
    chunks: Vec<Bytes>,
    end: End,
}

/// How a side ends.
#[derive(Debug, Clone)]
enum End {
    Data,
    Trailers(HeaderMap),
    Reset(Reason),
}

/// What the other side must see of it.
#[derive(Debug, PartialEq)]
enum Seen {
    Whole(Vec<u8>, HeaderMap),
    Reset(Reason),
}

/// Names that HTTP/2 carries; values may be any visible bytes, and hop-by-hop headers do not exist.
fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = "x-[a-z]{1,12}(-bin)?".prop_map(|name| name.parse::<HeaderName>().unwrap());
    let value = prop::collection::vec(prop_oneof![0x21_u8..0x7f, 0x80_u8..], 0..200)
        .prop_map(|value| HeaderValue::from_bytes(&value).unwrap());
    prop::collection::vec((name, value), 0..8).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    })
}

fn chunk() -> impl Strategy<Value = Bytes> {
    // Mostly small, at times larger than a frame, a window, or both.
    let length = prop_oneof![6 => 0_usize..300, 2 => 10_000_usize..70_000, 1 => 100_000_usize..1_500_000];
    (length, any::<u8>()).prop_map(|(length, salt)| {
        (0_u8..251).cycle().take(length).map(|byte| byte ^ salt).collect::<Vec<u8>>().into()
    })
}

fn side(resets: bool) -> impl Strategy<Value = Side> {
    let reasons = prop_oneof![
        Just(Reason::CANCEL),
        Just(Reason::INTERNAL_ERROR),
        Just(Reason::REFUSED_STREAM),
        Just(Reason::ENHANCE_YOUR_CALM),
    ];
    let end = prop_oneof![
        2 => Just(End::Data),
        4 => headers().prop_map(End::Trailers),
        u32::from(resets) => reasons.prop_map(End::Reset),
    ];
    (headers(), prop::collection::vec(chunk(), 0..6), end).prop_map(|(headers, chunks, end)| Side {
        headers,
        chunks,
        end,
    })
}

impl Side {
    fn seen(&self) -> Seen {
        match &self.end {
            End::Data => Seen::Whole(self.chunks.concat(), HeaderMap::new()),
            End::Trailers(trailers) => Seen::Whole(self.chunks.concat(), trailers.clone()),
            End::Reset(reason) => Seen::Reset(*reason),
        }
    }
}

async fn send_side(stream: &mut h2::SendStream<Bytes>, side: &Side) {
    for chunk in &side.chunks {
        write(stream, chunk.clone(), false).await;
    }
    match &side.end {
        End::Data => write(stream, Bytes::new(), true).await,
        // It fails when the other side has reset the stream meanwhile.
        End::Trailers(trailers) => drop(stream.send_trailers(trailers.clone())),
        End::Reset(reason) => stream.send_reset(*reason),
    }
}

async fn see(body: RecvStream) -> Seen {
    match read(body).await {
        Ok((data, trailers)) => Seen::Whole(data, trailers),
        Err(error) => Seen::Reset(error.reason().unwrap()),
    }
}

/// Answers one call, before or while or after the request is read.
async fn serve(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    side: Side,
    after: bool,
) -> (Request<()>, Seen) {
    let (head, body) = request.into_parts();
    let answer = async {
        let mut response = Response::builder().status(200).body(()).unwrap();
        *response.headers_mut() = side.headers.clone();
        let mut stream = respond.send_response(response, false).unwrap();
        send_side(&mut stream, &side).await;
    };
    let seen = if after {
        let seen = see(body).await;
        answer.await;
        seen
    } else {
        futures::future::join(see(body), answer).await.0
    };
    (Request::from_parts(head, ()), seen)
}

/// One call through the proxy; what either side saw.
async fn exchange(
    up: &Side,
    down: &Side,
    after: bool,
) -> (Request<()>, Seen, Result<Response<()>, Reason>, Seen) {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    let mut request = post("KV/Txn");
    request.headers_mut().extend(up.headers.clone());
    let (response, mut stream) = client.requests.clone().send_request(request, false).unwrap();
    let sent = async {
        send_side(&mut stream, up).await;
        // A client keeps its half until the response is over.
        stream
    };
    let received = async {
        match soon(response).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                (Ok(Response::from_parts(head, ())), see(body).await)
            }
            Err(error) => (Err(error.reason().unwrap()), Seen::Reset(error.reason().unwrap())),
        }
    };
    let served = async {
        let (request, respond) = peer.call().await;
        serve(request, respond, down.clone(), after).await
    };
    let (_, (response, down_seen), (request, up_seen)) = futures::join!(sent, received, served);
    soon(proxy.handle.shutdown()).await;
    (request, up_seen, response, down_seen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_see_what_the_other_sent(up in side(false), down in side(true), after: bool) {
        let runtime = Runtime::new().unwrap();
        let (request, up_seen, response, down_seen) = runtime.block_on(exchange(&up, &down, after));

        let mut expected = post("KV/Txn");
        expected.headers_mut().extend(up.headers.clone());
        prop_assert_eq!(request.method(), expected.method());
        prop_assert_eq!(request.uri(), expected.uri());
        prop_assert_eq!(request.headers(), expected.headers());
        if let Ok(response) = response {
            prop_assert_eq!(response.headers(), &down.headers);
        }
        prop_assert_eq!(&down_seen, &down.seen());
        // The server's reset ends the request too, when it was not over.
        prop_assert!(up_seen == up.seen() || matches!(down.end, End::Reset(_)), "{:?}", up_seen);
    }

    #[test]
    fn a_reset_of_the_client_arrives_with_its_reason(up in side(true), reason in 1_u32..13) {
        let up = Side { end: End::Reset(reason.into()), ..up };
        let runtime = Runtime::new().unwrap();
        let seen = runtime.block_on(async {
            let mut peer = Peer::start().await;
            let proxy = Proxy::transparent(peer.addr).await;
            let client = proxy.client().await;
            let (_response, mut stream) = client.requests.clone().send_request(post("KV/Txn"), false).unwrap();
            for chunk in &up.chunks {
                // Without an end, what does not fit the window stays with the client.
                stream.send_data(chunk.clone(), false).unwrap();
            }
            let (request, mut respond) = peer.call().await;
            stream.send_reset(reason.into());
            let seen = soon(poll_fn(|cx| respond.poll_reset(cx))).await.unwrap();
            drop(request);
            seen
        });
        prop_assert_eq!(seen, Reason::from(reason));
    }
}

#[tokio::test]
async fn a_response_of_headers_alone_stays_one() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    let (response, _stream) = client.requests.clone().send_request(post("KV/Txn"), true).unwrap();
    let (request, mut respond) = peer.call().await;
    assert!(request.body().is_end_stream(), "the end of the stream came with the headers");
    let mut answer = Response::new(());
    *answer.headers_mut() = trailers([("grpc-status", "13"), ("grpc-message", "no")]);
    respond.send_response(answer, true).unwrap();
    let response = soon(response).await.unwrap();
    assert!(response.body().is_end_stream());
    assert_eq!(response.headers()["grpc-status"], "13");
}

#[tokio::test]
async fn a_response_may_end_before_the_request() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    let (response, mut stream) = client.requests.clone().send_request(post("Watch/Watch"), false).unwrap();
    stream.send_data(Bytes::from_static(b"create"), false).unwrap();
    let (request, mut respond) = peer.call().await;
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    answer.send_data(Bytes::from_static(b"refused"), false).unwrap();
    answer.send_trailers(trailers([("grpc-status", "7")])).unwrap();
    // A gRPC server that is done resets what it has not read.
    drop((request, respond, answer));
    let (data, end) = read(soon(response).await.unwrap().into_body()).await.unwrap();
    assert_eq!((&data[..], &end["grpc-status"]), (&b"refused"[..], &HeaderValue::from_static("7")));
    let reset = soon(poll_fn(|cx| stream.poll_reset(cx))).await.unwrap();
    assert_eq!(reset, Reason::NO_ERROR);
}

#[tokio::test]
async fn either_side_of_a_stream_flows_on_its_own() {
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    let (response, mut up) = client.requests.clone().send_request(post("Watch/Watch"), false).unwrap();
    let (mut request, mut respond) = peer.call().await;
    let mut down = respond.send_response(Response::new(()), false).unwrap();
    let mut response = soon(response).await.unwrap();
    for turn in 0..50_u8 {
        up.send_data(Bytes::copy_from_slice(&[turn]), false).unwrap();
        assert_eq!(soon(request.body_mut().data()).await.unwrap().unwrap()[..], [turn]);
        down.send_data(Bytes::copy_from_slice(&[turn, turn]), false).unwrap();
        assert_eq!(soon(response.body_mut().data()).await.unwrap().unwrap()[..], [turn, turn]);
    }
    // The server may go on after the client has ended its half.
    up.send_data(Bytes::new(), true).unwrap();
    assert!(soon(request.body_mut().data()).await.is_none_or(|data| data.unwrap().is_empty()));
    down.send_data(Bytes::from_static(b"last"), true).unwrap();
    assert_eq!(soon(response.body_mut().data()).await.unwrap().unwrap()[..], b"last"[..]);
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_server_and_nobody_else() {
    /// The windows and buffers of client, proxy and server between the two, and some room.
    const ALL_WINDOWS: usize = 6 << 20;
    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    let (response, _up) = client.requests.clone().send_request(post("KV/RangeStream"), true).unwrap();
    let (_, mut respond) = peer.call().await;
    let mut down = respond.send_response(Response::new(()), false).unwrap();
    let (progress, sent) = tokio::sync::watch::channel(0_usize);
    let total = 8 * ALL_WINDOWS;
    let sender = tokio::spawn(async move {
        let mut rest = total;
        while rest > 0 {
            down.reserve_capacity(rest.min(65_536));
            if down.capacity() == 0 {
                soon(poll_fn(|cx| down.poll_capacity(cx))).await.unwrap().unwrap();
            }
            let part = down.capacity().min(rest);
            down.send_data(Bytes::from(vec![7; part]), part == rest).unwrap();
            rest -= part;
            progress.send_replace(total - rest);
        }
    });
    let response = soon(response).await.unwrap();
    // While the stream is stuck, others are not: the connection's window is shared with care.
    for _ in 0..100 {
        let (calling, serving) = (client.unary("KV/Range", Bytes::from_static(b"get")), async {
            let (request, mut respond) = peer.call().await;
            let (body, _) = read(request.into_body()).await.unwrap();
            respond.send_response(Response::new(()), false).unwrap().send_data(body.into(), true).unwrap();
        });
        let (answer, ()) = futures::join!(calling, serving);
        assert_eq!(&answer.unwrap().1[..], b"get");
    }
    let stuck_at = *sent.borrow();
    assert!(stuck_at <= ALL_WINDOWS, "{stuck_at} bytes were taken from the server, nobody reads them");
    let (data, _) = read(response.into_body()).await.unwrap();
    assert_eq!(data.len(), total);
    soon(sender).await.unwrap();
}

#[tokio::test]
async fn large_messages_and_headers_pass() {
    let proxy = Proxy::transparent(Peer::start().await.echo()).await;
    let client = proxy.client().await;
    let message: Bytes = (0_u8..253).cycle().take(12 << 20).collect::<Vec<u8>>().into();
    let (_, echoed, trailers) = client.unary("KV/Put", message.clone()).await.unwrap();
    assert!(echoed == message, "12 MiB came back changed");
    assert_eq!(trailers["grpc-status"], "0");

    let mut peer = Peer::start().await;
    let proxy = Proxy::transparent(peer.addr).await;
    let client = proxy.client().await;
    let mut request = post("KV/Txn");
    let long = HeaderValue::from_str(&"x".repeat(60_000)).unwrap();
    request.headers_mut().insert("x-long", long.clone());
    let (_response, _stream) = client.requests.clone().send_request(request, true).unwrap();
    assert_eq!(peer.call().await.0.headers()["x-long"], long);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_share_a_connection() {
    let proxy = Proxy::transparent(Peer::start().await.echo()).await;
    let client: Client = proxy.client().await;
    let calls = (0..500_u32).map(|n| {
        let client = &client;
        async move {
            let body = Bytes::from(n.to_string().repeat(n as usize % 300));
            let (_, echoed, trailers) = client.unary("KV/Range", body.clone()).await.unwrap();
            assert_eq!((echoed, &trailers["grpc-status"]), (body, &HeaderValue::from_static("0")));
        }
    });
    futures::future::join_all(calls).await;
}
